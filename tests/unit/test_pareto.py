"""Dominance under noise: by hand, and what always holds."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmpi.decide.pareto import Field, Objective
from llmpi.summary.estimate import Estimate

Pair = tuple[Estimate, Estimate]
OBJECTIVES = [
    Objective[Pair]("x", True, lambda pair: pair[0]),
    Objective[Pair]("y", False, lambda pair: pair[1]),
]


def front(some: list[Pair]) -> list[Pair]:
    return Field(some, OBJECTIVES).front(some)


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
@pytest.mark.parametrize("larger_is_better", [True, False])
def test_told_apart(a: Estimate, b: Estimate, expected: bool, larger_is_better: bool) -> None:
    objective = Objective[Estimate]("speed", larger_is_better, lambda estimate: estimate)
    both = [a, b]
    groups = Field(both, [objective]).groups(both, objective)
    assert (len(groups) == 2) is (expected or a.kind != b.kind)
    assert len(Field(both, [objective]).front(both)) == (1 if expected else 2)


def test_front_by_hand() -> None:
    exact = [(around(x, 0), around(y, 0)) for x, y in [(1, 1), (2, 2), (2, 3), (3, 9)]]
    assert front(exact) == [exact[0], exact[1], exact[3]]
    noisy = [(around(2, 1), around(2, 1)), (around(1.9, 1), around(2.1, 1))]
    assert front(noisy) == noisy


def test_groups_and_narrowing_by_hand() -> None:
    a, b, c = ((around(x, 1), around(y, 0)) for x, y in [(10, 3), (9.5, 2), (5, 1)])
    field = Field([c, b, a], OBJECTIVES)
    assert field.groups([c, b, a], OBJECTIVES[0]) == [[a, b], [c]]
    left, steps = field.narrow([c, b, a], OBJECTIVES)
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
    on_front = front(found)
    assert on_front
    for pair in found:
        # Dominance follows the point estimates, so its chains end on the front.
        assert pair in on_front or any(
            all(_loss(o, better) <= _loss(o, pair) for o in OBJECTIVES) for better in on_front
        )


def _loss(objective: Objective[Pair], pair: Pair) -> float:
    estimate = objective.of(pair)
    assert estimate
    return -estimate.value if objective.larger_is_better else estimate.value


@given(pairs)
def test_two_never_dominate_each_other(found: list[Pair]) -> None:
    assert all(front([a, b]) for a in found for b in found)


@given(pairs, st.randoms())
def test_fronts_of_a_growing_set_are_those_of_each_of_its_sizes(
    found: list[Pair], random: Random
) -> None:
    order = random.sample(found, len(found))
    start = random.randrange(len(order) + 1)
    grown = Field(found, OBJECTIVES).fronts(order[:start], [[one] for one in order[start:]])
    for size, on_front in enumerate(grown, start=start):
        assert sorted(on_front) == sorted(front(order[:size]))


@given(pairs)
def test_groups_hold_everyone_once_and_begin_with_their_best(found: list[Pair]) -> None:
    grouped = Field(found, OBJECTIVES).groups(found, OBJECTIVES[0])
    assert sorted(pair for group in grouped for pair in group) == sorted(found)
    for group in grouped:
        losses = [_loss(OBJECTIVES[0], pair) for pair in group]
        assert losses == sorted(losses)
