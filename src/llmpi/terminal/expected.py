"""How long a study's jobs are expected to take, kind by kind, and which variants cannot be made, as
`llmpi plan` has it.

`python -m llmpi.terminal.expected < STUDY` in a process of its own: what a plan imports is nothing
for Snakemake to carry. Nothing is asked of a network.
"""

import json
import sys
from collections.abc import Iterator
from statistics import fmean
from typing import TypedDict

from llmpi.device.machine import capacity
from llmpi.plan.learning import all_refused
from llmpi.plan.model_facts import models_of, variants_of
from llmpi.plan.plan import plan
from llmpi.plan.workstation import stages
from llmpi.study.study import Study
from llmpi.terminal.estimated import BY_STAGE, BY_TASK, DEPLOY, MEASURE, REFERENCE
from llmpi.terminal.run_state import Kind


class Told(TypedDict):
    """What is written."""

    expected: list[tuple[str, str, str, float]]
    """Each kind, and seconds."""
    refused: list[str]
    """Of each variant that cannot be made, why."""


def expected(study: Study) -> dict[Kind, float]:
    """Seconds of one job of each kind; tasks of one rule are not told apart."""
    found: dict[Kind, list[float]] = {}
    for kind, seconds in _each(study):
        found.setdefault(kind, []).append(seconds)
    return {kind: fmean(seconds) for kind, seconds in found.items()}


def _each(study: Study) -> Iterator[tuple[Kind, float]]:
    models = models_of(study, ask_hub=False)
    for stage in stages(study, models, capacity.processors(), capacity.memory_bytes()):
        if rule := _rule(study, stage.stage):
            yield Kind(rule, "", stage.model), stage.seconds.likely / stage.jobs
    for planned in plan(study, ask_hub=False):
        device, model = planned.session.device, planned.session.model
        if planned.transfer_s:
            yield Kind(DEPLOY, device, model), planned.transfer_s.likely
        if planned.measuring.seconds:
            yield Kind(MEASURE, device, model), planned.measuring.seconds.likely


def _rule(study: Study, stage: str) -> str | None:
    if stage.startswith("reference of "):
        return REFERENCE
    if stage.startswith("score "):
        return BY_TASK.get(study.quality[stage.removeprefix("score ")].task)
    return BY_STAGE.get(stage)


def main() -> None:
    study = Study.model_validate_json(sys.stdin.read())
    told: Told = {
        "expected": [(*kind, seconds) for kind, seconds in expected(study).items()],
        "refused": all_refused(variants_of(study, ask_hub=False)),
    }
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    main()
