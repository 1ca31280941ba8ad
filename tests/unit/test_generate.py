"""Answers to groups of prompts: the reuse of a prefix must not show in the answers."""

from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from llmpi.quality.generate import Answer, common_prefix, generate

END = 0
prompts = st.lists(st.integers(1, 4), min_size=1, max_size=12)
groups = st.lists(st.lists(prompts, min_size=1, max_size=5), min_size=1, max_size=4)


class Rule:
    """A stand-in for the engine, whose next token depends on every token it holds, in order."""

    def __init__(self, context_tokens: int = 1000) -> None:
        self.context_tokens = context_tokens
        self.held: list[int] = []
        self.decoded = 0

    def keep(self, tokens: int) -> None:
        assert tokens <= len(self.held)
        del self.held[tokens:]

    def decode(self, tokens: Sequence[int]) -> None:
        assert tokens, "llama.cpp decodes no empty batch"
        self.held += tokens
        self.decoded += len(tokens)
        assert len(self.held) <= self.context_tokens

    def greedy(self) -> int:
        return hash(tuple(self.held)) % 5

    def is_end(self, token: int) -> bool:
        return token == END


def answers(engine: Any, asked: Sequence[Sequence[Sequence[int]]], limit: int) -> list[Answer]:
    return [answer for group in generate(engine, asked, limit) for answer in group]


@given(st.lists(prompts, min_size=1, max_size=6))
def test_common_prefix_is_the_longest_that_leaves_a_token(group: list[list[int]]) -> None:
    length = common_prefix(group)
    shortest = min(map(len, group))
    assert 0 <= length < shortest
    assert all(prompt[:length] == group[0][:length] for prompt in group)
    longer = {tuple(prompt[: length + 1]) for prompt in group}
    assert len(longer) > 1 or length + 1 == shortest


@given(groups, st.integers(1, 6))
def test_a_shared_prefix_changes_no_answer(asked: list[list[list[int]]], limit: int) -> None:
    alone = [answers(Rule(), [[prompt]], limit)[0] for group in asked for prompt in group]
    assert answers(Rule(), asked, limit) == alone


def test_a_shared_prefix_is_computed_once() -> None:
    engine = Rule()
    passage = [1, 2, 3, 4] * 25
    answers(engine, [[[*passage, i] for i in range(1, 5)]], 1)
    assert engine.decoded == len(passage) + 4


@given(groups, st.integers(1, 6), st.integers(2, 14))
def test_what_does_not_fit_is_said_and_the_rest_answered(
    asked: list[list[list[int]]], limit: int, room: int
) -> None:
    given_answers = answers(Rule(room), asked, limit)
    for prompt, answer in zip((p for g in asked for p in g), given_answers, strict=True):
        need = len(prompt) + limit
        if need > room:
            assert answer == Answer((), False, f"needs {need} of {room} tokens of context")
        else:
            assert answer.error is None
            assert answer.stopped or len(answer.tokens) == limit
