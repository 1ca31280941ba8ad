"""What `summary.json` holds: the study's cells as rows, and all that follows from them.

A row is flat but for its lists and its quality; `llmpi.summary.columns` makes its columns of it.
"""

from typing import Annotated, Generic, Literal, NamedTuple, TypeVar

from typing_extensions import TypedDict

from llmpi.engine.records import (
    ConcurrentWorkload,
    Conditions,
    ConversationWorkload,
    Draft,
    Endpoint,
    Engine,
    Failed,
    Mark,
    Prefix,
    PromptLookup,
    Tier,
    record,
)
from llmpi.gguf.records import ModelFile, Origin
from llmpi.quality.kind import AskedScore, Objection, Section
from llmpi.quality.kind import Row as TaskRow
from llmpi.quality.records import Drawn
from llmpi.remote.records import Provisioned
from llmpi.results import NotRun
from llmpi.tune.records import (
    Agreement,
    Finalist,
    HeldEngine,
    MetricGain,
    Peaks,
    Ratio,
    Stopped,
    Trial,
    Weighed,
)


class Unit(NamedTuple):
    """The unit of a number in the row, beside its type."""

    name: str


class Joined(NamedTuple):
    """What is between the parts of a list where it becomes text."""

    by: str = "; "


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


SpeculationKind = Literal["prompt lookup", "draft model"]
"""Who drafts tokens."""

Unscored = Literal["default only", "tuned", SpeculationKind, "over HTTP"]
"""Why what a cell computes was not scored: the study asks for the default's scores only; the search
for settings ended there; its speculation is not shown to say what greedy decoding says; it is
another engine's, and nothing was asked of it over HTTP."""


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
    computation: str
    """What of the engine's settings its quality hangs on: type of the KV cache, `-noflash` without
    flash attention, `-lookup` or
    `-draft` where speculation is not shown to say the same; `http-` and the
    runtime's name of an endpoint, which is another engine and asked itself"""
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
    tg_sd_tps: TokensPerS | None
    """Its standard deviation over the repetitions (n - 1); empty where there is one"""
    repetitions: int | None
    """Repetitions counted, without the warm-up"""
    set_aside: int | None
    """Repetitions that other programs disturbed, measured again and not counted"""
    others_pct: Percent | None
    """What other programs had of the processors in use: the greatest share in a repetition; empty
    where the kernel does not tell"""
    shortened_to_tokens: Tokens | None
    """Tokens that a repetition generated, where there was no time for all that is asked for"""
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
    memory_bytes: Bytes | None
    """Memory that it needs: `anonymous_bytes` and `file_read_bytes`, or `peak_rss_bytes` where the
    kernel does not tell these"""
    anonymous_bytes: Bytes | None
    """KV cache, working memory, weights that were copied (repacked): all that is no file's"""
    file_read_bytes: Bytes | None
    """Pages of files that decoding reads: weights that are used as they are mapped"""
    peak_rss_bytes: Bytes | None
    """Peak resident memory of the measuring process, with pages of files that are not read again"""
    major_faults: int | None
    """Page faults that went to storage, after loading"""
    threads: int | None
    """Threads of the engine"""
    context_tokens: Tokens | None
    """Context that the engine reserved"""
    tg_at_depths_tps: Annotated[list[DepthSpeed], Joined()]
    """Token generation behind longer contexts, `TOKENS: TOKENS/S`"""
    sustained_first_last_tps: Annotated[list[float], Joined()]
    """Token generation, tokens/s, of the first and the last stretch of the sustained phase"""
    hottest_c: Celsius | None
    """Highest temperature seen during the session"""
    marks: Annotated[list[Mark], Joined()]
    """Why not to compare it with others: `throttled`, `memory-bound: overflow`, `disturbed`, `over
    HTTP`"""


@record
class Roofline(TypedDict):
    """The machine's bandwidths, and what tg makes of them."""

    memory_read_bytes_per_s: BytesPerS | None
    """Memory bandwidth, plain reads by all threads: the best of the device's sessions"""
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
    pp_mean_tps: TokensPerS | None
    """Prompt tokens of all repetitions / their seconds: the speed to power and joules"""
    tg_mean_tps: TokensPerS | None
    """The same of generated tokens"""
    pp_j_per_token: Joules | None
    """Energy of a prompt token: mean over the repetitions"""
    pp_uncertainty_j_per_token: Joules | None
    """Its uncertainty, one standard deviation"""
    tg_j_per_token: Joules | None
    """Energy of a generated token: mean over the repetitions"""
    tg_uncertainty_j_per_token: Joules | None
    """Its uncertainty, one standard deviation"""
    tpj_board: TokensPerJoule | None
    """Tokens / energy of the whole board"""
    tpj_above_idle: TokensPerJoule | None
    """Tokens / energy above that of as many seconds at idle power, the LLMPi paper's"""
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
    lineage: Annotated[list[str], Joined(" > ")]
    """What the file was made from, type by type"""


