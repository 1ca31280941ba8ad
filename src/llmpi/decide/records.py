"""What `recommendation.json` holds: facts as codes and numbers; `llmpi.report.words` says them."""

from typing import Literal

from typing_extensions import TypedDict

from llmpi.engine.records import Mark, Tier, record
from llmpi.quality.records import Reason
from llmpi.summary.records import ParityMiss, Status
from llmpi.summary.records import Unscored as Why

Aim = Literal["quality", "speed", "energy", "memory"]
Limit = Literal[
    "tps_at_least",
    "ttft_at_most",
    "itl_p95_at_most",
    "answer_s_at_most",
    "answer_s_p95_at_most",
    "f1_drop_at_most",
    "memory_at_most",
    "power_at_most",
    "j_per_token_at_most",
    "j_per_right_answer_at_most",
    "battery_hours_at_least",
]
"""A numeric constraint, by its key in the config."""
Unit = Literal["tokens/s", "s", "points", "bytes", "W", "J", "h"]


@record
class Interval(TypedDict):
    """A number with its 95 % interval; see `llmpi.summary.estimate.Estimate`."""

    value: float
    low: float | None
    high: float | None
    kind: Literal["", "metered", "pmic", "estimated"]
    """Of energy, its tier."""


# --- what its quality is shown to be --------------------------------------------------------------

Shown = Literal["holds", "fails", "undecided"]


@record
class Named(TypedDict):
    """Which requirement it is."""

    task: str
    metric: str
    kind: Literal["loss", "gate"]
    cluster: Literal["passage", "prompt", "item", "window"]
    """What stands or falls together."""


@record
class RequirementVerdict(Named):
    """What is known of one loss. Losses and margins in points, of a perplexity in per cent; of a
    gate the loss is the score with its sign turned, so that it reads the same."""

    loss: float | None
    """Against the widest quantization of its model; None where it could not be compared."""
    low: float | None
    """Above the margin: shown to lose more."""
    high: float | None
    """At most the margin: shown to lose no more. Both bounds are right for all variants at once."""
    margin: float
    items: int
    clusters: int
    verdict: Shown
    why: Literal["too few clusters", "not compared", "descent ended"] | None
    """Why nothing can be said. `descent ended`: it asked no more, as its own metric was told."""


@record
class MoreItems(TypedDict):
    """So many more items of a task would tell, four times in five."""

    task: str
    items: int


@record
class Supply(TypedDict):
    """Where more items of a task would come from."""

    item: Literal["question", "prompt", "item", "window"]
    asked: int
    key: str | None
    """Of the config, which bounds how many are asked; None where all there are were asked."""
    value: int | None
    """What it is set to."""


@record
class Standing(TypedDict):
    """What is known of a variant's quality."""

    verdict: Shown
    reference: bool
    """It is what the others of its model are held against, and loses nothing by definition."""
    requirements: list[RequirementVerdict]
    inside: bool
    """Whether every estimate is inside its margin."""
    probability: float | None
    """That all losses are inside, of one that is undecided; None where that cannot be told."""
    more: list[MoreItems]
    """Of one that is undecided; empty where no reasonable number would tell."""


# --- what rules a candidate out -------------------------------------------------------------------


@record
class DidNotRun(TypedDict):
    """There is no measurement."""

    kind: Literal["failed"]
    status: Status
    reason: str


@record
class Marked(TypedDict):
    """Its measurement is not to be compared with others."""

    kind: Literal["marked"]
    mark: Mark


@record
class OtherModel(TypedDict):
    """The device computes something else than the workstation, which scored it."""

    kind: Literal["parity"]
    reason: str
    misses: list[ParityMiss]


@record
class NotShown(TypedDict):
    """It loses more than is put up with, or is not shown to lose less."""

    kind: Literal["loses", "undecided"]
    requirements: list[RequirementVerdict]
    """Those that it does not hold."""


@record
class TooFew(TypedDict):
    """So few passages were asked that nothing can be said of any variant."""

    kind: Literal["too few"]
    task: str
    clusters: int
    needed: int


@record
class NoQuality(TypedDict):
    """Quality is preferred, and it has none that was measured."""

    kind: Literal["no quality"]


@record
class Unscored(TypedDict):
    """Its quality is not known."""

    kind: Literal["unscored"]
    task: str
    reason: Reason


@record
class NotComputed(TypedDict):
    """What it computes has no score: another's is not its own."""

    kind: Literal["computation"]
    computation: str
    """See `llmpi.study.computation`."""
    unscored: Why


@record
class Babbling(TypedDict):
    """Broken: it finds a text far less likely than the F16 does."""

    kind: Literal["babbling"]
    task: str
    perplexity_ratio: float


