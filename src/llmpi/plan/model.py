"""A model as a plan knows it: what of it is stored, kept in memory and read, as the engine says."""

import hashlib
import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import NamedTuple, TypeVar

from llmpi.errors import LlmpiError
from llmpi.gguf.footprint import (
    Context,
    Described,
    Footprint,
    Quantized,
    Question,
    Reserved,
    ask,
)
from llmpi.gguf.mix.groups import UNIFORM, names_of
from llmpi.quant_types import FLOATS, FTYPES, budget_of, is_mix, type_of

Answer = TypeVar("Answer")
LARGE_VOCABULARY = 100_000


def vocabulary_bytes(tokens: int) -> int:
    """Of a GGUF header that is not there yet: the texts, scores and merges of all tokens.

    SmolLM2's is 1,785,664 bytes for 49,152 tokens; Llama 3's 7.8 MB for 128,256, whose texts are
    longer, and of which more merges lead to one.
    """
    return tokens * (61 if tokens > LARGE_VOCABULARY else 36)


class Head(NamedTuple):
    """GGUF files of which the headers are here, and nothing else."""

    files: tuple[tuple[str, bytes, int], ...]
    """Name, header, and size of the whole file; of a file in several parts the first one first."""


ALIGNMENT = 32
"""Of a tensor, in a file (gguf.h, GGUF_DEFAULT_ALIGNMENT) and in memory (ggml-impl.h)."""


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


class Sizes(NamedTuple):
    """A variant's bytes, by what they are for."""

    file_bytes: int
    parameters: int
    read_bytes: dict[str, int]
    """Of the weights, read to decode a token: by type."""
    resident_bytes: dict[str, int]
    """Of the weights, read again and again while tokens are decoded: by type. All experts, but no
    table that is looked up by row."""
    loaded_bytes: int
    """Of the weights, what the engine takes in where it maps no file."""
    on_demand_bytes: tuple[int, ...]
    """Of these, each table of which it can read the rows that are wanted (`lazy`)."""
    multiplied: dict[str, int]
    """Weights that a token of a prompt is multiplied with, by type: the output matrix is for the
    last token alone."""
    fallbacks: int
    """Tensors that do not get the type they were meant for, since their width does not suit it."""

    @property
    def read_per_token_bytes(self) -> int:
        return sum(self.read_bytes.values())

    @property
    def bits_per_weight(self) -> float:
        return self.file_bytes * 8 / self.parameters


@dataclass
class _Told:
    """What the engine said of a header so far."""

    whole: Footprint | str | None = None
    quants: dict[str, Quantized | str] = field(default_factory=dict)
    contexts: dict[Context, Reserved | str] = field(default_factory=dict)

    def add(self, asked: Question, said: Footprint | str) -> None:
        """An answer, or why there is none."""
        if isinstance(said, str):
            self.whole = self.whole or said
            self.quants |= dict.fromkeys(asked.quants, said)
            self.contexts |= dict.fromkeys(asked.contexts, said)
        else:
            self.whole = said
            self.quants |= said["quants"]
            self.contexts |= dict(zip(asked.contexts, said["contexts"], strict=True))


@cache
def _told(_: str) -> _Told:
    return _Told()


