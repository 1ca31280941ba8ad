"""Which type llama.cpp gives each tensor of a quantization, and what that makes in bytes.

`tensor_types` follows `llama_tensor_get_type_impl` and `tensor_type_fallback` of llama-quant.cpp at
the pinned engine's commit; a test compares it with the manifests of files the engine made.
"""

import math
from collections import Counter
from typing import NamedTuple

from llmpi.plan.architectures import Model, Tensor
from llmpi.quant_types import type_of, wants_imatrix


class Block(NamedTuple):
    """How a type stores weights: so many of them in so many bytes."""

    weights: int
    bytes: int


# ggml-common.h, the block_* structures.
BLOCKS = {
    "F32": Block(1, 4),
    "F16": Block(1, 2),
    "BF16": Block(1, 2),
    "Q8_0": Block(32, 34),
    "Q5_1": Block(32, 24),
    "Q5_0": Block(32, 22),
    "Q4_1": Block(32, 20),
    "Q4_0": Block(32, 18),
    "IQ4_NL": Block(32, 18),
    "MXFP4": Block(32, 17),
    "Q6_K": Block(256, 210),
    "Q5_K": Block(256, 176),
    "Q4_K": Block(256, 144),
    "IQ4_XS": Block(256, 136),
    "Q3_K": Block(256, 110),
    "IQ3_S": Block(256, 110),
    "IQ3_XXS": Block(256, 98),
    "Q2_K": Block(256, 84),
    "IQ2_S": Block(256, 82),
    "IQ2_XS": Block(256, 74),
    "IQ2_XXS": Block(256, 66),
    "TQ2_0": Block(256, 66),
    "IQ1_M": Block(256, 56),
    "TQ1_0": Block(256, 54),
    "IQ1_S": Block(256, 50),
    "Q2_0": Block(64, 18),
    "Q1_0": Block(128, 18),
}

# llama_ftype_get_default_type, where the tensors' type is not spelled as the file's.
DEFAULTS = {
    "IQ3_XS": "IQ3_S",
    "IQ3_M": "IQ3_S",
    "IQ2_S": "IQ2_XS",
    "IQ2_M": "IQ2_S",
    "MXFP4_MOE": "MXFP4",
}

FALLBACKS = {
    **dict.fromkeys(
        ("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ4_XS"), "IQ4_NL"
    ),
    **dict.fromkeys(("Q2_0", "Q2_K", "Q3_K", "TQ1_0", "TQ2_0"), "Q4_0"),
    "Q4_K": "Q5_0",
    "Q5_K": "Q5_1",
    "Q6_K": "Q8_0",
}

LARGE_VOCABULARY = 100_000


def vocabulary_bytes(tokens: int) -> int:
    """Of a GGUF header: the texts, scores and merges of all tokens.

    SmolLM2's is 1,785,664 bytes for 49,152 tokens; Llama 3's 7.8 MB for 128,256, whose texts are
    longer, and of which more merges lead to one.
    """
    return tokens * (61 if tokens > LARGE_VOCABULARY else 36)


class Sizes(NamedTuple):
    """A file's bytes, by what they are for."""

    file_bytes: int
    parameters: int
    read_bytes: dict[str, int]
    """Of the weights, read to decode a token: by type."""
    fallbacks: int
    """Tensors that do not get the type they were meant for, since their width does not suit it."""

    @property
    def read_per_token_bytes(self) -> int:
        return sum(self.read_bytes.values())

    @property
    def bits_per_weight(self) -> float:
        return self.file_bytes * 8 / self.parameters


def sizes(model: Model, quant: str) -> Sizes:
    """What a quantization of `model` will weigh.

    Args:
        quant: as `quant_types.FTYPES` spells it, with `+imatrix` or `-qat` behind it or not.
    """
    types, fallbacks = tensor_types(model, quant)
    stored = {t.name: tensor_bytes(t.shape, types[t.name]) for t in model.tensors}
    read: Counter[str] = Counter()
    untied = "output.weight" in stored
    for tensor in model.tensors:
        if tensor.name == "token_embd.weight" and untied:
            continue  # one row of it is read
        share = 1.0
        if "_exps" in tensor.name and model.experts:
            share = model.experts_used / model.experts
        read[types[tensor.name]] += round(stored[tensor.name] * share)
    return Sizes(
        sum(stored.values()) + vocabulary_bytes(model.vocab),
        sum(math.prod(tensor.shape) for tensor in model.tensors),
        dict(read),
        fallbacks,
    )


def tensor_bytes(shape: tuple[int, ...], kind: str) -> int:
    block = BLOCKS[kind]
    return math.prod(shape) // block.weights * block.bytes


