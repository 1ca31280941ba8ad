"""What a service is given, what a device says of its releases, and what one was seen to carry."""

from typing import Generic, Literal, TypeVar, final

from typing_extensions import TypedDict

from llmpi.device.records import Meter
from llmpi.engine.records import Conditions, Message, NoEnergy, Runtime, Tier, Where, record

Said = TypeVar("Said")

CHECKPOINTS = 4
"""Copies of a state that cannot be cut back to a prefix (recurrent, sliding windows), for each
slot; llama.cpp's 32 would be hundreds of megabytes."""


@record
class ServiceSettings(TypedDict):
    """A release's `settings.json`: how a variant is served."""

    model: str
    quant: str
    port: int
    thinking_tokens: int | None
    """Bound on a thought; None where the model answers at once."""
    context_tokens: int
    """Prompt and answer of a request have room for so many."""
    slots: int
    """Requests that are answered side by side."""
    prefix_cache_bytes: int
    """Memory for beginnings of prompts, beside those that the slots hold."""
    waiting: int
    """Requests that wait while all slots are taken."""
    answer_s: int
    """An answer may take so long."""
    drain_s: int
    """A service that is stopped answers what it took in for so long."""
    runtime: Runtime


@record
class StoredModel(TypedDict):
    """A file of the store, as it was taken in."""

    path: str
    sha256: str


@record
class ModelFile(TypedDict):
    """A model file of a release, and how it was when the release was made."""

    sha256: str
    bytes: int
    mtime_ns: int


@record
class Manifest(TypedDict):
    """A release's `manifest.json`."""

    release: str
    models: dict[str, ModelFile]
    """By name: the model, or its parts."""
    files: dict[str, str]
    """Name -> sha256."""


@record
class Releases(TypedDict):
    """The releases on a device, by their ids; None where there is none."""

    current: str | None
    """What is served."""
    previous: str | None
    """What was served before it."""
    releases: list[str]


@final
@record
class Answer(TypedDict, Generic[Said]):
    """What `llmpi-device releases` says."""

    answer: Said


@final
@record
class Refusal(TypedDict):
    """Why it did not do it, for a person."""

    error: str


# --- what a service carries -----------------------------------------------------------------------


@record
class ClosedLoad(TypedDict):
    """Clients that each ask again once they are answered."""

    kind: Literal["closed"]
    clients: int


@record
class OpenLoad(TypedDict):
    """Requests that come whether others are answered or not, by chance (Poisson)."""

    kind: Literal["open"]
    per_s: float
    """On average."""
    seed: int


@record
class TextPrompts(TypedDict):
    """Texts of a length."""

    kind: Literal["texts"]
    prompt_tokens: int


@record
class QuestionPrompts(TypedDict):
    """A task's questions, as chats; from the first one again where there are too few."""

    kind: Literal["questions"]
    task: str
    questions: int
    """How many there are."""


@record
class LoadAsked(TypedDict):
    """What a service is to carry."""

    load: ClosedLoad | OpenLoad
    prompts: TextPrompts | QuestionPrompts
    distinct: bool
    """No two prompts begin alike: none is taken out of a cache, not even in part."""
    output_tokens: int
    """Of an answer, at most."""
    requests: int
    """At most, of all clients together."""
    seconds: float
    """In which they are sent, at most; those that were sent are waited for."""


@record
class BenchRequest(LoadAsked):
    """`bench`."""

    what: str
    """It is for, for those who wait for the machine."""
    store: str
    url: str
    """Of the service, from the device itself."""
    key_file: str | None
    """With the key of the service, there."""
    questions: list[list[Message]]
    """None where texts are asked."""
    meter: Meter


@record
class ServedRequest(TypedDict):
    """A request as its client saw it."""

    start_s: float
    """When it was sent; of an open load when it was due."""
    whole_s: float
    """Until its end, whatever that was."""
    ttft_s: float | None
    """Until the first piece of text; None where there was none."""
    outcome: Literal["answered", "refused", "failed"]
    """Refused: told to come back, or that it took too long (429, 503, 504)."""
    status: int | None
    """Of HTTP, where it is another than 200."""
    reason: str | None
    """Why it has no answer."""
    prompt_tokens: int | None
    """As the service counts them, and"""
    output_tokens: int | None


@record
class LoadEnergy(TypedDict):
    """Of the board, or of what the meter sees of it, from the first request to the last end."""

    status: Literal["ok"]
    tier: Tier
    meter: str
    """Its kind."""
    by: Literal["counter", "power"]
    """Whether by the meter's own counter or by its power over time."""
    energy_j: float
    samples: int


@record
class Carried(LoadAsked):
    """What became of a load."""

    started: str
    ended: str
    stopped: bool
    """Ended before its time: not all that was asked for is there."""
    requests_made: list[ServedRequest]
    """As they ended."""
    computed_prompt_tokens: int | None
    """By the service's own counters; what is missing of the prompts came out of a cache. None where
    it does not tell, or others asked it, too."""
    others: int | None
    """Requests of other clients that ended meanwhile; None where it does not tell."""
    before: Conditions
    """Of the machine."""
    after: Conditions
    energy: LoadEnergy | NoEnergy


@final
@record
class Bench(TypedDict):
    """`bench`: who was asked, and what became of it."""

    release: str
    settings: ServiceSettings
    runtime: str | None
    """Id of the study's, as the release has it."""
    gguf_sha256: list[str]
    """Of the model's file, or its parts."""
    where: Where
    carried: Carried
    monotonic_s: float
    """The device's clocks at its end."""
    wall_s: float


@record
class LastSeen(TypedDict):
    """What llmpi last knew a device to serve."""

    release: str | None
    """None: nothing."""
    at: str


@record
class ServiceBench(TypedDict):
    """`results/service/`: what the service on a device was seen to carry, under one release."""

    status: Literal["ok"]
    study: str
    device: str
    client: Literal["on the device"]
    """Where the clients were."""
    release: str
    settings: ServiceSettings
    runtime: str | None
    """As of `Bench`."""
    gguf_sha256: list[str]
    where: Where
    seen: LastSeen
    loads: list[Carried]
