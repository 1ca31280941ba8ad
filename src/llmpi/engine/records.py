"""What is measured on a device, as types: the workstation checks what comes from there by them.

The units stand in the names. Types alone: they cost a device nothing.
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
    log_tail: NotRequired[list[str]]
    """Last lines of what the process said that died."""


@record
class Engine(TypedDict):
    """Which engine it was; two that differ may round differently."""

    name: str
    version: str
    llama_cpp_commit: str
    features: list[str]
    """Of the processor, in use."""
    build_flags: dict[str, str] | None
    library_sha256: str
