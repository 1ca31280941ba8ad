"""What is measured on a device, as types: the workstation checks what comes from there by them.

A session is one loaded model; a cell is one of its workloads; a repetition is one run of that, kept
raw. Times ending in `_s` are seconds; where they are stamps, of the device's monotonic clock, but
for those named `wall`. Types alone: they cost a device nothing.
"""

from typing import Literal, NotRequired, TypeVar

# `typing`'s own cannot be checked before Python 3.12; this one comes with the engine's bindings.
from typing_extensions import TypedDict

Kind = TypeVar("Kind")

STRICT = {"extra": "forbid", "allow_inf_nan": False, "strict": True}
"""No field but the declared ones, no NaN and no infinity, no text for a number."""


def record(kind: Kind) -> Kind:
    """Mark a `TypedDict` as one that a file holds: read strictly (`llmpi.records.read`)."""
    kind.__pydantic_config__ = STRICT  # type: ignore[attr-defined]
    return kind


@record
class Failed(TypedDict):
    """A cell that cannot work: a result, too."""

    status: Literal["failed"]
    stage: str
    """Where it ended, such as `quantize`."""
    reason: str
    """Why, for a person."""
    log_tail: NotRequired[str]
    """Last of what the process said that died."""


# --- where it ran ---------------------------------------------------------------------------------


@record
class Machine(TypedDict):
    """What does not change while a measurement runs; None where the machine does not tell."""

    arch: str
    """As `uname -m` says it."""
    userland_bits: int
    """Of the Python that runs; its kernel may have more."""
    page_bytes: int
    board: str | None
    cpu: str | None
    cpu_features: list[str]
    processors: int
    """Those that this process may use."""
    memory_bytes: int | None
    swap_bytes: int | None
    kernel: str
    os: str | None
    python: str
    glibc: str | None
    hwcap: tuple[int, int]
    """AT_HWCAP and AT_HWCAP2 of getauxval(3)."""


@record
class Engine(TypedDict):
    """Which engine it was."""

    name: str
    version: str
    llama_cpp_commit: str
    features: list[str]
    """Of the processor, those that are in use."""
    build_flags: dict[str, str] | None
    """How it was compiled; None where its installation does not tell."""
    library_sha256: str


@record
class Binding(TypedDict):
    """Whether an engine can be run as llmpi runs it, as it says itself."""

    status: Literal["ok"]
    fields: dict[str, str]
    """What of llama.cpp's structures llmpi sets, and the engine has: `structure.field`, its type in
    C."""
    lacks: list[str]
    """Fields that it would have to have, and functions."""
    engine: Engine | None
    """None where it lacks something."""


@record
class Where(TypedDict):
    """A machine and its engine."""

    machine: Machine
    engine: Engine


@record
class Throttled(TypedDict):
    """What the Raspberry Pi's firmware says of its power and heat."""

    now: list[str]
    since_boot: list[str]


@record
class Conditions(TypedDict):
    """How the machine was at a moment; None where it does not tell."""

    at: str
    """UTC, ISO 8601."""
    governor: str | None
    frequency_hz: list[int] | None
    """Of each processor."""
    temperature_c: float | None
    """The hottest thermal zone."""
    throttled: Throttled | None
    throttling_unseen: NotRequired[str]
    """Why a Raspberry Pi's firmware could not be asked: its throttling would not be seen."""
    load_1min: float
    memory_available_bytes: int | None
    swap_free_bytes: int | None


@record
class Environment(TypedDict):
    """A machine, its engine, and its conditions right before and after the repetitions."""

    machine: Machine
    engine: Engine | None
    """None where another one was asked over HTTP, which says of itself what it says."""
    before: Conditions
    after: Conditions


# --- what was asked for ---------------------------------------------------------------------------

KvType = Literal["f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl"]


@record
class PromptLookup(TypedDict):
    """Speculation out of the prompt: see `llmpi.study.measuring.PromptLookup`."""

    ngram: int
    draft_tokens: int


@record
class Draft(TypedDict):
    """Speculation by another model: see `llmpi.study.measuring.Draft`."""

    model: str | None
    """None for the target's own."""
    quant: str
    draft_tokens: int


class _Engine(TypedDict):
    batch_tokens: int
    ubatch_tokens: int
    kv_cache: KvType
    flash_attention: Literal["auto", "on", "off"]
    mmap: bool
    mlock: bool
    lazy: Literal["auto", "on", "off"]
    repack: bool


