"""Groups of prompts: each prompt once, and never more rows than without groups."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmpi.quality.batching.grouping import groups_of
from llmpi.quality.batching.schedule import Tokens, common_prefix

prompts = st.lists(
    st.lists(st.integers(1, 3), min_size=1, max_size=12).map(tuple), min_size=1, max_size=20
)


def rows(asked: list[Tokens], groups: list[list[int]]) -> int:
    """Tokens that are computed behind what all begin with: a group's shared part counts once."""
    known = common_prefix(asked)
    return sum(
        common_prefix(group) - known + sum(len(p) - common_prefix(group) for p in group)
        for group in ([asked[i] for i in numbers] for numbers in groups)
    )


@given(prompts)
def test_each_prompt_is_in_one_group(asked: list[Tokens]) -> None:
    groups = groups_of(asked)
    assert sorted(i for group in groups for i in group) == list(range(len(asked)))


@given(prompts)
def test_groups_never_cost_rows(asked: list[Tokens]) -> None:
    taken = rows(asked, groups_of(asked))
    assert taken <= rows(asked, [[i] for i in range(len(asked))])
    assert taken <= rows(asked, [list(range(len(asked)))])


def test_passages_are_found_in_any_order() -> None:
    passages = {(7, *[p] * 50, q): p for p in range(5) for q in range(4)}
    asked = random.Random(0).sample(sorted(passages), len(passages))
    groups = groups_of(asked)
    assert sorted(len(group) for group in groups) == [4] * 5
    assert all(len({passages[asked[i]] for i in group}) == 1 for group in groups)


def test_a_few_tokens_of_all_do_not_hide_many_of_some() -> None:
    """Every question begins alike, a known 2 tokens; two tasks have long examples of their own."""
    task = [(1, 1, *[2] * 40, *[q] * 3) for q in range(3, 9)]
    other = [(1, 1, *[3] * 30, *[q] * 3) for q in range(4, 9)]
    single = [(1, 1, q, q, q) for q in range(5, 9)]
    asked = [*task, *other, *single]
    groups = [{asked[i] for i in group} for group in groups_of(asked)]
    assert set(task) in groups
    assert set(other) in groups


def test_examples_that_all_share_outweigh_a_pair() -> None:
    task = [(1, *[2] * 40, 3, 3, q) for q in range(4)] + [(1, *[2] * 40, q) for q in range(4, 9)]
    asked = [*task, (9, 9)]  # so that nothing is known of all
    assert sorted(map(len, groups_of(asked))) == [1, len(task)]


@pytest.mark.parametrize("count", [0, 1, 5])
def test_where_all_is_known_there_is_nothing_to_group(count: int) -> None:
    assert groups_of([(1, 2)] * count) == [[i] for i in range(count)]


def test_long_chains_of_prefixes_do_not_nest_too_deep() -> None:
    chain = [tuple([1] * n) for n in range(1, 3000)]
    assert len([i for group in groups_of(chain) for i in group]) == len(chain)
