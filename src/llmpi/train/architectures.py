"""What transformers calls what a GGUF file holds: the settings of a model, and its blocks.

Settings are as llama.cpp takes them (src/models of its sources), also where a file does not say
them.
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

from llmpi.gguf import quantizers
from llmpi.gguf.contents import Stored
from llmpi.gguf.trainable import (
    EMBEDDING,
    LONG_FACTORS,
    ROPE_FACTORS,
    SHORT_FACTORS,
    TRAINABLE,
    Header,
    check,
)

NOT_TRAINED = frozenset({ROPE_FACTORS, LONG_FACTORS, SHORT_FACTORS})
"""Factors of rotary frequencies."""
FULL, SLIDING, NO_ROPE = "full_attention", "sliding_attention", "no_rope"
"""Kinds of blocks; the first two as transformers says them."""


@dataclass(frozen=True)
class Facts(Header):
    """What a file says of its model."""

    tensors: Mapping[str, Stored]

    def vector(self, name: str) -> list[float]:
        """The numbers of a tensor of one dimension."""
        held = self.tensors[name]
        return quantizers.dequantized(held.data[None], held.kind, held.shape[0])[0].tolist()


@dataclass(frozen=True)
class Architecture:
    config: Callable[[Facts, str], PreTrainedConfig]
    """Of a model of one block of a kind."""
    kinds: Callable[[Facts], list[str]] = lambda facts: [FULL] * facts.layers
    """Of each block."""
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
    check(facts)
    return ARCHITECTURES[facts.architecture]


def names_of(facts: Facts) -> Mapping[str, str]:
    """Of weights: transformers' in a block, by llama.cpp's."""
    return TRAINABLE[facts.architecture].names


def _rotary(facts: Facts) -> Mapping[str, str | float]:
    """Of rotary embeddings, as transformers wants them said."""
    theta = facts.number("rope.freq_base", 10000.0)
    if facts.scaling == "linear":
        return {"rope_type": "linear", "rope_theta": theta, "factor": facts.scaling_factor}
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
    "llama": Architecture(_llama, pairs=True),
    "qwen3": Architecture(_qwen3),
    "gemma3": Architecture(_gemma3, kinds=_gemma3_kinds, norm_shift=1.0),
    "smollm3": Architecture(_smollm3, kinds=_smollm3_kinds, pairs=True),
    "phi3": Architecture(_phi3),
}
"""By their names in GGUF files: those of `llmpi.gguf.trainable.TRAINABLE`."""
