"""What a weight of a type can be: a whole code between two bounds times the scale of its block."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from llmpi.train.fake_quant import IN_TORCH, PIECE, Codes


class Grid(NamedTuple):
    block: int
    """Elements that share a scale."""
    low: int
    high: int
    """The least and the greatest code."""
    pack: Callable[[Codes], Tensor]
    """uint8 [blocks, bytes of a block]"""
    scale_at: int = 0
    """The first of the two bytes of a block that are its scale."""


def _pack_q2_0(coded: Codes) -> Tensor:
    """struct block_q2_0 (ggml-common.h): a scale, then four neighbours to a byte."""
    codes = (coded.codes + 1).byte().view(-1, 16, 4)
    quads = codes[..., 0] | codes[..., 1] << 2 | codes[..., 2] << 4 | codes[..., 3] << 6
    return torch.cat([coded.scales.contiguous().view(torch.uint8), quads], 1)


GRIDS = {
    "Q4_0": Grid(32, -8, 7, IN_TORCH["Q4_0"][2]),
    "Q2_0": Grid(64, -1, 2, _pack_q2_0),
    "TQ1_0": Grid(256, -1, 1, IN_TORCH["TQ1_0"][2], scale_at=52),
    "TQ2_0": Grid(256, -1, 1, IN_TORCH["TQ2_0"][2], scale_at=64),
}
"""By type: those of `llmpi.quant_types.ROUNDABLE`."""

TRIED = tuple(0.4 + 0.05 * i for i in range(16))
"""Scales that are tried, in times of the one that the largest weight of a block just fits in: a
normal block of Q2_0 is best at 0.8 of it, a ternary one at 0.45."""


def best_scales(blocks: Tensor, grid: Grid, importance: Tensor | None = None) -> Tensor:
    """The scale of each block with which its weights, rounded to the nearest, are least in error.

    Args:
        blocks: float32 [blocks, block].
        importance: of each weight's squared error, as many; none for all the same.

    Returns:
        float16 [blocks, 1]; 0 for a block of zeros.
    """
    count = max(1, PIECE // grid.block)
    parts = zip(
        blocks.split(count),
        importance.split(count) if importance is not None else [None] * len(blocks),
        strict=False,
    )
    return torch.cat([_best_scales(part, grid, weights) for part, weights in parts])


def _best_scales(blocks: Tensor, grid: Grid, importance: Tensor | None) -> Tensor:
    weighted = blocks if importance is None else blocks * importance
    fitting = blocks.abs().amax(1, keepdim=True) / max(-grid.low, grid.high)
    found = torch.zeros_like(fitting, dtype=torch.float16)
    gained = torch.zeros_like(fitting)
    signs = (1, -1) if grid.high != -grid.low else (1,)
    for share in (sign * tried for tried in TRIED for sign in signs):
        codes = (blocks / (fitting * share)).nan_to_num_(0, 0, 0).round_()
        codes.clamp_(grid.low, grid.high)
        top = (weighted * codes).sum(1, keepdim=True)
        squares = codes.square_() if importance is None else codes.square_().mul_(importance)
        bottom = squares.sum(1, keepdim=True)
        scale = torch.where(bottom > 0, top / bottom, 0).half()
        # Of the squared error, what is less than that of nothing but zeros.
        gain = scale.float() * (2 * top - scale.float() * bottom)
        better = gain > gained
        found, gained = torch.where(better, scale, found), torch.where(better, gain, gained)
    return found
