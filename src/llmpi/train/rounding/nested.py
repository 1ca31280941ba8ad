"""The scales of a matrix's sub-blocks, as they are learned and as a file holds them."""

import torch
from torch import Tensor

SCALE_SHARE = 0.2
"""Of the rate of the offsets, that of the scales: a scale moves all weights of its block, and the
largest by most codes."""
ALL = slice(None)


class Nested:
    """A float16 of each block times a whole number of each of its sub-blocks.

    Both have a factor that is learned, straight through the rounding to what is stored.

    Args:
        begin: float16 [blocks, 1].
        shares: whole numbers [blocks, sub-blocks]; 1 of a block that is not divided.
        low, high: bounds of the shares.
    """

    def __init__(self, begin: Tensor, shares: Tensor, low: int, high: int) -> None:
        self._begin, self._shares = begin.float(), shares.float()
        self._low, self._high = low, high
        self.reset()

    def reset(self) -> None:
        """Back to where learning begins."""
        self._stretch = torch.ones_like(self._begin)
        self._stretches = torch.ones_like(self._shares)

    @property
    def sub_blocks(self) -> int:
        """Of a block."""
        return self._shares.shape[1]

    def halves(self, some: slice = ALL) -> Tensor:
        """float16 [blocks, 1], as the file holds them, of some blocks."""
        return (self._begin[some] * self._stretch[some]).half()

    def shares(self, some: slice = ALL) -> Tensor:
        """float32 [blocks, sub-blocks], likewise."""
        shares = self._shares[some] * self._stretches[some]
        return shares.round_().clamp_(self._low, self._high)

    def values(self) -> Tensor:
        """float32 [all sub-blocks, 1]."""
        return (self.halves().float() * self.shares()).view(-1, 1)

    def step(self, slopes: Tensor, rate: float) -> None:
        """Move against the signs of gradients.

        Args:
            slopes: of the loss, as `values` has them.
        """
        slopes, rate = slopes.view_as(self._shares), rate * SCALE_SHARE
        of_blocks = (slopes * self.shares()).sum(1, keepdim=True)
        if self._low < self._high:
            of_shares = slopes * self.halves().float() * self._shares
            self._stretches -= rate * of_shares.sign_()
        self._stretch -= rate * of_blocks.mul_(self._begin).sign_()
