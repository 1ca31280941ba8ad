"""What a search for faster settings writes."""

from typing import Literal

from typing_extensions import TypedDict

from llmpi.engine.records import (
    Conditions,
    Cooled,
    Engine,
    Failed,
    Machine,
    Mark,
    PromptLookup,
    Runtime,
    Where,
    record,
)

Level = bool | int | str | PromptLookup | None
"""A value of a runtime's key."""
Changes = dict[str, tuple[Level, Level]]
"""What differs from the base: key -> (its value, this one's)."""


@record
class Agreement(TypedDict):
    """How far what is predicted changes with a setting."""

    top1_pct: float
    """Share of the positions with the same likeliest token."""
    kl_nats: float
    """The mean of `llmpi.quality.parity.lumped_kl`."""
    identical: bool
    """Whether the logits are the same to the last bit."""
    positions: int


@record
class Ratio(TypedDict):
    """A gain: the base's seconds, or joules, / this one's, with its interval."""

    ratio: float
    low: float
    high: float


Metric = Literal["total", "pp", "tg", "ttft", "energy"]
"""Seconds, and of `energy` joules."""


@record
class MetricGain(Ratio):
    """Of one metric of one workload; the interval is of 95 %."""

    workload: str
    metric: Metric


@record
class EngineDied(TypedDict):
    kind: Literal["died"]
    reason: str


@record
class OutputChanges(TypedDict):
    """Too few tokens agree with what the base predicts."""

    kind: Literal["output"]
    top1_pct: float
    at_least_pct: float


@record
class TooMuchMemory(TypedDict):
    kind: Literal["memory"]
    peak_rss_bytes: int
    at_most_bytes: int


Refusal = EngineDied | OutputChanges | TooMuchMemory
"""Why a setting may not win."""


@record
class Stopped(TypedDict):
    """Why a search ended."""

    kind: Literal["all tried", "nothing to gain", "minutes", "trials"]
    """Every combination was tried; no setting is likely to gain more than the noise; a budget."""
    budget: float | None
    """So many minutes, or settings."""


@record
class Finalist(TypedDict):
    """A setting that was measured against the base once more."""

    words: str
    gain: Ratio | None
    """None where it dropped out."""
    refused: Refusal | None
    changes_output: bool
    won: bool


@record
class Peaks(TypedDict):
    """Peak RSS; None where the kernel does not tell."""

    base: int | None
    tuned: int | None


@record
class Confirmed(TypedDict):
    """What was chosen."""

    tuned: bool
    """Whether the base was beaten beyond doubt; if not, it stays."""
    runtime: Runtime
    """The one to be used."""
    changes: Changes
    words: str
    """The changes, for a person."""
    changes_output: bool
    agreement: Agreement | None
    peak_rss_bytes: Peaks
    gain: Ratio | None
    metrics: list[MetricGain]
    confidence_pct: float
    """Of the intervals of `gain`."""
    confirm_blocks: int
    finalists: list[Finalist]


@record
class Trial(TypedDict):
    """A setting that was tried in the search."""

    changes: Changes
    words: str
    gain_pct: float | None
    """None where its engine died."""
    blocks: int
    """In which it had a turn."""
    refused: Refusal | None
    agreement: Agreement | None
    peak_rss_bytes: int | None


@record
class BlockTurn(TypedDict):
    """A setting in a block."""

    changes: str
    """For a person."""
    costs: dict[str, dict[Metric, float]] | None
    """By workload, medians over the repetitions: seconds, and where a search is for it `energy` in
    joules; None where its engine died."""
    peak_rss_bytes: int | None
    reason: str | None
    """Why it died."""
    cooled: Cooled | None


@record
class Weighed(TypedDict):
    """A setting of a search for joules, against the base."""

    words: str
    speed_pct: float
    """How much faster prompt and generation together are done, a mean of ratios over its blocks."""
    energy_pct: float
    """How many more joules they take, alike."""
    blocks: int
    """In which both had a turn."""
    on_front: bool
    """Whether no other is at least as fast and takes no more."""


Phase = Literal["noise", "search", "confirmation"]


@record
class Block(TypedDict):
    """Settings in turns, shortly after one another."""

    phase: Phase
    turns: list[BlockTurn]
    before: Conditions
    after: Conditions
    took_s: float


@record
class Searched(Confirmed):
    """A search that came to its end."""

    status: Literal["ok"]
    stopped: Stopped
    remaining_pct: float | None
    """What the settings that were not tried may still gain; None where a budget ended it early."""
    noise_pct: float
    """The least gain that the confirmation could be expected to show."""
    searched: dict[str, list[Level]]
    """The levels of each key, the base's first."""
    trials: list[Trial]
    took_s: float
    """Of measuring."""
    blocks: list[Block]


@record
class Tuned(Searched, Where):
    """The same of one variant on one device: `results/tune/`."""

    base: Runtime
    """Where the search started."""
    gguf_sha256: str
    started: str
    """UTC, ISO 8601."""
    ended: str


TunedRecord = Tuned | Failed
"""A file of `results/tune/`."""


# --- engines against one another ------------------------------------------------------------------

EngineMetric = Literal["pp", "tg"]
EngineVerdict = Literal["slower", "faster", "not told apart"]


@record
class EngineFigure(TypedDict):
    """A speed of an engine against the first one's."""

    workload: str
    metric: EngineMetric
    change_pct: float
    """Of tokens per second."""
    low_pct: float
    high_pct: float
    """The intervals of all figures of a comparison hold together, with `confidence_pct`."""
    verdict: EngineVerdict
    """`slower`, `faster`: beyond doubt, as the whole interval says so."""


@record
class EngineParity(TypedDict):
    """How far an engine predicts what the first one predicts; None where it died."""

    agreement: Agreement | None
    same_model: bool | None
    """Whether they agree as well as two machines that compute the same model (docs/methodology.md,
    parity)."""


@record
class HeldEngine(EngineParity):
    """An engine that was held against the first."""

    engine: str
    reason: str | None
    """Why it was not: it died; None where it was."""
    figures: list[EngineFigure]


@record
class EngineTurn(TypedDict):
    """An engine in a block."""

    engine: str
    costs: dict[str, dict[Metric, float]] | None
    """By workload, medians over the repetitions, seconds; None where it died."""
    peak_rss_bytes: int | None
    reason: str | None
    """Why it died."""
    cooled: Cooled | None


@record
class EngineBlock(TypedDict):
    """The engines in turns, shortly after one another, in an order of its own."""

    turns: list[EngineTurn]
    before: Conditions
    after: Conditions
    took_s: float


@record
class HeldEngines(TypedDict):
    """Engines, each held against the first."""

    first: str
    held: list[HeldEngine]
    confidence_pct: float
    marks: list[Mark]
    """What any turn suffered from: `throttled`, `disturbed`. In mixed order all engines suffer
    alike, and the intervals become wider."""
    blocks: list[EngineBlock]


@record
class ComparedEngines(HeldEngines):
    """The same of one variant on one device: `results/by_engine/`."""

    status: Literal["ok"]
    engines: dict[str, Engine]
    """By name, those that were compared; none is what the decision rests on."""
    runtime: Runtime
    machine: Machine
    gguf_sha256: str
    started: str
    """UTC, ISO 8601."""
    ended: str


ComparedEnginesRecord = ComparedEngines | Failed
"""A file of `results/by_engine/`."""