class _Beside(TypedDict):
    omp_wait_policy: Literal["active", "passive"] | None
    prompt_lookup: PromptLookup | None
    draft: Draft | None


@record
class Runtime(_Engine, _Beside):
    """How the engine is to be run: `llmpi.study.measuring.Runtime`, but for `tune`."""

    threads: int | None
    """None for the device's."""


@record
class EngineSettings(_Engine):
    """How the engine itself was run."""

    threads: int


@record
class Settings(EngineSettings, _Beside):
    """How a measurement was run: a runtime in which nothing is left open."""


class _Workload(TypedDict):
    repetitions: int
    warmup: int
    warmup_limit: int
    sampling: Literal["greedy", "none"]
    timeout_s: float
    prompt_tokens: int
    output_tokens: int


@record
class SingleWorkload(_Workload):
    """One conversation: `llmpi.study.measuring.Workload`."""

    kind: Literal["single"]
    prompt: Literal["random", "passage", "chat", "code", "thinking"]
    depths: list[int]
    """Tokens."""
    sustained_s: float
    context_tokens: int | None


@record
class ConcurrentWorkload(_Workload):
    """Conversations side by side: `llmpi.study.measuring.ConcurrentWorkload`."""

    kind: Literal["concurrent"]
    conversations: list[int]
    system_tokens: int
    per_user_tps_at_least: float | None


Prefix = Literal["kept", "restored", "computed"]
"""What is done with the prefix of a turn's prompt: all that was said before."""


@record
class ConversationWorkload(_Workload):
    """A conversation of several turns: `llmpi.study.measuring.ConversationWorkload`."""

    kind: Literal["conversation"]
    system_tokens: int
    turns: int
    pause_s: float
    prefix: list[Prefix]


@record
class AnswersWorkload(TypedDict):
    """Questions of a quality task, one by one: `llmpi.study.measuring.AnswersWorkload`."""

    kind: Literal["answers"]
    task: str
    questions: int
    seed: int
    repetitions: int
    timeout_s: float


RepeatedWorkload = SingleWorkload | ConcurrentWorkload | ConversationWorkload
"""Those that do the same each time."""
AnyWorkload = RepeatedWorkload | AnswersWorkload


@record
class ThoughtMarks(TypedDict):
    """What a model writes around its thoughts: see `llmpi.engine.chat.thoughts.Marks`."""

    open: str
    close: str
    answer: str
    begin: str
    end: str


@record
class ThoughtAsked(TypedDict):
    """What may be thought before an answer."""

    tokens: int
    """At most."""
    opened: bool
    """Whether the prompt ends within the thought."""


@record
class SampledQuestion(TypedDict):
    """A question as a variant is asked it."""

    number: int
    """In the task's order, from 0."""
    prompt: list[int]
    """Its tokens."""
    thought: ThoughtAsked | None
    """None where the answer comes at once."""


@record
class Sample(TypedDict):
    """Questions of a quality task that a device answers."""

    status: Literal["ok"]
    task: str
    of: int
    """So many the task asks."""
    left_out: int
    """Drawn, and then not asked: the chat template refuses them, or they do not fit the context."""
    max_new_tokens: int
    """Of an answer."""
    marks: ThoughtMarks | None
    """None of a model that is known to write none."""
    questions: list[SampledQuestion]
    """The shortest prompt first."""
    gguf_sha256: str


@record
class Limits(TypedDict):
    """A smaller machine within this one."""

    memory: int | None
    """Bytes."""
    cpus: float | None


# --- energy ---------------------------------------------------------------------------------------

Tier = Literal["metered", "pmic", "estimated"]


@record
class NoEnergy(TypedDict):
    """No meter, no joules."""

    status: Literal["none"]
    tier: Tier | None
    reason: str


@record
class PhaseEnergy(TypedDict):
    """Of prompt processing or token generation, over exactly its seconds."""

    by: Literal["counter", "power"]
    """Whether by the meter's own counter or by its power over time."""
    energy_j: list[float]
    """Of each repetition."""
    power_w: float
    """The mean."""
    j_per_token: float
    uncertainty_j_per_token: float
    """One standard deviation: the meter's accuracy, its resolution and the standard error over the
    repetitions, added in quadrature."""


@record
class MeteredEnergy(TypedDict):
    """Of the board, or of what the meter sees of it. Tokens are those of all conversations."""

    status: Literal["ok"]
    tier: Tier
    meter: str
    """Its kind."""
    idle_power_w: float | None
    """None where there was no rest before the session, or the meter was silent then."""
    samples: int
    sample_interval_s: float
    """The median."""
    longest_gap_s: float
    pp: PhaseEnergy
    tg: PhaseEnergy


