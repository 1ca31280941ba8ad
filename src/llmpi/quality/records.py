"""What tasks of several kinds have in common in their records."""

from typing import Literal, NotRequired

from typing_extensions import TypeAliasType, TypedDict

from llmpi.engine.records import (
    Engine,
    EngineSettings,
    KvType,
    Machine,
    Message,
    SentPrompt,
    record,
)

Json = TypeAliasType("Json", "bool | int | float | str | list[Json] | dict[str, Json] | None")
"""What is another program's business."""


class VariantFile(TypedDict):
    """What scoring knows of a variant's file, out of its manifest (`llmpi.gguf.records.Gguf`)."""

    status: Literal["ok"]
    sha256: str


@record
class NotHeld(TypedDict):
    """A wider variant lost more than the margin, or was not shown to lose less."""

    kind: Literal["fails", "undecided"]
    variant: str
    margin_pct: float


@record
class WiderNotScored(TypedDict):
    """There is no score of the variant of the next wider type."""

    kind: Literal["wider not scored"]
    variant: str
    reason: str
    """Why, as what failed says."""


@record
class WidestNotScored(TypedDict):
    """There is no score to hold anything against."""

    kind: Literal["widest not scored"]
    reason: str


Obstacle = NotHeld | WiderNotScored | WidestNotScored


@record
class Skipped(TypedDict):
    """A variant that need not be scored: what is known of others says enough."""

    status: Literal["skipped"]
    stage: str
    obstacles: list[Obstacle]


Reason = str | list[Obstacle]
"""Why there is no score: what failed says, in its own words, or what stands in the way."""


@record
class Resampling(TypedDict):
    """How often a score was drawn anew from its items, which its spread is from."""

    resamples: int
    seed: int


@record
class Conversation(TypedDict):
    """What is asked, and a text whose likelihood in the answer's place is wanted."""

    messages: list[Message]
    continuation: str | None
    tools: NotRequired[list[Json]]
    """Functions the model may call, as OpenAI's interface has them."""
    form: NotRequired[Json]
    """JSON schema that the answer is held to while it is written."""


@record
class Computation(TypedDict):
    """What of the engine's settings changes what a model says: `llmpi.study.computation`."""

    kv_cache: KvType
    flash_attention: Literal["auto", "off"]


@record
class Decoding(TypedDict):
    """How answers are made."""

    computation: Computation
    max_new_tokens: int
    context_tokens: int
    """Which all that runs at once share."""
    thinking_tokens: int | None
    """Bound on a thought before the answer; None where the model is to answer at once."""


class SampleSettings(TypedDict):
    """Which questions of a task a device is to answer, and how they are asked."""

    kind: str
    """Of the task, and"""
    task: str
    """its id."""
    questions: int
    """So many, at most."""
    seed: int
    examples: int | None
    prompt: Literal[1, 2] | None
    """None of a kind that has no such settings."""
    max_new_tokens: int
    context_tokens: int
    thinking_tokens: int | None
    """As of `Decoding`."""


@record
class BatchShape(TypedDict):
    """The constants of a schedule, see `llmpi.quality.batching.schedule.Shape`."""

    context_tokens: int
    prompt_rows: tuple[int, ...]
    answer_rows: tuple[int, ...]
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
    one_at_a_time: str | None
    """Why nothing was computed together with anything else; None where requests were."""


@record
class Batching(Counts):
    """How requests were computed together; the answers hang on it, by rounding."""

    shape: BatchShape


@record
class Thoughts(TypedDict):
    """What came before the answers of a model that may think."""

    thoughts: int
    """Answers before which it thought, and"""
    thoughts_cut: int
    """those of them whose thought did not end: they are none."""
    thought_tokens_mean: float | None
    """Of a thought; None without one."""


@record
class Answer(TypedDict):
    """What a model said to a conversation."""

    text: str
    """Behind the thought."""
    marks: NotRequired[list[str]]
    """In it, of which neither template nor vocabulary tells what they mean: what stands beside them
    may be a thought."""
    thought: str | None
    """None where the model answered at once."""
    prompt_tokens: int
    new_tokens: int
    thought_tokens: int
    """Of these."""
    stopped: bool
    """By itself, not at the bound on its tokens."""
    error: str | None
    """Why there is none: it was not asked, or did not end its thought."""
    log_likelihood: float | None
    """Of the continuation that was asked about, natural; None without one, and where it failed."""


@record
class AnsweredBlock(TypedDict):
    """Conversations answered in one go, kept until the record of the whole is made."""

    answers: list[Answer]
    batching: Batching
    has_chat_template: bool
    chat_template_sha256: str
    sent: SentPrompt
    """The first of them."""
    engine: Engine


# --- which questions are asked --------------------------------------------------------------------


@record
class FileSource(TypedDict):
    file: str
    sha256: str


@record
class HubSource(TypedDict):
    hub: str
    revision: str
    """Commit sha."""
    config: NotRequired[str | None]
    """Of a data set that has several."""
    split: str


@record
class Drawn(TypedDict):
    """Which questions a task asks."""

    status: Literal["ok"]
    source: FileSource | HubSource
    questions: int
    unanswerable: int
    paragraphs: int
    sha256: str
    """Of the questions as JSON."""


# --- parity of a device with the workstation ------------------------------------------------------


@record
class ParitySide(TypedDict):
    """What predicted the text."""

    gguf_sha256: str
    tokens_sha256: str
    settings: EngineSettings
    engine: Engine
    machine: Machine


@record
class Agreement(TypedDict):
    """Of one position."""

    kl_nats: float
    same_top1: bool


@record
class Tolerance(TypedDict):
    kl_nats: float
    """At most."""
    top1_pct: float
    """At least."""


@record
class Parity(TypedDict):
    """Whether a device computes the model that the workstation scored.

    There are no numbers where the device makes other tokens of the text.
    """

    status: Literal["ok"]
    agrees: bool
    reason: str | None
    """Why it does not."""
    top1_pct: float | None
    """Positions with the same most likely token."""
    kl_nats: float | None
    """Mean over positions, and"""
    kl_max_nats: float | None
    """the greatest;"""
    kl_batched_nats: float | None
    """the mean over what was decoded in batches, and"""
    kl_single_nats: float | None
    """token by token."""
    tolerance: Tolerance
    positions: list[Agreement]
    workstation: ParitySide
    device: ParitySide
