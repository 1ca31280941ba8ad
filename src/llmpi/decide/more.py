"""Where more items of a task would come from: the config's bound on them, if it has one."""

from collections.abc import Sequence

from llmpi.decide.records import Source
from llmpi.quality.evidence import Requirement
from llmpi.study.study import Study
from llmpi.study.task import Task
from llmpi.study.tasks.divergence import DivergenceTask
from llmpi.study.tasks.lm_eval import LmEvalTask
from llmpi.study.tasks.squad import SquadTask


def sources(study: Study, requirements: Sequence[Requirement]) -> dict[str, Source]:
    """By task. A bound that was not reached is none: all there are were asked."""
    found: dict[str, Source] = {}
    for requirement in requirements:
        name, asked = requirement["task"], requirement["asked"]
        key, bound = _bound(study.quality[name])
        reached = bound is not None and asked >= bound
        found[name] = {
            "item": "question" if requirement["cluster"] == "passage" else requirement["cluster"],
            "asked": asked,
            "key": f"quality.{name}.{key}" if reached else None,
            "value": bound if reached else None,
        }
    return found


def _bound(task: Task) -> tuple[str, int | None]:
    if isinstance(task, SquadTask):
        return "questions", task.questions
    if isinstance(task, DivergenceTask):
        return "chunks", task.chunks
    if isinstance(task, LmEvalTask):
        return "limit", task.limit
    return "", None
