"""What `summary.json` holds: the study's cells as rows, and all that follows from them.

A row is flat but for its lists and its quality; `llmpi.summary.columns` makes its columns of it.
"""

from typing import Annotated, Generic, Literal, NamedTuple, NotRequired, TypeVar

from typing_extensions import TypedDict

from llmpi.engine.records import (
    ConcurrentWorkload,
    Engine,
    Failed,
    Machine,
    Mark,
    PromptLookup,
    Tier,
    record,
)


class Unit(NamedTuple):
    """The unit of a number in the row, beside its type."""

    name: str


TokensPerS = Annotated[float, Unit("tokens/s")]
Seconds = Annotated[float, Unit("s")]
Bytes = Annotated[int, Unit("bytes")]
BytesPerS = Annotated[float, Unit("bytes/s")]
Tokens = Annotated[int, Unit("tokens")]
Watts = Annotated[float, Unit("W")]
Joules = Annotated[float, Unit("J")]
TokensPerJoule = Annotated[float, Unit("tokens/J")]
Celsius = Annotated[float, Unit("°C")]
Bits = Annotated[float, Unit("bits")]
Words = Annotated[float, Unit("words")]
Percent = Annotated[float, Unit("%")]
Points = Annotated[float, Unit("points")]
Nats = Annotated[float, Unit("nats")]
Share = Annotated[float, Unit("1")]

Status = Literal["ok", "failed", "skipped", "not run"]
Verdict = Literal["better", "worse", "not distinguishable"]


@record
class NotRun(TypedDict):
    """Stands for a record that is not there."""

    status: Literal["not run"]
    stage: None
    reason: str


# --- a row ----------------------------------------------------------------------------------------


@record
class VariantKey(TypedDict):
    """A model at a quantization."""

    model: str
    """Id of the model"""
    quant: str
    """Quantization, as llama.cpp spells it, and how it was made"""


@record
class SessionKey(TypedDict):
    """What is measured in one go."""

    device: str
    """Id of the device"""
    model: str
    """Id of the model"""
    quant: str
    """Quantization, as llama.cpp spells it, and how it was made"""
    runtime: str
    """Id of the engine's settings"""


@record
class CellKey(SessionKey):
    """One workload of a session."""

    workload: str
    """Id of the workload"""


@record
class OfStudy(TypedDict):
    """First of all columns."""

    study: str
    """Id of the study"""


@record
class State(TypedDict):
    """Whether a cell was measured."""

    group: str | None
    """Group of equal boards that the device is one of"""
    status: Status
    """`ok`, `failed`, `skipped` or `not run`, of the measurement"""
    stage: str | None
    """Stage at which it failed"""
    reason: str | None
    """Why it failed or was not run"""


@record
class Cell(OfStudy, CellKey, State):
    """Where a row stands in the sweep, and its state."""


@record
class DepthSpeed(TypedDict):
    """Token generation behind a longer context."""

    depth_tokens: int
    tps: float


@record
class Speed(TypedDict):
    """Speed and memory; None, and lists empty, where the cell is not ok."""

    pp_tps: TokensPerS | None
    """Prompt processing: median over the repetitions"""
    pp_min_tps: TokensPerS | None
    """The least of them"""
    pp_max_tps: TokensPerS | None
    """The greatest of them"""
    tg_tps: TokensPerS | None
    """Token generation behind the prompt: median"""
    tg_min_tps: TokensPerS | None
    """The least"""
    tg_max_tps: TokensPerS | None
    """The greatest"""
    repetitions: int | None
    """Repetitions counted, without the warm-up"""
    ttft_s: Seconds | None
    """Time to first token, loading not in it: median"""
    itl_p50_s: Seconds | None
    """Inter-token latency: median over all tokens of all repetitions"""
    itl_p95_s: Seconds | None
    """Its 95th percentile"""
    itl_max_s: Seconds | None
    """The longest"""
    cold_load_s: Seconds | None
    """Loading the file from storage, and one token"""
    warm_load_s: Seconds | None
    """The same at once again, from the page cache"""
    peak_rss_bytes: Bytes | None
    """Peak resident memory of the measuring process"""
    major_faults: int | None
    """Page faults that went to storage, after loading"""
    threads: int | None
    """Threads of the engine"""
    context_tokens: Tokens | None
    """Context that the engine reserved"""
    tg_at_depths_tps: list[DepthSpeed]
    """Token generation behind longer contexts"""
    sustained_first_last_tps: list[float]
    """Token generation, tokens/s, of the first and the last stretch of the sustained phase"""
    hottest_c: Celsius | None
    """Highest temperature seen during the session"""
    marks: list[Mark]
    """`throttled`, `memory-bound: overflow`: not to be compared with others"""