@record
class OnDevice(TypedDict):
    """Whether the workstation's scores hold on the device, and whether they are enough."""

    parity_top1_pct: Percent | None
    """Positions where device and workstation predict the same token"""
    parity_kl_nats: Nats | None
    """KL divergence of the device from the workstation, mean"""
    parity_reason: str | None
    """Why the workstation's scores are not transferred to the device"""
    gates_failed: Annotated[list[Objection], Joined()]
    """Gates that the variant fails"""


@record
class ParityMiss(TypedDict):
    """How far a device's predictions are from the workstation's, beyond what is put up with."""

    quantity: Literal["kl_nats", "top1_pct"]
    value: float
    limit: float


@record
class Transfer(OnDevice):
    """The same with the numbers behind the reason."""

    parity_misses: list[ParityMiss]
    """Where the device computes another model; empty where it does not, or nothing was compared."""


@record
class OverHttp(TypedDict):
    """Who computed it, where that was not llmpi's engine; then the speeds are what a client gets,
    and the file is the one that is said to be served."""

    endpoint: str | None
    """API of the endpoint that was measured over HTTP; empty where llmpi's engine was"""
    endpoint_place: Literal["on the device", "in the network"] | None
    """Where it runs"""
    endpoint_pp_tps: TokensPerS | None
    """Prompt processing by its own counters, unchecked: median; empty where it tells none"""
    endpoint_tg_tps: TokensPerS | None
    """Token generation by its own counters, unchecked: median"""
    claimed_file: str | None
    """File that it is said to serve (config)"""
    claimed_type: str | None
    """How its weights are said to be stored (config)"""
    claimed_template: str | None
    """Chat template that it is said to use (config)"""


@record
class TunedOutput(TypedDict):
    """Last of all columns."""

    output_agreement_pct: Percent | None
    """Tokens of a fixed text that settings found by tuning predict as before, else empty"""


@record
class AnswerCost(TypedDict):
    """What an answer of a task takes on this device: its tokens at the cell's speed and joules,
    with the whole prompt read. Computed, not clocked."""

    answers: int
    """Questions that were asked"""
    prompt_p50_tokens: Tokens
    """Their prompts: half have no more"""
    prompt_p95_tokens: Tokens
    """95 % have no more"""
    thought_p50_tokens: Tokens
    """The thoughts before the answers, alike"""
    thought_p95_tokens: Tokens
    """95 % have no more"""
    answer_p50_tokens: Tokens
    """The answers behind them, alike"""
    answer_p95_tokens: Tokens
    """95 % have no more"""
    answer_p50_s: Seconds
    """From the question to the end of the answer, loading not in it: half take no longer"""
    answer_p50_low_s: Seconds | None
    """Lower end for other questions of the same kind, at the greatest speed of a repetition; empty
    where they are too few"""
    answer_p50_high_s: Seconds | None
    """Upper end, at the least"""
    answer_p50_fast_s: Seconds
    """What half of these very questions take at most at the greatest speed of a repetition: what
    variants are compared by"""
    answer_p50_slow_s: Seconds
    """At the least"""
    answer_p95_s: Seconds
    """95 % take no longer"""
    answer_p95_low_s: Seconds | None
    """Lower end, alike"""
    answer_p95_high_s: Seconds | None
    """Upper end; of fewer than 72 questions there is none"""
    s_per_right_answer: Seconds | None
    """What all answers take that could be right, by those that are; empty where none is"""
    s_per_right_answer_low: Seconds | None
    """Lower end: of the speed, of the share that is right, and of what other questions take"""
    s_per_right_answer_high: Seconds | None
    """Upper end"""
    j_per_answer: Joules | None
    """Energy of an answer: mean; empty without a meter"""
    j_per_right_answer: Joules | None
    """Energy of all answers that could be right, by those that are"""
    j_per_right_answer_low: Joules | None
    """Lower end: of a token's joules, of the share that is right, and of other questions"""
    j_per_right_answer_high: Joules | None
    """Upper end"""


