"""Models that `llmpi suggest` chooses from, each of a shape that was read in a public file.

A list with a date, and no ranking: how well they answer is not in it. A model of which some width
was read nowhere is left out.
"""

from collections.abc import Mapping
from typing import NamedTuple

from llmpi.plan.config_json import Stated

DATED = "2026-11-26"


class Listed(NamedTuple):
    """A model as its maker publishes it."""

    hub: str
    """Its repository."""
    config: Stated
    """Of its `config.json`, what its sizes hang on."""
    read_in: str
    """Repositories of GitHub, path and commit: where that was read on the day of the list."""
    gated: bool = False
    """Whether the hub gives it to those alone who have accepted its maker's terms (HF_TOKEN)."""


_CONFIGS = (
    "citsjtu2020/LLM-Prof, sglang/Model_Config.md at 8434c8d (config.json, whole)"  # of base models
)
_LITGPT = "Lightning-AI/litgpt, litgpt/config.py at 0006c97"
_QWEN2_5 = "pytorch/torchtune, torchtune/models/qwen2_5/_model_builders.py at 47a9e19"
_QWEN3 = f"{_LITGPT}; tied: pytorch/torchtune, torchtune/models/qwen3/_model_builders.py at 010412e"


def _shape(
    architecture: str,
    layers: int,
    width: int,
    ffn: int,
    heads: int,
    kv_heads: int,
    vocabulary: int,
    *,
    tied: bool,
    **more: int,
) -> Stated:
    return {
        "architectures": [f"{architecture}ForCausalLM"],
        "num_hidden_layers": layers,
        "hidden_size": width,
        "intermediate_size": ffn,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "vocab_size": vocabulary,
        "tie_word_embeddings": tied,
        **more,
    }


def _qwen3(layers: int, width: int, ffn: int, heads: int, *, tied: bool) -> Stated:
    return _shape("Qwen3", layers, width, ffn, heads, 8, 151936, tied=tied, head_dim=128)


CATALOGUE: Mapping[str, Listed] = {
    "smollm2-135m": Listed(
        "HuggingFaceTB/SmolLM2-135M-Instruct",
        _shape("Llama", 30, 576, 1536, 9, 3, 49152, tied=True),
        "satyasundar/erav3-s13, README.md at 3151c4b (config.json of the base model, whole)",
    ),
    "qwen2.5-0.5b": Listed(
        "Qwen/Qwen2.5-0.5B-Instruct",
        _shape("Qwen2", 24, 896, 4864, 14, 2, 151936, tied=True),
        _QWEN2_5,
    ),
    "qwen3-0.6b": Listed("Qwen/Qwen3-0.6B", _qwen3(28, 1024, 3072, 16, tied=True), _QWEN3),
    "gemma-3-1b": Listed(
        "google/gemma-3-1b-it",
        _shape(
            *("Gemma3", 26, 1152, 6912, 4, 1, 262144), tied=True, head_dim=256, sliding_window=512
        ),
        f"{_LITGPT}; its output matrix is the table of embeddings, as of every Gemma",
        gated=True,
    ),
    "llama-3.2-1b": Listed(
        "meta-llama/Llama-3.2-1B-Instruct",
        _shape("Llama", 16, 2048, 8192, 32, 8, 128256, tied=True, head_dim=64),
        "kevinstephano/thunder_model_blocks, hf_llama/llama_config.py (config.json, whole)",
        gated=True,
    ),
    "qwen2.5-1.5b": Listed(
        "Qwen/Qwen2.5-1.5B-Instruct",
        _shape("Qwen2", 28, 1536, 8960, 12, 2, 151936, tied=True),
        _QWEN2_5,
    ),
    "qwen3-1.7b": Listed("Qwen/Qwen3-1.7B", _qwen3(28, 2048, 6144, 16, tied=True), _QWEN3),
    "smollm3-3b": Listed(
        "HuggingFaceTB/SmolLM3-3B",
        _shape("SmolLM3", 36, 2048, 11008, 16, 4, 128256, tied=True),
        "huggingface/transformers, src/transformers/models/smollm3/configuration_smollm3.py at "
        "008e574 (its defaults)",
    ),
    "qwen2.5-3b": Listed(
        "Qwen/Qwen2.5-3B-Instruct",
        _shape("Qwen2", 36, 2048, 11008, 16, 2, 151936, tied=True),
        _CONFIGS,
    ),
    "llama-3.2-3b": Listed(
        "meta-llama/Llama-3.2-3B-Instruct",
        _shape("Llama", 28, 3072, 8192, 24, 8, 128256, tied=True, head_dim=128),
        _CONFIGS,
        gated=True,
    ),
    "phi-3.5-mini": Listed(
        "microsoft/Phi-3.5-mini-instruct",
        _shape("Phi3", 32, 3072, 8192, 32, 32, 32064, tied=False),
        _LITGPT,
    ),
    "qwen3-4b": Listed("Qwen/Qwen3-4B", _qwen3(36, 2560, 9728, 32, tied=True), _CONFIGS),
    "qwen2.5-7b": Listed(
        "Qwen/Qwen2.5-7B-Instruct",
        _shape("Qwen2", 28, 3584, 18944, 28, 4, 152064, tied=False),
        _CONFIGS,
    ),
    "llama-3.1-8b": Listed(
        "meta-llama/Llama-3.1-8B-Instruct",
        _shape("Llama", 32, 4096, 14336, 32, 8, 128256, tied=False),
        _CONFIGS,
        gated=True,
    ),
    "qwen3-8b": Listed("Qwen/Qwen3-8B", _qwen3(36, 4096, 12288, 32, tied=False), _CONFIGS),
}
"""By the id that a config gets."""

SHAPES = {listed.hub: listed.config for listed in CATALOGUE.values()}
"""By repository."""