@record
class Roofline(TypedDict):
    """The machine's bandwidths, and what tg makes of them."""

    memory_read_bytes_per_s: BytesPerS | None
    """Memory bandwidth, plain reads by all threads"""
    storage_read_bytes_per_s: BytesPerS | None
    """Sequential reads of the model's file"""
    tg_memory_share: Share | None
    """Weights read per token times tg, as a share of the memory bandwidth"""


@record
class CellEnergy(TypedDict):
    """Joules where a meter gave them; else why not."""

    energy_tier: Tier | None
    """How the energy was obtained: `metered`, `pmic` or `estimated`"""
    energy_reason: str | None
    """Why there is none"""
    idle_power_w: Watts | None
    """Mean power at rest before the session"""
    pp_power_w: Watts | None
    """Mean power during prompt processing"""
    tg_power_w: Watts | None
    """Mean power during token generation"""
    pp_j_per_token: Joules | None
    """Energy of a prompt token: mean over the repetitions"""
    tg_j_per_token: Joules | None
    """Energy of a generated token: mean over the repetitions"""
    tg_uncertainty_j_per_token: Joules | None
    """Its uncertainty, one standard deviation"""
    tpj_board: TokensPerJoule | None
    """tg / power of the whole board"""
    tpj_above_idle: TokensPerJoule | None
    """tg / (power - idle power), the LLMPi paper's"""
    words_per_battery: Words | None
    """Words that a full battery generates"""


@record
class File(TypedDict):
    """The GGUF file; None, and lineage empty, where it could not be made."""

    file_bytes: Bytes | None
    """Size of the GGUF file"""
    parameters: int | None
    """Weights of all tensors"""
    bits_per_weight: Bits | None
    """8 x bytes of all tensors / their weights"""
    tensors: int | None
    """Tensors of the file"""
    fallback_tensors: int | None
    """Tensors that got another type than they were meant for"""
    lineage: list[str]
    """What the file was made from, as types"""


@record
class TaskRow(TypedDict, extra_items=object):  # type: ignore[call-arg]
    """A variant's quality on a task: its state, and the numbers that its kind adds.

    The kind's own type has all of them (`llmpi.quality.kind`).
    """

    task: str
    """The kind, such as `squad`"""
    status: Status
    """`ok`, `failed`, `skipped` or `not run`, of the task"""
    reason: str | None
    """Why it has no score"""


@record
class FailedGate(TypedDict):
    """A gate that a variant does not pass."""

    task: str
    metric: str
    at_least_pct: float
    got_pct: float | None
    """None where there is no score"""
    why: Literal["below", "no items", "not scored"]


@record
class OnDevice(TypedDict):
    """Whether the workstation's scores hold on the device, and whether they are enough."""

    parity_top1_pct: Percent | None
    """Positions where device and workstation predict the same token"""
    parity_kl_nats: Nats | None
    """KL divergence of the device from the workstation, mean"""
    parity_reason: str | None
    """Why the workstation's scores are not transferred to the device"""
    gates_failed: list[FailedGate]
    """Gates that the variant fails"""


@record
class Against(TypedDict):
    """F1 of a variant against that of its model's widest quantization on the same questions."""

    f1_difference_pct: Points | None
    """F1, minus that of the model's widest quantization on the same questions"""
    f1_difference_low_pct: Points | None
    """Lower end of its 95 % interval"""
    f1_difference_high_pct: Points | None
    """Upper end"""
    f1_p_adjusted: Share | None
    """p of no difference, adjusted by Holm's method"""
    f1_minimum_detectable_pct: Points | None
    """Difference that so many questions show four times in five"""
    f1_verdict: Verdict | None
    """`better`, `worse` or `not distinguishable`"""


