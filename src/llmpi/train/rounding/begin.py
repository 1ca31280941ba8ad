"""Where the rounding of each block begins, and what of it there is to learn."""

from collections.abc import Mapping

from torch import Tensor

from llmpi.errors import CellError
from llmpi.quant_types import ROUNDABLE
from llmpi.train.blocks.model import Model, name_of
from llmpi.train.network import Weights
from llmpi.train.rounding.block import Block
from llmpi.train.rounding.grids import GRIDS
from llmpi.train.rounding.matrix import Matrix

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
        if not any(self._learnable(block) for block in range(model.blocks)):
            raise CellError(
                f"of no matrix llama.cpp made a type whose rounding can be learned, which are "
                f"{', '.join(ROUNDABLE)}: their blocks do not divide its rows"
            )

    def block(self, number: int, wide: Weights, plain: Weights) -> Block | None:
        """A block before it learns, see `llmpi.train.blocks.walk.Begin`."""
        matrices = {
            part: Matrix(wide[part], GRIDS[kind], self._importance.get(name_of(number, part)))
            for part, kind in self._learnable(number).items()
            if _squares(wide[part] - plain[part]) > EXACT * _squares(wide[part])
        }
        if not matrices:
            return None
        fixed = {part: weight for part, weight in plain.items() if part not in matrices}
        return Block(fixed, matrices, self._model.output(number), self._steps)

    def _learnable(self, number: int) -> dict[str, str]:
        """Types of a block that have a grid, by the weight's part of it."""
        return {part: kind for part, kind in self._model.kinds(number).items() if kind in GRIDS}


def _squares(values: Tensor) -> float:
    return values.square().sum().item()
