"""Tiny random checkpoints of each architecture, with a tokenizer, as the hub would hold them.

Weights are random, but of a size that makes logits differ by units, and no norm or bias is left at
its neutral start: a converter that mixed any up would show.
"""

import json
import pydoc_data.topics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sentencepiece
import tokenizers
import torch
from safetensors.torch import save_file
from transformers import (
    BitNetConfig,
    Gemma2Config,
    Gemma3TextConfig,
    LlamaConfig,
    Phi3Config,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen2Config,
    Qwen3Config,
    SmolLM3Config,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

PIECES = 1024
SIZE: dict[str, Any] = {
    "vocab_size": PIECES,
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
PHI3 = SIZE | {"sliding_window": 2047, "original_max_position_embeddings": 512}
# Name -> its configuration, of `SIZE` but for what is given.
CONFIGS: dict[str, Callable[..., PreTrainedConfig]] = {
    "llama": lambda **other: LlamaConfig(**SIZE | other),
    "llama3-rope": lambda **other: LlamaConfig(
        **SIZE | {"tie_word_embeddings": True} | other,
        rope_parameters={
            "rope_type": "llama3",
            "rope_theta": 500000.0,
            "factor": 32.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 128,
        },
    ),
    "phi3": lambda **other: Phi3Config(**PHI3 | other),
    "phi3.5-longrope": lambda **other: Phi3Config(
        **PHI3 | {"max_position_embeddings": 2048} | other,
        rope_parameters={
            "rope_type": "longrope",
            "rope_theta": 10000.0,
            "short_factor": [1.0 + 0.02 * i for i in range(32)],
            "long_factor": [2.0 + 0.5 * i for i in range(32)],
        },
    ),
    # As Phi-4-mini: three quarters of a head are turned, and the output is the embedding's matrix.
    "phi4-mini": lambda **other: Phi3Config(
        **PHI3 | {"max_position_embeddings": 2048, "tie_word_embeddings": True} | other,
        rope_parameters={
            "rope_type": "longrope",
            "rope_theta": 10000.0,
            "partial_rotary_factor": 0.75,
            "short_factor": [1.0 + 0.02 * i for i in range(24)],
            "long_factor": [2.0 + 0.5 * i for i in range(24)],
        },
    ),
    # 96 tokens see the window's edge.
    "gemma2": lambda **other: Gemma2Config(
        **SIZE | other, head_dim=64, query_pre_attn_scalar=64, sliding_window=32
    ),
    # The sixth block sees beyond its window, with rotary embeddings of its own.
    "gemma3": lambda **other: Gemma3TextConfig(
        **SIZE | {"num_hidden_layers": 6} | other,
        head_dim=128,
        query_pre_attn_scalar=128,
        sliding_window=32,
        rope_parameters={
            "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1000000.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
        },
    ),
    "qwen2.5": lambda **other: Qwen2Config(**SIZE | other),
    "qwen3": lambda **other: Qwen3Config(**SIZE | other, head_dim=128),
    # The fourth block has no rotary embeddings.
    "smollm3": lambda **other: SmolLM3Config(**SIZE | {"num_hidden_layers": 4} | other),
    "bitnet": lambda **other: BitNetConfig(
        **SIZE | other, hidden_act="silu", tie_word_embeddings=True
    ),
}


def tokenizer(folder: Path) -> Path:
    """A sentencepiece BPE with byte fallback, as Llama 2's, trained on Python's own help."""
    text = folder / "text.txt"
    text.write_text("\n".join(pydoc_data.topics.topics.values()), "utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(text),
        model_prefix=str(folder / "tokenizer"),
        model_type="bpe",
        vocab_size=PIECES,
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        control_symbols=["<|endoftext|>"],  # the engine looks for it where a name says Phi-3
        num_threads=1,
        minloglevel=2,
    )
    return folder / "tokenizer.model"


def model(name: str) -> PreTrainedModel:
    """A random model of `CONFIGS`; the same at each call."""
    return random_model(CONFIGS[name]())


def random_model(config: PreTrainedConfig) -> PreTrainedModel:
    """A model of a configuration, float32, ready to be asked."""
    torch.manual_seed(0)
    kind: Any = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    made = kind._from_config(config, attn_implementation="eager", dtype=torch.float32)
    with torch.no_grad():
        for key, weight in made.named_parameters():
            if weight.ndim == 2:
                weight.normal_(0.0, 1.5 * weight.shape[1] ** -0.5)
            else:
                shifted = config.model_type.startswith("gemma")
                weight.normal_(1.0 if "norm" in key and not shifted else 0.0, 0.2)
    return made.eval()


def save(made: PreTrainedModel, folder: Path, pieces: Path, **options: Any) -> Path:
    """A checkpoint as transformers writes it, and the tokenizer."""
    made.save_pretrained(folder, **options)
    (folder / "tokenizer.model").write_bytes(pieces.read_bytes())
    return folder


def save_as_1bitllm(made: PreTrainedModel, folder: Path, pieces: Path) -> Path:
    """A BitNet as 1bitLLM's checkpoints are: float weights, their own names, a Llama's config."""
    renamed = {
        "self_attn.attn_sub_norm": "self_attn.inner_attn_ln",
        "mlp.ffn_sub_norm": "mlp.ffn_layernorm",
    }
    tensors = {}
    for key, tensor in made.state_dict().items():
        for ours, theirs in renamed.items():
            key = key.replace(ours, theirs)
        tensors[key] = tensor.half().contiguous()
    tensors.pop("lm_head.weight")  # tied
    folder.mkdir()
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    config = SIZE | {
        "architectures": ["BitnetForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "rms_norm_eps": made.config.rms_norm_eps,
        "rope_theta": made.config.rope_parameters["rope_theta"],
        "tie_word_embeddings": True,
        "input_bits": 8,
        "weight_bits": 1,
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.model").write_bytes(pieces.read_bytes())
    return folder


def save_as_hf1bitllm(made: PreTrainedModel, folder: Path, pieces: Path) -> dict[str, torch.Tensor]:
    """A Llama with packed ternary weights, as HF1BitLLM's are, and the ternary weights by name.

    `made` is given the same weights.
    """
    from transformers.integrations.bitnet import pack_weights

    tensors, ternary = {}, {}
    for key, tensor in made.state_dict().items():
        tensor = tensor.bfloat16()
        if key.endswith("_proj.weight"):
            scale = (1 / tensor.float().abs().mean()).bfloat16()
            ternary[key] = (tensor * scale).round().clamp(-1, 1)
            tensors[key] = pack_weights(ternary[key].clone())
            tensors[f"{key}_scale"] = scale.reshape(1)
            made.get_parameter(key).data = ternary[key].float() / scale.float()
        else:
            tensors[key] = tensor.contiguous()
            made.get_parameter(key).data = tensor.float()
    folder.mkdir()
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    config = made.config.to_dict() | {
        "architectures": ["LlamaForCausalLM"],
        "quantization_config": {"quant_method": "bitnet", "modules_to_not_convert": ["lm_head"]},
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.model").write_bytes(pieces.read_bytes())
    return ternary


# What Llama 3 and Qwen 2.5 split text by before BPE; only runs of digits differ (tokenizer.json).
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def save_bpe(
    kind: str, tokens: list[str], is_special: list[bool], merges: list[str], folder: Path
) -> tokenizers.Tokenizer:
    """Write a published BPE tokenizer, from its vocabulary, as its repository on the hub has it.

    Args:
        kind: `llama-bpe` (Llama 3) or `qwen2`.
    """
    from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

    is_llama = kind == "llama-bpe"
    vocabulary = {
        token: i
        for i, (token, special) in enumerate(zip(tokens, is_special, strict=True))
        if not special
    }
    pairs = [tuple(merge.split(" ")) for merge in merges]
    made = tokenizers.Tokenizer(models.BPE(vocabulary, pairs, ignore_merges=is_llama))
    split = tokenizers.Regex(SPLIT % ("{1,3}" if is_llama else ""))
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(split, "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    made.decoder = decoders.ByteLevel()
    added = [token for token, special in zip(tokens, is_special, strict=True) if special]
    made.add_special_tokens([tokenizers.AddedToken(token, normalized=False) for token in added])
    if is_llama:
        bos = added[0]
        made.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, made.token_to_id(bos))]
        )
        config = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": bos}
    else:
        made.normalizer = normalizers.NFC()
        config = {"tokenizer_class": "Qwen2Tokenizer", "add_prefix_space": False}
        (folder / "vocab.json").write_text(json.dumps(vocabulary), "utf-8")
        (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n", "utf-8")
    made.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(config | {"eos_token": added[0]}))
    return made