@record
class Mute(TypedDict):
    """Broken: it does not answer the questions that have an answer."""

    kind: Literal["mute"]
    answered_pct: float
    """F1 on them."""


@record
class Blurting(TypedDict):
    """Broken: it answers the questions that have no answer."""

    kind: Literal["blurting"]
    abstained_pct: float
    """Of them."""


@record
class BeyondLimit(TypedDict):
    """It does not keep to a numeric constraint."""

    kind: Literal["limit"]
    constraint: Limit
    value: float
    limit: float
    unit: Unit


@record
class NoneRight(TypedDict):
    """None of its answers is right, so that no number can say what a right one takes."""

    kind: Literal["none right"]
    constraint: Literal["j_per_right_answer_at_most"]


@record
class Unmeasured(TypedDict):
    """A number that is asked for was not measured."""

    kind: Literal["unmeasured"]
    constraint: Limit | None
    """None: energy, which is preferred."""


@record
class OnlyEstimated(TypedDict):
    """A number that should be measured is estimated."""

    kind: Literal["estimated"]
    constraint: Limit | None
    """None: energy, which is preferred."""
    value: float
    unit: Unit


Kill = (
    DidNotRun
    | Marked
    | OtherModel
    | NotShown
    | TooFew
    | NoQuality
    | Unscored
    | NotComputed
    | Babbling
    | Mute
    | Blurting
    | BeyondLimit
    | NoneRight
    | Unmeasured
    | OnlyEstimated
)


# --- what to know of one that is not ruled out ----------------------------------------------------


@record
class Caution(TypedDict):
    """Something that its numbers do not say by themselves."""

    kind: Literal[
        "measured once",
        "energy estimated",
        "energy of the chip",
        "quality not asked for",
        "no interval of F1",
    ]


@record
class OutputChanged(TypedDict):
    """Tuned settings change what it says."""

    kind: Literal["output changed"]
    agreement_pct: float
    """Tokens that agree with those of the settings that were scored."""


@record
class FewerQuestions(TypedDict):
    """It was asked fewer questions than the widest of its model."""

    kind: Literal["fewer questions"]
    questions: int
    of_questions: int


@record
class AnswersCut(TypedDict):
    """Answers did not end by themselves but at `max_new_tokens`, and may lack the right words, or
    have too many."""

    kind: Literal["answers cut"]
    cut_pct: float


@record
class ThoughtsCut(TypedDict):
    """The thought before an answer did not end within its bound: there is no answer, which scores
    0."""

    kind: Literal["thoughts cut"]
    cut_pct: float


@record
class UnknownMarks(TypedDict):
    """Answers hold marks that neither the chat template nor the vocabulary explains: what was
    scored may be a thought."""

    kind: Literal["unknown marks"]
    marked_pct: float
    marks: str


@record
class BelowAbstaining(TypedDict):
    """A program that never answers would score more."""

    kind: Literal["below abstaining"]
    f1_pct: float
    abstaining_pct: float


@record
class WideSpread(TypedDict):
    """Its repetitions differ by more than the conditions that were watched explain."""

    kind: Literal["wide spread"]
    ratio: float
    """The fastest to the slowest, of tg."""


@record
class MeasuredShort(TypedDict):
    """It is so slow that less was measured than was asked for."""

    kind: Literal["measured short"]
    repetitions: int
    tokens: int
    """That each generated."""


AnyCaution = (
    WideSpread
    | MeasuredShort
    | Caution
    | OutputChanged
    | FewerQuestions
    | AnswersCut
    | ThoughtsCut
    | UnknownMarks
    | BelowAbstaining
)


# --- the candidates and the decisions -------------------------------------------------------------


@record
class Check(TypedDict):
    """A candidate's number against a constraint."""

    value: float | None
    worst: float | None
    """The end of its interval that is nearest to breaking the constraint; of the speed the slowest
    repetition. None where no spread is known."""
    limit: float
    unit: Unit
    shown: bool | None
    """Whether the whole interval keeps to it; None where no spread is known."""


@record
class Candidate(TypedDict):
    """A cell of the workload that is decided on."""

    id: str
    """`device/model/quant/runtime`."""
    variant: str
    """Model, quantization and, of several, runtime."""
    device: str
    model: str
    quant: str
    runtime: str
    computation: str
    """Of its runtime, which has a score of its own; see `llmpi.study.computation`."""
    quality: Interval | None
    """Of the task, %; see `llmpi.decide.best`."""
    f1: Interval | None
    """Over all questions, %; it decides nothing."""
    speed: Interval | None
    """Token generation, tokens/s."""
    energy: Interval | None
    """J per generated token."""
    memory: Interval | None
    """That it needs, bytes."""
    standing: Standing | None
    """What its quality is shown to be; None where nothing was asked of it."""
    checks: dict[Limit, Check]
    """Of what is asked for."""
    killed_by: list[Kill]
    """All that rules it out; empty for who is in."""
    cautions: list[AnyCaution]