@record
class TunedOutput(TypedDict):
    """Last of all columns."""

    output_agreement_pct: Percent | None
    """Tokens of a fixed text that settings found by tuning predict as before, else empty"""


@record
class Row(Cell, Speed, Roofline, CellEnergy, File, OnDevice, TunedOutput):
    """A cell of the sweep: a workload of a variant with a runtime on a device."""

    quality: dict[str, TaskRow]
    """By the task's id"""
    against_widest: dict[str, Against]
    """By the id of each task that compares; all None for the widest itself"""


@record
class ClassRow(Row):
    """A row of a group of equal boards, or of a device that is in none."""

    boards: list[str]


# --- groups of equal boards -----------------------------------------------------------------------


@record
class BoardSpeed(TypedDict):
    device: str
    pp_tps: float | None
    tg_tps: float | None
    tg_j_per_token: float | None


@record
class BoardsApart(TypedDict):
    """How far a group's boards are apart in one cell."""

    group: str
    model: str
    quant: str
    runtime: str
    workload: str
    boards: list[BoardSpeed]
    """Those with numbers."""
    missing: list[str]
    """The others."""
    median: float | None
    """Of tg, tokens/s."""
    between_pct: float | None
    """Greatest minus least board, per cent of the median."""
    within_pct: float | None
    """The same of a board's repetitions, the median over the boards."""


@record
class Unlike(TypedDict):
    """What differs between the boards of a group that should be equal."""

    group: str
    key: Literal["board", "cpu", "memory_bytes", "processors"]
    values: dict[str, str | int | None]
    """By board."""


# --- conversations side by side, prompt lookup ----------------------------------------------------


@record
class LevelEnergy(TypedDict):
    energy_tier: Tier | None
    tg_power_w: float | None
    tg_j_per_token: float | None
    tg_uncertainty_j_per_token: float | None
    tpj_board: float | None
    tpj_above_idle: float | None


@record
class Level(LevelEnergy):
    """One number of conversations; None where there is no such value.

    `tg_tps` and `pp_tps` are of all conversations together, `per_user_tps` is each one's share:
    medians over the repetitions, `tg` with its least and greatest.
    """

    conversations: int
    status: Literal["ok", "failed", "skipped"]
    reason: str | None
    tg_tps: float | None
    tg_min_tps: float | None
    tg_max_tps: float | None
    per_user_tps: float | None
    meets: bool | None
    """Whether each gets what is asked for; None where nothing is."""
    pp_tps: float | None
    ttft_s: float | None
    """Median over all conversations."""
    ttft_max_s: float | None
    """Median over the repetitions of the last one's."""
    system_s: float | None
    context_tokens: int | None
    kv_bytes: int | None
    peak_rss_bytes: int | None
    marks: list[Mark]


@record
class Alone(TypedDict):
    """The first cell of one conversation of the same session that was measured."""

    workload: str
    tg_tps: float | None
    tpj_board: float | None


@record
class ConcurrentCell(CellKey):
    """A cell of a concurrent workload."""

    status: Status
    reason: str | None
    settings: ConcurrentWorkload
    levels: list[Level]
    largest: int | None
    """Largest number of conversations without a mark that each get `per_user_tps_at_least`; None if
    none does, or nothing is asked for."""
    single: Alone | None


@record
class LookupAgainst(TypedDict):
    """The same cell without prompt lookup; None where it was not measured."""

    against: str | None
    """The runtime that differs in nothing else."""
    against_tg_tps: float | None
    against_tpj_board: float | None
    speedup: float | None
    same_tokens: int | None
    """So far both say the same."""


@record
class LookupCell(CellKey, LookupAgainst):
    """A cell with prompt lookup, beside the same without it."""

    tg_tps: float | None
    tpj_board: float | None
    settings: PromptLookup
    accepted_pct: float | None
    """Of the drafted tokens; None if none was."""
    tokens_per_step: float
    """What a decoding gives."""
    tokens: int
    """Of the output."""


# --- files and models -----------------------------------------------------------------------------


@record
class FileFacts(VariantKey):
    bytes: int | None
    sha256: str | None


@record
class Fallbacks(VariantKey):
    """A file in which tensors got another type than they were meant for."""

    count: int
    tensors: int
    """Of the file, all of them."""
    changes: dict[str, int]
    """`WANTED > GOT` -> how many."""


