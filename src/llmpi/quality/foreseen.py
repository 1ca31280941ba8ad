"""What a task will ask of every variant, as far as that is known before anything is answered.

A kind whose items can be known has a module `foreseen` in its folder, with a function of that name.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from llmpi.plugins import modules
from llmpi.quality.evidence import Cluster
from llmpi.study.study import Study


@dataclass(frozen=True)
class Foreseen:
    """
    Args:
        metric: as its `Requirement` will have it.
        margin: points.
        items: of each cluster that the task asks, also where they are 0.
    """

    metric: str
    margin: float
    cluster: Cluster
    items: Sequence[int]


def foreseen(study: Study) -> dict[str, Sequence[Foreseen]]:
    """By task; nothing of one whose items cannot be known yet.

    Raises:
        LlmpiError: a task's file is not what it should be.
    """
    found = {
        task: knows(study, task)
        for task, asked in study.quality.items()
        if (knows := _by_kind().get(asked.task))
    }
    return {task: asked for task, asked in found.items() if asked}


@cache
def _by_kind() -> Mapping[str, Callable[[Study, str], Sequence[Foreseen]]]:
    found = modules("llmpi.quality.*.foreseen")
    return {module.__name__.split(".")[-2]: module.foreseen for module in found}
