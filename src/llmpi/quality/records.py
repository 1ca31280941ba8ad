"""What tasks of several kinds have in common in their records."""

from typing import Literal

from typing_extensions import TypedDict

from llmpi.engine.records import Engine, record


@record
class Skipped(TypedDict):
    """A variant that need not be scored: what is known of others says enough."""

    status: Literal["skipped"]
    stage: str
    reason: str


@record
class Shape(TypedDict):
    """The constants of a schedule, see `llmpi.quality.batching.schedule.Shape`."""

    context_tokens: int
    prompt_rows: list[int]
    answer_rows: list[int]
    sequences: int


@record
class Counts(TypedDict):
    """What it took to compute requests together."""

    cells: int
    """Of the cache of each lane."""
    parts: int
    batches: int
    rows: int
    padded_rows: int


@record
class Batching(Counts):
    """How requests were computed together; the answers hang on it, by rounding."""

    shape: Shape


@record
class Answer(TypedDict):
    """What a model said to a conversation."""

    text: str
    prompt_tokens: int
    new_tokens: int
    stopped: bool
    """By itself, not at the bound on its tokens."""
    error: str | None
    """Why there is none."""
    log_likelihood: float | None
    """Of the continuation that was asked about, natural; None without one, and where it failed."""


@record
class AnsweredBlock(TypedDict):
    """Conversations answered in one go, kept until the record of the whole is made."""

    answers: list[Answer]
    batching: Batching
    has_chat_template: bool
    chat_template_sha256: str
    engine: Engine
