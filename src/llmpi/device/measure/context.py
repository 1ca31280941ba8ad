"""What a server has too little of where it shortens prompts, in its own words."""

LONGER = (
    "give it a longer context (Ollama: OLLAMA_CONTEXT_LENGTH or num_ctx; llama-server: --ctx-size, "
    "which --parallel shares out; llama-cpp-python: --n_ctx)"
)
