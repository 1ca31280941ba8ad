"""What a service is given, and what a device says of its releases."""

from typing import Generic, TypeVar, final

from typing_extensions import TypedDict

from llmpi.engine.records import Runtime, record

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
