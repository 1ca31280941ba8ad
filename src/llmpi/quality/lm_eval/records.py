"""The files of an `lm_eval` task."""

from typing import Literal, NotRequired, final

from typing_extensions import TypedDict

from llmpi.engine.records import Engine, record
from llmpi.quality.records import (
    BatchShape,
    Computation,
    Counts,
    Json,
    Resampling,
    Thoughts,
)


@record
class Settings(TypedDict):
    """What is asked of the harness; its own words, where it has them."""

    computation: Computation
    thinking_tokens: int | None
    """Bound on a thought before an answer; None where the model is to answer at once."""
    tasks: list[str]
    """Names of tasks, groups or tags."""
    include_path: str | None
    """Folder of one's own task files (YAML)."""
    limit: int | None
    """So many items of each task, from the first."""
    num_fewshot: int | None
    """Worked examples in front of each item; by default what the task says."""
    apply_chat_template: bool
    """Whether prompts are put as turns in the model's chat template."""
    context_tokens: int
    """Context that all that runs at once shares; one sequence has three quarters of it at most."""


@final
@record
class Share(TypedDict):
    """A metric that is a share of the items."""

    pct: float | None
    stderr_pct: float | None
    higher_is_better: bool | None


@final
@record
class Metric(TypedDict):
    """Any other, in its own unit."""

    value: float | None
    """None where it is not finite."""
    stderr: float | None
    """None if the harness makes none."""
    higher_is_better: bool | None


@record
class HarnessThoughts(Thoughts):
    """Before the answers to chats of a model that thinks."""

    answers: int


@record
class LmEvalSummary(TypedDict):
    items: int
    thinking: NotRequired[HarnessThoughts]
    """Left out where it was to answer at once."""
    metrics: dict[str, Share | Metric]
    """By `TASK/METRIC,FILTER`, as the harness has them."""


@record
class HarnessTask(TypedDict):
    """What makes two runs of a task the same."""

    version: int | float | str
    shots: int | None
    items: int
    config_sha256: str
    items_sha256: str
    """The harness's own `task_hash`."""


@record
class HarnessItem(TypedDict):
    """What came of an item behind a filter, and its part in each metric."""

    task: str
    id: int
    doc_sha256: str
    filter: str
    target: Json
    responses: Json
    metrics: dict[str, Json]


@record
class LmEvalScored(TypedDict):
    status: Literal["ok"]
    summary: LmEvalSummary
    resampling: Resampling
    """Of items, for the standard errors of metrics that are no mean; the harness seeds it."""
    tasks: dict[str, HarnessTask]
    settings: Settings
    max_length: int
    """Tokens of one sequence."""
    marks: NotRequired[list[str]]
    """In answers, of which nothing is known: what stands beside them may be a thought."""
    chat_template_sha256: str
    gguf_sha256: str
    engine: Engine
    harness: str
    """Its version."""
    threads: int
    shape: BatchShape
    batching: list[Counts]
    """Of each kind of request that was run."""
    started: str
    ended: str
    items: list[HarnessItem]
