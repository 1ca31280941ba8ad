"""A tiny random Llama with a byte vocabulary, as a GGUF file: what training is tested on."""

from pathlib import Path

import numpy as np

from llmpi.gguf import contents, ggml
from llmpi.train.small import Small, write_start

SIZE = Small(layers=2, width=256, heads=4, kv_heads=2, ffn_width=256, merges=3, context_tokens=64)
MERGES = ["t h", "th e", "i n"]


def bytes_as_letters() -> list[str]:
    """GPT-2's letters for the 256 bytes (Radford et al. 2019, bytes_to_unicode of encoder.py)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = {byte: chr(byte) for byte in printable}
    others = (byte for byte in range(256) if byte not in letters)
    letters |= {byte: chr(256 + i) for i, byte in enumerate(others)}
    return [letters[byte] for byte in range(256)]


def write_tokenizer(path: Path) -> None:
    tokens = ["<|end|>", *bytes_as_letters(), *(merge.replace(" ", "") for merge in MERGES)]
    fields = {
        "general.architecture": "llama",
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [3] + [1] * (len(tokens) - 1),
        "tokenizer.ggml.merges": MERGES,
        "tokenizer.ggml.bos_token_id": 0,
        "tokenizer.ggml.eos_token_id": 0,
    }
    _write(path, fields, {"nothing": np.zeros(32, np.float32)})


def tiny_llama(folder: Path, *, whole: bool = False) -> Path:
    """
    Args:
        whole: with an output matrix of its own and factors of the rotary frequencies, as Llama 3
            has them.
    """
    write_tokenizer(folder / "tokenizer.gguf")
    path = folder / "tiny.gguf"
    write_start(folder / "tokenizer.gguf", path, SIZE, seed=1)
    if not whole:
        return path
    with contents.header(path) as handle:
        fields = contents.fields(handle)
    with ggml.opened(path) as (_, tensors):
        random = np.random.default_rng(2)
        more = {name: array.copy() for name, array in tensors.items()}
    table = more["token_embd.weight"]
    more["output.weight"] = random.normal(0, 0.05, table.shape).astype(np.float16)
    more["rope_freqs.weight"] = random.uniform(1, 8, SIZE.width // SIZE.heads // 2).astype(
        np.float32
    )
    other = folder / "whole.gguf"
    _write(other, fields, more)
    return other


def _write(path: Path, fields: contents.Fields, tensors: dict[str, np.ndarray]) -> None:
    library = ggml.base()
    header = library.gguf_init_empty()
    contents.set_fields(header, fields)
    ggml.write(path, header, tensors)
    library.gguf_free(header)
