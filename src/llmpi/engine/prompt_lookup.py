"""Prompt lookup: guess the next tokens out of the text so far.

Speculative decoding without a second model (Apoorv Saxena, prompt-lookup-decoding, 2023): where the
last tokens stood in the text before, what followed there is drafted.

The drafts of llama-cpp-python (`LlamaPromptLookupDecoding`) fall back to single tokens that agree
and take the oldest place: on a processor, where each drafted token costs time, too many are vain.
"""

from collections.abc import Sequence


class PromptLookup:
    """A `llmpi.engine.speculation.Drafter`.

    Args:
        ngram: so many last tokens must have stood in the text before.
        draft_tokens: the longest draft.
    """

    def __init__(self, ngram: int, draft_tokens: int) -> None:
        self._ngram, self._longest = ngram, draft_tokens
        self._followed: dict[tuple[int, ...], int] = {}
        self._seen = 0

    def make_room(self, context_tokens: int) -> None:
        """It takes none."""

    def begin(self, prompt: Sequence[int]) -> None:
        """A new text."""
        self._followed, self._seen = {}, 0
        self._see(prompt)

    def draft(self, text: Sequence[int], limit: int) -> list[int]:
        """What followed the last tokens the last time."""
        self._see(text)
        at = self._followed.get(tuple(text[-self._ngram :]))
        return [] if at is None else [*text[at : at + min(limit, self._longest)]]

    def _see(self, text: Sequence[int]) -> None:
        for at in range(max(self._seen, self._ngram), len(text)):
            self._followed[tuple(text[at - self._ngram : at])] = at
        self._seen = len(text)
