"""Log-probabilities of a reference in 16 bits, in llama-perplexity's file format; scores.

The format is that of llama-perplexity's --kl-divergence-base (tools/perplexity/perplexity.cpp).
"""

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from mmap import MADV_DONTNEED, mmap
from pathlib import Path
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from llmpi.errors import LlmpiError

Tokens = NDArray[np.int32]
Logits = NDArray[np.float32]
Codes = NDArray[np.uint16]
Values = NDArray[np.float64]

RANGE_NATS = 16
"""What is less likely than the likeliest token by more than this is stored as this."""


@dataclass(frozen=True)
class LogProbs:
    """llama-perplexity's file: header, tokens, and a row of 16-bit log-probabilities a position.

    A row is two float32, the scale and the lowest log-probability, and a code for each token of the
    vocabulary: log-probability = lowest + scale * code.
    """

    MAGIC = b"_logits_"
    HEADER = struct.Struct("<8sIii")  # magic, window, vocabulary, chunks

    vocab_tokens: int
    tokens: Tokens
    """[chunks, window]"""
    rows: Codes
    """[chunks, positions, 4 + vocabulary rounded up to even], mapped into memory"""

    @classmethod
    def create(cls, path: Path, tokens: Tokens, vocab_tokens: int) -> Self:
        """A file for the rows of `tokens`, its space reserved.

        Raises:
            LlmpiError: the disk has no room.
        """
        chunks, window = tokens.shape
        size = cls.size(chunks, window, vocab_tokens)
        with path.open("wb") as file:
            file.write(cls.HEADER.pack(cls.MAGIC, window, vocab_tokens, chunks))
            file.write(tokens.astype("<i4").tobytes())
            file.flush()
            try:
                os.posix_fallocate(file.fileno(), 0, size)
            except OSError as error:
                path.unlink()
                raise LlmpiError(
                    f"{path.parent} has no room for {size / 1e6:.0f} MB of log-probabilities "
                    f"({error.strerror}): make room, or take fewer chunks or a smaller max_bytes"
                ) from None
        return cls.open(path, "r+")

    @classmethod
    def open(cls, path: Path, mode: Literal["r", "r+"] = "r") -> Self:
        """The rows of a file that is there.

        Raises:
            LlmpiError: it is no such file, or not whole.
        """
        with path.open("rb") as file:
            head = file.read(cls.HEADER.size)
            magic, window, vocab_tokens, chunks = cls.HEADER.unpack(head.ljust(cls.HEADER.size))
            if magic != cls.MAGIC or path.stat().st_size != cls.size(chunks, window, vocab_tokens):
                raise LlmpiError(
                    f"{path}: no whole file of log-probabilities; delete it and run again"
                )
            tokens = np.fromfile(file, "<i4", chunks * window).reshape(chunks, window)
        shape = (chunks, positions_of(window), cls.width(vocab_tokens))
        offset = cls.HEADER.size + tokens.nbytes
        return cls(vocab_tokens, tokens, np.memmap(path, "<u2", mode, offset, shape))

    @classmethod
    def size(cls, chunks: int, window: int, vocab_tokens: int) -> int:
        """Bytes of a file."""
        row = 2 * cls.width(vocab_tokens)
        return cls.HEADER.size + chunks * (4 * window + positions_of(window) * row)

    @classmethod
    def fitting(cls, max_bytes: int, window: int, vocab_tokens: int) -> int:
        """How many chunks fit.

        Raises:
            LlmpiError: none does.
        """
        one = cls.size(1, window, vocab_tokens)
        if max_bytes < one:
            raise LlmpiError(
                f"one chunk of {window} tokens of a vocabulary of {vocab_tokens} takes "
                f"{one / 1e6:.1f} MB, more than max_bytes, {max_bytes / 1e6:.1f} MB: raise it, or "
                "take a smaller window_tokens"
            )
        return (max_bytes - cls.HEADER.size) // (one - cls.HEADER.size)

    @staticmethod
    def width(vocab_tokens: int) -> int:
        return 4 + 2 * ((vocab_tokens + 1) // 2)


def let_go(rows: Codes) -> None:
    """Of rows mapped into memory keep none here: the kernel has them while it has room."""
    if isinstance(rows.base, mmap):
        rows.base.madvise(MADV_DONTNEED)


def positions_of(window_tokens: int) -> int:
    """How many predictions of a window are scored: of its second half, but for the last token's."""
    return window_tokens - 1 - window_tokens // 2


def encode(logits: Logits, log_z: Logits, out: Codes) -> None:
    """Write rows of log-probabilities: log_softmax in llama-perplexity.

    What lies within `RANGE_NATS` of the likeliest token is off by RANGE_NATS / 65535 / 2 at most.

    Args:
        logits: [rows, vocabulary].
        log_z: [rows, 1], of `log_sum_exp`.
        out: [rows, 4 + vocabulary rounded up to even].
    """
    top = logits.max(axis=1, keepdims=True)
    low = np.maximum(logits.min(axis=1, keepdims=True), top - np.float32(RANGE_NATS))
    scale = (top - low) / np.float32(65535)
    steps = logits - low
    np.maximum(steps, 0, out=steps)
    tiny = np.finfo(np.float32).tiny  # rows that are flat to that: all codes are 0
    steps *= np.divide(1, scale, out=np.zeros_like(scale), where=scale > tiny)
    out[:, 4 : 4 + logits.shape[1]] = np.rint(steps, out=steps)
    out[:, :4].view(np.float32)[:] = np.hstack([scale, low - log_z])


def decode(rows: Codes, vocab_tokens: int) -> Logits:
    """Log-probabilities [rows, vocabulary] of encoded rows."""
    scale, lowest = rows[:, :4].view(np.float32).T[..., None]
    found = rows[:, 4 : 4 + vocab_tokens] * scale
    found += lowest
    return found


# --- scores of a block of positions ---------------------------------------------------------------

Scorer = Callable[[Logits, Tokens, Codes], Values]
"""(logits [n, vocabulary], tokens that follow [n], rows [n, ...]) -> values [quantities, n]"""


def log_sum_exp(logits: Logits) -> Logits:
    """[rows, 1]"""
    top = logits.max(axis=1, keepdims=True)
    total = np.exp(logits - top).sum(axis=1, dtype=np.float64, keepdims=True)
    return top + np.log(total).astype(np.float32)


def score(logits: Logits, following: Tokens, _: Codes) -> Values:
    """Negative log-likelihoods only."""
    return _nll(logits, log_sum_exp(logits), following)[None]


def score_and_encode(logits: Logits, following: Tokens, rows: Codes) -> Values:
    """Negative log-likelihoods; `rows` are written."""
    log_z = log_sum_exp(logits)
    encode(logits, log_z, rows)
    return _nll(logits, log_z, following)[None]


def compare(logits: Logits, following: Tokens, rows: Codes) -> Values:
    """All `QUANTITIES`, against `rows`.

    The divergence is KL(reference || variant), the sum over the vocabulary of
    p_reference (ln p_reference - ln p), in nats; tokens with ln p_reference <= -16 are left out, as
    in llama-perplexity, since their rows hold no more than a bound.
    """
    log_z = log_sum_exp(logits)
    base = decode(rows, logits.shape[1])
    weights = np.exp(base)
    weights[base <= -RANGE_NATS] = 0
    terms = base - logits
    terms += log_z
    terms *= weights
    at = np.arange(len(logits))
    return np.stack(
        [
            _nll(logits, log_z, following),
            -base[at, following].astype(np.float64),
            terms.sum(axis=1, dtype=np.float64),
            (logits.argmax(axis=1) == rows[:, 4 : 4 + logits.shape[1]].argmax(axis=1)),
        ]
    )


def _nll(logits: Logits, log_z: Logits, following: Tokens) -> Values:
    return log_z[:, 0].astype(np.float64) - logits[np.arange(len(logits)), following]
