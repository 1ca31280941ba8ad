"""A small model from scratch, to show at a workstation what training for ternary weights gives.

A Llama whose widths are multiples of 256, as the K-quants and the ternary types want them, with the
first merges of another model's byte-pair vocabulary. A study trains it from the same start on the
same text as F16, and for the types it names.
"""

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from typing_extensions import TypedDict

from llmpi.errors import LlmpiError
from llmpi.gguf import contents, ggml
from llmpi.gguf.contents import Fields
from llmpi.gguf.inspect import inspect
from llmpi.gguf.records import ModelShape, Start
from llmpi.models.records import Model
from llmpi.records import now, sha256_of, whole_file
from llmpi.study.models import ScratchSource

NORMAL = 1
"""llama_token_type (llama.h) of a token that is no special one."""
STANDARD_DEVIATION = 0.02
"""Of the first weights, as in GPT-2; of those that write to the residual stream, smaller by the
square root of how many do."""


@dataclass(frozen=True)
class Small:
    """The size of the model; `merges` decides its vocabulary."""

    layers: int = 4
    width: int = 256
    heads: int = 4
    kv_heads: int = 2
    ffn_width: int = 768
    merges: int = 1536
    context_tokens: int = 512


class Asked(TypedDict):
    """What the rule asks for; nothing is locked."""

    source: ScratchSource
    lock: str
    moves: int


def start(source: ScratchSource, vocabulary: Path, out: Path, seed: int) -> tuple[Start, Model]:
    """Make the untrained model; its manifest as a GGUF file, and as a model of the study.

    Args:
        vocabulary: a sound GGUF file whose byte-pair vocabulary is used.

    Raises:
        LlmpiError: that vocabulary is of another kind.
    """
    size = Small(**{field.name: getattr(source, field.name) for field in fields(Small)})
    with whole_file(out) as partial:
        write_start(vocabulary, partial, size, seed)
    digest = sha256_of(out)
    made: Start = {"status": "ok", "sha256": digest, "lineage": ["scratch"]}
    shape: ModelShape = {
        "layers": size.layers,
        "width": size.width,
        "heads": size.heads,
        "kv_heads": size.kv_heads,
        "ffn_width": size.ffn_width,
        "merges": size.merges,
        "context_tokens": size.context_tokens,
    }
    return made, {
        "status": "ok",
        "source": {"scratch": source.scratch, "vocabulary_of": source.vocabulary_of, **shape},
        "origin": {"kind": "scratch", **shape, "seed": seed},
        "checkpoint": None,
        "licence": None,
        "format": "gguf",
        "files": {out.name: {"sha256": digest, "bytes": out.stat().st_size}},
        "fetched": now(),
        "ggufs": [{"files": [out.name], "contents": inspect(out)}],
    }


def write_start(tokenizer: Path, out: Path, size: Small, seed: int) -> None:
    """Write the untrained model.

    Raises:
        LlmpiError: the tokenizer is no byte-pair vocabulary.
    """
    with contents.header(tokenizer) as handle:
        vocabulary = first_merges(contents.fields(handle), size.merges)
    library = ggml.base()
    header = library.gguf_init_empty()
    try:
        contents.set_fields(header, {**_fields(size), **vocabulary})
        count = len(_texts(vocabulary, "tokenizer.ggml.tokens"))
        ggml.write(out, header, _weights(size, count, np.random.default_rng(seed)))
    finally:
        library.gguf_free(header)


def first_merges(fields: Fields, merges: int) -> Fields:
    """The fields of a byte-pair tokenizer that knows the first `merges` merges of another one.

    A merge makes a token of two that were there before, so the first of them are a vocabulary of
    their own, with the bytes and the special tokens.

    Raises:
        LlmpiError: the tokenizer is no byte-pair one.
    """
    prefix = "tokenizer.ggml."
    if fields.get(prefix + "model") != "gpt2":
        raise LlmpiError("a small model takes its vocabulary from a model with a byte-pair one")
    tokens = _texts(fields, prefix + "tokens")
    types = [int(kind) for kind in _list(fields, prefix + "token_type")]
    kept_merges = _texts(fields, prefix + "merges")[:merges]
    made = {merge.replace(" ", "") for merge in kept_merges}
    kept = [
        i
        for i, (token, kind) in enumerate(zip(tokens, types, strict=True))
        if kind != NORMAL or len(token) == 1 or token in made
    ]
    place = {old: new for new, old in enumerate(kept)}
    ids = {
        name: place[value]
        for name, value in fields.items()
        if name.startswith(prefix) and name.endswith("_token_id")
        if isinstance(value, int) and value in place
    }
    return {
        prefix + "model": "gpt2",
        prefix + "pre": fields.get(prefix + "pre", "default"),
        prefix + "add_bos_token": False,
        prefix + "tokens": [tokens[i] for i in kept],
        prefix + "token_type": [types[i] for i in kept],
        prefix + "merges": kept_merges,
        **ids,
    }


def _list(fields: Fields, name: str) -> list[int] | list[float] | list[str]:
    value = fields.get(name)
    if not isinstance(value, list):
        raise LlmpiError(f"the file with the vocabulary has no list {name}")
    return value


def _texts(fields: Fields, name: str) -> list[str]:
    return [str(text) for text in _list(fields, name)]


def _fields(size: Small) -> Fields:
    return {
        "general.architecture": "llama",
        "general.file_type": 1,
        "llama.block_count": size.layers,
        "llama.context_length": size.context_tokens,
        "llama.embedding_length": size.width,
        "llama.feed_forward_length": size.ffn_width,
        "llama.attention.head_count": size.heads,
        "llama.attention.head_count_kv": size.kv_heads,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.rope.freq_base": 10000.0,
    }


def _weights(size: Small, tokens: int, random: np.random.Generator) -> dict[str, np.ndarray]:
    """As llama.cpp names and lays them out; the embedding is the output matrix, too."""

    def matrix(rows: int, columns: int, shrink: float = 1.0) -> np.ndarray:
        values = random.normal(0, STANDARD_DEVIATION / shrink, (rows, columns))
        return values.astype(np.float16)

    width, ffn_width, residual = size.width, size.ffn_width, (2 * size.layers) ** 0.5
    kv_width = width // size.heads * size.kv_heads
    ones = np.ones(width, np.float32)
    found = {"token_embd.weight": matrix(tokens, width), "output_norm.weight": ones}
    for i in range(size.layers):
        layer = {
            "attn_norm": ones,
            "attn_q": matrix(width, width),
            "attn_k": matrix(kv_width, width),
            "attn_v": matrix(kv_width, width),
            "attn_output": matrix(width, width, residual),
            "ffn_norm": ones,
            "ffn_gate": matrix(ffn_width, width),
            "ffn_up": matrix(ffn_width, width),
            "ffn_down": matrix(width, ffn_width, residual),
        }
        found |= {f"blk.{i}.{part}.weight": values for part, values in layer.items()}
    return found
