"""What a block makes of the states of a text, and how far that is from what it is to make."""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from llmpi.train.network import Weights

AT_ONCE = 4
"""Windows that go through a block together where nothing is learned."""

Output = Callable[[Weights, Tensor], Tensor]
"""Of a block's weights, by their part of it, and float32 [windows, positions, width], as many."""


class Lesson(NamedTuple):
    """What a block learns from."""

    states: Tensor
    """float32 [windows, positions, width], as the quantized blocks before leave them."""
    targets: Tensor
    """As many, what the unquantized model has here."""
    windows: Tensor
    """int64, which of them are learned from."""
    seed: int
    """Of the order of the windows."""
    said: Callable[[int, float], None]
    """Called after each step with its number, from 1, and its loss."""


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


def batches(windows: Tensor, steps: int, seed: int, *, each: int) -> Iterator[Tensor]:
    """`each` windows a step: every one once before any comes again, in a seed's order."""
    random = np.random.default_rng(seed)
    rounds = -(-steps * each // len(windows))
    order = np.concatenate([random.permutation(len(windows)) for _ in range(rounds)])
    yield from windows[torch.from_numpy(order[: steps * each])].view(steps, each)
