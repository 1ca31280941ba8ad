"""Where a model's thought ends and its answer begins."""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import NamedTuple


class Marks(NamedTuple):
    """What a model writes around its thoughts, such as `<think>` and `</think>`."""

    open: str
    close: str


class Thought(NamedTuple):
    """What one request may think.

    `opened`: the prompt ends within a thought; else the model opens one itself, or answers at once.
    """

    tokens: int
    """At most."""
    opened: bool


class Thoughts:
    """
    Args:
        marks: of the model.
        text: of tokens, special ones included.
    """

    def __init__(self, marks: Marks, text: Callable[[Sequence[int]], bytes]) -> None:
        self._open, self._close = (mark.encode() for mark in marks)
        self._text = text

    def answer_at(self, tokens: Sequence[int], opened: bool, ended: bool = False) -> int | None:
        """How many of the tokens that a model wrote are its thought, the marks included.

        Args:
            ended: no more will come: what might have become a mark is text.

        Returns:
            0 where it does not think; None while its thought goes on, or may just be opening. White
            space behind a thought is of the thought.
        """
        said = self._text(tokens)
        begun = said.lstrip()
        if not opened and not begun.startswith(self._open):
            opening = not ended and self._open.startswith(begun)
            return None if opening else 0
        end = said.find(self._close)
        if end < 0:
            return None
        end += len(self._close)
        # The mark may be of several tokens, and the last one of them hold text behind it.
        count = bisect_left(range(len(tokens)), end, key=lambda n: len(self._text(tokens[:n])))
        while count < len(tokens) and not self._text(tokens[: count + 1])[end:].strip():
            count += 1
        return count if ended or said[end:].strip() else None

    def behind(self, tokens: Sequence[int]) -> bytes:
        """What the tokens of a thought hold behind the mark: mostly white space."""
        return self._text(tokens).partition(self._close)[2]
