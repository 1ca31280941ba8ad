"""Importance matrices in llama.cpp's own format (tools/imatrix/imatrix.cpp, save_imatrix).

For each weight `NAME` the file holds `NAME.in_sum2`, for each input column the sum of squares of
what the weight was multiplied with, and `NAME.counts`, over how many rows; a weight that holds the
matrices of several experts has a row of sums and a count for each.
"""

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from llmpi.gguf import ggml

SUMS, COUNTS = ".in_sum2", ".counts"


@dataclass
class Moments:
    """What one weight was multiplied with."""

    sums: np.ndarray
    """Of squares, shape (matrices, columns)."""
    counts: np.ndarray
    """Rows, shape (matrices,)."""

    @property
    def means(self) -> np.ndarray:
        """The second moments, shape (matrices, columns): ones for an expert that was never asked,
        as llama-quantize reads it (tools/quantize/quantize.cpp, load_imatrix)."""
        asked = self.counts[:, np.newaxis] > 0
        rows = np.maximum(self.counts, 1)[:, np.newaxis]
        return np.where(asked, self.sums / rows, 1)


def write(
    path: Path,
    moments: Mapping[str, Moments],
    *,
    corpus: str,
    chunks: int,
    chunk_tokens: int,
) -> None:
    """Write the moments of weights, by name.

    Args:
        corpus: what names the text they were taken on.

    Raises:
        LlmpiError: the file cannot be written.
    """
    base = ggml.base()
    tensors: dict[str, np.ndarray] = {}
    for name, found in sorted(moments.items()):
        tensors[name + SUMS] = found.sums.astype(np.float32)
        tensors[name + COUNTS] = found.counts.astype(np.float32)[:, np.newaxis]
    header = base.gguf_init_empty()
    try:
        base.gguf_set_val_str(header, b"general.type", b"imatrix")
        names = (ctypes.c_char_p * 1)(corpus.encode())
        base.gguf_set_arr_str(header, b"imatrix.datasets", names, 1)
        base.gguf_set_val_u32(header, b"imatrix.chunk_count", chunks)
        base.gguf_set_val_u32(header, b"imatrix.chunk_size", chunk_tokens)
        ggml.write(path, header, tensors)
    finally:
        base.gguf_free(header)


def read(path: Path) -> dict[str, Moments]:
    """The moments of each weight, by name.

    Raises:
        ValueError: the file is no importance matrix in this format.
    """
    with ggml.opened(path) as (_, tensors):
        found = {
            name.removesuffix(SUMS): _moments(path, tensors, name.removesuffix(SUMS))
            for name in tensors
            if name.endswith(SUMS)
        }
    if not found:
        raise ValueError(f"{path}: this GGUF file is no importance matrix (no {SUMS} in it)")
    return found


def _moments(path: Path, tensors: Mapping[str, np.ndarray], name: str) -> Moments:
    if name + COUNTS not in tensors:
        raise ValueError(f"{path}: has {name}{SUMS}, but no {name}{COUNTS}")
    counts = tensors[name + COUNTS].astype(np.int64).reshape(-1)
    return Moments(tensors[name + SUMS].astype(np.float64).reshape(len(counts), -1), counts)