@record
class Hashed(TypedDict):
    sha256: str
    bytes: int


@record
class ModelFacts(TypedDict):
    """What is known of a model's source; all but the status None where it was not fetched."""

    status: Status
    reason: str | None
    origin: dict[str, str | bool | None] | None
    """What names the source for ever: version, commit or path."""
    licence: str | None
    format: Literal["gguf", "safetensors"] | None
    files: dict[str, Hashed] | None
    fetched: str | None


# --- quality --------------------------------------------------------------------------------------


@record
class QuestionsFacts(TypedDict):
    """The questions of a task, without their texts."""

    status: Literal["ok"]
    source: dict[str, str]
    questions: int
    unanswerable: int
    paragraphs: int
    sha256: str
    """Of the drawn questions."""


@record
class McNemar(TypedDict):
    only_reference: int
    only_variant: int
    p: float
    p_adjusted: float | None


@record
class Comparison(TypedDict):
    """A variant against its model's widest on the same questions; `llmpi.quality.statistics`."""

    task: str
    model: str
    quant: str
    reference: str
    """Quantization of the reference."""
    difference_pct: float
    low_pct: float | None
    high_pct: float | None
    p: float | None
    p_adjusted: float | None
    mcnemar: McNemar
    minimum_detectable_pct: float | None
    items: int
    clusters: int
    verdict: Verdict


Metric = Literal["exact", "f1", "has_ans_exact", "has_ans_f1", "no_ans_exact", "no_ans_f1"]


@record
class GateAsked(TypedDict):
    task: str
    metric: Metric
    at_least_pct: float


@record
class DescentStep(TypedDict):
    """The verdict on one width; `llmpi.quality.squad.descent`."""

    quant: str
    decision: Literal["holds", "fails", "undecided"]
    loss_pct: float | None
    low_pct: float
    high_pct: float
    paragraphs: int
    questions: int
    of_questions: int
    paragraphs_needed: int
    task: str
    metric: Metric
    margin_pct: float
    alpha: float


@record
class DescentOutcome(TypedDict):
    """Where a model's descent ended."""

    model: str
    widest: str
    lowest: str
    """The lowest width that holds."""
    ended_at: str | None
    train: str | None
    """What training could bring back, where it was not tried."""
    steps: list[DescentStep]
    skipped: dict[str, str]
    """Quantization -> why."""


@record
class EstimateWithError(TypedDict):
    value: float
    standard_error: float | None


@record
class DivergenceRow(VariantKey):
    """What a variant makes of a text; the numbers are there where its status is `ok`."""

    status: Status
    perplexity: NotRequired[EstimateWithError]
    reference_perplexity: NotRequired[EstimateWithError]
    ln_perplexity_ratio: NotRequired[EstimateWithError]
    perplexity_ratio: NotRequired[EstimateWithError]
    kld_mean_nats: NotRequired[EstimateWithError]
    kld_median_nats: NotRequired[EstimateWithError]
    kld_p99_nats: NotRequired[EstimateWithError]
    top1_agreement_pct: NotRequired[EstimateWithError]


@record
class CorpusFacts(TypedDict):
    source: dict[str, str | bool | float | None]
    characters: NotRequired[int]
    sha256: str


@record
class DivergenceTable(TypedDict):
    """A text, and what each variant makes of it; None where no variant was scored."""

    task: str
    rows: list[DivergenceRow]
    corpus: CorpusFacts | None
    window_tokens: int | None
    chunks: int | None
    wanted_chunks: int | None


@record
class HarnessMetric(VariantKey):
    """A metric of the lm-evaluation-harness: in per cent, or in a unit of its own."""

    task: str
    metric: str
    pct: NotRequired[float | None]
    stderr_pct: NotRequired[float | None]
    value: NotRequired[float | None]
    stderr: NotRequired[float | None]
    higher_is_better: bool | None


PairVerdict = Literal["a better", "b better", "not distinguishable"]


@record
class Rates(TypedDict):
    prompts: int
    a_pct: float
    b_pct: float
    difference_pct: float
    low_pct: float | None
    high_pct: float | None


@record
class PairGroup(Rates):
    """Two variants on the prompts of a tag, or on all."""

    only_a: int
    only_b: int
    p: float
    f1: Rates | None
    p_adjusted: float | None
    verdict: PairVerdict