@record
class Row(Cell, Speed, Roofline, CellEnergy, File, Transfer, OverHttp, TunedOutput):
    """A cell of the sweep: a workload of a variant with a runtime on a device."""

    unscored: Unscored | None
    """Why no score is of what this cell computes; None where there are such"""
    quality: dict[str, TaskRow]
    """By the task's id: its state, and the columns that its kind adds (`llmpi.quality.kind`)"""
    answers: dict[str, AnswerCost]
    """By the id of each task that this variant answered; none where tokens were drafted, as what
    that gains hangs on the text"""


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


# --- conversations side by side, speculation ------------------------------------------------------


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
    memory_bytes: int | None
    """As of `Speed`."""
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
class Way(TypedDict):
    """What was done with a conversation's prefix; None where there is no such value. Medians over
    the repetitions, of later turns over those, too."""

    prefix: Prefix
    status: Literal["ok", "failed"]
    reason: str | None
    ttft_s: list[float]
    """Of each turn."""
    first_ttft_s: float | None
    later_ttft_s: float | None
    first_s: float | None
    """To the answer's end."""
    later_s: float | None
    restore_s: float | None
    """Of a later turn, of its time to the first token."""
    save_s: float | None
    """Behind an answer; nobody waits for it."""
    state_bytes: int | None
    """Of the largest prefix: held in memory between turns, or on storage; None where neither is."""
    tg_tps: float | None
    """Of all turns."""
    energy_tier: Tier | None
    first_j: float | None
    """Of the first turn, whole board."""
    later_j: float | None
    """Of a later one, on the average."""
    memory_bytes: int | None
    """As of `Speed`."""
    marks: list[Mark]


@record
class ConversationCell(CellKey):
    """A cell of a conversation of several turns."""

    status: Status
    reason: str | None
    settings: ConversationWorkload
    can_cut_back: bool | None
    """Whether the model's memory can forget its end alone."""
    output_tokens: int | None
    """Of each answer, as far as there was time."""
    repetitions: int | None
    """That count, the least of all ways."""
    ways: list[Way]


@record
class SampleAgainst(TypedDict):
    """What is computed of the same answers by the speed and the joules of another cell."""

    workload: str
    """The cell's, of the same session."""
    predicted_p50_s: float
    predicted_p95_s: float
    predicted_j_per_answer: float | None
    ratio: float
    """Seconds that all answers took, by those that are computed."""
    ratio_low: float | None
    ratio_high: float | None
    """95 %, of the questions' spread and of both ends of the speed; None below two questions."""
    parts: bool | None
    """Whether 1 is not in it."""


@record
class SampleCell(CellKey):
    """A cell of questions of a task, answered on the device."""

    status: Status
    reason: str | None
    task: str
    questions: int
    """Asked for."""
    of: int | None
    """So many the task asks."""
    left_out: int | None
    """Drawn, and not asked: the chat template refuses them, or they do not fit the context."""
    late: int | None
    """Answers for which there was no time."""
    answers: int
    """That count."""
    scored: int
    """Of these, such whose question was scored, too, computed alike;"""
    as_scored: int
    """of them those that have the very tokens with which they were."""
    p50_s: float | None
    """Half take no longer; and so on."""
    p95_s: float | None
    energy_tier: Tier | None
    j_per_answer: float | None
    """Mean."""
    marks: list[Mark]
    against: list[SampleAgainst]
    """By each cell of one conversation of the session."""


@record
class SpeculationAgainst(TypedDict):
    """The same cell without drafts; None where it was not measured."""

    against: str | None
    """The runtime that differs in nothing else."""
    against_ttft_s: float | None
    against_tg_tps: float | None
    against_tpj_board: float | None
    against_memory_bytes: int | None
    speedup: float | None
    """Of token generation."""
    same_tokens: int | None
    """So far both say the same."""


@record
class SpeculationCell(CellKey, SpeculationAgainst):
    """A cell with prompt lookup or a draft model, beside the same without it."""

    kind: SpeculationKind
    settings: PromptLookup | Draft
    prompt: str
    """Kind of text, as the workload has it."""
    ttft_s: float | None
    """A draft model reads the prompt, too."""
    tg_tps: float | None
    tpj_board: float | None
    memory_bytes: int | None
    accepted_pct: float | None
    """Of the drafted tokens; None if none was."""
    tokens_per_step: float
    """What a decoding gives."""
    tokens: int
    """Of the output; beside another one, as many as both have."""