def kv_cache_bytes(model: Model, context_tokens: int, kind: str = "f16", ubatch: int = 512) -> int:
    """Keys and values of a full context, all layers (llama-kv-cache.cpp).

    A windowed layer keeps its window and the batch under way, if that is less.
    """
    context = math.ceil(context_tokens / 256) * 256
    block = BLOCKS[kind.upper()]
    windowed = model.layers // 2 if model.window else 0
    short = min(context, math.ceil(((model.window or 0) + ubatch) / 256) * 256)
    cells = (model.layers - windowed) * context + windowed * short
    return 2 * model.kv_heads * model.head_dim * cells // block.weights * block.bytes


def compute_bytes(model: Model, context_tokens: int, tokens: int, flash: bool = True) -> int:
    """Working memory that the engine touches while it computes so many tokens at once, float32.

    It reserves more (logits of every token), but what is never written takes no memory. Four
    tensors of the widest layer are alive at a time; without flash attention the scores of all heads
    are there, too (llama-context.cpp, graph_reserve).
    """
    widest = max(
        t.shape[-2] for t in model.tensors if len(t.shape) > 1 and t.name.startswith("blk.")
    )
    scores = 0 if flash else model.heads * context_tokens
    return 4 * (tokens * (4 * widest + scores) + model.vocab)


# --- types ----------------------------------------------------------------------------------------


def tensor_types(model: Model, quant: str) -> tuple[dict[str, str], int]:
    """Type of each tensor by name, and how many fell back to another than they were meant for."""
    kind = type_of(quant)
    default = DEFAULTS.get(kind, kind[:4] if "_K_" in kind else kind)
    tied = all(tensor.name != "output.weight" for tensor in model.tensors)
    counts: Counter[str] = Counter()
    types: dict[str, str] = {}
    fallbacks = 0
    for tensor in model.tensors:
        if not _is_quantized(tensor):
            types[tensor.name] = "F32"
        elif BLOCKS[default].weights == 1:
            types[tensor.name] = default
        else:
            is_output = tensor.name == "output.weight" or (
                tied and tensor.name == "token_embd.weight"
            )
            wanted = (
                _output(kind, default, tensor)
                if is_output
                else _wanted(model, kind, default, tensor, wants_imatrix(quant), counts)
            )
            types[tensor.name] = _fitting(tensor, wanted)
            fallbacks += types[tensor.name] != wanted
    return types, fallbacks


def _is_quantized(tensor: Tensor) -> bool:
    return (
        len(tensor.shape) > 1
        and tensor.name.endswith("weight")
        and "_norm.weight" not in tensor.name
        and "ffn_gate_inp.weight" not in tensor.name
    )


def _fitting(tensor: Tensor, wanted: str) -> str:
    columns = tensor.shape[-1]
    if columns % BLOCKS[wanted].weights == 0:
        return wanted
    other = FALLBACKS.get(wanted, wanted)
    return other if columns % BLOCKS[other].weights == 0 else "F16"


def _output(kind: str, default: str, tensor: Tensor) -> str:
    """Of the output matrix, which may be the table of embeddings, too."""
    if kind == "MXFP4_MOE" or tensor.shape[-1] % BLOCKS[default].weights:
        return "Q8_0"
    if kind in (*IQ_SMALL, "IQ3_XXS"):
        return "Q5_K"
    return default if default == "Q8_0" else "Q6_K"


IQ_SMALL = ("IQ2_XXS", "IQ2_XS", "IQ1_S", "IQ2_S", "IQ2_M", "IQ1_M")


def _wanted(
    model: Model, kind: str, default: str, tensor: Tensor, imatrix: bool, counts: Counter[str]
) -> str:
    """The rest of llama_tensor_get_type_impl; `counts` holds how many of a role were seen."""
    name, n = tensor.name, model.layers
    gqa, eight = model.heads // max(model.kv_heads, 1), model.experts == 8
    if kind == "MXFP4_MOE":
        return "MXFP4" if len(tensor.shape) > 2 else "Q8_0"
    if name == "token_embd.weight":
        return _EMBEDDINGS.get(kind, default)
    role = _role(name)
    i = counts[role]
    counts[role] += 1
    if role == "ffn_down" and model.experts > 1:
        i = int(name.split(".")[1])
    wide = i < n // 8 or i >= 7 * n // 8 or (i - n // 8) % 3 == 2  # use_more_bits
    if kind in IQ_SMALL:
        return _small_iq(kind, default, role, i, n, gqa, eight)
    if role == "attn_v":
        chosen = _attn_v(kind, default, i, wide, gqa, imatrix)
        if n == 80 and gqa > 1 and chosen in ("Q3_K", "Q4_K"):
            chosen = "Q5_K"
        return "Q8_0" if eight else chosen
    if role in ("attn_k", "attn_q"):
        if role == "attn_k" and eight:
            return "Q8_0"
        return {"IQ3_XS": "IQ3_XXS", "IQ3_XXS": "IQ2_S"}.get(kind, default)
    if role == "ffn_down":
        return _ffn_down(kind, default, i, n, wide, imatrix, eight)
    if role == "attn_output":
        return _attn_output(kind, default, eight)
    if role in ("ffn_gate", "ffn_up") and kind == "IQ3_XS" and n // 8 <= i < 7 * n // 8:
        return "IQ3_XXS"
    return default


