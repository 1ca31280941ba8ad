"""What the workstation writes of a device: how it was made ready, and which files it was given."""

from typing import Literal

from typing_extensions import TypedDict

from llmpi.engine.records import Engine, Failed, Where, record


@record
class WheelOfOwn(TypedDict):
    """An engine of the user's making."""

    wheel: str
    """Its path here."""


@record
class Preparation(TypedDict):
    """What a device is made ready with."""

    python: str
    """The Python there to begin with."""
    engine: Literal["auto", "cross", "native"] | WheelOfOwn
    march: str | None
    """None for the processor's."""
    lock: str
    """Path here of the device's pinned packages, the engine among them."""
    engines: str
    """Folder here of the wheels made for devices."""


@record
class Provisioned(Where):
    """`results/devices/`: a device that was made ready."""

    status: Literal["ok"]
    device: str
    store: str
    """llmpi's folder there."""
    interpreter: str
    """The Python there that has llmpi and the engine."""
    preparation: Preparation | None
    """How, to have it ready again; None of this machine."""
    provisioned: str
    """UTC, ISO 8601."""


@record
class InstalledEngine(TypedDict):
    """An engine that a device can measure with."""

    folder: str | None
    """There, laid over the venv; None of the one that is installed in it."""
    wheel: str | None
    """Path here."""
    wheel_sha256: str | None
    engine: Engine


@record
class InstalledEngines(TypedDict):
    """`results/installed/`: the engines of a study's comparison, on a device."""

    status: Literal["ok"]
    device: str
    engines: dict[str, InstalledEngine]
    """By name, in the order of the config: the others are held against the first."""


@record
class DeployedPart(TypedDict):
    """A part of a file that comes in several."""

    path: str
    sha256: str


@record
class Receipt(TypedDict):
    """`results/deploy/`: a model file in a device's store."""

    status: Literal["ok"]
    device: str
    path: str
    """There; of a file in several parts the first's."""
    sha256: str
    """As computed there; of one in several parts, of their hashes."""
    parts: list[DeployedPart]
    """Where it is in several, all of them in order."""
    bytes: int
    sent_bytes: int
    """Less where it was there in part, 0 where all of it was."""
    deployed: str
    """UTC, ISO 8601."""


ReceiptRecord = Receipt | Failed
"""A file of `results/deploy/`."""


@record
class EngineBuild(TypedDict):
    """How an engine's wheel was cross-built; it lies beside the wheel, and with the engine on the
    device."""

    CMAKE_ARGS: str
    march: str
    compiler: str
    glibc: str
    """The newest whose symbols it asks for."""
    sha256: str
    """Of the wheel."""