@record
class JudgedGroup(TypedDict):
    """What a person said of two variants, not knowing which is which."""

    prompts: int
    unjudged: int
    identical: int
    a_better: int
    b_better: int
    tie: int
    both_bad: int
    p: float
    p_adjusted: float | None
    verdict: PairVerdict


@record
class Judgement(TypedDict):
    id: str
    verdict: Literal["a_better", "b_better", "tie", "both_bad"]


@record
class Judged(TypedDict):
    sheet: str
    judge: str | None
    a: str
    b: str
    test: str
    all: JudgedGroup
    tags: dict[str, JudgedGroup]
    judgements: list[Judgement]


@record
class Pair(TypedDict):
    """Two variants on the user's own prompts."""

    task: str
    sheet: str
    """The blind sheet, from the report's folder."""
    a: str
    b: str
    status: Literal["ok"]
    interval: str
    test: str
    all: PairGroup | None
    tags: dict[str, PairGroup]
    judged: list[Judged]


@record
class PairWithout(TypedDict):
    """Two variants that were not compared."""

    task: str
    sheet: str
    a: str
    b: str
    status: Literal["failed", "not run"]
    stage: str | None
    reason: str


# --- the sustained phase --------------------------------------------------------------------------


@record
class Curve(CellKey):
    """Speed and temperature over a sustained phase: [seconds since it began, value]."""

    tg_tps: list[list[float]]
    temperature_c: list[list[float]]
    throttled_s: list[float]
    """When the firmware said that it throttles."""


# --- predictions ----------------------------------------------------------------------------------


@record
class Spread(TypedDict):
    low: float
    value: float
    high: float


Quantity = TypeVar("Quantity")


@record
class Quantities(TypedDict, Generic[Quantity]):
    """What is predicted and measured."""

    tg_tps: Quantity
    """Token generation, tokens/s; measured: median, least, greatest repetition."""
    pp_tps: Quantity
    """Prompt processing, tokens/s; the same."""
    tg_j_per_token: Quantity
    """Energy of a generated token, J; measured: 95 % interval."""
    memory_bytes: Quantity
    """Predicted: memory in which all of it runs at full speed; measured: peak RSS, which also
    counts mapped pages of weights that the engine has copied (repacked)."""
    file_bytes: Quantity
    """Size of the GGUF file."""


@record
class Predicted(Quantities[Spread | None]):
    fit: Literal["fits", "tight", "overflow", "dies"]


@record
class Measured(Quantities[Spread | None]):
    fit: Literal["fits", "overflow", "failed"] | None


PredictionVerdict = Literal[
    "in range", "above", "below", "failed as predicted", "not measured", "not predicted"
]


@record
class PredictedCell(CellKey):
    """What the planner would have said of a cell, beside what was measured."""

    basis: Literal["preset", "profile"] | None
    board: str | None
    """Whose constants they are."""
    predicted: Predicted | None
    measured: Measured
    error_pct: Quantities[float | None]
    """predicted / measured - 1."""
    verdict: PredictionVerdict
    """About tg; `above`: measured is faster than the range."""
    reason: str | None
    """Why it was not predicted."""


# --- the paper ------------------------------------------------------------------------------------


@record
class PaperPoint(TypedDict):
    """A point of the LLMPi paper, arXiv 2504.02118."""

    model: str
    quant: str
    tg_tps: float
    tpj_above_idle: float
    words_per_battery: float
    power_w: float
    nubia: float
    """0 to 1."""
    gold_in_answer_pct: float
    overflow: bool
    broken: bool


@record
class PaperScores(TypedDict):
    f1_pct: float | None
    has_ans_f1_pct: float | None


@record
class Ours(TypedDict):
    """The cell that corresponds to a point."""

    model: str
    quant: str
    runtime: str
    workload: str
    tg_tps: float | None
    tpj_above_idle: float | None
    words_per_battery: float | None
    power_w: float | None
    energy_tier: Tier | None
    marks: list[Mark]
    scores: dict[str, PaperScores]
    """By squad task."""


@record
class PaperRatios(TypedDict):
    """Ours / the paper's."""

    tg_tps: float | None
    tpj_above_idle: float | None
    words_per_battery: float | None
    power_w: float | None