@record
class HttpAgainst(TypedDict):
    """The same cell of llmpi's engine in process; None where it was not measured."""

    against: str | None
    """Its runtime."""
    against_pp_tps: float | None
    against_tg_tps: float | None
    against_ttft_s: float | None
    tg_less_pct: float | None
    """So much slower a client gets its tokens, and"""
    ttft_more_s: float | None
    """so much later the first one."""


@record
class HttpCell(CellKey, HttpAgainst):
    """A cell of an endpoint: medians over its repetitions."""

    endpoint: Endpoint
    pp_tps: float | None
    """As a client sees it: the prompt's tokens / the time to the first one behind it."""
    tg_tps: float | None
    ttft_s: float | None
    own_pp_tps: float | None
    """By its own counters; None where it tells none."""
    own_tg_tps: float | None
    ttft_beyond_own_s: float | None
    """Of the time to the first token, what its own counters do not account for."""
    scores: list[AskedScore]
    """Of the questions that it was asked, by task; the same of all workloads of a session."""


# --- files and models -----------------------------------------------------------------------------


@record
class FileFacts(VariantKey):
    types: str | None
    """Of its tensors, whatever it is called: `Q4_K+Q6_K`; most parameters first."""
    lattice_tensors: int | None
    """Whose weights are those of a training for Q4_0, where that was looked at."""
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
class ModelFacts(TypedDict):
    """What is known of a model's source; all but the status None where it was not fetched."""

    status: Status
    reason: str | None
    origin: Origin | None
    """What names the source for ever: version, commit or path."""
    checkpoint: Origin | None
    """Of published files: the same of the checkpoint that they are held against."""
    licence: str | None
    format: Literal["gguf", "safetensors"] | None
    files: dict[str, ModelFile] | None
    fetched: str | None


# --- quality --------------------------------------------------------------------------------------


@record
class GateAsked(TypedDict):
    task: str
    metric: str
    at_least_pct: float


# --- the sustained phase --------------------------------------------------------------------------


@record
class Curve(CellKey):
    """Speed and temperature over a sustained phase: [seconds since it began, value]."""

    tg_tps: list[list[float]]
    temperature_c: list[list[float]]
    throttled_s: list[float]
    """When the firmware said that it throttles."""


@record
class OneRepetition(TypedDict):
    """A repetition that counts."""

    pp_tps: TokensPerS
    tg_tps: TokensPerS
    ttft_s: Seconds
    others_pct: Percent | None
    """What other programs had of the processors in use; None where the kernel does not tell."""


@record
class HowMeasured(CellKey):
    """How a cell was measured: the machine right before and after its session's repetitions, and
    each of its own."""

    before: Conditions | None
    """None of an endpoint in the network."""
    after: Conditions | None
    repetitions: list[OneRepetition]


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
    """Why the model's facts are not known; where they are and nothing is predicted, its device
    names no preset and has no profile yet."""


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
    """By task whose score can stand beside the paper's."""


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
    """By the same tasks, as shares."""


@record
class EngineDiffers(TypedDict):
    key: Literal["engine"]
    paper: Literal["bitnet.cpp", "llama.cpp"]
    commit: str | None
    """Of our llama.cpp."""
    threads: int | None
    """Ours."""
    repacked: bool
    """Whether our engine packs the weights anew where it can."""


@record
class ProtocolDiffers(TypedDict):
    key: Literal["protocol"]
    repetitions: int
    """Ours, as all that follows."""
    prompt_tokens: int
    output_tokens: int
    context_tokens: int | None


@record
class SamplingDiffers(TypedDict):
    key: Literal["sampling"]
    sampling: Literal["greedy", "none"]
    """Ours."""


@record
class EnergyDiffers(TypedDict):
    key: Literal["energy"]
    paper_idle_power_w: float
    """What the paper subtracts from the power."""
    tier: Tier | None
    """Ours; None where no energy was measured."""
    idle_power_w: float | None
    reason: str | None
    """Why there is none."""


@record
class QualityDiffers(TypedDict):
    key: Literal["quality"]
    questions: list[int]
    """Of each of our tasks that was scored."""


