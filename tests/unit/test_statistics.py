"""Intervals and tests that go by whole paragraphs."""

import json
import random
from math import comb

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmpi.quality import statistics
from llmpi.quality.statistics import (
    compare,
    distinguishable,
    holm,
    loss_interval,
    mcnemar,
    paired_loss,
    randomization_p,
    share_interval,
)


def width(values: list[float], clusters: list[int]) -> float:
    interval = share_interval(values, clusters)
    assert interval
    return interval[1] - interval[0]


def test_interval_holds_the_mean_and_stays_within_the_values() -> None:
    values = [0.0, 1.0] * 20
    low, high = share_interval(values, list(range(40)))
    assert 0 <= low < 0.5 < high <= 1


def test_items_that_stand_and_fall_together_widen_it() -> None:
    values = ([0.0] * 10 + [1.0] * 10) * 10
    together = [i // 10 for i in range(200)]
    assert width(values, together) > 2 * width(values, list(range(200)))


def test_who_is_always_right_so_far_may_yet_be_wrong() -> None:
    """0 of n: Wilson's upper end is t^2 / (n + t^2)."""
    low, high = share_interval([0.0] * 100, list(range(100)))
    t = 1.98422  # Student's .975 quantile of 99 degrees of freedom
    assert (low, high) == pytest.approx((0, t * t / (100 + t * t)), abs=1e-5)


def test_single_items_have_the_textbook_interval() -> None:
    """40 of 100, Wilson: 30.9 to 49.8 %, here with Student's 1.984 in place of 1.960."""
    values = [1.0] * 40 + [0.0] * 60
    assert share_interval(values, list(range(100))) == pytest.approx((0.309, 0.498), abs=0.002)


@pytest.mark.parametrize("values", [[1.0], [1.0, 0.0, 1.0]])
def test_one_cluster_shows_no_spread(values: list[float]) -> None:
    clusters = [7] * len(values)
    assert share_interval(values, clusters) is None
    assert loss_interval(paired_loss(values, values, clusters)) is None
    assert randomization_p(values, clusters) is None


def test_memory_is_bounded_and_the_chunks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    values, clusters = [float(i * i % 17) for i in range(90)], [i // 3 for i in range(90)]
    whole = randomization_p(values, clusters)
    monkeypatch.setattr(statistics, "CELLS_AT_ONCE", 7 * 30 + 5)
    assert {rows for rows, _ in statistics._chunks(30)} == {7, 10_000 % 7}
    assert randomization_p(values, clusters) == whole


def test_a_loss_is_what_only_the_reference_gets_less_what_only_the_variant_gets() -> None:
    found = paired_loss([1, 1, 0, 0.5], [0, 1, 1, 0.25], [0, 1, 2, 3])
    assert found.lost.value == pytest.approx(1.25 / 4)
    assert found.gained.value == pytest.approx(1 / 4)
    assert found.value == pytest.approx(0.0625)


def test_identical_answers_do_not_prove_that_nothing_is_lost() -> None:
    values = [1.0, 0.0] * 20
    low, high = loss_interval(paired_loss(values, values, list(range(40))))
    assert low == pytest.approx(-high)
    assert 0.05 < high < 0.15


# --- p values -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("only_reference", "only_variant", "p"),
    [
        (0, 0, 1.0),
        (5, 5, 1.0),
        (0, 5, 2 / 32),
        (6, 1, 2 * (1 + 7) / 128),  # 2 * P(at most 1 of 7)
        (3, 1, 2 * (1 + 4) / 16),
        (2000, 2200, 0.0021),  # normal approximation: z = (200 - 1) / sqrt(4200) = 3.07
    ],
)
def test_mcnemar_by_hand(only_reference: int, only_variant: int, p: float) -> None:
    reference = [1] * only_reference + [0] * only_variant + [1, 0]
    variant = [0] * only_reference + [1] * only_variant + [1, 0]
    assert mcnemar(reference, variant) == {
        "only_reference": only_reference,
        "only_variant": only_variant,
        "p": pytest.approx(p, abs=1e-4),
    }


def test_flipping_single_items_is_mcnemars_test() -> None:
    reference, variant = [1] * 9 + [0] * 3 + [1] * 20, [0] * 9 + [1] * 3 + [1] * 20
    differences = [v - r for r, v in zip(reference, variant, strict=True)]
    p = randomization_p(differences, list(range(32)))
    assert p == pytest.approx(mcnemar(reference, variant)["p"], abs=0.015)


def test_flips_of_few_clusters_are_counted_exactly() -> None:
    """Ten clusters that all say the same: two of the 1024 flips are as far out."""
    assert randomization_p([0.1] * 20, [i // 2 for i in range(20)]) == pytest.approx(
        2 / 1024, abs=0.0015
    )


def test_two_paragraphs_that_agree_prove_nothing() -> None:
    assert randomization_p([1.0] * 20, [0] * 10 + [1] * 10) == pytest.approx(0.5, abs=0.02)


def test_p_keeps_its_error_rate_where_questions_stand_together() -> None:
    """15 paragraphs of 6 equal questions without a true difference: 5 % of the p are below 5 %."""
    rng, low, runs = random.Random(5), 0, 400
    clusters = [i // 6 for i in range(90)]
    for seed in range(runs):
        differences = [d for _ in range(15) for d in [rng.uniform(-1, 1)] * 6]
        low += randomization_p(differences, clusters, seed=seed) <= 0.05
    assert 0.02 <= low / runs <= 0.08


@given(st.lists(st.tuples(st.floats(-1, 1), st.integers(0, 4)), min_size=1, max_size=20))
@settings(max_examples=25, deadline=None)
def test_p_has_no_side(rows: list[tuple[float, int]]) -> None:
    differences, clusters = [d for d, _ in rows], [c for _, c in rows]
    p = randomization_p(differences, clusters)
    assert p == randomization_p([-d for d in differences], clusters)
    assert p is None or 0 < p <= 1


def test_no_difference_at_all_has_p_1() -> None:
    assert randomization_p([0.1, 0.2, -0.3, 0.0], [0, 0, 0, 1]) == 1.0


# --- many comparisons -----------------------------------------------------------------------------


def test_holm_by_hand() -> None:
    """4 * 0.01, 3 * 0.02, then 2 * 0.03 = 0.06 and 0.05 lifted to it."""
    assert holm([0.05, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def test_what_could_not_be_tested_does_not_count() -> None:
    assert holm([None, 0.02, None, 0.5]) == [None, 0.04, None, 0.5]


P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=8)


@given(P_VALUES)
def test_holm_lies_between_none_and_bonferroni_and_keeps_the_order(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    for p, a in zip(p_values, adjusted, strict=True):
        assert p <= a <= min(1.0, len(p_values) * p)
    assert [a for _, a in sorted(zip(p_values, adjusted, strict=True))] == sorted(adjusted)


@given(P_VALUES, st.randoms())
def test_holm_does_not_depend_on_the_order(p_values: list[float], rng: random.Random) -> None:
    order = list(range(len(p_values)))
    rng.shuffle(order)
    adjusted = holm(p_values)
    assert holm([p_values[i] for i in order]) == [adjusted[i] for i in order]


@pytest.mark.parametrize(("p", "told_apart"), [(0.05, True), (0.051, False), (None, False)])
def test_distinguishable(p: float | None, told_apart: bool) -> None:
    assert distinguishable(p) is told_apart


# --- the whole comparison -------------------------------------------------------------------------


def test_compare_of_a_worse_variant() -> None:
    """20 paragraphs of 3; the variant loses three quarters of the first question of each.

    By hand: lost .25 (variance .125 / 60, as .25 * .75 of 90 items), gained 0 of 60 / 1.4 items;
    with t = 2.093 Wilson has .1676 to .3556 and 0 to .0927, so that the loss lies between
    .25 - root(.0824^2 + .0927^2) and .25 + .1056.
    """
    reference, variant = [1.0, 1.0, 0.5] * 20, [0.25, 1.0, 0.5] * 20
    clusters = [i // 3 for i in range(60)]
    found = compare(
        reference,
        variant,
        clusters,
        exact_reference=[1, 1, 0] * 20,
        exact_variant=[0, 1, 0] * 20,
    )
    assert json.loads(json.dumps(found)) == {
        "difference_pct": -25,
        "low_pct": pytest.approx(-35.6, abs=0.1),
        "high_pct": pytest.approx(-12.6, abs=0.1),
        "p": pytest.approx(1e-4, rel=0.01),
        "mcnemar": {"only_reference": 20, "only_variant": 0, "p": pytest.approx(2 / 2**20)},
        "items": 60,
        "clusters": 20,
    }


def test_compare_looks_at_pairs_not_at_two_means() -> None:
    """Questions differ far more than the variants do; only the pairing shows the loss."""
    rng = random.Random(2)
    reference = [rng.choice([0.1, 1.0]) for _ in range(100)]
    variant = [r - rng.choice([0.0, 0.1]) for r in reference]
    found = compare(
        reference, variant, range(100), exact_reference=[0] * 100, exact_variant=[0] * 100
    )
    assert found["high_pct"] < 0
    assert found["p"] < 0.001


def test_compare_within_one_paragraph_says_only_the_difference() -> None:
    found = compare([1.0, 0.5], [0.5, 0.5], [3, 3], exact_reference=[1, 0], exact_variant=[0, 0])
    assert found == {
        "difference_pct": -25,
        "low_pct": None,
        "high_pct": None,
        "p": None,
        "mcnemar": {"only_reference": 1, "only_variant": 0, "p": 1.0},
        "items": 2,
        "clusters": 1,
    }


@given(st.integers(0, 12), st.integers(0, 12))
def test_mcnemar_is_the_binomial_test(a: int, b: int) -> None:
    both_tails = sum(comb(a + b, k) for k in range(a + b + 1) if abs(2 * k - a - b) >= abs(a - b))
    p = mcnemar([1] * a + [0] * b, [0] * a + [1] * b)["p"]
    assert p == pytest.approx(both_tails / 2 ** (a + b))
