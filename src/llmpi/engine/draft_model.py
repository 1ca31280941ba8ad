"""A draft model: a smaller one of the same vocabulary guesses the next tokens."""

from collections.abc import Sequence
from pathlib import Path

from llmpi.engine.llama import Engine, EngineError, Model
from llmpi.engine.speculation import agreeing, check_can_cut_back


class DraftModel:
    """A `llmpi.engine.speculation.Drafter`, with a context of its own.

    Args:
        gguf: its file.
        target: checks what it drafts; both are run alike.
        draft_tokens: the longest draft.

    Raises:
        EngineError: it cannot be loaded, has another vocabulary than the target, or a memory that
            cannot be cut back.
    """

    def __init__(self, gguf: Path, target: Engine, draft_tokens: int) -> None:
        self._engine = Engine(gguf, target.settings, context_tokens=target.context_tokens)
        self._longest = draft_tokens
        self._held: list[int] = []
        try:
            if why := unlike(self._engine, target):
                raise EngineError(
                    f"the draft model {gguf.stem} cannot draft for this one: {why}; a draft model "
                    "is one of the same family, or a smaller quantization of the model itself"
                )
            check_can_cut_back(self._engine, f"the draft model {gguf.stem}")
        except EngineError:
            self.close()
            raise

    def make_room(self, context_tokens: int) -> None:
        """A context of so many tokens."""
        engine = self._engine
        if engine.resize(context_tokens):
            engine.decode([0] * min(engine.ubatch_tokens, context_tokens))
            engine.synchronize()
        engine.keep(0)
        self._held = []

    def begin(self, prompt: Sequence[int]) -> None:
        """Read it."""
        self._engine.keep(0)
        self._held = [*prompt]
        self._engine.decode(prompt)
        self._engine.synchronize()

    def draft(self, text: Sequence[int], limit: int) -> list[int]:
        """What the model says greedily."""
        count = min(limit, self._longest)
        if count < 1:
            return []
        # What it drafted the last time may have been refused, and stands at the end alone.
        known = max(0, len(self._held) - self._longest)
        known += agreeing(self._held[known:], text[known:])
        if known < len(self._held):
            self._engine.keep(known)
            del self._held[known:]
        drafted: list[int] = []
        new = [*text[known:]]
        while True:
            self._engine.decode(new)
            self._held += new
            drafted.append(self._engine.greedy())
            if len(drafted) == count:
                return drafted
            new = drafted[-1:]

    def close(self) -> None:
        """Free it."""
        self._engine.close()


def unlike(draft: Model, target: Model) -> str | None:
    """How the vocabularies of two models differ: a token that is drafted has to be the same one."""
    if draft.vocab_tokens != target.vocab_tokens:
        return f"it has {draft.vocab_tokens} tokens, and this one has {target.vocab_tokens}"
    pairs = zip(draft.token_texts(), target.token_texts(), strict=False)
    for token, (own, other) in enumerate(pairs):
        if own != other:
            said = [text.decode("utf-8", "replace") for text in (own, other)]
            return f"its token {token} is {said[0]!r}, and this one's is {said[1]!r}"
    return None
