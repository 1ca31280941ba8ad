"""What was measured of a study, level by level: a value for each repetition."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from llmpi.compare.measured import Measured
from llmpi.compare.records import Quantity
from llmpi.engine.records import (
    ConcurrentRepetition,
    Energy,
    Mark,
    MeasuredLevel,
    Repetition,
    SingleCell,
)
from llmpi.study.runs import Run
from llmpi.summary.measured import concurrent, single


class Level(NamedTuple):
    """A cell, or so many conversations of one."""

    run: Run
    conversations: int | None


@dataclass(frozen=True)
class Values:
    """What was measured of a level: of each quantity, a value for each repetition."""

    of: Mapping[Quantity, Sequence[float]]
    tier: str | None
    """Of its energy; other tiers are never held against it."""
    marks: Sequence[Mark]
    output: Sequence[int]
    gguf_sha256: str


def levels(study: Measured) -> dict[Level, Values]:
    """All that gave numbers."""
    found: dict[Level, Values] = {}
    for run in runs(study):
        session = study.sessions[run.session]
        file = session.get("gguf_sha256", "")
        one, several = single(session, run.workload), concurrent(session, run.workload)
        if not isinstance(one, dict):
            found[Level(run, None)] = _of_single(one.cell, file)
        elif several["status"] == "ok":
            for level in several["levels"]:
                if level["status"] == "ok":
                    prompts = level["conversations"] * several["workload"]["prompt_tokens"]
                    found[Level(run, level["conversations"])] = _of_level(level, prompts, file)
    return found


def runs(study: Measured) -> Iterator[Run]:
    for session, record in study.sessions.items():
        for workload in record.get("workloads", {}):
            yield Run(*session, workload)


def _of_single(cell: SingleCell, file: str) -> Values:
    speeds = _speeds(cell["repetitions"], cell["workload"]["prompt_tokens"], 1)
    joules, tier = _joules(cell["energy"])
    return Values({**speeds, **joules}, tier, cell["marks"], cell["output"], file)


def _of_level(level: MeasuredLevel, prompt_tokens: int, file: str) -> Values:
    speeds = _speeds(level["repetitions"], prompt_tokens, level["conversations"])
    joules, tier = _joules(level["energy"])
    return Values({**speeds, **joules}, tier, level["marks"], (), file)


def _speeds(
    repetitions: Sequence[Repetition] | Sequence[ConcurrentRepetition],
    prompt_tokens: int,
    conversations: int,
) -> dict[Quantity, Sequence[float]]:
    return {
        "tg_tps": [conversations * len(r["itl_s"]) / sum(r["itl_s"]) for r in repetitions],
        "pp_tps": [prompt_tokens / r["pp_s"] for r in repetitions],
    }


def _joules(energy: Energy | None) -> tuple[dict[Quantity, Sequence[float]], str | None]:
    """Of each repetition's tokens, so that their mean is the record's."""
    if energy is None or energy["status"] != "ok":
        return {}, None
    tg, each = energy["tg"], energy["tg"]["energy_j"]
    if sum(each) <= 0:
        return {}, None
    mean = sum(each) / len(each)
    return {"tg_j_per_token": [tg["j_per_token"] * joules / mean for joules in each]}, energy[
        "tier"
    ]
