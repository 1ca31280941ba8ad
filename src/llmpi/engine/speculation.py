"""Speculative decoding: what is drafted of a text is checked in one decoding.

What the model would have said itself is kept, the rest is taken out of the KV cache again
(Leviathan, Kalman, Matias, *Fast Inference from Transformers via Speculative Decoding*, 2023;
greedily, where a draft is right or wrong). Who drafts is a `Drafter`.
"""

from collections.abc import Sequence
from typing import Protocol

from llmpi.engine.llama import Engine, EngineError


class Drafter(Protocol):
    """Guesses how a text goes on."""

    def make_room(self, context_tokens: int) -> None:
        """For a text of so many tokens.

        Raises:
            EngineError: there is no memory for it.
        """

    def begin(self, prompt: Sequence[int]) -> None:
        """Read a new text, which is to go on by one token at least before it is drafted."""

    def draft(self, text: Sequence[int], limit: int) -> list[int]:
        """Up to `limit` tokens that may follow `text`: what was begun with, and what was said
        since."""


class Speculation:
    """A text that grows by what a model says: where drafts are right, by several tokens at once.

    Args:
        drafter: that guesses.
    """

    def __init__(self, drafter: Drafter) -> None:
        self._drafter = drafter
        self._text: list[int] = []
        self.steps = self.drafted = self.accepted = 0

    def make_room(self, context_tokens: int) -> None:
        """Have the drafter ready for a text of so many tokens. Not on a measurement's time."""
        self._drafter.make_room(context_tokens)

    def begin(self, prompt: Sequence[int]) -> None:
        """A new text, of which nothing is said yet."""
        self._text = [*prompt]
        self._drafter.begin(prompt)
        self.steps = self.drafted = self.accepted = 0

    def say(self, token: int) -> None:
        """The text goes on so."""
        self._text.append(token)

    def extend(self, engine: Engine, limit: int) -> list[int]:
        """The next tokens, at least one and at most `limit`.

        Args:
            engine: holds the text but for its last token.
        """
        text = self._text
        draft = self._drafter.draft(text, limit - 1)
        if draft:
            said = engine.decode_all([text[-1], *draft]).argmax(axis=1).tolist()
        else:
            engine.decode([text[-1]])
            said = [engine.greedy()]
        accepted = agreeing(draft, said)
        if accepted < len(draft):
            engine.keep(len(text) + accepted)
        text += said[: accepted + 1]
        self.steps += 1
        self.drafted += len(draft)
        self.accepted += accepted
        return said[: accepted + 1]


def agreeing(draft: Sequence[int], said: Sequence[int]) -> int:
    """How many tokens of a draft the model says itself, up to the first that it does not."""
    pairs = zip(draft, said, strict=False)
    return next((i for i, (drafted, own) in enumerate(pairs) if drafted != own), len(draft))


def check_can_cut_back(engine: Engine, what: str) -> None:
    """Whether an engine can forget the end of a text alone. It holds nothing afterwards.

    Raises:
        EngineError: it cannot.
    """
    engine.decode([0, 0])
    can = engine.can_cut_back(1)
    engine.keep(0)
    if not can:
        raise EngineError(
            f"the memory of {what} cannot forget the end of a text alone (recurrent, hybrid, or "
            "with sliding windows), so that nothing can be drafted: leave `draft` and "
            "`prompt_lookup` out for this model (exclude)"
        )