@record
class MovedLimit(TypedDict):
    """The smallest change of one constraint that brings another pick.

    `relax`: with `to` as the limit. `tighten`: the pick holds at `to`, and beyond it no more.
    """

    change: Literal["relax", "tighten"]
    constraint: Limit
    limit: float
    """As it is asked for."""
    to: float
    unit: Unit
    pick: str | None
    """Who would be picked then; None: nobody."""


@record
class WithoutFault(TypedDict):
    """Were it not for a fault, another would be picked."""

    change: Literal["without"]
    fault: Kill
    pick: str


Change = MovedLimit | WithoutFault


@record
class Step(TypedDict):
    """Whom an objective left."""

    objective: Aim
    left: list[str]
    """The best first; empty where the candidates could not be compared in it."""


@record
class Smaller(TypedDict):
    """What might be taken if it were shown to hold, and what showing it would take."""

    id: str
    """The smallest candidate that keeps to everything else and whose estimates are all inside."""
    probability: float | None
    """That it holds."""
    more: list[MoreItems]


ProvisionalBy = Literal["quality", "disturbed"]


@record
class Decision(TypedDict):
    """What to take on a device, or overall; candidates by their ids."""

    where: str
    """A device, or `overall`."""
    candidates: int
    """How many were looked at."""
    pick: str | None
    """None if nobody keeps to everything."""
    standing: Literal["shown", "provisional", "none"]
    provisional_by: list[ProvisionalBy]
    """Why it is `provisional`. `quality`: one that is still undecided would be picked if it held,
    or nothing that fits is shown to hold and the pick is the widest that does. `disturbed`: there
    is nothing to pick but what other programs disturbed while it was measured."""
    smaller: Smaller | None
    """Beside a provisional pick."""
    runner_up: str | None
    """The pick without the pick."""
    able: list[str]
    """Who keeps to everything."""
    front: list[str]
    """Of them, who is dominated by no other."""
    near_best: list[str]
    """Of them, who is shown to be within the margin of the best quality of them."""
    may_be_best: list[str]
    """Of them, whose quality may be the best, for all that is known."""
    groups: dict[Aim, list[list[str]]]
    """By objective, the best group first, each of what cannot be told apart from its first."""
    steps: list[Step]
    """Of the pick."""
    by_preference: dict[Aim, str | None]
    """The pick if another objective is preferred."""
    would_change: list[Change]
    """Single changes that would lead to another pick: faults first, then what is relaxed, then what
    is tightened, each by how little it takes."""
    nearest: str | None
    """Where nothing keeps to everything and no single change would help: who has the fewest reasons
    against it."""
    killed: dict[str, int]
    """How many candidates each constraint, and each fault, rules out."""


@record
class Draws(TypedDict):
    """Out of which draws it is said."""

    draws: int
    seeds: dict[str, str]
    """Of each task, SHA-256 of the names of its clusters, a line each: its eight 32-bit words are
    the seed."""


@record
class Choice(TypedDict):
    """What to take, per device and overall."""

    study: str
    workload: str
    task: str | None
    """Whose scores are the quality; None where there are none."""
    prefer: Aim
    confidence_pct: float
    """Of all that is said of quality at once."""
    resampling: Draws
    constraints: dict[Limit, float]
    """Those that are asked for, in the units of `llmpi.study.decision.Constraints`."""
    supply: dict[str, Supply]
    """Of more items, by task."""
    candidates: list[Candidate]
    decisions: list[Decision]
    """First `overall`, then one a device."""


# --- the money ------------------------------------------------------------------------------------


@record
class NoMoney(TypedDict):
    """Why the money of a device cannot be told."""

    kind: Literal["nothing recommended", "no power", "no power at rest"]
    energy_reason: str | None
    """Why its power is not known."""


@record
class SameDevice(TypedDict):
    """An alternative that is the device itself."""

    kind: Literal["same device"]


NotCompared = NoMoney | SameDevice
Cheaper = Literal["above", "below", "always", "never"]
"""On which side of the break-even."""
CostPart = Literal["hardware", "engineering", "maintenance", "electricity"]


CostUnit = Literal[
    "boards",
    "years",
    "days",
    "days/year",
    "h/day",
    "% of the time",
    "tokens",
    "tokens/s",
    "W",
    "money/board",
    "money/day",
    "money/h",
    "money/kWh",
    "money/million tokens",
    "g CO2/kWh",
    "g CO2/million tokens",
]
"""`money` is the study's currency."""


