"""How blocks lie in bytes whose scales are whole numbers of a scale: K-quants and IQ4.

A weight is `scale * share * level - minimum * share of the minimum`, where shares belong to a
sub-block, and a level is a code less its zero, or what a table has for it. Every product has fewer
digits than a float32: what is computed here is what ggml reads, whatever it is computed on. Layouts
are those of ggml-common.h, as ggml-quants.c reads them (dequantize_row_*).
"""

from collections.abc import Mapping
from functools import reduce
from operator import or_
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

LEVELS = (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)
"""What the codes of IQ4 stand for (ggml-common.h, kvalues_iq4nl)."""


class Parts(NamedTuple):
    """Blocks, as they are stored."""

    codes: Tensor
    """uint8 [blocks, block]"""
    scale: Tensor
    """float16 [blocks, 1]"""
    minimum: Tensor | None = None
    """float16 [blocks, 1]"""
    shares: Tensor | None = None
    """uint8 [blocks, sub-blocks], behind them as many of the minimum where there is one."""


class Field(Protocol):
    """Some of a block's bytes."""

    @property
    def part(self) -> str:
        """Of `Parts`."""

    @property
    def size(self) -> int:
        """Bytes."""

    def read(self, data: Tensor) -> Tensor:
        """What uint8 [blocks, size] say of the part."""

    def write(self, values: Tensor) -> Tensor:
        """The bytes, of the whole part."""


class Half(NamedTuple):
    """A float16."""

    part: str
    size: int = 2

    def read(self, data: Tensor) -> Tensor:
        return data.contiguous().view(torch.float16)

    def write(self, values: Tensor) -> Tensor:
        return values.contiguous().view(torch.uint8)


class Plane(NamedTuple):
    """Some bits of every value of a part; of so many values that follow one another each has the
    lowest bits of a byte of its own, the next as many have the next bits of the same bytes."""

    part: str
    size: int
    follow: int
    bits: int
    above: int = 0
    """Bits of the values that are lower than these, and elsewhere."""

    def read(self, data: Tensor) -> Tensor:
        shifts, mask = range(0, 8, self.bits), (1 << self.bits) - 1
        runs = data.reshape(len(data), -1, self.follow)
        layers = torch.stack([(runs >> shift) & mask for shift in shifts], 2)
        return layers.flatten(1) << self.above

    def write(self, values: Tensor) -> Tensor:
        shifts, mask = range(0, 8, self.bits), (1 << self.bits) - 1
        bits = ((values >> self.above) & mask).reshape(len(values), -1, len(shifts), self.follow)
        layers = zip(bits.unbind(2), shifts, strict=True)
        return reduce(or_, (layer << shift for layer, shift in layers)).flatten(1)


class Sixes(NamedTuple):
    """Eight shares of six bits, and eight of the minimum (ggml-quants.c, get_scale_min_k4): the
    first four of either have bytes of their own, whose highest bits are those of the last four."""

    part: str = "shares"
    size: int = 12

    def read(self, data: Tensor) -> Tensor:
        first, lows = data[:, :8].reshape(-1, 2, 4), data[:, 8:]
        last = torch.stack([lows & 15, lows >> 4], 1) | (first >> 6) << 4
        return torch.cat([first & 63, last], 2).flatten(1)

    def write(self, values: Tensor) -> Tensor:
        first, last = values.reshape(-1, 2, 8).split(4, 2)
        return torch.cat(
            [(first | (last >> 4) << 6).flatten(1), last[:, 0] & 15 | last[:, 1] << 4], 1
        )


class Layout(NamedTuple):
    """A type."""

    block: int
    """Weights."""
    codes: int
    """How many there are, from 0."""
    fields: tuple[Field, ...]
    zero: int = 0
    """The code of no scales."""
    levels: tuple[int, ...] | None = None
    """Of the codes; none where they are evenly spaced."""
    sub_blocks: int = 1
    shares: int = 0
    """How many a sub-block's can be, from 0; none where a block is not divided."""
    no_share: int = 0
    """The share that is no scale."""

    @property
    def size(self) -> int:
        """Bytes of a block."""
        return sum(field.size for field in self.fields)

    def unpack(self, data: Tensor) -> Parts:
        """What uint8 [blocks, size] hold."""
        found: dict[str, Tensor] = {}
        pieces = data.split([field.size for field in self.fields], 1)
        for field, piece in zip(self.fields, pieces, strict=True):
            values = field.read(piece)
            found[field.part] = found[field.part] | values if field.part in found else values
        return Parts(**found)

    def pack(self, parts: Parts) -> Tensor:
        """uint8 [blocks, size]; `unpack` gives the parts again."""
        found = parts._asdict()
        return torch.cat([field.write(found[field.part]) for field in self.fields], 1)


LAYOUTS: Mapping[str, Layout] = {
    "Q2_K": Layout(
        256,
        4,
        (Plane("shares", 16, 16, 4), Plane("codes", 64, 32, 2), Half("scale"), Half("minimum")),
        sub_blocks=16,
        shares=16,
    ),
    "Q3_K": Layout(
        256,
        8,
        (
            Plane("codes", 32, 32, 1, above=2),
            Plane("codes", 64, 32, 2),
            Plane("shares", 8, 8, 4),
            Plane("shares", 4, 4, 2, above=4),
            Half("scale"),
        ),
        zero=4,
        sub_blocks=16,
        shares=64,
        no_share=32,
    ),
    "Q4_K": Layout(
        256,
        16,
        (Half("scale"), Half("minimum"), Sixes(), Plane("codes", 128, 32, 4)),
        sub_blocks=8,
        shares=64,
    ),
    "Q5_K": Layout(
        256,
        32,
        (
            Half("scale"),
            Half("minimum"),
            Sixes(),
            Plane("codes", 32, 32, 1, above=4),
            Plane("codes", 128, 32, 4),
        ),
        sub_blocks=8,
        shares=64,
    ),
    "Q5_0": Layout(
        32,
        32,
        (Half("scale"), Plane("codes", 4, 1, 1, above=4), Plane("codes", 16, 16, 4)),
        zero=16,
    ),
    "IQ4_NL": Layout(32, 16, (Half("scale"), Plane("codes", 16, 16, 4)), levels=LEVELS),
    "IQ4_XS": Layout(
        256,
        16,
        (
            Half("scale"),
            Plane("shares", 2, 1, 2, above=4),
            Plane("shares", 4, 1, 4),
            Plane("codes", 128, 16, 4),
        ),
        levels=LEVELS,
        sub_blocks=8,
        shares=64,
        no_share=32,
    ),
}
"""By type of a tensor. Q5_0 is what llama.cpp makes of a matrix for Q4_K whose rows 256 does not
divide."""
