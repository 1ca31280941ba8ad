"""Small models of many architectures with random weights, as the engine itself makes them.

Of a few widths it makes the tensors that its own code for an architecture asks for
(`llama_model_init_from_user`), as llama.cpp's tests/test-llama-archs.cpp does. It aborts where a
width does not suit it; these do.
"""

import ctypes
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from llmpi.engine.low_level import llama_cpp
from llmpi.engine.params import LOAD_MODES, fill
from llmpi.gguf import contents, ggml
from llmpi.gguf.contents import Value

Fields = Mapping[str, Value]

COMMON: Fields = {
    "vocab_size": 512,
    "context_length": 4096,
    "embedding_length": 256,
    "block_count": 4,
    "feed_forward_length": 512,
    "attention.head_count": 4,
    "attention.head_count_kv": 2,
    "attention.layer_norm_epsilon": 1e-5,
    "attention.layer_norm_rms_epsilon": 1e-5,
}
EXPERTS: Fields = {
    "expert_count": 8,
    "expert_used_count": 2,
    "expert_feed_forward_length": 256,
}
STATE: Fields = {
    "ssm.conv_kernel": 4,
    "ssm.inner_size": 512,
    "ssm.state_size": 128,
    "ssm.time_step_rank": 8,
    "ssm.group_count": 1,
}
WINDOW: Fields = {"attention.sliding_window": 128}
NO_HEADS: Fields = {"attention.head_count": 0, "attention.head_count_kv": 0}

ARCHITECTURES: dict[str, Fields] = {
    "llama": {},
    "qwen2": {},
    "qwen3": {},
    "smollm3": {},
    "olmo2": {"attention.head_count_kv": 4},
    "phi3": {},
    "gemma2": {**WINDOW, "attention.key_length": 64, "attention.value_length": 64},
    "gemma3": {**WINDOW, "block_count": 6},
    "gemma3n": {
        **WINDOW,
        "block_count": 22,
        "embedding_length": 128,
        "attention.sliding_window_pattern": 5,
    },
    "gemma4": {
        **WINDOW,
        "attention.sliding_window_pattern": [1, 1, 1, 0],
        "attention.key_length_swa": 64,
        "attention.value_length_swa": 64,
        "attention.shared_kv_layers": 0,
        "embedding_length_per_layer_input": 64,
    },
    "qwen3moe": EXPERTS,
    # The last block predicts tokens ahead, which nobody asks for here.
    "glm4moe": {
        **EXPERTS,
        "block_count": 5,
        "nextn_predict_layers": 1,
        "leading_dense_block_count": 1,
        "expert_shared_count": 1,
    },
    "gpt-oss": {**EXPERTS, **WINDOW},
    "lfm2": {"shortconv.l_cache": 3, "attention.head_count_kv": [0, 2, 0, 2]},
    "granitehybrid": {
        **STATE,
        "logit_scale": 1.0,
        "attention.head_count_kv": [0, 2, 0, 2],
    },
    "qwen35": {
        **STATE,
        "ssm.group_count": 2,
        "ssm.time_step_rank": 4,
        "full_attention_interval": 2,
        "rope.dimension_sections": [8, 8, 8, 8],
    },
    "mamba": {**STATE, **NO_HEADS, "ssm.state_size": 16, "ssm.time_step_rank": 16},
    "mamba2": {**STATE, **NO_HEADS},
}
"""Fields that differ from `COMMON`, by llama.cpp's name of the architecture."""


def make(name: str, out: Path, more: Fields | None = None) -> Path:
    """Write a random model of `ARCHITECTURES`, float32, as a GGUF file.

    Args:
        more: fields of the header that differ.
    """
    random = np.random.default_rng(0)
    tensors: dict[str, np.ndarray] = {}

    def drawn(pointer: int, _: Any) -> None:
        tensor = ctypes.cast(pointer, ggml.TensorPointer).contents
        shape = tensor.ne[: ggml.base().ggml_n_dims(tensor)][::-1]
        weights = random.normal(0, 0.05, shape).astype(np.float32)
        if not tensor.name.endswith(b"scale"):  # of types that these have none of
            tensors[tensor.name.decode()] = -abs(weights) if b"ssm_a" in tensor.name else weights

    header = ggml.base().gguf_init_empty()
    contents.set_fields(header, {"general.architecture": name, "tokenizer.ggml.model": "no_vocab"})
    fields = {**COMMON, **ARCHITECTURES[name], **(more or {})}
    contents.set_fields(header, {f"{name}.{key}": value for key, value in fields.items()})
    params = llama_cpp.llama_model_default_params()
    fill(params, load_mode=LOAD_MODES[False, False], use_extra_bufts=False, load_mtp=True)
    model = llama_cpp.llama_model_init_from_user(
        header, llama_cpp.llama_model_set_tensor_data_t(drawn), None, params
    )
    if not model:
        raise ValueError(f"the engine makes no {name} of these widths")
    llama_cpp.llama_model_free(model)
    ggml.write(out, header, tensors)
    ggml.base().gguf_free(header)
    return out
