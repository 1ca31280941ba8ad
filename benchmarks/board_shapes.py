"""The models of `board_rows.csv`, by what their config.json or llama.cpp's own code states."""

from llmpi.gguf.contents import Value
from llmpi.gguf.footprint import Described
from llmpi.plan.config_json import of_config
from llmpi.plan.known import CONFIGS
from llmpi.plan.model import Model


def _llama(layers: int, width: int, ffn: int, heads: int, kv: int, vocab: int) -> dict[str, object]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "num_hidden_layers": layers,
        "hidden_size": width,
        "intermediate_size": ffn,
        "num_attention_heads": heads,
        "num_key_value_heads": kv,
        "vocab_size": vocab,
    }


SHAPES: dict[str, dict[str, object]] = {
    "tinyllama": _llama(22, 2048, 5632, 32, 4, 32000),
    "llama-2-7b": _llama(32, 4096, 11008, 32, 32, 32000),
    # StableLM has the same matrices, and biases of its norms.
    "stable-code-3b": _llama(32, 2560, 6912, 32, 32, 50304),
    "qwen2.5-0.5b": {
        **_llama(24, 896, 4864, 14, 2, 151936),
        "architectures": ["Qwen2ForCausalLM"],
        "tie_word_embeddings": True,
    },
    "gemma-2-9b": {
        **_llama(42, 3584, 14336, 16, 8, 256000),
        "architectures": ["Gemma2ForCausalLM"],
        "head_dim": 256,
        "sliding_window": 4096,
    },
}
KNOWN = {
    "llama-3.2-3b": "meta-llama/Llama-3.2-3B-Instruct",
    "llama-3.1-8b": "meta-llama/Llama-3.1-8B-Instruct",
    "phi-3-mini": "microsoft/Phi-3-mini-4k-instruct",
}
LFM2 = {"lfm2-350m": (1024, 4608, 16), "lfm2-700m": (1536, 6912, 24)}
"""Width, inner width, heads; 16 layers, the 3rd, 6th, 9th, 11th, 13th and 15th with attention."""
ATTENDING, LAYERS, VOCABULARY, HEAD, KV_HEADS = (2, 5, 8, 10, 12, 14), 16, 65536, 64, 8


def models() -> dict[str, Model]:
    """By the names of `board_rows.csv`."""
    found = {name: of_config(CONFIGS[repo], repo) for name, repo in KNOWN.items()}
    found |= {name: of_config(shape, name) for name, shape in SHAPES.items()}
    return found | {name: _lfm2(name, *shape) for name, shape in LFM2.items()}


def _lfm2(name: str, width: int, ffn: int, heads: int) -> Model:
    """LFM2 as llama.cpp has it (src/models/lfm2.cpp)."""
    tensors: list[tuple[str, tuple[int, ...]]] = [
        ("token_embd.weight", (VOCABULARY, width)),
        ("token_embd_norm.weight", (width,)),
    ]
    for layer in range(LAYERS):
        tensors += [(f"blk.{layer}.{n}", shape) for n, shape in _layer(layer, width, ffn)]
    fields: dict[str, Value] = {
        "context_length": 128000,
        "block_count": LAYERS,
        "embedding_length": width,
        "feed_forward_length": ffn,
        "attention.head_count": heads,
        "attention.head_count_kv": [KV_HEADS if i in ATTENDING else 0 for i in range(LAYERS)],
        "attention.layer_norm_rms_epsilon": 1e-5,
        "shortconv.l_cache": 3,
        "vocab_size": VOCABULARY,
    }
    header: dict[str, Value] = {"general.architecture": "lfm2", "tokenizer.ggml.model": "no_vocab"}
    described: dict[str, Value] = {f"lfm2.{key}": value for key, value in fields.items()}
    return Model(Described({**header, **described}, tensors), name, VOCABULARY)


def _layer(layer: int, width: int, ffn: int) -> list[tuple[str, tuple[int, ...]]]:
    kv = KV_HEADS * HEAD
    mixer: list[tuple[str, tuple[int, ...]]] = [
        ("shortconv.in_proj.weight", (3 * width, width)),
        ("shortconv.out_proj.weight", (width, width)),
        ("shortconv.conv.weight", (width, 3)),
    ]
    if layer in ATTENDING:
        mixer = [
            ("attn_q.weight", (width, width)),
            ("attn_k.weight", (kv, width)),
            ("attn_v.weight", (kv, width)),
            ("attn_output.weight", (width, width)),
            ("attn_q_norm.weight", (HEAD,)),
            ("attn_k_norm.weight", (HEAD,)),
        ]
    return [
        ("attn_norm.weight", (width,)),
        ("ffn_norm.weight", (width,)),
        *mixer,
        ("ffn_gate.weight", (ffn, width)),
        ("ffn_up.weight", (ffn, width)),
        ("ffn_down.weight", (width, ffn)),
    ]
