"""Quantization-aware training: a model learns to live with the weights that llama.cpp will read.

Torch lives here, and is imported only by the process that trains (`python -m llmpi.train`).
"""
