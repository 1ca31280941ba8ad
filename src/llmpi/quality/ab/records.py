"""The files of an `ab` task."""

from typing import Literal, NotRequired

from typing_extensions import TypedDict

from llmpi.engine.records import AskedEndpoint, Engine, SentPrompt, record
from llmpi.quality.records import Answer, Batching, Decoding

Verdict = Literal["a better", "b better", "not distinguishable"]


# --- a variant's answers --------------------------------------------------------------------------


@record
class AbSummary(TypedDict):
    items: int
    judged: int
    """Of which something is expected."""
    passed_pct: float | None
    """Of the judged."""


@record
class Outcome(TypedDict):
    """What became of a prompt of which something is expected."""

    id: str
    tags: list[str]
    passed: bool


@record
class AbSettings(Decoding):
    grammar: bool
    """Whether answers were held to their form while they were written."""


@record
class AbAnswered(TypedDict):
    status: Literal["ok"]
    summary: AbSummary
    outcomes: list[Outcome]
    answers: list[Answer]
    """In the order of the prompts."""
    prompts_sha256: str
    settings: AbSettings
    gguf_sha256: str
    chat_template_sha256: str
    sent: SentPrompt
    """The first prompt, as the engine got it."""
    engine: Engine
    batching: Batching
    threads: int
    started: str
    ended: str


# --- over HTTP ------------------------------------------------------------------------------------


@record
class AbAskingSettings(TypedDict):
    """How an endpoint is asked; what is not here, such as its context, is its own."""

    max_new_tokens: int
    thinking_tokens: int | None


@record
class AbAskedSummary(AbSummary):
    errors: int
    """Prompts without an answer; they meet nothing."""
    cut: int
    """Answers that were cut at `max_new_tokens`; they are held against what is expected as they
    are."""


@record
class AbAsked(TypedDict):
    """What an endpoint answered, in its own chat template, with its own engine."""

    status: Literal["ok"]
    summary: AbAskedSummary
    outcomes: list[Outcome]
    answers: list[Answer]
    """In the order of the prompts. Their tokens are what the endpoint claims; a prompt that it does
    not count has 0, and of an answer that it does not count they are its pieces."""
    prompts_sha256: str
    settings: AbAskingSettings
    endpoint: AskedEndpoint


# --- two variants compared by rule ----------------------------------------------------------------


@record
class MetExpectation(TypedDict):
    expectation: str
    """Its key in the file of prompts."""
    met: bool
    reason: str


@record
class JudgedAnswer(TypedDict):
    id: str
    passed: bool | None
    """None where nothing is expected."""
    checks: list[MetExpectation]
    f1: float | None
    """0 to 1, against the nearest reference."""
    text: str
    cut_off: bool
    error: str | None


@record
class ComparedPrompt(TypedDict):
    id: str
    tags: list[str]
    a: JudgedAnswer
    b: JudgedAnswer


@record
class Difference(TypedDict):
    """Means over prompts, and their paired difference B minus A in points."""

    prompts: int
    a_pct: float
    b_pct: float
    difference_pct: float
    low_pct: float | None
    high_pct: float | None
    """None below two prompts."""


@record
class ComparedPrompts(Difference):
    """Of the share of prompts whose answer meets every expectation."""

    only_a: int
    only_b: int
    p: float
    p_adjusted: float | None
    verdict: Verdict
    f1: Difference | None
    """None without references."""


@record
class Compared(TypedDict):
    """Two variants on the same prompts."""

    interval: str
    """How the intervals were made."""
    test: str
    all: ComparedPrompts | None
    """None if nothing is expected of any prompt."""
    tags: dict[str, ComparedPrompts]
    """Only those with expectations."""
    prompts: list[ComparedPrompt]


# --- and by people --------------------------------------------------------------------------------


@record
class KeyOfPrompt(TypedDict):
    left: Literal["a", "b"] | None
    """Whose answer stands there; None where both are the same and the prompt is not shown."""
    tags: list[str]


@record
class Key(TypedDict):
    """What un-blinds a sheet."""

    sheet: str
    """SHA-256 of what the sheet shows."""
    a: str
    b: str
    prompts: dict[str, KeyOfPrompt]


@record
class Judgement(TypedDict):
    id: str
    verdict: Literal["left", "right", "tie", "both_bad"]


@record
class SavedSheet(TypedDict):
    """What a blind sheet saves for the person who judges."""

    sheet: str
    judge: str | None
    judgements: list[Judgement]


@record
class Counted(TypedDict):
    """Judged prompts; those with identical answers are ties."""

    prompts: int
    unjudged: int
    identical: int
    a_better: int
    b_better: int
    tie: int
    both_bad: int
    p: float
    """Sign test of a_better against b_better."""
    p_adjusted: float | None
    verdict: Verdict


UnblindedVerdict = Literal["a_better", "b_better", "tie", "both_bad"]


@record
class Unblinded(TypedDict):
    id: str
    verdict: UnblindedVerdict


@record
class Judged(TypedDict):
    """A judge's file, un-blinded."""

    sheet: str
    judge: str | None
    a: str
    b: str
    test: str
    all: Counted
    tags: dict[str, Counted]
    judgements: list[Unblinded]


@record
class ComparedPair(Compared):
    """Two variants on the same prompts, and what people found."""

    status: Literal["ok"]
    a: str
    b: str
    judged: list[Judged]
    unread: NotRequired[list[str]]
    """Names of files of judgements that are none."""
