"""The GGUF header that a checkpoint will have, from its `config.json` alone.

For decoders whose tensors follow from a few widths. Of others only llama.cpp's converter knows what
they become. No weight is needed, and none is read.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from llmpi.errors import LlmpiError
from llmpi.gguf.contents import Value
from llmpi.gguf.footprint import Described
from llmpi.plan.model import Model

MOST_LAYERS, WIDEST = 10_000, 10_000_000
"""What is more is no model, and would be planned until memory ends."""

Stated = Mapping[str, object]
"""What a file from elsewhere states, by name: of any type until it is looked at."""

BEFORE = {"attn_norm": "width", "ffn_norm": "width"}
BEHIND = {"post_attention_norm": "width", "post_ffw_norm": "width"}
OF_HEADS = {"attn_q_norm": "head", "attn_k_norm": "head"}


class Family(NamedTuple):
    """An architecture of transformers, as llama.cpp has it (its src/models/)."""

    name: str
    """llama.cpp's."""
    vectors: Mapping[str, str] = BEFORE
    """Of a layer: name and width."""
    biases: tuple[str, ...] = ()
    is_fused: bool = False
    """Queries, keys and values are one tensor, and so are the two halves of the gate."""
    is_tied: bool | None = False
    """The output matrix is the table of embeddings, where config.json is silent; None: always."""
    has_window: bool = False
    has_experts: bool = False
    factors: tuple[str, ...] = ()
    """Fields of the header that must be there and change no size."""


FAMILIES = {
    "LlamaForCausalLM": Family("llama"),
    "MistralForCausalLM": Family("llama"),
    "Qwen2ForCausalLM": Family("qwen2", biases=("attn_q", "attn_k", "attn_v")),
    "Qwen3ForCausalLM": Family("qwen3", BEFORE | OF_HEADS),
    "Qwen3MoeForCausalLM": Family("qwen3moe", BEFORE | OF_HEADS, has_experts=True),
    "SmolLM3ForCausalLM": Family("smollm3", is_tied=True),
    "Phi3ForCausalLM": Family("phi3", is_fused=True),
    "Gemma2ForCausalLM": Family("gemma2", BEFORE | BEHIND, is_tied=None, has_window=True),
    "Gemma3ForCausalLM": Family(
        "gemma3", BEFORE | BEHIND | OF_HEADS, is_tied=True, has_window=True
    ),
    "Olmo2ForCausalLM": Family("olmo2", BEHIND | {"attn_q_norm": "q", "attn_k_norm": "kv"}),
    "GraniteForCausalLM": Family("granite", factors=("logit_scale",)),
    "BitnetForCausalLM": Family(
        "bitnet", BEFORE | {"attn_sub_norm": "width", "ffn_sub_norm": "ffn"}, is_tied=None
    ),
}
FAMILIES["BitNetForCausalLM"] = FAMILIES["BitnetForCausalLM"]
"""By `architectures` of a config.json."""


def of_config(config: Stated, where: str) -> Model:
    """The model that a Hugging Face `config.json` describes.

    Args:
        where: names the file in errors.

    Raises:
        LlmpiError: it takes the converter to say what it becomes, or it lacks a width.
    """
    named = config.get("architectures")
    stated = named[0] if isinstance(named, list) and named else None
    if not isinstance(stated, str) or stated not in FAMILIES:
        raise LlmpiError(
            f"{where}: what becomes of the architecture {stated} only llama.cpp's converter knows. "
            "`make train` sets it up, and once the F16 is made (`snakemake gguf`) the plan knows "
            "this model; or name a GGUF file of it. From config.json alone are known: "
            f"{', '.join(sorted(FAMILIES))}"
        )
    family = FAMILIES[stated]
    own = family._replace(biases=(*family.biases, *_asked_biases(family, config)))
    widths = _widths(family, config, where)
    tied = family.is_tied is None or bool(config.get("tie_word_embeddings", family.is_tied))
    tensors: list[tuple[str, tuple[int, ...]]] = [
        ("token_embd.weight", (widths["vocab"], widths["width"]))
    ]
    if not tied:
        tensors.append(("output.weight", (widths["vocab"], widths["width"])))
    for layer in range(widths["layers"]):
        tensors += [(f"blk.{layer}.{name}", shape) for name, shape in _layer(own, widths)]
    tensors.append(("output_norm.weight", (widths["width"],)))
    described = Described(_fields(family, widths) | _computed(family, config), tensors)
    return Model(described, where, widths["vocab"])