Energy = MeteredEnergy | NoEnergy


@record
class AnswersEnergy(TypedDict):
    """Of whole answers, as of `MeteredEnergy`."""

    status: Literal["ok"]
    tier: Tier
    meter: str
    energy_j: list[float]
    """Of each, from the beginning of its prompt to its last token."""


# --- a cell ---------------------------------------------------------------------------------------

Mark = Literal["throttled", "memory-bound: overflow", "disturbed", "over HTTP"]


@record
class Contention(TypedDict):
    """Who had the processors meanwhile, in seconds of processors."""

    seconds: float
    """Of the clock."""
    processors: int
    """In use: one for each thread of the engine, as far as this process may use so many."""
    own_s: float
    """The measurement's own process."""
    sensors_s: float
    """Whoever samples the sensors and the meter beside it."""
    others_s: float
    """All others on the processors that it may use, and what a hypervisor took away; a tick or two
    below 0 where there was nobody."""
    others_pct: float | None
    """Their share of the processors in use, together with neighbours where it was shorter than a
    second; None of what is not counted."""
    involuntary_switches: int
    """How often a thread of the engine lost its processor."""
    load_1min: float


@record
class Memory(TypedDict):
    """What the process needed; None where the kernel does not tell."""

    peak_rss_bytes: int | None
    """Pages of files that were read once and are not needed are in it."""
    anonymous_bytes: int | None
    """Of its own, wherever it is: KV cache, working memory, weights that were copied (repacked)."""
    file_bytes: int | None
    """Pages of files that decoding reads: weights that are used as they are mapped."""
    swap_bytes: int | None
    major_faults: int | None
    """Page faults that went to storage."""
    fetched_bytes: NotRequired[int | None]
    """What came from storage for page faults, read ahead of them too; left out of what was measured
    before llmpi counted it."""


@record
class Served(TypedDict):
    """What an endpoint itself says of an answer; None where it is silent. Nobody has checked it."""

    prompt_tokens: int | None
    cached_tokens: int | None
    """Of the prompt, what it had computed before."""
    output_tokens: int | None
    pp_tps: float | None
    """Prompt processing, by its own clock, and"""
    tg_tps: float | None
    """token generation."""
    pieces: int
    """Of text, as they arrived: each is taken for a token where it does not count them."""
    connect_s: float
    """Until there was a connection, in the time to the first token."""


class _Answered(TypedDict):
    start_s: float
    pp_s: float
    """The whole prompt."""
    ttft_s: float
    """Prompt and first token."""
    itl_s: list[float]
    """Of each generated token behind the first."""


@record
class Repetition(_Answered):
    """One run of a conversation. With prompt lookup or a draft model a step may give several
    tokens: they are there at the same time, so that all but the first took none. A draft model
    reads the prompt, too: its seconds are the prompt's."""

    contention: NotRequired[Contention]
    """Left out where the kernel does not tell."""
    steps: NotRequired[int]
    """With prompt lookup or a draft model: decodings, and"""
    drafted: NotRequired[int]
    """tokens that were guessed, and"""
    accepted: NotRequired[int]
    """those of them that the model agreed with."""
    served: NotRequired[Served]
    """Over HTTP, where all times are the client's, the prompt's ends with the first token, and
    tokens that came in one piece are there at the same time."""


@record
class Depth(TypedDict):
    """Generation behind so many tokens."""

    depth_tokens: int
    repetitions: list[Repetition]


@record
class ConcurrentRepetition(TypedDict):
    """One run of conversations side by side, which all come at `start_s`."""

    system_s: float
    """Computing what all share, before they come."""
    start_s: float
    pp_s: float
    """All prompts."""
    ttft_each_s: list[float]
    """Until each one's first token."""
    ttft_s: float
    """Until the last one's."""
    itl_s: list[float]
    """Of each step, in which every conversation gets a token."""
    contention: NotRequired[Contention]
    """As of `Repetition`."""


@record
class ConversationTurn(_Answered):
    """A turn of a conversation. The seconds of its prompt begin when it comes: what is restored
    is in them."""

    prompt_tokens: int
    """Computed: of the prefix all or none."""
    restore_s: float | None
    """Reading the prefix from storage; None where that is not done."""
    save_s: float | None
    """Writing it there behind the answer, not of the turn's own seconds."""


