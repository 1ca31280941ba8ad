"""What a service is held to: what the study measured of the variant that it serves."""

from typing_extensions import TypedDict

from llmpi.device.monitor.records import Expected, Prefix
from llmpi.engine.records import Engine, Message, record


@record
class Reference(TypedDict):
    """What the limits were made of."""

    em_pct: float
    """Of the file's own answers to the questions, as is"""
    f1_pct: float
    pp_tps: float
    """Measured on the device: the medians of the workload's repetitions."""
    tg_tps: float
    engine: Engine
    """Of the workstation, which answered."""


@record
class Expectation(Expected):
    """`results/expectation/`: what a canary is to expect of a variant on a device."""

    study: str
    device: str
    model: str
    quant: str
    runtime: str
    workload: str
    """Whose speed it is held to."""
    gguf_sha256: str
    gguf_bytes: int
    made: str
    """UTC, ISO 8601."""
    reference: Reference


# --- asking the file ------------------------------------------------------------------------------


@record
class ReferenceJob(TypedDict):
    """What a model file is asked."""

    gguf: str
    threads: int
    conversations: list[list[Message]]
    max_new_tokens: int
    speed_tokens: int
    """Length of the speed request's prompt."""


@record
class SureAnswer(TypedDict):
    """The most likely answer, and how sure the model is of it: as of `Question`."""

    prompt: str
    answer: str
    thinks: bool
    """It begins with a thought, though the prompt asks for none."""
    margin_nats: float


@record
class SpeedPrompt(TypedDict):
    """A prompt of about the length that was asked for."""

    prompt: str
    prompt_tokens: int


@record
class ReferenceAnswers(TypedDict):
    """What it answers."""

    answers: list[SureAnswer]
    """One for each conversation."""
    prefixes: list[Prefix]
    """All that the model has something to say to."""
    speed: SpeedPrompt
    engine: Engine


# --- what others read -----------------------------------------------------------------------------

Json = dict[str, "Json"] | list["Json"] | str | float | bool | None
"""What Grafana and Prometheus read: formats of theirs, which their own tools check in the tests."""
