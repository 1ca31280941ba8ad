"""What a model predicts of which one block is in memory, held against the unquantized one."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from llmpi.study.training import Training
from llmpi.train import loss as losses
from llmpi.train.blocks.model import Model
from llmpi.train.blocks.steps import AT_ONCE
from llmpi.train.network import Weights


class Windows(NamedTuple):
    """Of a text."""

    tokens: np.ndarray
    """int64 [windows, positions]"""
    targets: Tensor
    """What the unquantized model's last block makes of them: float32 [windows, positions, width]"""
    seen: Tensor
    """int64, which of them are learned from."""
    held_out: Tensor


class Predictions:
    def __init__(self, model: Model, windows: Windows, settings: Training) -> None:
        self._model, self._windows, self._settings = model, windows, settings
        self._wide, self._made = model.heads()

    def distance(self, states: Tensor, some: Tensor) -> Tensor:
        """Of the last block's states of some windows, in nats per position."""
        return losses.divergence(
            self._made.hidden(states).flatten(0, 1),
            self._made.matrix,
            self._wide.hidden(self._windows.targets[some]).flatten(0, 1),
            self._wide.matrix,
            temperature=self._settings.temperature,
            dtype=self._wide.matrix.dtype,
        )

    @torch.no_grad()
    def look(self, weights: Callable[[int], Weights]) -> tuple[float, float]:
        """At the held-out windows: what training makes small, and nats per token.

        Args:
            weights: of a block, by its number.
        """
        held_out = self._windows.held_out
        states = self._model.embedded(self._windows.tokens[held_out.numpy()])
        for number in range(self._model.blocks):
            block, output = weights(number), self._model.output(number)
            for some in states.split(AT_ONCE):
                some.copy_(output(block, some))
        tokens = torch.from_numpy(self._windows.tokens[held_out.numpy()]).to(states.device)
        nll = losses.cross_entropy(
            self._made.hidden(states[:, :-1]).flatten(0, 1),
            self._made.matrix,
            tokens[:, 1:].flatten(),
            dtype=self._made.matrix.dtype,
        )
        return self.distance(states, held_out).item(), nll.item()