@record
class ConversationRepetition(TypedDict):
    """One run of a conversation with all its turns."""

    start_s: float
    turns: list[ConversationTurn]
    state_bytes: int
    """Of what the last turn left to a next one: in memory, or where it is saved."""
    contention: NotRequired[Contention]
    """As of `Repetition`."""


@record
class AnsweredQuestion(_Answered):
    """A question of a task, and what its answer took. `itl_s` has the token that ends it, too,
    which is no answer's; nothing where that came first."""

    number: int
    """As of `SampledQuestion`."""
    prompt_tokens: int
    thought_tokens: int
    answer_tokens: int
    stopped: bool
    """By itself, not at the bound on its tokens."""
    contention: NotRequired[Contention]
    """As of `Repetition`."""


Prompted = Repetition | ConcurrentRepetition | ConversationTurn | AnsweredQuestion
"""Prompts, and the tokens generated behind them."""
AnyRepetition = Repetition | ConcurrentRepetition | ConversationRepetition | AnsweredQuestion


@record
class Shortened(TypedDict):
    """As much as the time allowed of a measurement that is too slow for all that is asked for."""

    output_tokens: int
    """Of a repetition."""
    repetitions: int
    needed_s: float
    """What all of it would have taken, by the pace of a prompt and a token."""
    had_s: float


class _Measured(TypedDict):
    status: Literal["ok"]
    context_tokens: int
    steady: bool
    """Whether the last two repetitions of the warm-up agree on tg."""
    shortened: Shortened | None
    """None where all that was asked for was measured."""
    memory: Memory
    marks: list[Mark]
    """What it suffered from; see docs/methodology.md."""
    energy: Energy | None
    """None before the workstation has added it, where the meter is read there."""


@record
class MeasuredLevel(_Measured):
    """So many conversations side by side."""

    conversations: int
    reason: None
    kv_bytes: int | None
    """What the engine reserved for keys and values, or a recurrent state."""
    warmup: list[ConcurrentRepetition]
    repetitions: list[ConcurrentRepetition]
    set_aside: list[ConcurrentRepetition]
    """Disturbed, measured again, and not counted."""


@record
class LostLevel(TypedDict):
    """So many conversations that gave no numbers; `skipped` where fewer failed already."""

    conversations: int
    status: Literal["failed", "skipped"]
    reason: str


@record
class MeasuredPrefix(_Measured):
    """A conversation with this done with its prefix; joules are of its turns, in their order."""

    prefix: Prefix
    reason: None
    warmup: list[ConversationRepetition]
    repetitions: list[ConversationRepetition]
    set_aside: list[ConversationRepetition]
    """Disturbed, measured again, and not counted."""


@record
class LostPrefix(TypedDict):
    """What gave no numbers."""

    prefix: Prefix
    status: Literal["failed"]
    reason: str


Arm = int | Prefix | None
"""What of a workload is repeated: see `Circumstances.order`."""


@record
class Cooled(TypedDict):
    """The wait for a cooler machine."""

    waited_s: float
    cool: bool
    """Whether it is now; if not, the wait was too long or the machine does not tell."""
    temperature_c: float | None


@record
class Load(TypedDict):
    """Seconds to open the model and decode one token."""

    cold_s: float
    """Out of storage."""
    warm_s: float
    """Out of the page cache."""
    locked_bytes: int | None
    on_demand: list[str]
    """Tensors whose rows are read when they are wanted (`lazy`)."""


@record
class Claim(TypedDict):
    """What a config says that an endpoint serves."""

    file: str | None
    type: str | None
    template: str | None


@record
class Endpoint(TypedDict):
    """A server that was measured over HTTP."""

    url: str
    api: Literal["completions", "chat", "ollama"]
    on_device: bool
    """Whether client and server share the machine."""
    model: str
    """What it calls what it was asked for."""
    claimed: Claim
    server: str | None
    """What it calls itself (header `Server`)."""


@record
class AskedEndpoint(Endpoint):
    """A server that answered over HTTP."""

    thinking_told: bool
    """Whether it was told to think before an answer, or not to: not where it takes none of it."""


@record
class Circumstances(TypedDict):
    """How one process measured its workloads."""

    endpoint: NotRequired[Endpoint]
    """Left out where llmpi's own engine was measured, in process."""
    settings: Settings | None
    """None of an endpoint's."""
    load: Load | None
    """As above."""
    order: list[tuple[str, Arm]]
    """Of the repetitions that count: workload, and its depth in tokens, its number of
    conversations, what is done with its prefix, or the number of its question."""
    idle: tuple[float, float] | None
    """When the rest before it began and ended."""
    cooled: Cooled | None
    """None where no temperature is asked for."""
    environment: Environment


