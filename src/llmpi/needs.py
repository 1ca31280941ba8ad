"""What a job that computes asks of its machine: memory in MB (2^20 bytes), time in minutes.

A cluster's scheduler reserves it and ends what goes beyond, so all of it is generous. On one
machine it binds only where Snakemake is told how much there is: `--resources mem_mb=16000`.
"""

from math import ceil

MB = 1024**2

RATE = 4e10
"""Parameters times tokens per second. Two cores of a server (AVX-512) computed 7.8e10: 576 prompt
tokens per second with 135 million parameters; half of it, for an older processor."""

PROGRAM_MB = 2000
"""Python, the engine, and what it computes in."""

KEYS_AND_VALUES_MB = 0.5
"""Of a token of context: Llama-2-7B's at 16 bits, 32 layers x 2 x 4096 x 2 bytes. Models with
grouped queries take a quarter of it or less."""


def scoring_mb(file_bytes: int, context_tokens: int = 0) -> int:
    """A model's weights, as they are and once more as the engine repacks them, and a context."""
    return ceil(PROGRAM_MB + 2 * file_bytes / MB + KEYS_AND_VALUES_MB * context_tokens)


def scoring_minutes(parameters: int, tokens: float) -> int:
    """So many tokens through a model, half an hour to start with."""
    return 30 + ceil(parameters * tokens / RATE / 60)


def quantizing_mb(file_bytes: int) -> int:
    """The file that is read, of which no more than one tensor is unpacked at a time."""
    return ceil(PROGRAM_MB + 2 * file_bytes / MB)


def quantizing_minutes(file_bytes: int) -> int:
    """100 MB of F16 a minute, which the slowest types (IQ, by a matrix) reach on four cores."""
    return 15 + ceil(file_bytes / MB / 100)


def training_mb(f16_bytes: int) -> int:
    """In units of the F16: master weights, gradients, what is seen of them quantized and the
    teacher at 2 each (float32), AdamW's two moments at 4; activations on top.
    """
    return ceil(2 * PROGRAM_MB + 14 * f16_bytes / MB)


def training_minutes(parameters: int, tokens: float) -> int:
    """Each token: once through the teacher, once there and twice back through the student."""
    return scoring_minutes(parameters, 4 * tokens)
