"""What the workstation writes of a device: how it was made ready, and which files it was given."""

from typing import Literal

from typing_extensions import TypedDict

from llmpi.engine.records import Failed, Where, record


@record
class Provisioned(Where):
    """`results/devices/`: a device that was made ready."""

    status: Literal["ok"]
    device: str
    store: str
    """llmpi's folder there."""
    interpreter: str
    """The Python there that has llmpi and the engine."""
    code_sha256: str
    """Of the code that measures there."""
    provisioned: str
    """UTC, ISO 8601."""


@record
class Receipt(TypedDict):
    """`results/deploy/`: a model file in a device's store."""

    status: Literal["ok"]
    device: str
    path: str
    """There."""
    sha256: str
    """As computed there."""
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


@record
class InstalledEngine(TypedDict):
    """What a device's venv holds; it lies in the store's `setup`."""

    key: str
    """Hash of the wheels, or of the lock it was built by."""
    installed: str
    """UTC, ISO 8601."""
