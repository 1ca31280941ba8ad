"""A checkpoint of Llama-3.2-1B's shape, as its repository holds it, but with random weights.

The vocabulary is Llama 3's own 128,256 tokens, which the engine's sources hold for their tests.
"""

import json
import sys
from importlib import import_module
from pathlib import Path

import torch
from safetensors.torch import save_file

from benchmarks.peer import ROOT, cache_folder
from llmpi.gguf import contents, engine_source
from llmpi.records import whole_file

VOCABULARY = "models/ggml-vocab-llama-bpe.gguf"
NORMAL = 1
"""`tokenizer.ggml.token_type` of what is no special token (llama.h)."""

LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 64,
    "vocab_size": 128_256,
    "max_position_embeddings": 131_072,
    "rms_norm_eps": 1e-5,
    "rope_theta": 500_000.0,
    "rope_scaling": {
        "rope_type": "llama3",
        "factor": 32.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    },
    "hidden_act": "silu",
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "bos_token_id": 128_000,
    "eos_token_id": 128_001,
}
"""config.json of meta-llama/Llama-3.2-1B, but for the number of layers, which is 16."""
TINY = {"hidden_size": 256, "intermediate_size": 512, "num_attention_heads": 4}
TINY |= {"num_key_value_heads": 2}
"""Widths to try a benchmark with."""


def made_checkpoint(folder: Path, layers: int, widths: dict[str, int]) -> Path:
    """Write it where it is not there yet.

    Args:
        widths: that differ from `LLAMA`.
    """
    if not (folder / "config.json").is_file():  # it is written last
        folder.mkdir(parents=True, exist_ok=True)
        config = LLAMA | widths | {"num_hidden_layers": layers}
        with whole_file(folder / "model.safetensors") as partial:
            save_file(_weights(config), partial, {"format": "pt"})
        _write_tokenizer(folder)
        (folder / "config.json").write_text(json.dumps(config))
    return folder


def _weights(config: dict) -> dict[str, torch.Tensor]:
    """By the names of transformers; of a size that makes logits differ by units."""
    width, ffn, head = (config[name] for name in ("hidden_size", "intermediate_size", "head_dim"))
    q, kv = (config[f"num_{name}_heads"] * head for name in ("attention", "key_value"))
    shapes: dict[str, tuple[int, ...]] = {"embed_tokens": (config["vocab_size"], width)}
    for layer in range(config["num_hidden_layers"]):
        of_layer: dict[str, tuple[int, ...]] = {
            "input_layernorm": (width,),
            "self_attn.q_proj": (q, width),
            "self_attn.k_proj": (kv, width),
            "self_attn.v_proj": (kv, width),
            "self_attn.o_proj": (width, q),
            "post_attention_layernorm": (width,),
            "mlp.gate_proj": (ffn, width),
            "mlp.up_proj": (ffn, width),
            "mlp.down_proj": (width, ffn),
        }
        shapes |= {f"layers.{layer}.{name}": shape for name, shape in of_layer.items()}
    shapes["norm"] = (width,)
    random = torch.Generator().manual_seed(0)
    return {f"model.{name}.weight": _drawn(shape, random) for name, shape in shapes.items()}


def _drawn(shape: tuple[int, ...], random: torch.Generator) -> torch.Tensor:
    mean, deviation = (0.0, 1.5 * shape[1] ** -0.5) if len(shape) == 2 else (1.0, 0.2)
    return torch.empty(shape, dtype=torch.bfloat16).normal_(mean, deviation, generator=random)


def _write_tokenizer(folder: Path) -> None:
    sources = cache_folder() / "true_size" / "vocabulary"
    if not sources.is_dir():
        pin = engine_source.pin(ROOT / "envs/workstation.lock")
        engine_source.unpack(pin, sources, [VOCABULARY])
    with contents.header(sources / VOCABULARY) as handle:
        fields = contents.fields(handle)
    tokens, types, merges = (
        fields[f"tokenizer.ggml.{name}"] for name in ("tokens", "token_type", "merges")
    )
    assert isinstance(types, list)
    sys.path.insert(0, str(ROOT / "tests"))
    import_module("tiny_checkpoints").save_bpe(
        "llama-bpe", tokens, [kind != NORMAL for kind in types], merges, folder
    )
