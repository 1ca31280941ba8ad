"""What `llmpi compare --json` prints."""

from typing import Literal

from typing_extensions import TypedDict

from llmpi.engine.records import Mark, Prefix, record
from llmpi.summary.records import CellKey

Quantity = Literal["tg_tps", "pp_tps", "tg_j_per_token"]
"""Token generation, prompt processing, energy of a generated token."""
Verdict = Literal["worse", "better", "the same", "undecided", "not judged"]
"""`worse` and `better`: by more than what is put up with, beyond doubt; `the same`: shown to be
within it."""
When = Literal["before", "after"]
WhyNotJudged = Literal["marked", "one repetition"]
UnpairedState = Literal[
    "fails now",
    "worked only now",
    "failed in both",
    "only before",
    "only now",
    "another workload",
    "over HTTP in one only",
]


@record
class Side(TypedDict):
    """One of the two studies."""

    study: str
    folder: str
    """Where its `results/` lies."""
    started: str | None
    """Its first session, UTC, ISO 8601; None where nothing was measured."""
    sessions: int


@record
class Difference(TypedDict):
    """What is not the same where both were measured."""

    device: str
    what: str
    """Such as `engine`, `kernel`, `threads`."""
    before: str
    after: str


@record
class Figure(TypedDict):
    """A quantity of a cell, before and after."""

    quantity: Quantity
    before: float
    after: float
    """Geometric means over the repetitions."""
    repetitions: tuple[int, int]
    change_pct: float
    low_pct: float | None
    high_pct: float | None
    """95 %; None where one repetition shows no spread."""
    p_worse: float | None
    """How likely at least so much is seen where no more is lost than is put up with, adjusted for
    the number of figures (Holm)."""
    verdict: Verdict
    why: WhyNotJudged | None


@record
class Marks(TypedDict):
    """Why not to compare a cell with others."""

    before: list[Mark]
    after: list[Mark]


@record
class CellPart(CellKey):
    """A cell, or one of its parts."""

    conversations: int | None
    """Side by side; None of one."""
    prefix: Prefix | None
    """What was done with it, of a conversation of several turns."""


@record
class PairedCell(CellPart):
    """A cell that both have, with the same workload."""

    same_file: bool
    """Whether both measured the very same GGUF file."""
    says_the_same: bool | None
    """Whether the engine generated the same tokens; None where they were not kept."""
    marks: Marks
    figures: list[Figure]


@record
class Unpaired(CellPart):
    """A cell that cannot be held against the other's."""

    state: UnpairedState
    reason: str | None
    """Why it failed, as it was told there."""


@record
class Overall(TypedDict):
    """All sessions of a device together."""

    device: str
    quantity: Quantity
    sessions: int
    change_pct: float
    low_pct: float
    high_pct: float
    """95 %."""


@record
class QualityChange(TypedDict):
    """What a score lost, on the same items."""

    task: str
    metric: str
    model: str
    quant: str
    computation: str
    items: int
    before_pct: float
    after_pct: float
    loss_points: float
    low_points: float
    high_points: float
    """95 %."""
    margin_points: float | None
    """What the studies put up with; None where they ask for nothing."""
    verdict: Verdict


@record
class Comparison(TypedDict):
    """Two studies, the regressions first."""

    before: Side
    after: Side
    at_most_pct: float
    """What is put up with."""
    between_sessions_pct: dict[Quantity, float]
    """By how much two sessions of the same cell were taken to differ, one standard deviation."""
    differences: list[Difference]
    overall: list[Overall]
    cells: list[PairedCell]
    unpaired: list[Unpaired]
    quality: list[QualityChange]
    regressions: int
    """Figures and scores that are worse, and cells that fail now."""
    judged: int
    """Figures and scores that have a verdict. Of 0, that nothing is worse says nothing."""
