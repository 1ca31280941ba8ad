"""What a canary asks and expects, and what it found."""

from typing import Literal

from typing_extensions import TypedDict

from llmpi.engine.records import record


@record
class Question(TypedDict):
    """A question that the file itself answers well, and is sure of."""

    id: str
    prompt: str
    """As a completion request sends it."""
    golds: list[str]
    """The right answers; none where an abstention is right."""
    answer: str
    """The file's own."""
    margin_nats: float
    """The least distance of log-probability between the likeliest token and the next, over the
    answer's tokens."""


@record
class Prefix(TypedDict):
    """A beginning of a text, and what follows it."""

    prompt: str
    next: str
    """Text of the likeliest token."""
    margin_nats: float
    """By how much it is."""


@record
class SpeedRequest(TypedDict):
    """A request as long as the study's workload."""

    prompt: str
    prompt_tokens: int
    output_tokens: int


@record
class Limits(TypedDict):
    """What the figures of a good service do not fall below."""

    f1_at_least_pct: float
    top1_at_least_pct: float
    tg_at_least_tps: float


@record
class Expected(TypedDict):
    """What a canary is given."""

    max_new_tokens: int
    """Of an answer."""
    language: str
    """Of the questions, which decides how answers are compared."""
    questions: list[Question]
    prefixes: list[Prefix]
    speed: SpeedRequest
    limits: Limits


Figure = Literal["em_pct", "f1_pct", "top1_agreement_pct", "latency_s", "tg_tps", "pp_tps"]


class Rates(TypedDict):
    """The engine's own, in the speed request; None where the service does not count."""

    tg_tps: float | None
    pp_tps: float | None


class Figures(Rates):
    """What a canary measures; all None where it got no answer."""

    em_pct: float | None
    """Over the questions, as is"""
    f1_pct: float | None
    top1_agreement_pct: float | None
    """Over the prefixes."""
    latency_s: float | None
    """Median of a question's request."""


@record
class CanaryResult(Figures):
    """What `llmpi-device canary` prints."""

    status: Literal["passed", "failed"]
    reasons: list[str]
    """What is below its limit, or why there is no answer; for a person."""
