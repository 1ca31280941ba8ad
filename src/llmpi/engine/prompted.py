"""What was repeated, prompt by prompt."""

from collections.abc import Iterable
from typing import cast

from llmpi.engine.records import AnyRepetition, ConversationTurn, Prompted


def prompts(repetitions: Iterable[AnyRepetition]) -> list[Prompted]:
    """Of a conversation each of its turns."""
    found: list[Prompted] = []
    for repetition in repetitions:
        turns = cast(list[ConversationTurn] | None, repetition.get("turns"))
        found += [cast(Prompted, repetition)] if turns is None else turns
    return found
