"""Prompt lookup: guess the next tokens out of the text so far, and check them in one decoding.

Speculative decoding without a second model (Apoorv Saxena, prompt-lookup-decoding, 2023): where the
last tokens stood in the text before, what followed there is drafted. One decoding checks all of a
draft; what the model would have said itself is kept, the rest is taken out of the KV cache again.

The drafts of llama-cpp-python (`LlamaPromptLookupDecoding`) fall back to single tokens that agree
and take the oldest place: on a processor, where each drafted token costs time, too many are vain.
"""

from collections.abc import Sequence

from llmpi.engine.llama import Engine


class PromptLookup:
    """A text that grows, and drafts of how it goes on.

    Args:
        ngram: so many last tokens must have stood in the text before.
        draft_tokens: the longest draft.
    """

    def __init__(self, ngram: int, draft_tokens: int) -> None:
        self._ngram, self._longest = ngram, draft_tokens
        self._tokens: list[int] = []
        self._followed: dict[tuple[int, ...], int] = {}
        self.steps = self.drafted = self.accepted = 0

    def begin(self, tokens: Sequence[int]) -> None:
        """A new text, of which nothing is drafted yet."""
        self._tokens, self._followed = [], {}
        self.steps = self.drafted = self.accepted = 0
        self._append(tokens)

    def extend(self, engine: Engine, limit: int) -> list[int]:
        """The next tokens, at least one and at most `limit`.

        Args:
            engine: holds the text but for its last token.
        """
        draft = self._draft(limit - 1)
        if draft:
            said = engine.decode_all([self._tokens[-1], *draft]).argmax(axis=1).tolist()
        else:
            engine.decode([self._tokens[-1]])
            said = [engine.greedy()]
        accepted = agreeing(draft, said)
        if accepted < len(draft):
            engine.keep(len(self._tokens) + accepted)
        self._append(said[: accepted + 1])
        self.steps += 1
        self.drafted += len(draft)
        self.accepted += accepted
        return said[: accepted + 1]

    def _append(self, tokens: Sequence[int]) -> None:
        for token in tokens:
            last = self._tokens[-self._ngram :]
            if len(last) == self._ngram:
                self._followed[tuple(last)] = len(self._tokens)
            self._tokens.append(token)

    def _draft(self, limit: int) -> list[int]:
        """What followed the last tokens the last time, up to `limit` tokens."""
        at = self._followed.get(tuple(self._tokens[-self._ngram :]))
        return [] if at is None else self._tokens[at : at + min(limit, self._longest)]


def agreeing(draft: Sequence[int], said: Sequence[int]) -> int:
    """How many tokens of a draft the model says itself, up to the first that it does not."""
    pairs = zip(draft, said, strict=False)
    return next((i for i, (drafted, own) in enumerate(pairs) if drafted != own), len(draft))
