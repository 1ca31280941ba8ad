"""A transformer block that learns its rounding."""

from collections.abc import Mapping

import torch
from torch import Tensor

from llmpi import needs
from llmpi.train.blocks.steps import Lesson, Output, apart, batches
from llmpi.train.network import Weights
from llmpi.train.rounding.matrix import Matrix

OF_A_STEP = needs.ROUNDING_STEP_TOKENS // needs.ROUNDING_WINDOW_TOKENS
"""Windows."""


class Block:
    """
    Args:
        fixed: weights that are not learned, by their part of the block.
        matrices: those that are.
        steps: of sign gradients, at a rate that falls from 1/steps to none, so that an offset comes
            as far as half a code.
    """

    def __init__(
        self, fixed: Weights, matrices: Mapping[str, Matrix], output: Output, steps: int
    ) -> None:
        self._fixed, self._matrices, self._output = fixed, matrices, output
        self._steps = steps

    @property
    def seen(self) -> dict[str, Tensor]:
        """All weights, as the block computes with them."""
        return {**self._fixed, **{part: each.seen for part, each in self._matrices.items()}}

    def learn(self, lesson: Lesson) -> None:
        """See `llmpi.train.blocks.walk.Learning`."""
        chosen = batches(lesson.windows, self._steps, lesson.seed, each=OF_A_STEP)
        for step, some in enumerate(chosen):
            loss = apart(self._output(self.seen, lesson.states[some]), lesson.targets[some])
            loss.backward()
            for each in self._matrices.values():
                each.step((1 - step / self._steps) / self._steps)
            lesson.said(step + 1, loss.item())

    def file_bytes(self) -> dict[str, Tensor]:
        """Of the matrices that are learned, by their part of the block."""
        found = {part: each.file_bytes() for part, each in self._matrices.items()}
        return {part: torch.from_numpy(data) for part, data in found.items()}