@record
class PaperKeptTheirs(TypedDict):
    nubia: float | None
    gold_in_answer_pct: float | None


@record
class PaperKept(TypedDict):
    """What is left of the own F16's score: the scores themselves are of different kinds."""

    paper: PaperKeptTheirs
    ours: dict[str, PaperScores]
    """By squad task, as shares."""


@record
class Differs(TypedDict):
    """What is not the same in the method."""

    key: str
    paper: str
    ours: str


@record
class PaperPair(TypedDict):
    """A point of the paper with a cell that corresponds to it; without one all but `reason` None,
    and `differs` empty."""

    model: str
    quant: str
    """Both as the paper names them."""
    paper: PaperPoint
    device: str | None
    ours: Ours | None
    reason: str | None
    """Why there is no cell, or it has no numbers."""
    ratios: PaperRatios | None
    kept: PaperKept | None
    differs: list[Differs]


# --- tuned settings -------------------------------------------------------------------------------


@record
class Gain(TypedDict):
    """Base seconds / seconds, with its interval."""

    ratio: float
    low: float
    high: float


@record
class MetricGain(Gain):
    workload: str
    metric: str


@record
class Agreement(TypedDict):
    tokens: int
    top1_pct: float


@record
class PeakRss(TypedDict):
    base: int | None
    tuned: int | None


@record
class Finalist(TypedDict):
    words: str
    gain: Gain | None
    refused: str | None
    changes_output: bool
    won: bool


@record
class Trial(TypedDict):
    changes: dict[str, list[str | int | bool | None]]
    words: str
    gain_pct: float | None
    blocks: int
    refused: str | None
    agreement: Agreement | None
    peak_rss_bytes: int | None


@record
class Searched(SessionKey):
    """A search for faster settings that ended well."""

    status: Literal["ok"]
    reason: None
    objective: str
    tuned: bool
    """Whether the base was beaten."""
    words: str
    gain: Gain | None
    metrics: list[MetricGain]
    confidence_pct: float
    confirm_blocks: int
    changes_output: bool
    agreement: Agreement | None
    peak_rss_bytes: PeakRss
    finalists: list[Finalist]
    stopped: str
    remaining_pct: float | None
    noise_pct: float | None
    trials: list[Trial]
    took_s: float


@record
class NotSearched(SessionKey):
    """A search that failed or was not run."""

    status: Literal["failed", "not run"]
    reason: str | None
    objective: str


# --- all of it ------------------------------------------------------------------------------------


@record
class Provisioned(TypedDict):
    """Of `llmpi.remote.provision.provision`."""

    status: Literal["ok"]
    device: str
    store: str
    interpreter: str
    wheel_sha256: str | None
    machine: Machine
    engine: Engine
    provisioned: str


@record
class Provenance(TypedDict):
    llmpi: str
    """Its version."""
    snakemake: str
    """Its version."""
    summarized: str
    """When."""
    config: dict[str, object]
    """As `Study` dumps it, and `Study.model_validate` takes it back."""


@record
class Summary(TypedDict):
    """The whole study."""

    study: str
    rows: list[Row]
    """Of the cells of one conversation, in the order of the sweep; cells without a record are there
    with status `not run`."""
    classes: list[ClassRow]
    """The same, those of a group's boards as one."""
    groups: list[BoardsApart]
    unlike: list[Unlike]
    concurrency: list[ConcurrentCell]
    prompt_lookup: list[LookupCell]
    files: list[FileFacts]
    fallbacks: list[Fallbacks]
    models: dict[str, ModelFacts]
    questions: dict[str, QuestionsFacts | Failed | NotRun]
    """By the task's id."""
    comparisons: list[Comparison]
    """Each variant with its model's widest."""
    divergence: list[DivergenceTable]
    pairs: list[Pair | PairWithout]
    harness: list[HarnessMetric]
    descent: list[DescentOutcome]
    curves: list[Curve]
    machines: dict[str, Provisioned | Failed | NotRun]
    """By the device's id."""
    predictions: list[PredictedCell]
    """In the order of the rows."""
    paper: list[PaperPair]
    """The paper's points in its order, each once for each cell that corresponds to it."""
    tuned: list[Searched | NotSearched]
    gates: list[GateAsked]
    provenance: Provenance
