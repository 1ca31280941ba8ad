"""What a mix chooses between: groups of tensors, the types that suit them, and what those take."""

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from llmpi.errors import CellError, LlmpiError
from llmpi.gguf.contents import Stored
from llmpi.gguf.fallbacks import NOTHING
from llmpi.gguf.quantizers import kinds
from llmpi.quant_types import FLOATS, TENSOR_TYPES, Budget, TensorType

BY_A_MATRIX: tuple[TensorType, ...] = ("IQ3_XXS", "IQ2_S", "IQ2_XS", "IQ2_XXS")
"""Types of which the quantizer wants an importance matrix of the tensor; without it some are made
of no tensor, and some abort it (llama-quant.cpp, tensor_requires_imatrix)."""

UNIFORM = "Q4_0"
"""What the quantizer is asked for where tensors have types of their own. What stays unquantized
where all is to be of this type does so in every mix."""
LAYER = re.compile(r"(?P<stack>.*?)blk\.(?P<layer>\d+)\.(?P<kind>.+?)(\.weight)?")
PARTS = ("first", "middle", "last")
"""Thirds of the layers."""
ALIGNMENT = 32
"""Of a tensor in a file (gguf.h, GGUF_DEFAULT_ALIGNMENT)."""


class BudgetError(CellError):
    """There is nothing to choose within it: the message says why, of one in bytes."""


class Group(NamedTuple):
    """Tensors that get one type."""

    name: str
    tensors: tuple[str, ...]
    parameters: int
    bytes: dict[TensorType, int]
    """By the types that suit all of them, from wide to narrow: as they lie in a file, each tensor
    filled up to `ALIGNMENT`."""
    nanoseconds: dict[TensorType, int] | None = None
    """Of a token, by the same types; where a budget is of time."""

    @property
    def costs(self) -> dict[TensorType, int]:
        """What a budget is spent on."""
        return self.bytes if self.nanoseconds is None else self.nanoseconds


class Choice(NamedTuple):
    """What there is to choose."""

    groups: list[Group]
    limit: int
    """Bytes that they may take together."""


def choice_of(
    held: Mapping[str, Stored],
    uniform: Sequence[str],
    budget: Budget,
    *,
    header_bytes: int,
    asked: Collection[TensorType],
    weighted: Collection[str],
) -> Choice:
    """What of a model a mix chooses types for, and what the budget leaves for it.

    Args:
        held: the tensors of the unquantized file.
        uniform: which type each gets where the quantizer is asked for `UNIFORM`.
        header_bytes: before the first tensor of the unquantized file.
        asked: types to choose from.
        weighted: tensors that an importance matrix speaks of.

    Raises:
        BudgetError: no type at all suits any tensor.
        LlmpiError: no type that is asked for suits one.
    """
    as_made = dict(zip(held, uniform, strict=True))
    fixed = {name: kind for name, kind in as_made.items() if kind in FLOATS}
    shapes = {name: one.shape for name, one in held.items() if name not in fixed}
    if not shapes:
        raise BudgetError(NOTHING)
    limit = limit_of(
        budget,
        parameters=sum(math.prod(one.shape) for one in held.values()),
        header_bytes=header_bytes,
        fixed_bytes=[bytes_of(kind, math.prod(held[n].shape)) for n, kind in fixed.items()],
    )
    return Choice(grouped(shapes, asked, weighted), limit)


def grouped(
    shapes: Mapping[str, tuple[int, ...]],
    asked: Collection[TensorType],
    weighted: Collection[str],
) -> list[Group]:
    """Tensors by what they do and in which third of the layers: `attn_v, middle`.

    Args:
        shapes: of the tensors that can be quantized, by name, as numpy says them.
        asked: types to choose from.
        weighted: tensors that an importance matrix speaks of.

    Raises:
        LlmpiError: none of the types suits a tensor.
    """
    members = names_of(shapes)
    return [_group(name, found, shapes, asked, weighted) for name, found in members.items()]


def names_of(tensors: Collection[str]) -> dict[str, list[str]]:
    """The tensors of each group."""
    layers = [int(match["layer"]) for name in tensors if (match := LAYER.fullmatch(name))]
    count = max(layers, default=0) + 1
    members: dict[str, list[str]] = {}
    for name in tensors:
        members.setdefault(_group_of(name, count), []).append(name)
    return members


def _group_of(name: str, layers: int) -> str:
    match = LAYER.fullmatch(name)
    if not match:
        return name.removesuffix(".weight")
    part = PARTS[int(match["layer"]) * len(PARTS) // layers]
    return f"{match['stack']}{match['kind']}, {part}"


def _group(
    name: str,
    tensors: Sequence[str],
    shapes: Mapping[str, tuple[int, ...]],
    asked: Collection[TensorType],
    weighted: Collection[str],
) -> Group:
    suiting = [
        kind
        for kind in TENSOR_TYPES
        if kind in asked
        and all(shapes[tensor][-1] % kinds()[kind].block == 0 for tensor in tensors)
        and (kind not in BY_A_MATRIX or all(tensor in weighted for tensor in tensors))
    ]
    if not suiting:
        columns = shapes[tensors[0]][-1]
        raise LlmpiError(
            f"none of the types {', '.join(asked)} suits {tensors[0]}, which is {columns} wide: "
            "add one of blocks of 32 to 'mix.types', such as Q4_0 or Q8_0"
        )
    elements = [math.prod(shapes[tensor]) for tensor in tensors]
    sizes = {kind: sum(aligned(bytes_of(kind, count)) for count in elements) for kind in suiting}
    widest_first = sorted(sizes, key=lambda kind: -sizes[kind])
    return Group(name, tuple(tensors), sum(elements), {kind: sizes[kind] for kind in widest_first})


def limit_of(
    budget: Budget, *, parameters: int, header_bytes: int, fixed_bytes: Iterable[int]
) -> int:
    """Bytes that a budget leaves for the tensors that are chosen for.

    Args:
        parameters: of all tensors.
        header_bytes: before the first tensor, of the file that is made of one.
        fixed_bytes: of each tensor that is not chosen for.
    """
    fixed = sum(map(aligned, fixed_bytes))
    if budget.bits_per_weight:
        return int(budget.bits_per_weight * parameters / 8) - fixed
    return (budget.file_bytes or 0) - header_made(header_bytes) - fixed


WRITTEN_KEYS = ("general.quantization_version", "general.file_type")
"""What the quantizer adds to a header, where it is not there (llama-quant.cpp)."""


def header_made(header_bytes: int) -> int:
    """Of the file that is made of one with such a header, at most: a key is its length in 8 bytes,
    its text, a type and a number in 4 bytes each (gguf.h)."""
    return header_bytes + aligned(sum(8 + len(key) + 4 + 4 for key in WRITTEN_KEYS))


def bytes_of(kind: str, elements: int) -> int:
    """Of so many elements in a type."""
    block = kinds()[kind]
    return elements // block.block * block.block_bytes


def aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
