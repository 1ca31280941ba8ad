"""A model whose blocks are rounded one after another: only the one at work is in memory."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from llmpi.gguf import contents, quantizers
from llmpi.gguf.contents import Stored
from llmpi.train.llama import (
    EMBEDDING,
    OF_A_LAYER,
    ROPE_FACTORS,
    Shape,
    Weights,
    layer,
    rotation,
)
from llmpi.train.rounding.blocks import Block
from llmpi.train.rounding.grids import GRIDS
from llmpi.train.rounding.matrix import Matrix

EXACT = 2.0**-12
"""Of its squares, the squared error of a matrix that its type holds as it is, as training for it
leaves it (`llmpi.gguf.lattice`): nothing is to be learned of it."""

DTYPE = torch.bfloat16
"""Of matrix products."""


def name_of(block: int, part: str) -> str:
    """Of a tensor of a block."""
    return f"blk.{block}.{part}.weight"


class Model:
    """An unquantized file, and the one that llama.cpp made of it.

    Args:
        importance: second moments of what a weight is multiplied with, by its name.
        positions: of a window.
    """

    def __init__(
        self,
        base: Path,
        made: Path,
        shape: Shape,
        importance: Mapping[str, np.ndarray],
        positions: int,
        device: torch.device,
    ) -> None:
        self._base, self._made = contents.stored(base), contents.stored(made)
        self._shape, self._importance, self._device = shape, importance, device
        held = self._base.get(ROPE_FACTORS)
        factors = self._values(held) if held else None
        self._turned = rotation(factors, positions, shape, device)

    def begin(self, tokens: np.ndarray) -> tuple[Tensor, Tensor]:
        """What the first block is given, unquantized and quantized: float32 [windows, positions,
        width]. Only the rows of the table that are asked for are unpacked."""
        asked, places = np.unique(tokens, return_inverse=True)
        found = []
        for held in (self._base[EMBEDDING], self._made[EMBEDDING]):
            rows = held.data.reshape(held.shape[0], -1)[asked]
            values = quantizers.dequantized(rows, held.kind, held.shape[1])
            found.append(self._tensor(values[places.reshape(tokens.shape)]))
        return found[0], found[1]

    def learnable(self, block: int) -> list[str]:
        """Parts of a block whose type has a grid."""
        return [part for part in OF_A_LAYER if self._made[name_of(block, part)].kind in GRIDS]

    def unquantized(self, block: int) -> dict[str, Tensor]:
        return {part: self._values(self._base[name_of(block, part)]) for part in OF_A_LAYER}

    def plain(self, block: int) -> dict[str, Tensor]:
        """A block as llama.cpp rounded it."""
        return {part: self._values(self._made[name_of(block, part)]) for part in OF_A_LAYER}

    def block(self, block: int, wide: Mapping[str, Tensor], plain: Mapping[str, Tensor]) -> Block:
        """A block before it learns: `wide` is unquantized, `plain` as llama.cpp rounded it."""
        matrices = {
            part: self._matrix(name_of(block, part), wide[part])
            for part in self.learnable(block)
            if _squares(wide[part] - plain[part]) > EXACT * _squares(wide[part])
        }
        fixed = {part: weight for part, weight in plain.items() if part not in matrices}
        return Block(fixed, matrices, self.output)

    def output(self, weights: Weights, states: Tensor) -> Tensor:
        """Of a block."""
        return layer(weights, states, self._turned, self._shape, DTYPE)

    def read(self, block: int, part: str, data: np.ndarray) -> Tensor:
        """What ggml reads of the bytes of a matrix."""
        return self._values(self._made[name_of(block, part)]._replace(data=data))

    def _matrix(self, name: str, weight: Tensor) -> Matrix:
        moments = self._importance.get(name)
        importance = None if moments is None else self._tensor(moments)
        return Matrix(weight, GRIDS[self._made[name].kind], importance)

    def _values(self, held: Stored) -> Tensor:
        rows = held.data.reshape(int(np.prod(held.shape[:-1])), -1)
        values = quantizers.dequantized(rows, held.kind, held.shape[-1])
        return self._tensor(values.reshape(held.shape))

    def _tensor(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values, np.float32)).to(self._device)


def _squares(values: Tensor) -> float:
    return values.square().sum().item()
