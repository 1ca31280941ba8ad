"""What a job that computes asks of its machine: memory in MB (2^20 bytes), time in minutes.

A cluster's scheduler reserves it and ends what goes beyond; on one machine Snakemake starts no more
than fits (rules/needs.smk). Memory is what was measured of a model of Llama-3.2-1B's shape (2.47 GB
at F16, a vocabulary of 128k; peak of the resident memory, the mapped file with it), and a little
more. Time is generous.
"""

from math import ceil

MB = 1024**2

RATE = 4e10
"""Parameters times tokens per second. Two cores of a server (AVX-512) computed 7.8e10: 576 prompt
tokens per second with 135 million parameters; half of it, for an older processor."""

PROGRAM_MB = 300
"""Python, the engine, and what it computes in."""

READ_TEXT_MB = 500
"""The logits of a text, twice: 512 tokens at a time, a vocabulary of 128k, float32."""

SCORED_TEXT_MB = 1000
"""The same, what they are scored in, and the reference's rows of 2048 tokens, which are mapped."""

QUANTIZED_AT_ONCE_MB = 400
"""What of a tensor is unpacked, quantized and unpacked again for a probe of a mix: 2^24 weights."""

MIX_PROBES, MIX_WINDOW_TOKENS = 96, 512
"""What the search of a mix reads: for each group of tensors twice so many windows; there are about
22 groups, and the reference, and some groups are tried in halves."""

MIX_SPLITS = 8
"""Groups of a mix that are tried in halves, at most: two probes each, and one beside the mix."""

TORCH_MB = 600
"""Python with torch and transformers, and a training's activations where they are recomputed."""

KEYS_AND_VALUES_MB, OF_PARAMETERS = 0.25, 6.74e9
"""Of a token of context at 16 bits, in a model of so many parameters: half of Llama-2-7B's, which
does not group its queries. It goes with layers times width: as parameters to the power of 2/3."""

NEVER_REPACKED = ("F32", "F16", "BF16")
"""Types of which the engine makes no copy for its kernels."""


def scoring_mb(
    file_bytes: int,
    parameters: int,
    *,
    context_tokens: int = 0,
    repacked: bool = True,
    text_mb: int = 0,
) -> int:
    """A model's weights, as they are and once more as the engine repacks them, and a context.

    Args:
        text_mb: `READ_TEXT_MB` or `SCORED_TEXT_MB`, where logits of a whole text are asked for.

    Measured: 1588 for questions (Q4_0, 4096 tokens), 3031 (F16) with the process that waits, 2112
    for a divergence from its reference, 3796 with it for the reference (F16), 2989 for calibration
    (F16).
    """
    weights = (1 + repacked) * file_bytes / MB
    each = KEYS_AND_VALUES_MB * (parameters / OF_PARAMETERS) ** (2 / 3)
    return ceil(PROGRAM_MB + text_mb + weights + each * context_tokens)


def scoring_minutes(parameters: int, tokens: float) -> int:
    """So many tokens through a model, half an hour to start with."""
    return 30 + ceil(parameters * tokens / RATE / 60)


def quantizing_mb(f16_bytes: int, largest: int | None = None) -> int:
    """The largest tensor as it is, at float32 and as it becomes.

    Args:
        largest: parameters of the largest tensor. Where they are not known: of a small model most
            are in the table of embeddings, of a large one few.

    Measured: 1804, and with the process that waits for it 1950.
    """
    return ceil(PROGRAM_MB + 6.2 * (largest or _largest(f16_bytes / 2)) / MB)


def converting_mb(checkpoint_bytes: int, largest: int | None = None) -> int:
    """The same by llama.cpp's converter: as it is, and at float32.

    Measured: 2163, and with the process that waits for it 2260.
    """
    return ceil(TORCH_MB + 6.3 * (largest or _largest(checkpoint_bytes / 2)) / MB)


def _largest(parameters: float) -> float:
    return min(parameters, 2e8) + parameters / 16


def quantizing_minutes(file_bytes: int) -> int:
    """100 MB of F16 a minute, which the slowest types (IQ, by a matrix) reach on four cores."""
    return 15 + ceil(file_bytes / MB / 100)


