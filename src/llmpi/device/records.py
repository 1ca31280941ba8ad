"""What the workstation asks of `llmpi-device`, and what that answers: a request and an answer for
each of its commands. What is measured is in `llmpi.engine.records`."""

from typing import Literal, NotRequired, final

from typing_extensions import TypedDict

from llmpi.engine.records import (
    AnyWorkload,
    Claim,
    Conditions,
    FailedSession,
    Limits,
    Machine,
    MeasuredSession,
    Message,
    Runtime,
    SingleWorkload,
    record,
)

# --- meters, as of `llmpi.study.meters` -----------------------------------------------------------


@record
class NoMeter(TypedDict):
    """No meter, no joules."""

    kind: Literal["none"]


class _Metered(TypedDict):
    accuracy_pct: float | None


@record
class PmicMeter(_Metered):
    """The Raspberry Pi 5's own power chip."""

    kind: Literal["pmic"]
    scale: float
    offset_w: float
    interval_s: float


@record
class HwmonMeter(_Metered):
    """A sensor of the kernel's hwmon."""

    kind: Literal["hwmon"]
    chip: str
    address: int | None
    shunt_ohm: float | None
    path: str | None
    interval_s: float


@record
class RaplMeter(_Metered):
    """The energy counter of an x86 processor package."""

    kind: Literal["rapl"]
    path: str | None
    interval_s: float


@record
class ConstantMeter(_Metered):
    """A stated wattage."""

    kind: Literal["constant"]
    power_w: float
    idle_power_w: float | None


@record
class MeterElsewhere(_Metered):
    """One that the workstation reads: of how, the device is told nothing."""

    kind: Literal["tasmota", "shelly", "csv"]


MeterHere = PmicMeter | HwmonMeter | RaplMeter
Meter = NoMeter | MeterHere | ConstantMeter | MeterElsewhere

# --- what is to be measured -----------------------------------------------------------------------


@record
class Cooling(TypedDict):
    """How long to wait for a cooler machine."""

    cool_below_c: float | None
    cool_limit_s: float


@record
class Rest(Cooling):
    """The same, and the rest behind it."""

    idle_s: float


@record
class ModelFile(TypedDict):
    """A file in the device's store, and what it is run with where nothing else is said."""

    gguf: str
    threads: int | None
    """None for one per core."""


@record
class PredictRequest(ModelFile):
    """`predict`."""

    what: str
    """It is for, for those who wait for the machine."""


@record
class BindingRequest(TypedDict):
    """`binding`."""

    engine: str | None
    """Folder of the engine that is asked of itself; None for the installed one."""


@record
class EndpointRequest(TypedDict):
    """Who is to be measured in the engine's place: see `llmpi.study.endpoint`."""

    url: str
    api: Literal["completions", "chat", "ollama"]
    key_variable: str | None
    """Its name: the key itself is in the environment there."""
    model: str
    claimed: Claim


@record
class AskRequest(TypedDict):
    """`ask`: questions, to an endpoint."""

    what: str
    """As of `PredictRequest`."""
    endpoint: EndpointRequest
    conversations: list[list[Message]]
    max_new_tokens: int
    thinking_tokens: int | None
    """None where it is to answer at once, as far as it can be told."""
    thinking_told: bool | None
    """Whether it is told so; None where a question that nothing hangs on is to show whether it
    takes that."""


@record
class Said(TypedDict):
    """What an endpoint answers to a question."""

    text: str
    """Behind the thought."""
    thought: str | None
    prompt_tokens: int
    """By its own count; 0 where it tells none."""
    new_tokens: int
    """The same, else pieces of text."""
    stopped: bool
    """By itself, not at the bound on its tokens."""
    error: str | None
    """Why there is no answer."""


@record
class Asked(TypedDict):
    """An answer to each of the questions."""

    status: Literal["ok"]
    answers: list[Said]
    on_device: bool
    """Whether client and server share the machine."""
    server: str | None
    """What it calls itself."""
    thinking_told: bool
    """Whether it was told to think, or to answer at once: not where it takes no such thing."""


MeasuredBy = Literal["llmpi.device.measure.process", "llmpi.device.measure.over_http"]
"""The module that measures llmpi's engine, or an endpoint, in a process of its own."""


@record
class SessionRequest(ModelFile):
    """`measure`: workloads, to be measured in one session."""

    what: str
    """As of `PredictRequest`; it also seeds the order."""
    runtime: Runtime
    workloads: dict[str, AnyWorkload]
    meter: Meter
    rest: Rest
    others_at_most_pct: float
    """See `llmpi.study.devices`."""
    limits: Limits | None
    measured_by: MeasuredBy
    endpoint: NotRequired[EndpointRequest]
    """Left out where the engine is llmpi's own."""
    draft: NotRequired[str]
    """The draft model's file, in the device's store; left out where none drafts."""
    samples: NotRequired[str]
    """By workload, what those of the kind `answers` ask, packed (`llmpi.engine.packed`); left out
    where there is none."""


@record
class SessionJob(SessionRequest):
    """A session, as its process is asked for it."""

    sensors: list[int]
    """Ids of the processes that sample beside it."""


@record
class TurnRequest(TypedDict):
    """A setting of the engine, when it is its turn."""

    runtime: Runtime
    check: bool
    """Whether what it predicts is wanted, too."""
    timeout_s: float | None
    """None for the block's."""
    engine: NotRequired[str]
    """Folder of the engine that it is the turn of, where it is another one than the installed."""


