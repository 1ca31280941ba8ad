"""Where a model's thought ends and its answer begins."""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple


class Marks(NamedTuple):
    """What a model writes around its thoughts, such as `<think>` and `</think>`."""

    open: str
    close: str
    """All that stands between a thought and the answer."""
    answer: str = ""
    """Before an answer without a thought, where that has a mark of its own."""
    begin: str = ""
    """Before an answer behind a thought, beside `close`."""
    end: str = ""
    """Behind an answer, where its turn does not end with it."""


ABOUT_THINKING = re.compile(
    r"[<\[◁][^\s<>\[\]◁▷]*(?:think|thought|reason)[^\s<>\[\]◁▷]*[>\]▷]", re.I
)
"""A mark by whose name a thought begins or ends."""
OPENED_BY = (("/", ""), ("end", "start"), ("end", "begin"), ("END", "START"), ("END", "BEGIN"))
"""What in a mark's name says that it closes, and what the one that opens has there."""


def marks_among(tokens: Iterable[str]) -> Marks | None:
    """The marks that a vocabulary has tokens for, though no template shows them."""
    named = dict.fromkeys(token for token in tokens if ABOUT_THINKING.fullmatch(token))
    for close in named:
        for closing, opening in OPENED_BY:
            opens = close.replace(closing, opening, 1)
            if opens != close and opens in named:
                return Marks(opens, close)
    return None


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
        self._open, self._close = marks.open.encode(), marks.close.encode()
        self._answer, self._end = marks.answer.strip().encode(), marks.end.encode()
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
        close = self._close
        if not opened and not begun.startswith(self._open):
            if not self._answer or not begun.startswith(self._answer):
                begins = self._open.startswith(begun) or self._answer.startswith(begun)
                return None if begins and not ended else 0
            close = self._answer
        end = said.find(close)
        if end < 0:
            return None
        end += len(close)
        # The mark may be of several tokens, and the last one of them hold text behind it.
        count = bisect_left(range(len(tokens)), end, key=lambda n: len(self._text(tokens[:n])))
        while count < len(tokens) and not self._text(tokens[: count + 1])[end:].strip():
            count += 1
        return count if ended or said[end:].strip() else None

    def behind(self, tokens: Sequence[int]) -> bytes:
        """What the tokens of a thought hold behind the mark: mostly white space."""
        said = self._text(tokens)
        return said.partition(self._close if self._close in said else self._answer)[2]

    def is_none(self, tokens: Sequence[int]) -> bool:
        """Whether what stands before an answer is its own mark, and no thought."""
        said = self._text(tokens).lstrip()
        return bool(self._answer) and said.startswith(self._answer) and self._close not in said

    def answer_in(self, tokens: Sequence[int]) -> Sequence[int]:
        """The tokens of an answer, without those of the mark behind it and what follows."""
        end = self._text(tokens).find(self._end) if self._end else -1
        if end < 0:
            return tokens
        count = bisect_right(range(len(tokens)), end, key=lambda n: len(self._text(tokens[:n])))
        return tokens[: count - 1]