def _widths(family: Family, config: Stated, where: str) -> dict[str, int]:
    def stated(name: str, default: int | None = None) -> int:
        value = config.get(name) or default
        if not isinstance(value, int) or value is True:
            raise LlmpiError(f"{where}: a width is missing or no number: '{name}'")
        if not 0 < value <= (MOST_LAYERS if name == "num_hidden_layers" else WIDEST):
            raise LlmpiError(f"{where}: no model has a '{name}' of {value}")
        return value

    heads, width = stated("num_attention_heads"), stated("hidden_size")
    kv_heads, head = stated("num_key_value_heads", heads), stated("head_dim", width // heads)
    experts = ("num_experts", "num_experts_per_tok", "moe_intermediate_size")
    return {
        "layers": stated("num_hidden_layers"),
        "width": width,
        "ffn": stated("intermediate_size"),
        "heads": heads,
        "kv_heads": kv_heads,
        "head": head,
        "q": heads * head,
        "kv": kv_heads * head,
        "vocab": stated("vocab_size"),
        **({"window": stated("sliding_window")} if family.has_window else {}),
        **({name: stated(name) for name in experts} if family.has_experts else {}),
    }


def _fields(family: Family, widths: Mapping[str, int]) -> dict[str, Value]:
    """Of the header: what the engine's sizes hang on, and what else it must find."""
    own: dict[str, Value] = {
        "context_length": WIDEST,
        "block_count": widths["layers"],
        "embedding_length": widths["width"],
        "feed_forward_length": widths["ffn"],
        "attention.head_count": widths["heads"],
        "attention.head_count_kv": widths["kv_heads"],
        "attention.key_length": widths["head"],
        "attention.value_length": widths["head"],
        "rope.dimension_count": widths["head"],
        "attention.layer_norm_rms_epsilon": 1e-5,
        "vocab_size": widths["vocab"],
    }
    if family.has_window:
        own["attention.sliding_window"] = widths["window"]
    if family.has_experts:
        own |= {
            "expert_count": widths["num_experts"],
            "expert_used_count": widths["num_experts_per_tok"],
            "expert_feed_forward_length": widths["moe_intermediate_size"],
        }
    own |= dict.fromkeys(family.factors, 1.0)
    return {
        "general.architecture": family.name,
        "tokenizer.ggml.model": "no_vocab",
        **{f"{family.name}.{name}": value for name, value in own.items()},
    }


def _computed(family: Family, config: Stated) -> dict[str, Value]:
    """Of the header: what changes no size, but how it is computed, as the converter says it
    (conversion/base.py, set_gguf_parameters)."""
    found: dict[str, Value] = {}
    rotary = config.get("rope_parameters") or config.get("rope_scaling")
    if isinstance(rotary, dict):
        rotary = rotary.get("full_attention", rotary)
        kind, factor = rotary.get("rope_type", rotary.get("type")), rotary.get("factor")
        if kind in ("linear", "yarn") and isinstance(factor, int | float):
            found |= {"rope.scaling.type": kind, "rope.scaling.factor": float(factor)}
        elif kind in ("su", "longrope"):
            found["rope.scaling.type"] = "longrope"
    cap = config.get("final_logit_softcapping")
    if isinstance(cap, int | float) and cap:
        found["final_logit_softcapping"] = float(cap)
    if config.get("is_causal") is False:
        found["attention.causal"] = False
    return {f"{family.name}.{name}": value for name, value in found.items()}


def _asked_biases(family: Family, config: Stated) -> Iterator[str]:
    """Llama's, where it has any."""
    if family.name == "llama" and config.get("attention_bias"):
        yield from ("attn_q", "attn_k", "attn_v", "attn_output")
    if family.name == "llama" and config.get("mlp_bias"):
        yield from ("ffn_gate", "ffn_up", "ffn_down")


def _layer(family: Family, widths: Mapping[str, int]) -> list[tuple[str, tuple[int, ...]]]:
    """Tensors of a layer."""
    width, ffn, q, kv = (widths[name] for name in ("width", "ffn", "q", "kv"))
    matrices: dict[str, tuple[int, ...]] = {"attn_output": (width, q)}
    if family.is_fused:
        matrices |= {"attn_qkv": (q + 2 * kv, width)}
        matrices |= {"ffn_down": (width, ffn), "ffn_up": (2 * ffn, width)}
    else:
        matrices |= {"attn_q": (q, width), "attn_k": (kv, width), "attn_v": (kv, width)}
    if family.has_experts:
        count, inner = widths["num_experts"], widths["moe_intermediate_size"]
        matrices |= {
            "ffn_gate_inp": (count, width),
            "ffn_gate_exps": (count, inner, width),
            "ffn_down_exps": (count, width, inner),
            "ffn_up_exps": (count, inner, width),
        }
    elif not family.is_fused:
        matrices |= {"ffn_gate": (ffn, width), "ffn_down": (width, ffn), "ffn_up": (ffn, width)}
    vectors = {name: (widths[size],) for name, size in family.vectors.items()}
    biases = [(f"{name}.bias", matrices[name][:1]) for name in family.biases]
    weights = [(f"{name}.weight", shape) for name, shape in sorted((matrices | vectors).items())]
    return weights + biases
