"""Parts of a block: every group once, of even size and number, whatever else is asked."""

from hypothesis import given
from hypothesis import strategies as st

from llmpi.quality.batching.lanes import FEWEST_REQUESTS, LANES, parts_of
from llmpi.quality.batching.schedule import Request

sizes = st.lists(st.tuples(st.integers(1, 20), st.integers(2, 300)), max_size=60)


def groups_of(sizes: list[tuple[int, int]], new_tokens: int = 16) -> list[list[Request]]:
    """Of each (requests, shared tokens) a group; what is a request's own is one token."""
    return [
        [Request((*[group] * shared, request), new_tokens) for request in range(requests)]
        for group, (requests, shared) in enumerate(sizes, 1000)
    ]


@given(sizes)
def test_each_group_is_in_one_part_in_order(sizes: list[tuple[int, int]]) -> None:
    parts = parts_of(groups_of(sizes), 0)
    assert sorted(i for part in parts for i in part.groups) == list(range(len(sizes)))
    assert all(part.groups and part.groups == sorted(part.groups) for part in parts)
    assert [part.rows for part in parts] == sorted((part.rows for part in parts), reverse=True)


@given(sizes)
def test_lanes_have_the_same_number_of_parts(sizes: list[tuple[int, int]]) -> None:
    count = len(parts_of(groups_of(sizes), 0))
    assert count == len(sizes) or count % LANES == 0


def test_a_part_has_as_many_requests_as_an_answer_may_have_tokens() -> None:
    passages = [(10, 2000)] * 40
    for new_tokens, fewest in ((1, FEWEST_REQUESTS), (16, 16), (64, 64)):
        parts = parts_of(groups_of(passages, new_tokens), 0)
        assert abs(len(parts) - 400 / fewest) <= LANES / 2
        rows = [part.rows for part in parts]
        assert max(rows) <= 2 * min(rows)


def test_a_part_fills_some_batches() -> None:
    assert len(parts_of(groups_of([(10, 200)] * 40), 0)) == 12


def test_a_small_block_still_has_a_part_for_each_lane() -> None:
    assert len(parts_of(groups_of([(3, 20), (3, 20)]), 0)) == 2
    assert len(parts_of(groups_of([(30, 20)]), 0)) == 1
    assert parts_of([], 0) == []
