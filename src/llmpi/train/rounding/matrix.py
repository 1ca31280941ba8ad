"""A matrix whose rounding is learned."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from llmpi.train.fake_quant import PIECE, Codes
from llmpi.train.rounding.grids import Grid, best_scales

SCALE_SHARE = 0.2
"""Of the rate of the offsets, that of the scales: a scale moves all weights of its block, and the
largest by most codes."""


class Matrix:
    """
    A weight becomes `round(weight / scale + offset)` scales of its block, within the grid's bounds.
    Offsets begin at 0 and stay within half a code: they choose between the two codes next to a
    weight. Scales begin where the weights by themselves are least in error.

    Args:
        weight: float32 [rows, columns]; the grid's block divides the columns.
        importance: float32 [columns], for the error that the scales begin with; None for all alike.
    """

    def __init__(self, weight: Tensor, grid: Grid, importance: Tensor | None = None) -> None:
        self._grid = grid
        self._blocks = weight.reshape(-1, grid.block)
        spread = None if importance is None else importance.expand_as(weight)
        self._begin = best_scales(
            self._blocks, grid, None if spread is None else spread.reshape(-1, grid.block)
        ).float()
        self.seen = torch.empty_like(weight).requires_grad_()
        """What the file's bytes stand for, and the block computes with."""
        self.reset()

    def reset(self) -> None:
        """Back to where learning begins."""
        self._offset = torch.zeros_like(self._blocks)
        self._stretch = torch.ones_like(self._begin)
        self.quantize()

    @torch.no_grad()
    def quantize(self) -> None:
        scales, seen = self._scales(), self.seen.view(-1, self._grid.block)
        for part in self._pieces():
            torch.mul(self._codes(part, scales), scales[part].float(), out=seen[part])

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Move offsets and scales against the signs of their gradients, straight through the
        rounding; a code at a bound moves no more than its scale."""
        assert self.seen.grad is not None
        gradient, halves = self.seen.grad.view(-1, self._grid.block), self._scales()
        for part in self._pieces():
            scale, slope = halves[part].float(), gradient[part]
            place = _over(self._blocks[part], scale)
            code = (place + self._offset[part]).round_()
            inside = ((code >= self._grid.low) & (code <= self._grid.high)).float()
            code.clamp_(self._grid.low, self._grid.high)
            of_scale = (slope * (code - place * inside)).sum(1, keepdim=True)
            moved = of_scale.mul_(self._begin[part]).sign_()
            self._stretch[part] -= rate * SCALE_SHARE * moved
            self._offset[part] -= rate * (slope * scale).sign_() * inside
            self._offset[part].clamp_(-0.5, 0.5)
        self.seen.grad = None
        self.quantize()

    @torch.no_grad()
    def file_bytes(self) -> np.ndarray:
        """uint8 [rows, bytes of a row], as a file holds what `seen` is."""
        scales = self._scales()
        packed = [
            self._grid.pack(Codes(scales[part], self._codes(part, scales)))
            for part in self._pieces()
        ]
        return torch.cat(packed).reshape(len(self.seen), -1).cpu().numpy()

    def _scales(self) -> Tensor:
        """float16 [blocks, 1], as the file holds them."""
        return (self._begin * self._stretch).half()

    def _codes(self, part: slice, scales: Tensor) -> Tensor:
        places = _over(self._blocks[part], scales[part].float()).add_(self._offset[part])
        return places.round_().clamp_(self._grid.low, self._grid.high)

    def _pieces(self) -> Iterator[slice]:
        """Of the blocks, as many as stay in a core's cache; all of them on a GPU."""
        count = len(self._blocks)
        each = max(1, PIECE // self._grid.block) if self.seen.device.type == "cpu" else count
        return (slice(at, at + each) for at in range(0, count, each))


def _over(blocks: Tensor, scale: Tensor) -> Tensor:
    """0 where the scale is."""
    return torch.where(scale != 0, blocks / scale, 0)