@record
class SingleCell(_Measured):
    """A workload of one conversation."""

    kind: Literal["single"]
    workload: SingleWorkload
    apart: Circumstances | None
    """Its own, in place of the session's: measured by itself, as another one killed the engine."""
    warmup: list[Repetition]
    repetitions: list[Repetition]
    set_aside: list[Repetition]
    """Disturbed, measured again, and not counted; those behind depths, too."""
    depths: list[Depth]
    sustained: list[tuple[float, float]]
    """Start of each stretch of about a second, and its tokens per second."""
    output: list[int]
    """Tokens that the last repetition generated: an engine says the same each time."""


@record
class ConcurrentCell(TypedDict):
    """A workload of conversations side by side; its smallest level was measured."""

    status: Literal["ok"]
    kind: Literal["concurrent"]
    workload: ConcurrentWorkload
    apart: Circumstances | None
    """As of `SingleCell`."""
    levels: list[MeasuredLevel | LostLevel]


@record
class ConversationCell(TypedDict):
    """A conversation of several turns."""

    status: Literal["ok"]
    kind: Literal["conversation"]
    workload: ConversationWorkload
    apart: Circumstances | None
    """As of `SingleCell`."""
    can_cut_back: bool
    """Whether the model's memory can forget its end alone: one that cannot computes all again once
    a prompt goes on otherwise than before."""
    prefixes: list[MeasuredPrefix | LostPrefix]


@record
class AnswersCell(TypedDict):
    """Questions of a task, answered."""

    status: Literal["ok"]
    kind: Literal["answers"]
    workload: AnswersWorkload
    apart: Circumstances | None
    """As of `SingleCell`."""
    of: int
    left_out: int
    """As of `Sample`."""
    late: int
    """Answers for which there was no time."""
    context_tokens: int
    warmup: list[AnsweredQuestion]
    repetitions: list[AnsweredQuestion]
    set_aside: list[AnsweredQuestion]
    """Disturbed, measured again, and not counted."""
    memory: Memory
    marks: list[Mark]
    energy: AnswersEnergy | NoEnergy | None
    """None before the workstation has added it, where the meter is read there."""


@record
class FailedCell(Failed):
    """A workload that gave no numbers."""

    workload: AnyWorkload
    levels: list[LostLevel]
    """Of conversations side by side that found no room; empty where the engine died."""


Cell = SingleCell | ConcurrentCell | ConversationCell | AnswersCell | FailedCell


# --- a session ------------------------------------------------------------------------------------


@record
class Sampled(TypedDict):
    """Stamps and values, in order; an empty list where there is no such sensor."""

    power_w: list[tuple[float, float]]
    energy_j: list[tuple[float, float]]
    """A counter's."""
    temperature_c: list[tuple[float, float]]
    frequency_hz: list[tuple[float, list[int]]]
    """Of each processor."""
    throttled: list[tuple[float, list[str]]]
    """What the firmware said was wrong."""


@record
class Bandwidth(TypedDict):
    """How fast the machine reads, right before the session."""

    memory_read_bytes_per_s: float
    storage_read_bytes_per_s: float


@record
class Clock(TypedDict):
    """The device's clocks at one moment after the session."""

    monotonic_s: float
    wall_s: float
    """Since 1970."""
    ahead_s: float
    """How far it was ahead of the workstation's, which says so."""


@record
class LoadedSession(Circumstances):
    """What the process measures that has the engine."""

    status: Literal["ok"]
    workloads: dict[str, Cell]


@record
class MeasuredSession(LoadedSession):
    """What a device answers."""

    samples: Sampled
    others_at_most_pct: float
    """What others may have of the processors: with more a repetition is disturbed."""
    bandwidth: Bandwidth | None
    limits: Limits | None
    clock: Clock


@record
class Session(MeasuredSession):
    """`results/bench/`: a variant's workloads on a device, measured."""

    gguf_sha256: str
    draft_sha256: str | None
    """Of the draft model's file; None where none drafts."""
    started: str
    """UTC, ISO 8601, of the workstation's clock."""
    ended: str


