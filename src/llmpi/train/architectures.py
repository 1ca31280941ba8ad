"""What transformers calls what a GGUF file holds: the model's settings, and the weights of a block.

Settings are as llama.cpp takes them (src/models of its sources), also where a file does not say
them. What it computes otherwise than transformers is refused.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from transformers import (
    Gemma3TextConfig,
    LlamaConfig,
    Phi3Config,
    PreTrainedConfig,
    Qwen3Config,
    SmolLM3Config,
)

from llmpi.errors import CellError
from llmpi.gguf import quantizers
from llmpi.gguf.contents import Fields, Stored

EMBEDDING, OUTPUT, OUTPUT_NORM = "token_embd.weight", "output.weight", "output_norm.weight"
ROPE_FACTORS = "rope_freqs.weight"
LONG_FACTORS, SHORT_FACTORS = "rope_factors_long.weight", "rope_factors_short.weight"
NOT_TRAINED = frozenset({ROPE_FACTORS, LONG_FACTORS, SHORT_FACTORS})
"""Factors of rotary frequencies."""
FULL, SLIDING, NO_ROPE = "full_attention", "sliding_attention", "no_rope"
"""Kinds of blocks; the first two as transformers says them."""


@dataclass(frozen=True)
class Facts:
    """What a file says of its model."""

    fields: Fields
    tensors: Mapping[str, Stored]

    @property
    def architecture(self) -> str:
        return str(self.fields["general.architecture"])

    def whole(self, name: str, default: int | None = None) -> int:
        value = self.said(name, default)
        if not isinstance(value, int):
            raise CellError(f"the file does not say {self.architecture}.{name}")
        return value

    def number(self, name: str, default: float | None = None) -> float:
        value = self.said(name, default)
        if not isinstance(value, int | float):
            raise CellError(f"the file does not say {self.architecture}.{name}")
        return float(value)

    def said(self, name: str, default: object = None) -> object:
        return self.fields.get(f"{self.architecture}.{name}", default)

    def vector(self, name: str) -> list[float]:
        """The numbers of a tensor of one dimension."""
        held = self.tensors[name]
        return quantizers.dequantized(held.data[None], held.kind, held.shape[0])[0].tolist()

    @property
    def layers(self) -> int:
        return self.whole("block_count")

    @property
    def heads(self) -> int:
        return self.whole("attention.head_count")

    @property
    def kv_heads(self) -> int:
        return self.whole("attention.head_count_kv", self.heads)

    @property
    def head_width(self) -> int:
        return self.whole("attention.key_length", self.whole("embedding_length") // self.heads)

    @property
    def rotary_width(self) -> int:
        return self.whole("rope.dimension_count", self.head_width)


@dataclass(frozen=True)
class Architecture:
    names: Mapping[str, str]
    """Of weights: transformers' in a block, by llama.cpp's."""
    config: Callable[[Facts, str], PreTrainedConfig]
    """Of a model of one block of a kind."""
    kinds: Callable[[Facts], list[str]] = lambda facts: [FULL] * facts.layers
    """Of each block."""
    scaled: tuple[str, ...] = ("none", "linear")
    """How its rotary embeddings may be."""
    factors: frozenset[str] = frozenset()
    """Tensors of rotary frequencies that its files may hold."""
    partial: bool = False
    """Rotary embeddings may be of a part of the head."""
    pairs: bool = False
    """Rotary pairs of queries and keys lie next to each other in its files, not half a head apart
    (`LlamaModel.permute` of llama.cpp's conversion)."""
    norm_shift: float = 0.0
    """What its files add to the weight of a norm."""


def architecture_of(facts: Facts) -> Architecture:
    """
    Raises:
        CellError: it is a model that cannot be trained here.
    """
    name = facts.architecture
    if name not in ARCHITECTURES:
        raise CellError(
            f"learning for few bits knows the architectures {', '.join(ARCHITECTURES)}, and "
            f"this is {name}"
        )
    found = ARCHITECTURES[name]
    if (scaling := _scaling(facts)) not in found.scaled:
        raise CellError(
            f"rotary embeddings scaled by {scaling!r} cannot be trained in a {name}; "
            f"{', '.join(found.scaled)} can"
        )
    if not found.partial and facts.rotary_width != facts.head_width:
        raise CellError(f"rotary embeddings of a part of the head cannot be trained in a {name}")
    if facts.whole("attention.value_length", facts.head_width) != facts.head_width:
        raise CellError("values of another width than their keys cannot be trained")
    if facts.said("final_logit_softcapping"):
        raise CellError("a model that caps its logits cannot be trained")
    if facts.said("attention.causal", True) is False:
        raise CellError("a model whose tokens see those behind them cannot be trained")
    _check_names(facts, found)
    return found


def _check_names(facts: Facts, found: Architecture) -> None:
    """Every tensor of the file has its place in the computation, and the other way round."""
    needed = {EMBEDDING, OUTPUT_NORM}
    for i in range(facts.layers):
        needed |= {f"blk.{i}.{part}.weight" for part in found.names}
    if missing := sorted(needed - set(facts.tensors)):
        raise CellError(f"the file lacks {missing[0]}; mixtures of experts cannot be trained")
    if unknown := sorted(set(facts.tensors) - needed - {OUTPUT} - found.factors):
        raise CellError(f"the file holds {unknown[0]}, which this training does not know")


def _scaling(facts: Facts) -> object:
    """Of rotary embeddings; a file that does not say it means `linear`."""
    kind = facts.said("rope.scaling.type", "linear")
    return "none" if kind == "linear" and _factor(facts) in (0, 1) else kind


def _factor(facts: Facts) -> float:
    return facts.number("rope.scaling.factor", 1.0)


def _rotary(facts: Facts) -> Mapping[str, str | float]:
    """Of rotary embeddings, as transformers wants them said."""
    theta = facts.number("rope.freq_base", 10000.0)
    if _scaling(facts) == "linear":
        return {"rope_type": "linear", "rope_theta": theta, "factor": _factor(facts)}
    return {"rope_type": "default", "rope_theta": theta}


def _config(
    kind: type[PreTrainedConfig],
    facts: Facts,
    **other: Any,  # as each kind has it
) -> PreTrainedConfig:
    """Of one block, with what all of them say alike."""
    return kind(
        **{
            "vocab_size": facts.tensors[EMBEDDING].shape[0],
            "hidden_size": facts.whole("embedding_length"),
            "intermediate_size": facts.whole("feed_forward_length"),
            "num_hidden_layers": 1,
            "num_attention_heads": facts.heads,
            "num_key_value_heads": facts.kv_heads,
            "head_dim": facts.head_width,
            "max_position_embeddings": facts.whole("context_length"),
            "rms_norm_eps": facts.number("attention.layer_norm_rms_epsilon"),
            "rope_parameters": _rotary(facts),
            **dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id")),
        }
        | other
    )


# --- each of them ---------------------------------------------------------------------------------

_BLOCK = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_HEAD_NORMS = {"attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm"}
_FOUR_NORMS = {
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
}
_FUSED = {
    "attn_norm": "input_layernorm",
    "attn_qkv": "self_attn.qkv_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_up": "mlp.gate_up_proj",
    "ffn_down": "mlp.down_proj",
}


def _llama(facts: Facts, _: str) -> PreTrainedConfig:
    return _config(LlamaConfig, facts)


def _qwen3(facts: Facts, _: str) -> PreTrainedConfig:
    return _config(Qwen3Config, facts)


def _gemma3(facts: Facts, kind: str) -> PreTrainedConfig:
    base = facts.number("rope.freq_base_swa", 10000.0)
    # llama.cpp knows the 27B by its blocks; its queries are divided by another width.
    scaled_by = facts.whole("embedding_length") // facts.heads
    return _config(
        Gemma3TextConfig,
        facts,
        layer_types=[kind],
        sliding_window=_window(facts) or facts.whole("context_length"),
        rope_parameters={
            FULL: _rotary(facts),
            SLIDING: {"rope_type": "default", "rope_theta": base},
        },
        query_pre_attn_scalar=scaled_by if facts.layers == 62 else facts.head_width,
    )


def _gemma3_kinds(facts: Facts) -> list[str]:
    """Every sixth sees all that was before it, where a file does not say it otherwise."""
    if not _window(facts):
        return [FULL] * facts.layers
    pattern = facts.said("attention.sliding_window_pattern", 6)
    if isinstance(pattern, list):
        return [SLIDING if one else FULL for one in pattern]
    every = facts.whole("attention.sliding_window_pattern", 6)
    return [FULL if every and (i + 1) % every == 0 else SLIDING for i in range(facts.layers)]


def _window(facts: Facts) -> int:
    return facts.whole("attention.sliding_window", 0)


def _smollm3(facts: Facts, kind: str) -> PreTrainedConfig:
    return _config(SmolLM3Config, facts, no_rope_layers=[int(kind != NO_ROPE)])


def _smollm3_kinds(facts: Facts) -> list[str]:
    """Every fourth has no rotary embeddings: no file says it, llama.cpp knows it."""
    return [FULL if (i + 1) % 4 else NO_ROPE for i in range(facts.layers)]


def _phi3(facts: Facts, _: str) -> PreTrainedConfig:
    """Its sliding window is none to llama.cpp."""
    part = {"partial_rotary_factor": facts.rotary_width / facts.head_width}
    rotary = {**_rotary(facts), **part, **_of_long_texts(facts)}
    return _config(Phi3Config, facts, rope_parameters=rotary, sliding_window=None)


def _of_long_texts(facts: Facts) -> Mapping[str, str | float | list[float]]:
    """Of rotary embeddings, where a file has factors of their frequencies."""
    if LONG_FACTORS not in facts.tensors:
        return {}
    context = facts.whole("context_length")
    original = facts.whole("rope.scaling.original_context_length", context)
    return {
        "rope_type": "longrope",
        "factor": context / original,
        "long_factor": facts.vector(LONG_FACTORS),
        "short_factor": facts.vector(SHORT_FACTORS),
        "attention_factor": facts.number("rope.scaling.attn_factor", 1.0),
        "original_max_position_embeddings": original,
    }


ARCHITECTURES = {
    "llama": Architecture(_BLOCK, _llama, factors=frozenset({ROPE_FACTORS}), pairs=True),
    "qwen3": Architecture(_BLOCK | _HEAD_NORMS, _qwen3),
    "gemma3": Architecture(
        _BLOCK | _HEAD_NORMS | _FOUR_NORMS, _gemma3, kinds=_gemma3_kinds, norm_shift=1.0
    ),
    "smollm3": Architecture(_BLOCK, _smollm3, kinds=_smollm3_kinds, pairs=True),
    "phi3": Architecture(
        _FUSED,
        _phi3,
        scaled=("none", "longrope"),
        factors=frozenset({LONG_FACTORS, SHORT_FACTORS}),
        partial=True,
    ),
}
"""By their names in GGUF files."""
