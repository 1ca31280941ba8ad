"""Bounds of estimates: textbook values, and what must hold at the edges."""

from math import sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmpi.quality.estimates import Loss, Share, loss, plain, share, student

Z95 = 1.959964


def singles(right: int, of: int) -> Share:
    """Items that are a cluster each."""
    found = [1.0] * right + [0.0] * (of - right)
    return share(found, float(right), [1] * of)


@pytest.mark.parametrize(
    ("right", "of", "low", "high"),
    [  # Wilson's interval, as Newcombe (1998, doi:10.1002/(SICI)1097-0258(19980430)17:8) has it
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (29, 29, 0.8830, 1.0000),
    ],
)
def test_single_items_are_wilsons_interval(right: int, of: int, low: float, high: float) -> None:
    found = singles(right, of)
    # Where the spread between so few is taken for that of its kind, it is the binomial one.
    assert found.effective == pytest.approx(of, rel=0.04)
    assert found.bounds(Z95) == pytest.approx((low, high), abs=0.003)


def test_of_none_and_of_all_it_has_a_width() -> None:
    """Of 0 of n the upper bound is t^2 / (n + t^2), with n for the design effect."""
    found = share([0.0] * 12, 0.0, [5] * 12)
    effective = 60 / (1 + 4 * 0.2)
    assert found.value == 0
    assert found.bounds(2.0) == pytest.approx((0, 4 / (effective + 4)))
    every = share([5.0] * 12, 60.0, [5] * 12)
    assert every.bounds(2.0) == pytest.approx((1 - 4 / (effective + 4), 1))


def test_the_spread_between_clusters_by_hand() -> None:
    """Twelve clusters of two: six all right, six all wrong. s^2 of their means is 3/11, of the mean
    that over 12; ten more clusters with a correlation of .2 have 1.2 times the binomial one."""
    found = share([2.0] * 6 + [0.0] * 6, 12.0, [2] * 12)
    between, prior = 3 / 11 / 12, 1.2 * 0.25 / 24
    assert found.variance == pytest.approx((11 * between + 10 * prior) / 21)
    assert found.effective == pytest.approx(0.25 / found.variance)


def test_never_more_sure_than_independent_items() -> None:
    """Every cluster the same: no spread between them."""
    found = share([1.0] * 30, 30.0, [2] * 30)
    assert found.variance >= 0.25 / 60


def test_clusters_without_items_do_not_count() -> None:
    few = share([1.0, 2.0, 0.0], 3.0, [2, 2, 2])
    more = share([1.0, 0.0, 2.0, 0.0], 3.0, [2, 0, 2, 2])
    assert (more.value, more.variance, more.clusters) == (few.value, few.variance, 3)


def test_one_cluster_has_bounds_and_no_error_is_raised() -> None:
    found = share([3.0], 3.0, [5])
    low, high = found.bounds(student(0.975, found.clusters))
    assert 0 <= low < 0.6 < high <= 1


def test_a_loss_without_losses_has_bounds_to_both_sides() -> None:
    """Nothing differs on 60 questions; what could hide is what Wilson's interval of 0 has."""
    nothing = [0.0] * 12
    found = loss(nothing, 0, nothing, 0, [5] * 12)
    most = share(nothing, 0, [5] * 12).bounds(2.0)[1]
    assert found.value == 0
    assert found.bounds(2.0) == pytest.approx((-sqrt(most**2), most))


def test_a_loss_turned_round() -> None:
    lost, gained, n = [2.0, 0, 1, 0, 0, 1], [0.0, 1, 0, 0, 0, 0], [3] * 6
    one, other = loss(lost, 4, gained, 1, n), loss(gained, 1, lost, 4, n)
    low, high = one.bounds(2.0)
    assert other.value == -one.value
    assert other.bounds(2.0) == pytest.approx((-high, -low))


def test_a_paired_loss_by_hand() -> None:
    """MOVER of two Wilson intervals that do not go together."""
    one, other = (
        Share(value, value * (1 - value) / 50, 50, 50, np.zeros(1)) for value in (0.3, 0.1)
    )
    (low1, high1), (low2, high2) = one.bounds(Z95), other.bounds(Z95)
    expected = (
        0.2 - sqrt((0.3 - low1) ** 2 + (high2 - 0.1) ** 2),
        0.2 + sqrt((high1 - 0.3) ** 2 + (0.1 - low2) ** 2),
    )
    assert Loss(one, other, 0.0).bounds(Z95) == pytest.approx(expected)


def test_a_plain_mean_is_students_interval() -> None:
    """1, 2, 3, 4 and 5: mean 3, standard error sqrt(2.5 / 5), t(4) = 2.776."""
    found = plain([1.0, 2, 3, 4, 5], [1] * 5)
    reach = 2.776445 * sqrt(0.5)
    assert found.bounds(student(0.975, 5)) == pytest.approx((3 - reach, 3 + reach), rel=1e-6)


def test_students_quantiles() -> None:
    assert student(0.975, 5) == pytest.approx(2.776445, rel=1e-6)
    assert student(0.975, 1) == student(0.975, 2) == pytest.approx(12.7062, rel=1e-5)
    assert student(0.975, np.array([5, 2])) == pytest.approx([2.776445, 12.7062], rel=1e-5)


clusters = st.lists(
    st.integers(1, 5).flatmap(lambda n: st.tuples(st.integers(0, n), st.integers(0, n), st.just(n)))
    .filter(lambda c: c[0] + c[1] <= c[2]),
    min_size=2,
    max_size=30,
)  # fmt: skip


@given(clusters, st.floats(0, 400), st.floats(1, 4), st.floats(1, 100))
def test_bounds_hold_the_value_and_close_in_with_more_clusters(
    found: list[tuple[int, int, int]], t: float, further: float, factor: float
) -> None:
    """At every quantile that a confidence of 50 to 99.9 % may ask for: Student's for two clusters
    ends at 318."""
    lost, gained, n = np.transpose(found)
    estimates = (
        share(lost, float(lost.sum()), n),
        loss(lost, float(lost.sum()), gained, float(gained.sum()), n),
        plain(lost, n),
    )
    for one in estimates:
        low, high = one.bounds(t)
        assert low <= one.value + 1e-12
        assert one.value <= high + 1e-12
        wider = one.bounds(t * further)
        assert wider[0] <= low + 1e-12
        assert high <= wider[1] + 1e-12
        more, most = one.times(factor), one.times(10 * factor)
        assert more.clusters == factor * one.clusters
        assert np.ptp(most.bounds(t)) <= np.ptp(more.bounds(t)) + 1e-12


def test_more_is_expected_at_jeffreys_rate() -> None:
    """Nothing lost on 60 questions, as good as 33: of ten times as many 1.5 % may be."""
    found = share([0.0] * 12, 0.0, [5] * 12).times(10)
    effective = 60 / 1.8
    assert found.value == pytest.approx(0.5 / (effective + 1))
    assert (found.effective, found.clusters) == pytest.approx((10 * effective, 120))


@given(clusters)
def test_the_order_of_the_clusters_changes_nothing(
    found: list[tuple[int, int, int]],
) -> None:
    one, other = (
        loss(lost, float(lost.sum()), gained, float(gained.sum()), n)
        for lost, gained, n in (np.transpose(found), np.transpose(found[::-1]))
    )
    assert one.bounds(2.0) == pytest.approx(other.bounds(2.0), abs=1e-12)