class Model:
    """A model of which the header is known, or can be described.

    Args:
        header: a GGUF file, heads of such files, or a description.
        named: the file or repository, for errors.
        vocabulary: tokens, for a description: they take room in the header.
    """

    def __init__(self, header: Path | Head | Described, named: str, vocabulary: int = 0) -> None:
        self.header = header
        self.named = named
        self._vocabulary = vocabulary
        self.told = _told(_identity(header))

    def sizes(self, quant: str) -> Sizes:
        """What a variant will weigh; a published one, as its file is.

        Raises:
            LlmpiError: the engine cannot say it.
        """
        whole = self.footprint
        weights = whole["weights"]
        kinds, stored = [w["kind"] for w in weights], [w["bytes"] for w in weights]
        fallbacks = 0
        if _is_made(quant):
            made = self.quantized(quant)
            kinds, stored, fallbacks = made["kinds"], made["sizes"], made["fallbacks"]
        read, resident, loaded, on_demand = Counter[str](), Counter[str](), 0, []
        multiplied = Counter[str]()
        for weight, kind, size in zip(weights, kinds, stored, strict=True):
            if weight["multiplies"] and weight["name"] not in OUTPUTS:
                share = weight["elements"] * weight["read_bytes"]
                multiplied[kind] += share // weight["bytes"]
            read[kind] += size * weight["read_bytes"] // weight["bytes"]
            if weight["read_bytes"] and not weight["is_table"]:
                resident[kind] += size
            loaded += _aligned(size) * weight["is_loaded"]
            on_demand += [_aligned(size)] * weight["is_marked"]
        header = whole["header_bytes"] + vocabulary_bytes(self._vocabulary)
        file_bytes = header + sum(map(_aligned, stored))
        if budget := budget_of(quant):  # which the vocabulary is a part of
            file_bytes = min(file_bytes, budget.file_bytes or file_bytes)
        return Sizes(
            file_bytes,
            self.parameters,
            dict(read),
            dict(resident),
            loaded,
            tuple(on_demand),
            dict(multiplied),
            fallbacks,
        )

    def quantized(self, quant: str) -> Quantized:
        """What the quantizer would make of it.

        Raises:
            LlmpiError: the engine refuses.
        """
        if quant not in self.told.quants:
            ask_all([(self, (quant,), ())])
        return self._or_words(self.told.quants[quant])

    def over_budget(self, mix: str) -> str | None:
        """Why a budget of bytes or bits leaves a mix no choice, in words; None where it leaves one,
        is of something else, or the engine does not know the model."""
        budget = budget_of(mix)
        if budget is None or budget.device or budget.loss_nats:
            return None
        if mix not in self.told.quants:
            ask_all([(self, (mix,), ())])
        said = self.told.quants[mix]
        if not isinstance(said, str):
            return None
        return said.partition(f"{mix}: ")[2] or None  # so `llmpi.gguf.no_alloc` tells of budgets

    def reserved(self, context: Context) -> Reserved:
        """What a context takes.

        Raises:
            LlmpiError: the engine cannot make it.
        """
        if context not in self.told.contexts:
            ask_all([(self, (), (context,))])
        return self._or_words(self.told.contexts[context])

    @property
    def footprint(self) -> Footprint:
        """
        Raises:
            LlmpiError: the engine does not know the model.
        """
        if self.told.whole is None:
            ask_all([(self, (), ())])
        assert self.told.whole is not None
        return self._or_words(self.told.whole)

    @cached_property
    def parameters(self) -> int:
        return sum(weight["elements"] for weight in self.footprint["weights"])

    @cached_property
    def largest(self) -> int:
        """Elements of the largest tensor."""
        return max(weight["elements"] for weight in self.footprint["weights"])

    @cached_property
    def outputs(self) -> int:
        """Elements of the matrix that makes logits."""
        return sum(
            weight["elements"]
            for weight in self.footprint["weights"]
            if weight["multiplies"] and weight["name"] in OUTPUTS
        )

    @cached_property
    def mix_groups(self) -> int:
        """How many groups of tensors a mix chooses types for."""
        kinds = self.quantized(UNIFORM)["kinds"]
        named = zip(self.footprint["weights"], kinds, strict=True)
        return len(names_of([weight["name"] for weight, kind in named if kind not in FLOATS]))

    @property
    def vocabulary(self) -> int:
        """Tokens."""
        return self.footprint["vocabulary"]

    def _or_words(self, answer: Answer | str) -> Answer:
        if isinstance(answer, str):
            raise LlmpiError(f"{self.named}: the engine cannot say what it takes: {answer}")
        return answer


OUTPUTS = ("output.weight", "token_embd.weight")


def _is_made(quant: str) -> bool:
    """Whether the engine is asked for its sizes; any other name is a file as it is."""
    return type_of(quant) in FTYPES or is_mix(quant)


def ask_all(questions: Iterable[tuple[Model, Iterable[str], Iterable[Context]]]) -> None:
    """Ask the engine what it has not said yet, of all models at once: it is started only once."""
    wanted: dict[int, tuple[Model, list[str], list[Context]]] = {}
    for model, quants, contexts in questions:
        _, made, places = wanted.setdefault(id(model.told), (model, [], []))
        made += [q for q in quants if _is_made(q) and q not in model.told.quants]
        places += [c for c in contexts if c not in model.told.contexts]
    open_: list[tuple[_Told, Question]] = []
    with ExitStack() as stack:
        for model, made, places in wanted.values():
            if model.told.whole is None or made or places:
                asked = Question(Path(), [*dict.fromkeys(made)], [*dict.fromkeys(places)])
                try:
                    placed = asked._replace(header=_placed(model.header, stack))
                except OSError as error:  # no file is as large as it says
                    model.told.add(asked, str(error.strerror))
                else:
                    open_.append((model.told, placed))
        for (told, asked), said in zip(open_, ask([q for _, q in open_]), strict=True):
            told.add(asked, said)


def _placed(header: Path | Head | Described, stack: ExitStack) -> Path | Described:
    """Heads become files of the right size, with a hole in place of the weights."""
    if not isinstance(header, Head):
        return header
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="llmpi-")))
    for name, head, size in header.files:
        (folder / name).write_bytes(head)
        os.truncate(folder / name, size)
    return folder / header.files[0][0]


def _identity(header: Path | Head | Described) -> str:
    match header:
        case Path():
            state = header.stat()
            return f"{header.resolve()} {state.st_size} {state.st_mtime_ns}"
        case Head():
            digests = (hashlib.sha256(head).hexdigest() for _, head, _ in header.files)
            return " ".join(digests)
        case Described():
            return json.dumps(header, sort_keys=True)
