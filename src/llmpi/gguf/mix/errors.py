"""What a type does to the weights of a tensor: by ggml's own quantizer, there and back."""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from llmpi.gguf.contents import Stored
from llmpi.gguf.quantizers import dequantized, kinds, quantized
from llmpi.quant_types import TensorType

Matrix = NDArray[np.float32]
Importance = NDArray[np.float32]
"""The second moments that the columns of a tensor meet, [matrices, columns]."""

SAMPLED_ROWS = 128
"""Of a matrix, spread evenly: the quantizers treat rows alike."""
AT_ONCE = 1 << 24
"""Weights that are unpacked at a time."""


def write_as_if(
    tensor: Stored, kind: str, importance: Importance | None, out: NDArray[np.uint8]
) -> None:
    """Write the bytes of an unquantized tensor whose weights are those that a type would have kept.

    Args:
        out: as many bytes as the tensor has.
    """
    at = 0
    for weights, moments in _pieces(tensor, importance):
        done = quantized(_there_and_back(weights, kind, moments), tensor.kind).reshape(-1)
        out[at : at + done.size] = done
        at += done.size


def errors(
    tensor: Stored, types: Iterable[TensorType], importance: Importance | None
) -> dict[TensorType, float]:
    """Of each type the sum, over the weights, of the squared error, times what their columns meet
    where that is known.

    It is computed of `SAMPLED_ROWS` of each matrix and said of all.
    """
    found = dict.fromkeys(types, 0.0)
    columns = tensor.shape[-1]
    data = tensor.data.reshape(-1, tensor.shape[-2], kinds()[tensor.kind].row_bytes(columns))
    for matrix, rows in enumerate(data):
        step = max(1, len(rows) // SAMPLED_ROWS)
        weights = dequantized(rows[::step], tensor.kind, columns)
        moments = None if importance is None else importance[matrix]
        scale = len(rows) / len(weights)
        for kind in found:
            off = _there_and_back(weights, kind, moments) - weights
            squares = np.einsum("ij,ij->j", off, off, dtype=np.float64)
            found[kind] += scale * float((squares if moments is None else squares * moments).sum())
    return found


def _there_and_back(weights: Matrix, kind: str, moments: Importance | None) -> Matrix:
    return dequantized(quantized(weights, kind, moments), kind, weights.shape[1])


def _pieces(
    tensor: Stored, importance: Importance | None
) -> Iterator[tuple[Matrix, Importance | None]]:
    """The rows of each matrix, so many at a time, and what its columns meet."""
    columns = tensor.shape[-1]
    data = tensor.data.reshape(-1, tensor.shape[-2], kinds()[tensor.kind].row_bytes(columns))
    step = max(1, AT_ONCE // columns)
    for matrix, rows in enumerate(data):
        moments = None if importance is None else importance[matrix]
        for begin in range(0, len(rows), step):
            yield dequantized(rows[begin : begin + step], tensor.kind, columns), moments
