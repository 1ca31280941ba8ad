"""A matrix whose rounding is learned."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from llmpi.train.fake_quant import PIECE, Codes
from llmpi.train.rounding.grids import Grid, best_scales
from llmpi.train.rounding.layouts import Layout, Parts
from llmpi.train.rounding.nested import Nested


class Matrix(ABC):
    """
    A weight becomes the level of its sub-block next to it and its offset, within the type's bounds.
    Offsets begin at 0 and stay within half a code: they choose between the two codes next to a
    weight.

    Args:
        weight: float32 [rows, columns]; the type's block divides the columns.
        scales: of its sub-blocks.
        minima: that are taken off them; none where a type has none.
        low, high: the least and the greatest code.
        levels: in scales, what codes from 0 on stand for; by default themselves.
    """

    def __init__(
        self,
        weight: Tensor,
        scales: Nested,
        minima: Nested | None,
        low: int,
        high: int,
        levels: Sequence[int] | None = None,
    ) -> None:
        self._scales, self._minima, self._low, self._high = scales, minima, low, high
        self._levels = None if levels is None else weight.new_tensor(levels)
        self._blocks = weight.reshape(len(scales.values()), -1)
        self.seen = torch.empty_like(weight).requires_grad_()
        """What the file's bytes stand for, and the block computes with."""
        self.reset()

    def reset(self) -> None:
        """Back to where learning begins."""
        self._offset = torch.zeros_like(self._blocks)
        self._scales.reset()
        if self._minima:
            self._minima.reset()
        self.quantize()

    @torch.no_grad()
    def quantize(self) -> None:
        scales, minima = self._values()
        seen = self.seen.view_as(self._blocks)
        for part in self._pieces():
            codes = self._codes(self._places(part, scales, minima)[1], part)
            torch.mul(self._levels_of(codes), scales[part], out=seen[part])
            if minima is not None:
                seen[part] -= minima[part]

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Move offsets and scales against the signs of their gradients, straight through the
        rounding; a code at a bound moves no more than its scale and its minimum."""
        assert self.seen.grad is not None
        gradient, (scales, minima) = self.seen.grad.view_as(self._blocks), self._values()
        of_scales, of_minima = torch.empty_like(scales), torch.empty_like(scales)
        for part in self._pieces():
            slope, scale = gradient[part], scales[part]
            linear, place = self._places(part, scales, minima)
            code = (place + self._offset[part]).round_()
            inside = ((code >= self._low) & (code <= self._high)).float()
            code.clamp_(self._low, self._high)
            of_scales[part] = (slope * (self._levels_of(code) - linear * inside)).sum(
                1, keepdim=True
            )
            if minima is not None:
                of_minima[part] = (slope * (inside - 1)).sum(1, keepdim=True)
            self._offset[part] -= rate * (slope * scale).sign_() * inside
            self._offset[part].clamp_(-0.5, 0.5)
        self._scales.step(of_scales, rate)
        if self._minima:
            self._minima.step(of_minima, rate)
        self.seen.grad = None
        self.quantize()

    @torch.no_grad()
    def file_bytes(self) -> np.ndarray:
        """uint8 [rows, bytes of a row], as a file holds what `seen` is."""
        scales, minima = self._values()
        each = self._scales.sub_blocks
        packed = [
            self._packed(
                self._codes(self._places(part, scales, minima)[1], part).view(
                    -1, each * self._blocks.shape[1]
                ),
                slice(part.start // each, part.stop // each),
            )
            for part in self._pieces()
        ]
        return torch.cat(packed).reshape(len(self.seen), -1).cpu().numpy()

    @abstractmethod
    def _packed(self, codes: Tensor, some: slice) -> Tensor:
        """uint8 [blocks, bytes of a block], of some blocks and their codes: float32 [blocks,
        block]."""

    def _values(self) -> tuple[Tensor, Tensor | None]:
        return self._scales.values(), self._minima.values() if self._minima else None

    def _places(self, part: slice, scales: Tensor, minima: Tensor | None) -> tuple[Tensor, Tensor]:
        """Of weights in scales, above the minimum, and between the codes: whole numbers are
        codes. 0 scales where there is none."""
        above = self._blocks[part] if minima is None else self._blocks[part] + minima[part]
        linear = torch.where(scales[part] != 0, above / scales[part], 0)
        if self._levels is None:
            return linear, linear
        below = torch.bucketize(linear, self._levels[1:-1])
        low, high = self._levels[below], self._levels[below + 1]
        return linear, below + (linear - low) / (high - low)

    def _codes(self, places: Tensor, part: slice) -> Tensor:
        return (places + self._offset[part]).round_().clamp_(self._low, self._high)

    def _levels_of(self, codes: Tensor) -> Tensor:
        """float32, in scales."""
        return codes if self._levels is None else self._levels[codes.long()]

    def _pieces(self) -> Iterator[slice]:
        """Of the sub-blocks, as many as stay in a core's cache, and whole blocks; all of them on a
        GPU."""
        count, each = self._blocks.shape
        if self.seen.device.type != "cpu":
            return iter([slice(0, count)])
        together = self._scales.sub_blocks
        size = max(1, PIECE // (each * together)) * together
        return (slice(at, min(at + size, count)) for at in range(0, count, size))


class FlatMatrix(Matrix):
    """Of a type whose blocks are a scale and whole codes. Scales begin where the weights by
    themselves are least in error.

    Args:
        importance: float32 [columns], for the error that the scales begin with; None for all alike.
    """

    def __init__(self, weight: Tensor, grid: Grid, importance: Tensor | None = None) -> None:
        spread = None if importance is None else importance.expand_as(weight)
        begin = best_scales(
            weight.reshape(-1, grid.block),
            grid,
            None if spread is None else spread.reshape(-1, grid.block),
        )
        self._pack = grid.pack
        scales = Nested(begin, torch.ones_like(begin), 1, 1)
        super().__init__(weight, scales, None, grid.low, grid.high)

    def _packed(self, codes: Tensor, some: slice) -> Tensor:
        return self._pack(Codes(self._scales.halves(some), codes))


class NestedMatrix(Matrix):
    """Of a type whose sub-blocks have scales, and minima, of their own, or whose codes are uneven.

    Args:
        data: uint8, what ggml's quantizer made of the weight: scales and minima begin as there.
    """

    def __init__(self, weight: Tensor, layout: Layout, data: Tensor) -> None:
        self._layout = layout
        held = layout.unpack(data.reshape(-1, layout.size))
        if held.shares is None:
            scales, minima = Nested(held.scale, torch.ones_like(held.scale), 1, 1), None
        else:
            of_scales, *of_minima = held.shares.float().split(layout.sub_blocks, 1)
            low, high = -layout.no_share, layout.shares - 1 - layout.no_share
            scales, minima = Nested(held.scale, of_scales - layout.no_share, low, high), None
            if held.minimum is not None:
                minima = Nested(held.minimum, of_minima[0], low, high)
        low, high = -layout.zero, layout.codes - 1 - layout.zero
        super().__init__(weight, scales, minima, low, high, layout.levels)

    def _packed(self, codes: Tensor, some: slice) -> Tensor:
        layout, minima = self._layout, self._minima
        shares = [each.shares(some) for each in (self._scales, minima) if each]
        return layout.pack(
            Parts(
                (codes + layout.zero).byte(),
                self._scales.halves(some),
                minima.halves(some) if minima else None,
                (torch.cat(shares, 1) + layout.no_share).byte() if layout.shares else None,
            )
        )
