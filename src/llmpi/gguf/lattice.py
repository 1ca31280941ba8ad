"""Weights that lie on the lattice of Q4_0, as training for that type leaves them (official QAT).

In each block of 32 every weight is a whole multiple, from -8 to 7, of one scale. ggml's quantizer
takes the largest weight of a block for its -8 (ggml-quants.c, quantize_row_q4_0_ref), and so leaves
the lattice where a block does not use that (ggml-org/llama.cpp#24603). Here the scale is fitted.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from llmpi.engine.shards import parts
from llmpi.gguf.contents import Stored, stored
from llmpi.gguf.quantizers import dequantized, kinds
from llmpi.quant_types import ON_LATTICE

KIND, BLOCK = ON_LATTICE, 32
FLOATS = ("F16", "BF16", "F32")
LARGEST = (1, 2, 3, 4, 5, 6, 7, -8)
"""What the largest weight of a block may be, in scales; its sign is the scale's, too."""
OFF = 2.0**-6
"""What a weight may be off its place, of itself: BF16 rounds it by 2^-8, and by as much the
largest, which the scale is taken from; and as much again."""
SAMPLE, AT_ONCE = 64, 1 << 16
"""Blocks that are looked at first, since few tensors lie on a lattice; and then at a time."""

Blocks = NDArray[np.float32]
"""[blocks, 32]"""


def tensors_on_lattice(gguf: Path) -> int:
    """How many matrices of an unquantized GGUF file lie on the lattice."""
    return sum(_lies_on_it(tensor) for tensor in stored(gguf).values())


def keep_lattice(source: Path, quantized: Path) -> int:
    """Give tensors of `quantized` the weights that they have in `source`, where those lie on the
    lattice. What the engine did as well stays as it is, to the byte.

    Args:
        source: of any types; `quantized` is what the engine made of it, and is edited.

    Returns:
        How many tensors keep their weights.
    """
    wide = {name: held for part in parts(source) for name, held in stored(part).items()}
    kept = 0
    for name, made in stored(quantized, edit=True).items():
        if made.kind == KIND and _lies_on_it(wide[name]):
            kept += 1
            block_bytes = kinds()[KIND].block_bytes
            rows = made.data.reshape(-1, block_bytes)
            for at, blocks in _at_once(wide[name]):
                rows[at : at + len(blocks)] = _better(blocks, rows[at : at + len(blocks)])
    return kept


def _lies_on_it(tensor: Stored) -> bool:
    if tensor.kind not in FLOATS or len(tensor.shape) < 2 or tensor.shape[-1] % BLOCK:
        return False
    first = next(_at_once(tensor, SAMPLE))[1]
    # Zeros lie on every lattice.
    if not first.any() or not fitted(first)[1].all():
        return False
    return all(fitted(blocks)[1].all() for _, blocks in _at_once(tensor))


def _at_once(tensor: Stored, count: int = AT_ONCE) -> Iterator[tuple[int, Blocks]]:
    """From which block on, and the blocks."""
    bytes_of_block = kinds()[tensor.kind].row_bytes(BLOCK)
    rows = tensor.data.reshape(-1, bytes_of_block)
    for at in range(0, len(rows), count):
        yield at, dequantized(rows[at : at + count], tensor.kind, BLOCK)


def fitted(blocks: Blocks) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """The blocks as Q4_0 with fitted scales, [blocks, 18], and which of them lie on its lattice."""
    largest = np.take_along_axis(blocks, np.abs(blocks).argmax(1, keepdims=True), 1)
    steps = np.zeros_like(blocks)
    found = np.asarray(~blocks.any(1))
    for scales in LARGEST:
        left = np.flatnonzero(~found)
        if not left.size:
            break
        part = blocks[left]
        tried = np.rint(part / (largest[left] / scales))
        off = np.abs(part - largest[left] / scales * tried)
        fits = (off <= OFF * np.abs(part)).all(1) & (tried < 8).all(1)
        steps[left[fits]], found[left[fits]] = tried[fits], True
    weight = np.maximum((steps * steps).sum(1, keepdims=True), 1)
    scale = (blocks * steps).sum(1, keepdims=True) / weight
    nibbles = (steps + 8).astype(np.uint8)
    low, high = nibbles[:, : BLOCK // 2], nibbles[:, BLOCK // 2 :]
    return np.hstack([scale.astype("<f2").view(np.uint8), low | high << 4]), found


def _better(blocks: Blocks, made: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Of each block what is nearer to its weights."""
    ours, _ = fitted(blocks)
    off, off_made = (
        np.abs(dequantized(rows, KIND, BLOCK) - blocks).max(1) for rows in (ours, made)
    )
    return np.where((off < off_made)[:, np.newaxis], ours, made)
