"""A model in training, as it is and as llama.cpp will read it.

The weights that are trained stay float32. The model computes with their quantized values, which
are made once for each step; the gradient at those values moves the weights themselves. That is the
straight-through estimator (Bengio, Léonard and Courville 2013, arXiv 1308.3432), without a node in
the graph for it.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from llmpi.gguf import contents, quantizers
from llmpi.train.architectures import NOT_TRAINED
from llmpi.train.fake_quant import fake_quantize, packed, shaped


def weights_of(path: Path) -> dict[str, Tensor]:
    """The weights of a sound GGUF file, float32, by name."""
    found = {}
    for name, tensor in contents.stored(path).items():
        rows = tensor.data.reshape(int(np.prod(tensor.shape[:-1])), -1)
        values = quantizers.dequantized(rows, tensor.kind, tensor.shape[-1])
        found[name] = torch.from_numpy(values).view(tensor.shape)
    return found


class Student:
    """
    Args:
        weights: float32, by name; they are trained in place.
        kinds: the type of each in the file that will be made.
    """

    def __init__(self, weights: Mapping[str, Tensor], kinds: Mapping[str, str]) -> None:
        self.weights = dict(weights)
        self.kinds = dict(kinds)
        self.seen = {name: torch.empty_like(weight) for name, weight in weights.items()}
        """What llama.cpp will read, and what the model computes with."""
        for name in self.trained:
            self.seen[name].requires_grad_()
        self.quantize()

    @property
    def trained(self) -> list[str]:
        return [name for name in self.weights if name not in NOT_TRAINED]

    @torch.no_grad()
    def quantize(self) -> None:
        for name, weight in self.weights.items():
            fake_quantize(weight, self.kinds[name], self.seen[name])

    def parameters(self) -> list[Tensor]:
        return [self.weights[name] for name in self.trained]

    def pass_gradients(self) -> None:
        """Straight through: from the quantized values to the weights."""
        for name in self.trained:
            self.weights[name].grad = self.seen[name].grad

    def drop_gradients(self) -> None:
        for name in self.trained:
            self.weights[name].grad = self.seen[name].grad = None

    @torch.no_grad()
    def for_the_quantizer(self) -> dict[str, np.ndarray]:
        """The weights that ggml's quantizer makes of what was trained with, bit for bit."""
        return {
            name: shaped(weight, self.kinds[name]).cpu().numpy()
            for name, weight in self.weights.items()
        }

    @torch.no_grad()
    def file_bytes(self, name: str) -> np.ndarray:
        """What a file holds of a weight as training saw it."""
        kind = self.kinds[name]
        return packed(shaped(self.weights[name], kind), kind).numpy().reshape(-1)