@record
class MemoryDiffers(TypedDict):
    key: Literal["memory"]
    memory_bytes: int
    """Of our board."""


@record
class OverflowDiffers(TypedDict):
    """The paper's model did not fit in the memory."""

    key: Literal["overflow"]
    measured: bool
    marks: list[Mark]
    """Of our cell."""


@record
class BrokenDiffers(TypedDict):
    """The paper's file was broken."""

    key: Literal["broken"]
    gold_in_answer_pct: float
    """Answers of its file that hold the right words."""


@record
class SourceDiffers(TypedDict):
    """Our file was not made of the released weights."""

    key: Literal["source"]
    lineage: list[str]


@record
class ParityDiffers(TypedDict):
    """Our device computes another model than the workstation."""

    key: Literal["parity"]
    reason: str
    misses: list[ParityMiss]


Differs = (
    EngineDiffers
    | ProtocolDiffers
    | SamplingDiffers
    | EnergyDiffers
    | QualityDiffers
    | MemoryDiffers
    | OverflowDiffers
    | BrokenDiffers
    | SourceDiffers
    | ParityDiffers
)
"""What is not the same in the method."""
DifferenceKey = Literal[
    "engine",
    "protocol",
    "sampling",
    "energy",
    "quality",
    "memory",
    "overflow",
    "broken",
    "source",
    "parity",
]


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
class Searched(SessionKey):
    """A search for faster settings that ended well."""

    status: Literal["ok"]
    reason: None
    objective: str
    tuned: bool
    """Whether the base was beaten."""
    words: str
    gain: Ratio | None
    metrics: list[MetricGain]
    confidence_pct: float
    confirm_blocks: int
    changes_output: bool
    agreement: Agreement | None
    peak_rss_bytes: Peaks
    finalists: list[Finalist]
    stopped: Stopped
    remaining_pct: float | None
    noise_pct: float
    trials: list[Trial]
    weighed: list[Weighed]
    """Speed against joules; empty where joules were not searched for."""
    took_s: float


@record
class NotSearched(SessionKey):
    """A search that failed or was not run."""

    status: Literal["failed", "not run"]
    reason: str | None
    objective: str


# --- engines --------------------------------------------------------------------------------------


@record
class EnginesCompared(SessionKey):
    """Engines that were held against the first of them."""

    status: Literal["ok"]
    reason: None
    first: str
    engines: dict[str, Engine]
    """By name."""
    held: list[HeldEngine]
    confidence_pct: float
    """With which the intervals of all figures hold together."""
    marks: list[Mark]
    blocks: int


@record
class EnginesNotCompared(SessionKey):
    """A comparison that failed or was not run."""

    status: Literal["failed", "not run"]
    reason: str | None


# --- all of it ------------------------------------------------------------------------------------


@record
class Provenance(TypedDict):
    llmpi: str
    """Its version."""
    snakemake: str
    """Its version."""
    summarized: str
    """When."""
    config: dict[str, object]  # of every study its own
    """As `Study` dumps it, and `Study.model_validate` takes it back."""


@record
class Summary(TypedDict):
    """The whole study."""

    study: str
    rows: list[Row]
    """Of the cells of one conversation, in the order of the sweep; cells without a record are there
    with status `not run`."""
    groups: list[BoardsApart]
    unlike: list[Unlike]
    concurrency: list[ConcurrentCell]
    conversations: list[ConversationCell]
    samples: list[SampleCell]
    speculation: list[SpeculationCell]
    over_http: list[HttpCell]
    files: list[FileFacts]
    fallbacks: list[Fallbacks]
    models: dict[str, ModelFacts]
    questions: dict[str, Drawn | Failed | NotRun]
    """By the task's id."""
    sections: list[Section]
    """What each kind of quality task shows beside the rows, as data."""
    curves: list[Curve]
    measured: list[HowMeasured]
    """The cells that are well."""
    machines: dict[str, Provisioned | Failed | NotRun]
    """By the device's id."""
    predictions: list[PredictedCell]
    """In the order of the rows."""
    paper: list[PaperPair]
    """The paper's points in its order, each once for each cell that corresponds to it."""
    tuned: list[Searched | NotSearched]
    engines: list[EnginesCompared | EnginesNotCompared]
    """Held against one another; nothing else in here is of them."""
    gates: list[GateAsked]
    provenance: Provenance