@record
class FailedSession(Failed):
    """The engine died in every workload; or it never came to the measurement, and all but why is
    left out."""

    environment: NotRequired[Where]
    workloads: NotRequired[dict[str, FailedCell]]
    gguf_sha256: NotRequired[str]
    draft_sha256: NotRequired[str | None]
    started: NotRequired[str]
    ended: NotRequired[str]


SessionRecord = Session | FailedSession
"""A file of `results/bench/`."""


# --- a search's turns -----------------------------------------------------------------------------


@record
class Position(TypedDict):
    """What is predicted behind a token: the head of the distribution and the sum of its tail."""

    tokens: list[int]
    """The most likely ones."""
    logprobs: list[float]
    """Theirs, natural logarithms, falling."""
    rest_logprob: float
    """That of all other tokens together."""


@record
class Output(TypedDict):
    """What is predicted for a fixed text, whatever was predicted before."""

    positions: list[Position]
    sha256: str
    """Of all logits: equal only where nothing differs at all."""


@record
class Turn(TypedDict):
    """What a setting of the engine gave when it was its turn."""

    status: Literal["ok"]
    workloads: dict[str, list[Repetition]]
    peak_rss_bytes: int | None
    output: Output | None
    """None where it was not asked for."""
    took_s: float


@record
class TurnEnergy(TypedDict):
    """What the whole device took in a turn."""

    status: Literal["ok"]
    tier: Tier
    energy_j: dict[str, list[float]]
    """By workload, of each repetition from the beginning of its prompt to its last token."""


@record
class CooledTurn(Turn):
    """A turn, and the wait before it."""

    cooled: Cooled | None
    energy: TurnEnergy | NoEnergy | None
    """None where it was not asked for."""


@record
class FailedTurn(TypedDict):
    """A setting that killed the engine, or that it refused."""

    status: Literal["failed"]
    reason: str
    cooled: Cooled | None


@record
class Turns(TypedDict):
    """A block: settings in turns, shortly after one another."""

    status: Literal["ok"]
    turns: list[CooledTurn | FailedTurn]
    before: Conditions
    after: Conditions
    took_s: float
    """In all, without waiting for others."""


# --- what types cost on a board -------------------------------------------------------------------


@record
class Rate(TypedDict):
    """A matrix of a type, and how long a product with one vector takes."""

    type: str
    """Of ggml, in capitals."""
    rows: int
    columns: int
    repacked: bool
    """Whether the engine lays it out anew when it loads it."""
    product_s: list[float]
    """Of each round."""
    prompt_product_s: list[float]
    """Of each round: with as many vectors at once as `prompt_tokens`."""


@record
class MeasuredRates(Where):
    """What each type costs on a device, with the matrices of a model."""

    status: Literal["ok"]
    token_s: list[float]
    """Of each round: a token of the file that was decoded, at the beginning of a context."""
    prompt_tokens: int
    """Read at once, at the beginning of a context: no more than a micro-batch has."""
    prompt_s: list[float]
    """Of each round: so many tokens of the file."""
    rates: list[Rate]
    contention: list[Contention | None]
    """Who had the processors, of each round; None where the machine does not tell."""
    settings: EngineSettings
    before: Conditions
    after: Conditions
    took_s: float
    """In all, without waiting for others."""


@record
class Rates(MeasuredRates):
    """The same, and of what: `results/rates/`."""

    device: str
    quant: str
    """Of the file that was decoded."""
    gguf_sha256: str
    """Its own."""
    started: str
    ended: str


@record
class RatesAsked(TypedDict):
    """What the rates of a device are of: as long as it is the same, they are."""

    sha256: str
    """Of how they are measured, and with a file of which type."""


# --- parity ---------------------------------------------------------------------------------------


@record
class Predicted(Where):
    """What an engine predicts for the text of the parity check."""

    status: Literal["ok"]
    tokens: list[int]
    tokens_sha256: str
    positions: list[Position]
    """Behind each token."""
    settings: EngineSettings


@record
class Predictions(Predicted):
    """The same, and of which file: `results/predictions/`."""

    gguf_sha256: str


# --- how a model is spoken to ---------------------------------------------------------------------


@record
class Message(TypedDict):
    """A turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


@record
class Token(TypedDict):
    text: str
    special: bool
    """It stands for no text: it says whose turn it is, or what a text is."""


@record
class SentPrompt(TypedDict):
    """A prompt as the engine got it."""

    tokens: int
    begin: list[Token]
    end: list[Token]
    """The last ones; with `begin` the whole prompt where that is short."""
    folded: bool
    """The system turn stands at the head of the first user turn: the chat template knows none."""