def training_mb(f16_bytes: int, distill: bool = True) -> int:
    """Master weights, gradients, what is seen of them quantized (float32), AdamW's two moments, and
    the teacher in 2 bytes: 22 bytes a parameter; and activations. Measured: 27 GB."""
    return ceil(TORCH_MB + (11 if distill else 10) * f16_bytes / MB)


def training_disk_bytes(f16_bytes: int) -> int:
    """Checkpoints: the last one (master weights and moments, 12 bytes a parameter), the one that
    takes its place, and the best weights; what is made of them at the end needs less."""
    return 14 * f16_bytes


def training_minutes(parameters: int, tokens: float) -> int:
    """Each token: once through the teacher, once there and twice back through the student."""
    return scoring_minutes(parameters, 4 * tokens)


def trains_by_block(
    f16_bytes: int, *, distill: bool, asked: bool | None, free_bytes: int | None
) -> bool:
    """Whether one block is trained after another: as is asked, or where the whole model at once
    does not fit into the memory that is free. Without a teacher there is nothing to imitate."""
    if asked is not None:
        return asked
    return distill and free_bytes is not None and free_bytes < MB * training_mb(f16_bytes)


def block_training_mb(f16_bytes: int, tokens: int) -> int:
    """Of one block: master weights, gradients, what is seen of them, AdamW's moments, what
    llama.cpp makes of them, and twice in 2 bytes; and what all tokens are between two blocks,
    unquantized and quantized. Then, of all blocks, their scales with moments (one for 32 weights or
    so), two output matrices in 2 bytes, and one block with its codes and gradients. Blocks and
    widths as in `rounding_mb`.

    Args:
        tokens: that are learned from; each is one of its own.
    """
    parameters = f16_bytes / 2
    state = 4 * tokens * parameters**0.5 / 16
    blocks = 34 * parameters / 16 + 2 * state
    scales = 24 * parameters / 16 + state + 0.7 * parameters + 4 * _largest(parameters)
    return max(ceil(TORCH_MB + max(blocks, scales) / MB), quantizing_mb(f16_bytes))


def block_training_disk_bytes(f16_bytes: int) -> int:
    """The file as llama.cpp makes it, what was learned of it, and the scales with their moments."""
    return 2 * f16_bytes


BLOCK_PASSES = 9
"""Of a token through a block: two between blocks, there and twice back to learn, and there twice
and twice back for the scales."""


def block_training_minutes(parameters: int, tokens: float) -> int:
    return scoring_minutes(parameters, BLOCK_PASSES * tokens)


ROUNDING_WINDOW_TOKENS, ROUNDING_STEP_TOKENS = 256, 1024
"""Of a window that a rounding is learned from, and of a step."""


def rounding_mb(f16_bytes: int, windows: int) -> int:
    """One block: its weights as they are, as llama.cpp rounds them and as they are seen, gradients,
    offsets, twice in 2 bytes, and two of six numbers for the scales of sixteen; no block has more
    than a sixteenth of the weights. And what all windows are between two blocks, unquantized and
    quantized: no model is wider than a sixteenth of the root of its weights."""
    parameters = f16_bytes / 2
    states = 2 * 4 * windows * ROUNDING_WINDOW_TOKENS * parameters**0.5 / 16
    learning = ceil(TORCH_MB + (28 * parameters / 16 + states) / MB)
    return max(learning, quantizing_mb(f16_bytes))


def rounding_disk_bytes(f16_bytes: int) -> int:
    """The file as llama.cpp makes it, and what was learned of it."""
    return f16_bytes


def rounding_tokens(steps: int, windows: int) -> int:
    """Of each block: those of a step go there and twice back, those of a window go through it
    unquantized and quantized."""
    return 3 * steps * ROUNDING_STEP_TOKENS + 2 * windows * ROUNDING_WINDOW_TOKENS


def rounding_minutes(parameters: int, steps: int, windows: int) -> int:
    return scoring_minutes(parameters, rounding_tokens(steps, windows))
