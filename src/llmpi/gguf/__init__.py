"""GGUF files: look inside, quantize, say in a manifest what was made."""
