"""The files of a `squad` task."""

from typing import Literal, NotRequired

from typing_extensions import TypedDict

from llmpi.engine.records import AskedEndpoint, Engine, SentPrompt, record
from llmpi.quality.records import AnsweredBlock, Batching, Decoding, Drawn, Thoughts

MetricName = Literal["exact", "f1", "has_ans_exact", "has_ans_f1", "no_ans_exact", "no_ans_f1"]
PromptNumber = Literal[1, 2]
Abstention = Literal["always abstain", "never abstain"]
DescentMetric = Literal["exact", "f1", "has_ans_exact", "has_ans_f1"]


# --- what is asked --------------------------------------------------------------------------------


@record
class Gold(TypedDict):
    text: str


@record
class AskedQuestion(TypedDict):
    id: str
    question: str
    is_impossible: bool
    answers: list[Gold]


@record
class AskedParagraph(TypedDict):
    context: str
    qas: list[AskedQuestion]


@record
class Article(TypedDict):
    title: str
    paragraphs: list[AskedParagraph]


@record
class SquadDocument(TypedDict):
    """SQuAD v2's format, without the places of the answers in the passages."""

    version: str
    data: list[Article]


@record
class Questions(Drawn):
    """Which they are, and the questions themselves."""

    squad: SquadDocument


# --- how it is answered ---------------------------------------------------------------------------


@record
class DescentSettings(TypedDict):
    task: str
    metric: DescentMetric
    margin_pct: float
    alpha: float


@record
class Settings(Decoding):
    """How a task's questions are answered; `llmpi.study.tasks.squad` says what each is."""

    examples: int
    prompt: PromptNumber
    language: str
    block_questions: int | None
    descent: NotRequired[DescentSettings]


class ShardSettings(Settings):
    """The same for one of the jobs that share a task."""

    shard: tuple[int, int]
    """Which one it is, from 0, of how many."""


@record
class Shard(TypedDict):
    """The answers of one of the jobs that share a task."""

    status: Literal["ok"]
    answered: list[AnsweredBlock]


# --- how it is scored -----------------------------------------------------------------------------


@record
class Item(TypedDict):
    """A question, its answer, and how it scores."""

    id: str
    paragraph: int
    golds: list[str]
    """Empty if the passage does not answer it."""
    answer: str
    marks: NotRequired[list[str]]
    """In it, of which nothing is known: what stands beside them may be a thought."""
    thought: str | None
    """What came before the answer, None where nothing did."""
    prediction: str
    """What is scored; empty where the model abstains."""
    normalized: str
    exact: int
    f1: float
    """0 to 1."""
    prompt_tokens: int
    new_tokens: int
    thought_tokens: int
    """Of these."""
    stopped: bool
    no_answer: float | None
    """Log-likelihood of abstaining; None where it could not be asked, or would come behind a
    thought."""
    error: str | None
    """Why there is no answer: it was not asked, or its thought did not end."""


@record
class Score(TypedDict):
    pct: float
    low_pct: float | None
    high_pct: float | None
    """95 %, Wilson's by paragraphs (`llmpi.quality.estimates`); None below two."""
    items: int


@record
class Thresholds(TypedDict):
    """Scores at the best threshold of abstention, see `metric.best_thresholds`."""

    best_exact: float
    best_exact_thresh: float | Abstention
    best_f1: float
    best_f1_thresh: float | Abstention


@record
class SquadSummary(Thoughts):
    items: int
    errors: int
    """Items without an answer, see `error` of an item; they score 0."""
    marked: int
    """Answers with marks of which nothing is known: what was scored may be a thought."""
    marks: list[str]
    """These."""
    abstentions: int
    cut: int
    """Answers that ended at `max_new_tokens`, not by themselves."""
    metrics: dict[MetricName, Score]
    """Those that have items."""
    thresholds: Thresholds | None
    """None if nothing could be asked."""


@record
class Verdict(DescentSettings):
    """Whether a width holds against the widest, on what was asked so far."""

    decision: Literal["holds", "fails", "undecided"]
    loss_pct: float | None
    low_pct: float
    high_pct: float
    paragraphs: int
    questions: int
    of_questions: int
    paragraphs_needed: int
    """By a variant that is identical on all of them."""


@record
class SquadScored(TypedDict):
    """A variant's score. Nothing of the run that made it (time, host, threads) is in it."""

    status: Literal["ok"]
    summary: SquadSummary
    descent: Verdict | None
    settings: Settings
    questions_sha256: str
    prompt_sha256: str
    """Of instructions, worked turns and chat template."""
    has_chat_template: bool
    sent: SentPrompt
    """The first question, as the engine got it."""
    gguf_sha256: str
    engine: Engine
    batching: list[Batching]
    items: list[Item]


# --- over HTTP ------------------------------------------------------------------------------------


@record
class AskingSettings(TypedDict):
    """How an endpoint is asked; what is not here, such as its context, is its own."""

    max_new_tokens: int
    examples: int
    prompt: PromptNumber
    language: str
    thinking_tokens: int | None


@record
class SquadAsked(TypedDict):
    """The score of what an endpoint answered, in its own chat template, with its own engine."""

    status: Literal["ok"]
    summary: SquadSummary
    settings: AskingSettings
    questions_sha256: str
    endpoint: AskedEndpoint
    items: list[Item]