_EMBEDDINGS = {
    **dict.fromkeys(("IQ2_XXS", "IQ2_XS", "IQ1_S", "IQ1_M"), "Q2_K"),
    **dict.fromkeys(("IQ2_S", "IQ2_M", "IQ3_XXS"), "IQ3_S"),
    **dict.fromkeys(("TQ1_0", "TQ2_0", "Q2_0"), "Q4_K"),
}


def _role(name: str) -> str:
    if any(part in name for part in ("attn_qkv.", "attn_kv_b.", "attn_v.")):
        return "attn_v"
    for role in ("attn_k.", "attn_q.", "attn_output."):
        if role in name:
            return role.rstrip(".")
    return next((role for role in ("ffn_up", "ffn_gate", "ffn_down") if role in name), "other")


def _small_iq(kind: str, default: str, role: str, i: int, n: int, gqa: int, eight: bool) -> str:
    wider = "IQ3_S" if kind in ("IQ2_S", "IQ2_M") else "Q2_K"
    if role == "attn_v":
        return "Q4_K" if gqa >= 4 else wider
    if role == "attn_k" and eight:
        return "Q4_K"
    if role == "ffn_down" and i < n // 8:
        return wider
    if role == "attn_output":
        if eight:
            return "Q5_K"
        return {"IQ1_S": "IQ2_XXS", "IQ1_M": "IQ2_XXS", "IQ2_S": "IQ3_S", "IQ2_M": "IQ3_S"}.get(
            kind, default
        )
    return default


def _attn_v(kind: str, default: str, i: int, wide: bool, gqa: int, imatrix: bool) -> str:
    grouped = gqa >= 4
    match kind:
        case "Q2_K":
            return "Q4_K" if grouped else "Q3_K"
        case "Q2_K_S" | "IQ3_XS" | "IQ3_S" if grouped:
            return "Q4_K"
        case "IQ3_XXS":
            return "Q4_K" if grouped else "IQ3_XXS" if imatrix else "IQ3_S"
        case "IQ3_M":
            return "Q4_K"
        case "Q3_K_M":
            return "Q5_K" if i < 2 else "Q4_K"
        case "Q3_K_L":
            return "Q5_K"
        case "IQ4_NL" | "IQ4_XS" if grouped:
            return "Q5_K"
        case "Q4_K_M" | "Q5_K_M" if wide:
            return "Q6_K"
        case "Q4_K_S" if i < 4:
            return "Q5_K"
    return default


def _ffn_down(
    kind: str, default: str, i: int, n: int, wide: bool, imatrix: bool, eight: bool
) -> str:
    first = i < n // 8
    match kind:
        case "Q2_K":
            return "Q3_K"
        case "Q2_K_S" if first:
            return "Q4_K"
        case "IQ3_XXS" if not imatrix:
            return "Q4_K" if first else "Q3_K"
        case "Q3_K_M":
            return "Q5_K" if i < n // 16 else "Q4_K"
        case "IQ3_M" if first or (eight and wide):
            return "Q4_K"
        case "Q3_K_L":
            return "Q5_K"
        case "Q4_K_M" | "Q5_K_M" if wide:
            return "Q6_K"
        case "IQ4_NL" | "IQ4_XS" if first and not imatrix:
            return "Q5_K"
        case "Q4_K_S" if first:
            return "Q5_K"
        case "Q4_0" if imatrix and first:
            return "Q4_1"
        case "Q5_0" if imatrix and first:
            return "Q5_1"
    return default


def _attn_output(kind: str, default: str, eight: bool) -> str:
    if eight:
        few = ("Q2_K", "IQ3_XS", "IQ3_XXS", "Q3_K_S", "Q3_K_M", "IQ4_NL", "Q4_K_S", "Q4_K_M")
        return "Q5_K" if kind in (*few, "IQ3_S", "IQ3_M", "IQ4_XS") else default
    return {
        "Q2_K": "Q3_K",
        "IQ3_XXS": "IQ3_S",
        "Q3_K_M": "Q4_K",
        "Q3_K_L": "Q5_K",
        "IQ3_M": "Q4_K",
    }.get(kind, default)