@record
class TurnsRequest(ModelFile):
    """`take_turns`: settings, to be measured in the given order."""

    what: str
    workloads: dict[str, SingleWorkload]
    repetitions: int
    """Of each workload in each turn."""
    turns: list[TurnRequest]
    meter: MeterHere | None
    """None where no energy is wanted."""
    seed: str
    """Of the order of a turn's repetitions."""
    rest: Cooling
    limits: Limits | None
    timeout_s: float
    """Of a turn that has none of its own."""


@record
class TurnJob(ModelFile):
    """One turn, as its process is asked for it."""

    runtime: Runtime
    workloads: dict[str, SingleWorkload]
    repetitions: int
    seed: str
    check: bool


@record
class Matrix(TypedDict):
    """To be multiplied with a vector."""

    type: str
    """Of ggml, in capitals."""
    rows: int
    columns: int


@record
class RatesRequest(ModelFile):
    """`rates`: products with matrices, and tokens of a model, to be timed."""

    what: str
    """As of `PredictRequest`."""
    runtime: Runtime
    matrices: list[Matrix]
    """Those of types that the engine there does not know are left out."""
    elements: int
    """Weights of the model: a matrix is multiplied with among so many, as in decoding."""
    limits: Limits | None


# --- answers --------------------------------------------------------------------------------------

SessionAnswer = MeasuredSession | FailedSession
State = Literal["none", "running", "done", "gone"]


@record
class StartRequest(TypedDict):
    """`start`."""

    folder: str
    """Of the job, there."""
    run: str
    """Module of `llmpi.device.measure` that does it."""
    job: SessionRequest | TurnsRequest | RatesRequest


@record
class PollRequest(TypedDict):
    """`poll`."""

    folder: str
    offset: int
    """Bytes of the log that were heard already."""


@record
class CancelRequest(TypedDict):
    """`cancel`."""

    jobs: str
    """Their folder there."""


@record
class ForgetRequest(TypedDict):
    """`forget`."""

    folder: str


@record
class Started(TypedDict):
    """`start`."""

    state: State


@record
class Polled(TypedDict):
    """`poll`: how a detached measurement goes."""

    state: State
    log: str
    """What it says behind the offset that was asked for."""
    offset: int
    """Bytes of the log so far."""
    time_s: float
    """The device's clock, since 1970."""
    record: str | None
    """What was measured, as JSON, once it is done."""


@record
class Cancelled(TypedDict):
    """`cancel`."""

    ended: int
    """How many measurements ran."""


@record
class Forgotten(TypedDict):
    """`forget`."""


@record
class Storage(TypedDict):
    """The medium below a path."""

    free_bytes: int
    size_bytes: int
    medium: str | None
    """Such as `SD card`."""
    device: str | None


@record
class Look(TypedDict):
    """What a device tells that need not have llmpi."""

    machine: Machine
    conditions: Conditions
    storage: Storage
    tools: dict[str, str | None]
    """Where programs lie that are of use."""
    time_s: float
    """Its clock, since 1970."""


@record
class Swap(TypedDict):
    name: str
    kind: Literal["zram", "file", "partition"]
    bytes: int


SwapMaker = Literal["rpi-swap", "dphys-swapfile", "zram-generator", "fstab"]


@record
class Busy(TypedDict):
    """A process that computes."""

    name: str
    processors: float
    """So many processors' worth of time."""


@record
class Speed(TypedDict):
    """Of a medium, past the page cache."""

    write_bytes_per_s: float
    read_bytes_per_s: float


@record
class Surroundings(TypedDict):
    """What else a device does and has that could spoil a measurement."""

    swaps: list[Swap]
    swap_made_by: SwapMaker | None
    busy: list[Busy]
    memory_groups: bool
    """Whether the kernel can bound the memory of processes."""
    sudo: Literal["free", "asks"] | None
    fan_rpm: int | None
    compiler: str | None
    storage_speed: Speed | None


@record
class Sealed(TypedDict):
    """A part of what is installed on a device, as it was and as it is."""

    key: str
    """Hash of what it was installed from."""
    damaged: int
    """Files that are not what they were."""
    such_as: list[str]
    """Some of them."""


@record
class Installed(TypedDict):
    """What a device's venv holds; None for a part that is not there, or not whole."""

    engine: Sealed | None
    llmpi: Sealed | None


@record
class ExpectRequest(TypedDict):
    """`expect`: a model file is to come."""

    store: str
    name: str
    """Below the store's models, such as `llama/Q4_0.gguf`."""
    size: int
    sha256: str
    quota: int | None
    """Bytes that all files of llmpi may take there; None for what the disk has."""
    fresh: bool
    """Throw away what an earlier transfer left."""


@record
class AcceptRequest(TypedDict):
    """`accept`: it has arrived."""

    store: str
    name: str
    sha256: str


@record
class UseRequest(TypedDict):
    """`use`: is it still the same."""

    path: str
    sha256: str


@record
@final
class Expected(TypedDict):
    """There is room for it, or it is there."""

    path: str
    """Its final one."""
    here: bool
    """Whole and sound."""
    partial: str
    """Where to send."""
    there: int
    """Bytes that `partial` has."""
    removed: list[str]
    """Files that made room."""


@record
@final
class OverQuota(TypedDict):
    """It will never fit."""

    quota: str
    """Why, for a person."""


@record
@final
class NoRoom(TypedDict):
    """The disk is too full."""

    no_room: str
    """Why, for a person."""


@record
class Sound(TypedDict):
    """`accept`, `use`: whether a file is what it should be."""

    sound: bool


@record
@final
class MeterReading(TypedDict):
    """`meter`: what it shows now."""

    power_w: float | None
    counter_j: float | None


@record
@final
class MeterFailure(TypedDict):
    """It cannot be read."""

    error: str