DefaultSource = Literal["your figure", "not counted", "rented all day", "one board"]
"""Of a bare number, and of what the study leaves out; see `llmpi.study.decision`."""


@record
class Stated(TypedDict):
    """The study says it."""

    kind: Literal["stated"]
    source: str
    """As it is written there."""


@record
class Unstated(TypedDict):
    """The study does not say it, or it follows from its workload."""

    kind: Literal[DefaultSource, "the workload"]


@record
class Measured(TypedDict):
    """The study measured it."""

    kind: Literal["measured"]
    tier: Tier | None
    """Of a power."""


Source = Stated | Unstated | Measured


@record
class Assumption(TypedDict):
    """A number that the result rests on, and where it is from."""

    value: float
    unit: CostUnit
    source: Source


@record
class AlternativeCost(TypedDict):
    """An alternative that does the same work; prices in the study's currency."""

    total: float
    """Over the life span."""
    per_million_tokens: float
    co2_g_per_million_tokens: float | None
    """None if not stated."""
    saves: float
    """What the own boards save over the life span against it; negative: cost more."""
    break_even_months: float | None
    """After which the own boards have cost less at this duty; 0: at once; None: never."""
    break_even_tokens_per_day: float | None
    """Of all boards over the life span; None: there is none."""
    cheaper: Cheaper
    """Where the own boards are cheaper, as far as they can generate."""
    reachable: bool
    """Whether the boards can generate that many a day."""


@record
class Moved(TypedDict):
    """What a figure moves when it alone goes down and up."""

    assumption: str
    low: float
    high: float
    at_low: float
    """Cost per million tokens then."""
    at_high: float
    swing: float
    """Between them, never negative."""
    cheapest_at_low: str
    cheapest_at_high: str


@record
class Costs(TypedDict):
    """What a device's pick costs out of its figures, and against each alternative."""

    boards: float
    lifespan_years: float
    tokens_per_day: float
    """Of all boards, at the duty."""
    capacity_tokens_per_day: float
    total: float
    """Over the life span."""
    per_million_tokens: float
    co2_g_per_million_tokens: float | None
    """None without a grid intensity."""
    parts: dict[CostPart, float]
    """Of the total."""
    parts_per_million_tokens: dict[CostPart, float]
    alternatives: dict[str, AlternativeCost]
    """By id."""
    cheapest: str
    """`this device`, or an alternative's id."""


@record
class DeviceMoney(Costs):
    """The money of a device."""

    status: Literal["ok"]
    device: str
    variant: str
    """Model and quantization of its pick."""
    overall: bool
    """Whether it is the overall pick's device."""
    energy_tier: Tier
    duty_pct: float
    vary_pct: float
    """By so much every figure was moved."""
    assumptions: dict[str, Assumption]
    """By a name such as `hardware.board`."""
    not_compared: dict[str, NotCompared]
    """By the alternative's id."""
    sensitivity: list[Moved]
    """The one with the largest swing first, then those that only move who is cheapest."""


@record
class DeviceWithoutMoney(TypedDict):
    """A device whose money cannot be told."""

    status: Literal["unknown"]
    device: str
    reason: NoMoney


@record
class HatSide(TypedDict):
    """A variant on one of the two devices."""

    tg_tps: float | None
    cold_load_s: float | None
    tg_j_per_token: float | None
    marks: list[Mark]
    reason: str | None
    """Why it failed."""


@record
class HatRow(TypedDict):
    """A variant and runtime that both devices are to run."""

    model: str
    quant: str
    runtime: str
    with_hat: HatSide
    without_hat: HatSide
    tg_ratio: float | None
    """With to without."""
    cold_load_ratio: float | None


@record
class HatGain(TypedDict):
    """What the M.2 HAT buys, as measured."""

    with_hat: str
    """The device."""
    without_hat: str
    extra_hardware: float | None
    """What it costs more; None where a device has no hardware stated."""
    rows: list[HatRow]
    compared: int
    """Rows with both ratios and without a mark on either side."""
    median_tg_ratio: float | None
    """Of these."""
    median_cold_load_ratio: float | None
    only_with: int
    """How many variants work (no failure, no overflow) with it alone."""


@record
class Money(TypedDict):
    """The money of every device whose hardware is stated."""

    currency: str
    per_million_tokens: dict[str, float]
    """What a million tokens cost at the duty, by candidate: of every pick, and of every smaller one
    beside it. Who is missing has no known power, or no stated hardware."""
    devices: list[DeviceMoney | DeviceWithoutMoney]
    hat: HatGain | None
    """None if the config asks for no comparison."""


@record
class Recommendation(Choice):
    """The decision and the money."""

    money: Money | None
    """None where the study states no prices."""
