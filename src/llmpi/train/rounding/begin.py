"""Where the rounding of each block begins, and what of it there is to learn."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from llmpi.gguf import quantizers
from llmpi.gguf.trainable import ROUNDABLE_KINDS, check_roundable
from llmpi.train.blocks.model import Model, name_of
from llmpi.train.network import Weights
from llmpi.train.rounding.block import Block
from llmpi.train.rounding.grids import GRIDS
from llmpi.train.rounding.layouts import LAYOUTS
from llmpi.train.rounding.matrix import FlatMatrix, Matrix, NestedMatrix

EXACT = 2.0**-12
"""Of its squares, the squared error of a matrix that its type holds as it is, as training for it
leaves it (`llmpi.gguf.lattice`): nothing is to be learned of it."""


class Beginning:
    """
    Args:
        importance: second moments of what a weight is multiplied with, by its name.
        steps: of each block.

    Raises:
        CellError: no matrix is of a type whose rounding can be learned.
    """

    def __init__(self, model: Model, importance: Mapping[str, Tensor], steps: int) -> None:
        self._model, self._importance, self._steps = model, importance, steps
        check_roundable([kind for b in range(model.blocks) for kind in model.kinds(b).values()])

    def block(self, number: int, wide: Weights, plain: Weights) -> Block | None:
        """A block before it learns, see `llmpi.train.blocks.walk.Begin`."""
        matrices = {
            part: self._matrix(number, part, kind, wide[part])
            for part, kind in self._learnable(number).items()
            if _squares(wide[part] - plain[part]) > EXACT * _squares(wide[part])
        }
        if not matrices:
            return None
        fixed = {part: weight for part, weight in plain.items() if part not in matrices}
        return Block(fixed, matrices, self._model.output(number), self._steps)

    def _matrix(self, number: int, part: str, kind: str, weight: Tensor) -> Matrix:
        importance = self._importance.get(name_of(number, part))
        if kind in GRIDS:
            return FlatMatrix(weight, GRIDS[kind], importance)
        if importance is not None:
            data = self._model.stored(number, part).data.copy()
        else:
            # Without one ggml weighs an error by the weight itself; one that counts all alike
            # leaves of normal weights 18 % less in squares at Q2_K, and 8 % less at Q3_K.
            alike = np.ones(weight.shape[1], np.float32)
            data = quantizers.quantized(weight.cpu().numpy(), kind, alike)
        return NestedMatrix(weight, LAYOUTS[kind], torch.from_numpy(data).to(weight.device))

    def _learnable(self, number: int) -> dict[str, str]:
        """Types of a block's matrices that can be learned, by their part of it."""
        return {
            part: kind
            for part, kind in self._model.kinds(number).items()
            if kind in ROUNDABLE_KINDS
        }


def _squares(values: Tensor) -> float:
    return values.square().sum().item()
