"""Quality tasks of all kinds, and the minimum they ask for."""

from typing import TYPE_CHECKING, Annotated, Literal, Union, get_args

from pydantic import Field

from llmpi.plugins import modules
from llmpi.study.fields import Part
from llmpi.study.task import Task


def _tasks() -> tuple[type[Task], ...]:
    """The settings of each kind: what every module of `llmpi.study.tasks` defines."""
    return tuple(
        found
        for module in modules("llmpi.study.tasks.*")
        for found in vars(module).values()
        if isinstance(found, type)
        and issubclass(found, Task)
        and found.__module__ == module.__name__
    )


TASKS = _tasks()
KINDS = [get_args(task.model_fields["task"].annotation)[0] for task in TASKS]
"""Their names, by which a config, the folder of a kind and the file of its rules call it."""

if TYPE_CHECKING:
    QualityTask = Task
else:
    QualityTask = Annotated[Union[TASKS], Field(discriminator="task")]  # noqa: UP007, of a tuple


Metric = Literal["exact", "f1", "has_ans_exact", "has_ans_f1", "no_ans_exact", "no_ans_f1"]


class Gate(Part):
    """A minimum that a variant must reach; the report shows who does not."""

    task: str
    """Id of a task under `quality`."""
    metric: Metric = "f1"
    """Metric of that task."""
    at_least_pct: float = Field(ge=0, le=100)
    """Per cent the variant must reach."""


class Descent(Part):
    """From high to low bit width, until one is not shown to be good enough.

    The task is asked block by block and no longer than it takes to tell; widths below the first one
    that fails are skipped."""

    task: str
    """Id of a `squad` task under `quality`."""
    metric: Literal["exact", "f1", "has_ans_exact", "has_ans_f1"] = "has_ans_f1"
    """Metric of that task. By default of the questions that have an answer: a variant that always
    abstains loses nothing on the others."""
    margin_pct: float = Field(gt=0, lt=100)
    """Loss against the widest quantization to put up with, percentage points."""
    alpha: float = Field(default=0.05, gt=0, lt=0.5)
    """Probability that any width is wrongly said to hold."""
