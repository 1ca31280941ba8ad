"""What a model takes, as the engine itself says it: from a GGUF header, without the weights.

The engine is loaded with `no_alloc`: it reads the header, makes its tensors and graphs, and says
what it would reserve. `llama_model_quantize` with `dry_run` says which type each tensor gets. So
every architecture is known that the engine knows, and none is described here.

That is done in a child process (`llmpi.gguf.no_alloc`): a header comes from outside, and the engine
may abort.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, TypedDict

from llmpi import accidents
from llmpi.engine.records import KvType
from llmpi.engine.supervise import Death, supervise
from llmpi.gguf.contents import Fields, Value

log = logging.getLogger(__name__)

ENTRY = "llmpi.gguf.no_alloc"
PROCESSOR_S = 60
"""Processor time for one model; the largest take a second."""
PATIENCE_S = 600
"""The same as it passes, on a machine that has other things to do."""


class Context(NamedTuple):
    """A context to be asked for, as `llmpi.engine.llama.Engine` makes it."""

    tokens: int
    kv_cache: KvType = "f16"
    flash_attention: Literal["auto", "on", "off"] = "auto"
    ubatch_tokens: int = 512
    batch_tokens: int = 2048
    at_once: int | None = None
    """Tokens that are really computed at once, where those are fewer than `ubatch_tokens`."""
    slots: int | None = None
    """As llama-server makes it for so many requests side by side, each in its share of `tokens`."""


class Described(NamedTuple):
    """A header that is not written yet."""

    fields: Mapping[str, Value]
    tensors: Sequence[tuple[str, tuple[int, ...]]]
    """Name, and shape as numpy says it. Matrices are F16, the others F32."""


class Question(NamedTuple):
    """Of one model."""

    header: Path | Described
    """A GGUF file: its weights are not read, and may be a hole in a file of the right size."""
    quants: Sequence[str] = ()
    """Variants, as a study spells them."""
    contexts: Sequence[Context] = ()


class WrittenQuestion(TypedDict):
    """A question as the child gets it. In JSON its tuples are lists."""

    header: str | Described
    quants: list[str]
    contexts: list[Context]


class Weight(TypedDict):
    """A tensor of the file."""

    name: str
    kind: str
    """Its type, in capitals."""
    elements: int
    bytes: int
    read_bytes: int
    """To decode one token: all of it, the experts that are chosen, the rows that are looked up;
    nothing of what the engine does not load, or does not compute with (MTP)."""
    is_loaded: bool
    is_table: bool
    """Rows of it are looked up, and nothing else is done with it."""
    is_marked: bool
    """It is a table that the engine can read on demand (`lazy`)."""
    multiplies: bool


class Quantized(TypedDict):
    """A variant: what the quantizer would make of the file."""

    kinds: list[str]
    """Of each weight."""
    sizes: list[int]
    """Bytes of each weight."""
    fallbacks: int
    """Tensors that do not get the type they were meant for: their width does not suit it."""


class Reserved(TypedDict):
    """A context. To 0.01 MiB, as the engine prints it."""

    kv_bytes: int
    state_bytes: int
    """Of recurrent layers; it does not grow with the context."""
    window_bytes: int
    """Of `kv_bytes`, those of sliding windows; in a service they do not grow with the context."""
    compute_bytes: int
    """As reserved: with logits of every token of a batch."""
    touched_bytes: int
    """Of these, what is written: logits of the last token alone, and no more tokens at once than
    there are."""


class Footprint(TypedDict):
    """What the engine says of a model."""

    architecture: str
    vocabulary: int
    """Tokens."""
    header_bytes: int
    """Before the first weight, in all files."""
    fields: Fields
    """Those of its architecture, and which that is."""
    weights: list[Weight]
    quants: dict[str, Quantized | str]
    """A text says why there is none."""
    contexts: list[Reserved | str]


def ask(questions: Sequence[Question]) -> list[Footprint | str]:
    """What the engine says of each model; a text in place of what it cannot say."""
    if not questions:
        return []
    job = {"questions": [written(question) for question in questions], "dies_with": False}
    ended = supervise(
        ENTRY,
        job,
        writes=list[Footprint | str],
        log=lambda line: log.debug("%s", line),
        timeout_s=PATIENCE_S * len(questions),
    )
    return [ended.reason] * len(questions) if isinstance(ended, Death) else ended


def ask_one(question: Question) -> Footprint | str:
    """The same of one model, for what is kept: an accident is no answer.

    Raises:
        AccidentError: the memory or the disk did not suffice.
    """
    ended = accidents.supervise(
        ENTRY,
        {"questions": [written(question)], "dies_with": True},
        writes=list[Footprint | str],
        log=lambda line: log.debug("%s", line),
        timeout_s=PATIENCE_S,
    )
    if isinstance(ended, Death):
        return ended.reason
    [said] = ended
    return said


def written(question: Question) -> WrittenQuestion:
    header = question.header
    return {
        "header": str(header) if isinstance(header, Path) else header,
        "quants": list(question.quants),
        "contexts": list(question.contexts),
    }
