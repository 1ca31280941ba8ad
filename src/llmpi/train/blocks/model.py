"""A model of which one transformer block is in memory: unquantized, and as llama.cpp made it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from llmpi.gguf import contents, quantizers
from llmpi.gguf.contents import Stored
from llmpi.gguf.trainable import EMBEDDING, OUTPUT_NORM
from llmpi.train.blocks.steps import Output
from llmpi.train.network import Network, Weights, output_name


def name_of(block: int, part: str) -> str:
    """Of a tensor of a block."""
    return f"blk.{block}.{part}.weight"


@dataclass(frozen=True)
class Head:
    of_norm: Tensor
    matrix: Tensor
    """[vocabulary, width], as products are computed."""
    network: Network

    def hidden(self, states: Tensor) -> Tensor:
        """[windows, positions, width] that the matrix is multiplied with."""
        return self.network.norm(states, self.of_norm)


class Model:
    """An unquantized file, and the one that llama.cpp made of it.

    Args:
        dtype: of matrix products.
    """

    def __init__(
        self,
        base: Path,
        made: Path,
        network: Network,
        device: torch.device,
        dtype: torch.dtype = torch.bfloat16,
    ) -> None:
        self._base, self._made = contents.stored(base), contents.stored(made)
        self._network, self._device, self._dtype = network, device, dtype

    def begin(self, tokens: np.ndarray) -> tuple[Tensor, Tensor]:
        """What the first block is given, unquantized and quantized: float32 [windows, positions,
        width]. Only the rows of the table that are asked for are unpacked."""
        return self._embedded(self._base, tokens), self._embedded(self._made, tokens)

    def embedded(self, tokens: np.ndarray) -> Tensor:
        """What the first quantized block is given."""
        return self._embedded(self._made, tokens)

    def _embedded(self, file: Mapping[str, Stored], tokens: np.ndarray) -> Tensor:
        asked, places = np.unique(tokens, return_inverse=True)
        held = file[EMBEDDING]
        rows = held.data.reshape(held.shape[0], -1)[asked]
        values = quantizers.dequantized(rows, held.kind, held.shape[1])
        return self._network.embedded(self._tensor(values[places.reshape(tokens.shape)]))

    @property
    def blocks(self) -> int:
        return self._network.layers

    def stored(self, block: int, part: str) -> Stored:
        """A weight as it is in the quantized file."""
        return self._made[name_of(block, part)]

    def kinds(self, block: int) -> dict[str, str]:
        """The types that llama.cpp gave a block's weights, by their part of it."""
        return {part: self.stored(block, part).kind for part in self._network.parts}

    def unquantized(self, block: int) -> dict[str, Tensor]:
        held = {part: self._base[name_of(block, part)] for part in self._network.parts}
        return {part: self._values(each) for part, each in held.items()}

    def plain(self, block: int) -> dict[str, Tensor]:
        """A block as llama.cpp rounded it."""
        return {part: self._values(self.stored(block, part)) for part in self._network.parts}

    def output(self, block: int) -> Output:
        """What a block makes, of its weights and of what it is given."""

        def found(weights: Weights, states: Tensor) -> Tensor:
            return self._network.output(block, weights, states, self._dtype)

        return found

    def heads(self) -> tuple[Head, Head]:
        """What makes logits of the last block's output, unquantized and quantized."""
        one, other = (
            Head(
                self._values(held[OUTPUT_NORM]),
                self._values(held[output_name(held)]).to(self._dtype),
                self._network,
            )
            for held in (self._base, self._made)
        )
        return one, other

    def read(self, block: int, part: str, data: np.ndarray) -> Tensor:
        """What ggml reads of the bytes of a weight."""
        return self._values(self.stored(block, part)._replace(data=data))

    def _values(self, held: Stored) -> Tensor:
        rows = held.data.reshape(int(np.prod(held.shape[:-1])), -1)
        values = quantizers.dequantized(rows, held.kind, held.shape[-1])
        return self._tensor(values.reshape(held.shape))

    def _tensor(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values, np.float32)).to(self._device)
