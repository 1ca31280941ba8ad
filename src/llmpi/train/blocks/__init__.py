"""A model that learns one transformer block at a time: no more of it than that is in memory.

A block is given what the quantized blocks before it leave, and is to make what the unquantized
model has there. How it learns, a rounding or all weights, is not known here.
"""
