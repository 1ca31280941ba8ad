"""Thoughts before answers: how long they are, and how many of them did not end."""

from collections.abc import Iterable
from typing import NamedTuple

from llmpi.quality.records import Thoughts


class Thought(NamedTuple):
    tokens: int
    ended: bool


def thoughts_of(thoughts: Iterable[Thought]) -> Thoughts:
    """Of all that came before answers."""
    had = list(thoughts)
    return {
        "thoughts": len(had),
        "thoughts_cut": sum(not one.ended for one in had),
        "thought_tokens_mean": sum(one.tokens for one in had) / len(had) if had else None,
    }
