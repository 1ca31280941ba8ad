"""The demo's model with widths that are multiples of 256, computing the same function.

K-quants and most IQ types work on 256 columns at a time; SmolLM2-135M has 576. Zeros are put behind
every width: the residual stream becomes 768 wide, and three heads of queries and one of keys and
values come to the nine and three, all zero. A normalization now divides by the root of the sum over
768 instead of 576 columns, which its weights and its epsilon make up for.
"""

import math
from pathlib import Path

import numpy as np

from llmpi.gguf import ggml

BLOCK = 256


def widen(source: Path, out: Path) -> None:
    """Write the Llama in `source`, an unquantized GGUF, to `out` with wider tensors.

    Its query heads must fill up to a multiple of 256 where its groups of heads do.
    """
    base = ggml.base()
    with ggml.opened(source) as (fields, tensors):
        narrow = tensors["token_embd.weight"].shape[1]
        wide = _filled(narrow)
        header = base.gguf_init_empty()
        base.gguf_set_kv(header, fields)
        epsilon_key = b"llama.attention.layer_norm_rms_epsilon"
        epsilon = base.gguf_get_val_f32(fields, base.gguf_find_key(fields, epsilon_key))
        base.gguf_set_val_f32(header, epsilon_key, epsilon * narrow / wide)
        base.gguf_set_val_u32(header, b"llama.embedding_length", wide)
        for key in (b"llama.attention.head_count", b"llama.attention.head_count_kv"):
            heads = base.gguf_get_val_u32(fields, base.gguf_find_key(fields, key))
            assert heads * wide % narrow == 0
            base.gguf_set_val_u32(header, key, heads * wide // narrow)
        widened = {name: _widened(name, tensor, wide / narrow) for name, tensor in tensors.items()}
        ggml.write(out, header, widened)
        base.gguf_free(header)


def _widened(name: str, tensor: np.ndarray, factor: float) -> np.ndarray:
    if name.endswith("norm.weight"):
        tensor = tensor / np.float32(math.sqrt(factor))
    # The rows of a table of embeddings are no width, and the feed-forward's is one already.
    kept = {"token_embd.weight", "ffn_gate.weight", "ffn_up.weight"}
    row_free = any(name.endswith(part) for part in kept)
    column_free = name.endswith("ffn_down.weight")
    shape = [
        size if (axis == 0 and row_free) or (axis == 1 and column_free) else round(size * factor)
        for axis, size in enumerate(tensor.shape)
    ]
    return np.pad(tensor, [(0, new - old) for new, old in zip(shape, tensor.shape, strict=True)])


def _filled(width: int) -> int:
    return -(-width // BLOCK) * BLOCK
