"""The text a model learns from, and the part of it that it never sees."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from llmpi.engine.llama import Engine, Settings
from llmpi.errors import LlmpiError

Windows = np.ndarray
"""int64 [windows, tokens]"""


@dataclass(frozen=True)
class Text:
    train: Windows
    held_out: Windows

    def batch(self, step: int, sequences: int, seed: int) -> Windows:
        """The windows of a step, counted from 0: each once before any comes again, in an order
        that the seed decides. Of nothing but its arguments, so that training can go on anywhere."""
        start = step * sequences
        rounds = [divmod(start + i, len(self.train)) for i in range(sequences)]
        orders = {
            turn: np.random.default_rng([seed, turn]).permutation(len(self.train))
            for turn in {turn for turn, _ in rounds}
        }
        return self.train[[orders[turn][i] for turn, i in rounds]]


def split(text: str, held_out_share: float) -> tuple[str, str]:
    """The text before and behind the first end of a line in its last `held_out_share`."""
    at = round(len(text) * (1 - held_out_share))
    at = text.find("\n", at) + 1 or at
    return text[:at], text[at:]


def windows(
    gguf: Path, text: str, *, tokens: int, held_out_share: float, held_out_windows: int
) -> Text:
    """`text` in windows of the model's own tokens.

    Where the vocabulary wants a BOS, every window begins with one, as llama-perplexity has it.

    Args:
        gguf: a model file known to be sound.
        tokens: of a window.
        held_out_windows: how many of the held-out text at most, spread evenly over it.

    Raises:
        LlmpiError: the text is too short.
    """
    train, held_out = _in_windows(gguf, split(text, held_out_share), tokens)
    for found, what in ((train, "to learn from"), (held_out, "held out")):
        if not len(found):
            raise LlmpiError(
                f"qat: the text has not one window of {tokens} tokens {what}; take a longer text, "
                "or a smaller sequence_tokens"
            )
    return Text(train, evenly(held_out, held_out_windows))


def spread(gguf: Path, text: str, *, tokens: int, windows: int, least: int) -> Windows:
    """At most so many windows of a text, as `windows` makes them, spread evenly over it.

    Args:
        least: so many there must be.

    Raises:
        LlmpiError: the text is too short.
    """
    [found] = _in_windows(gguf, [text], tokens)
    if len(found) < least:
        raise LlmpiError(
            f"calibration: the text has {len(found)} windows of {tokens} tokens, and to learn a "
            f"rounding {least} are needed; take a longer text"
        )
    return evenly(found, windows)


def evenly(found: Windows, count: int) -> Windows:
    """So many of them, or all there are."""
    places = np.linspace(0, len(found) - 1, min(count, len(found)))
    return found[places.round().astype(int)]


def _in_windows(gguf: Path, texts: Sequence[str], tokens: int) -> list[Windows]:
    with Engine(gguf, Settings(threads=1), context_tokens=8) as engine:
        first = engine.tokenize("")
        bos = first[0] if first else None
        return [_cut(engine.tokenize(text), tokens, bos) for text in texts]


def _cut(tokens: list[int], window: int, bos: int | None) -> Windows:
    count = len(tokens) // window
    cut = np.array(tokens[: count * window], np.int64).reshape(count, window)
    if bos is not None:
        cut[:, 0] = bos
    return cut
