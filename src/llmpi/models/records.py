"""The manifest of a model: where it comes from, and its files."""

from typing import Literal

from typing_extensions import TypedDict

from llmpi.engine.records import Failed, record
from llmpi.gguf.records import Contents

# --- the source, as the config has it (`llmpi.study.models`) --------------------------------------


@record
class PypiSource(TypedDict):
    pypi: str
    version: str
    file: str
    sha256: str


@record
class HubSource(TypedDict):
    hub: str
    revision: str
    file: str | None
    sha256: str | None


@record
class PathSource(TypedDict):
    path: str
    sha256: str | None


@record
class ScratchSource(TypedDict):
    scratch: Literal["llama"]
    vocabulary_of: str
    merges: int
    layers: int
    width: int
    heads: int
    kv_heads: int
    ffn_width: int
    context_tokens: int


# --- the origin: what names this source for ever --------------------------------------------------


@record
class PypiOrigin(TypedDict):
    kind: Literal["pypi"]
    pypi: str
    version: str
    file: str


@record
class HubOrigin(TypedDict):
    kind: Literal["hub"]
    hub: str
    revision: str
    """Commit sha."""
    requested: str
    """What the config asks for: a commit, a branch or a tag."""


@record
class PathOrigin(TypedDict):
    kind: Literal["path"]
    path: str


@record
class ScratchOrigin(TypedDict):
    kind: Literal["scratch"]
    merges: int
    layers: int
    width: int
    heads: int
    kv_heads: int
    ffn_width: int
    context_tokens: int
    seed: int
    """Of the first weights."""


Origin = PypiOrigin | HubOrigin | PathOrigin | ScratchOrigin


# --- the manifest ---------------------------------------------------------------------------------


@record
class ModelFile(TypedDict):
    sha256: str
    bytes: int


@record
class ModelGguf(Contents):
    """What the GGUF file of a model holds that comes as one."""

    file: str


class _Fetched(TypedDict):
    source: PypiSource | HubSource | PathSource | ScratchSource
    origin: Origin
    licence: str | None
    format: Literal["gguf", "safetensors"]
    files: dict[str, ModelFile]
    """By name."""
    fetched: str


@record
class Model(_Fetched):
    status: Literal["ok"]
    gguf: ModelGguf | None
    """None of a checkpoint."""


@record
class FailedModel(_Fetched, Failed):
    """The source delivered what it promised, but that is no sound GGUF file."""


ModelRecord = Model | FailedModel
"""`results/models/*/manifest.json`"""
