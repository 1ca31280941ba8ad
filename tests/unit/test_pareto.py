"""Dominance under noise: by hand, and what always holds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmpi.decide.pareto import Objective, dominates, front, groups, narrow, told_apart
from llmpi.summary.estimate import Estimate

Pair = tuple[Estimate, Estimate]
OBJECTIVES = [
    Objective[Pair]("x", True, lambda pair: pair[0]),
    Objective[Pair]("y", False, lambda pair: pair[1]),
]


def around(value: float, spread: float, kind: str = "") -> Estimate:
    return Estimate(value, value - spread, value + spread, kind)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (around(10, 3), around(15.1, 4), True),  # 5.1 > sqrt(9 + 16)
        (around(10, 3), around(14.9, 4), False),
        (Estimate(10, 0, 11), Estimate(13, 12, 99), True),  # only the ends that face each other
        (around(10, 0), around(10, 0), False),
        (around(10, 0), around(10.1, 0), True),
        (around(10, 0, "metered"), around(99, 0, "estimated"), False),
        (Estimate(10, None, None), around(99, 0), False),
    ],
)
def test_told_apart(a: Estimate, b: Estimate, expected: bool) -> None:
    assert told_apart(a, b) is told_apart(b, a) is expected


def test_front_by_hand() -> None:
    exact = [(around(x, 0), around(y, 0)) for x, y in [(1, 1), (2, 2), (2, 3), (3, 9)]]
    assert front(exact, OBJECTIVES) == [exact[0], exact[1], exact[3]]
    noisy = [(around(2, 1), around(2, 1)), (around(1.9, 1), around(2.1, 1))]
    assert front(noisy, OBJECTIVES) == noisy


def test_groups_and_narrowing_by_hand() -> None:
    a, b, c = ((around(x, 1), around(y, 0)) for x, y in [(10, 3), (9.5, 2), (5, 1)])
    assert groups([c, b, a], OBJECTIVES[0]) == [[a, b], [c]]
    left, steps = narrow([c, b, a], OBJECTIVES)
    assert left == [b]
    assert [(step.objective, step.left) for step in steps] == [("x", [a, b]), ("y", [b])]


estimates = st.builds(
    lambda value, below, above, kind: Estimate(value, value - below, value + above, kind),
    st.integers(0, 9),
    st.integers(0, 5),
    st.integers(0, 5),
    st.sampled_from(["", "", "other"]),
)
pairs = st.lists(st.tuples(estimates, estimates), min_size=1, max_size=9)


@given(pairs)
def test_a_front_is_never_empty_and_what_is_off_it_is_dominated_by_it(found: list[Pair]) -> None:
    on_front = front(found, OBJECTIVES)
    assert on_front
    for pair in found:
        # Dominance follows the point estimates, so its chains end on the front.
        assert pair in on_front or any(
            all(o.loss(better) <= o.loss(pair) for o in OBJECTIVES) for better in on_front
        )


@given(pairs)
def test_nobody_dominates_who_dominates_him(found: list[Pair]) -> None:
    for a in found:
        for b in found:
            assert not (dominates(a, b, OBJECTIVES) and dominates(b, a, OBJECTIVES))


@given(pairs)
def test_groups_hold_everyone_once_and_begin_with_their_best(found: list[Pair]) -> None:
    grouped = groups(found, OBJECTIVES[0])
    assert sorted(pair for group in grouped for pair in group) == sorted(found)
    for group in grouped:
        assert OBJECTIVES[0].loss(group[0]) == min(map(OBJECTIVES[0].loss, group))
