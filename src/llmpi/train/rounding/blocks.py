"""A transformer block that learns its rounding."""

import math
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

from llmpi import needs
from llmpi.train.llama import Weights
from llmpi.train.rounding.matrix import Matrix

AT_ONCE = needs.ROUNDING_STEP_TOKENS // needs.ROUNDING_WINDOW_TOKENS
"""Windows of a step."""

Output = Callable[[Weights, Tensor], Tensor]
"""Of a block's weights, by their part of it, and float32 [windows, positions, width], as many."""


class Block:
    """
    Args:
        fixed: weights that are not learned, by their part of the block.
        matrices: those that are.
    """

    def __init__(self, fixed: Weights, matrices: Mapping[str, Matrix], output: Output) -> None:
        self._fixed, self.matrices, self._output = fixed, matrices, output

    @property
    def seen(self) -> dict[str, Tensor]:
        """All weights, as the block computes with them."""
        return {**self._fixed, **{part: each.seen for part, each in self.matrices.items()}}

    def learn(
        self,
        states: Tensor,
        targets: Tensor,
        windows: Tensor,
        *,
        steps: int,
        seed: int,
        said: Callable[[int, float], None],
    ) -> None:
        """Learn to make `targets` of `states`.

        Args:
            states: float32 [windows, positions, width], as the quantized blocks before leave them.
            targets: as many, what the unquantized model has here.
            windows: int64, which of them are learned from.
            steps: of sign gradients, at a rate that falls from 1/steps to none, so that an offset
                comes as far as half a code.
            seed: of the order of the windows.
            said: called after each step with its number, from 1, and its loss.
        """
        for step, chosen in enumerate(batches(windows, steps, seed)):
            loss = apart(self._output(self.seen, states[chosen]), targets[chosen])
            loss.backward()
            for each in self.matrices.values():
                each.step((1 - step / steps) / steps)
            said(step + 1, loss.item())


@torch.no_grad()
def advance(output: Output, weights: Weights, states: Tensor) -> None:
    """Put what a block makes of the states of all windows in their place."""
    for some in states.split(AT_ONCE):
        some.copy_(output(weights, some))


@torch.no_grad()
def error(output: Output, weights: Weights, states: Tensor, targets: Tensor) -> float:
    """How far `apart` it leaves them, mean over windows."""
    pairs = zip(states.split(AT_ONCE), targets.split(AT_ONCE), strict=True)
    found = (apart(output(weights, some), wanted).item() * len(some) for some, wanted in pairs)
    return math.fsum(found) / len(states)


def apart(output: Tensor, target: Tensor) -> Tensor:
    """The squared distance of a token's output, over the square of what it is to be; mean over
    tokens. What reads it divides by that length (RMSNorm), so that no token counts more for it."""
    return ((output - target).square().sum(-1) / target.square().sum(-1)).mean()


def batches(windows: Tensor, steps: int, seed: int) -> Iterator[Tensor]:
    """The windows of each step: every one once before any comes again, in a seed's order."""
    random = np.random.default_rng(seed)
    rounds = -(-steps * AT_ONCE // len(windows))
    order = np.concatenate([random.permutation(len(windows)) for _ in range(rounds)])
    yield from windows[torch.from_numpy(order[: steps * AT_ONCE])].view(steps, AT_ONCE)
