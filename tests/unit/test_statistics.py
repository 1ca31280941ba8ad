"""Intervals that resample whole paragraphs."""

import pytest

from llmpi.quality.statistics import clustered_interval


def width(values, clusters) -> float:
    interval = clustered_interval(values, clusters)
    assert interval
    return interval[1] - interval[0]


def test_interval_holds_the_mean_and_stays_within_the_values() -> None:
    values = [0.0, 100.0] * 20
    low, high = clustered_interval(values, list(range(40)))
    assert 0 <= low < 50 < high <= 100


def test_items_that_stand_and_fall_together_widen_it() -> None:
    values = [0.0] * 10 + [100.0] * 10 + [0.0] * 10 + [100.0] * 10
    together = [i // 10 for i in range(40)]
    assert width(values, together) > 2 * width(values, list(range(40)))


def test_equal_values_have_no_width() -> None:
    assert clustered_interval([50.0] * 6, [0, 0, 1, 1, 2, 2]) == (50.0, 50.0)


def test_normal_approximation_for_many_single_items() -> None:
    """40 of 100: the textbook interval is 40 +- 1.96 * sqrt(0.4 * 0.6 / 100) = 30.4 to 49.6."""
    values = [100.0] * 40 + [0.0] * 60
    assert clustered_interval(values, list(range(100))) == pytest.approx((30.4, 49.6), abs=1.0)


def test_same_seed_same_interval() -> None:
    values, clusters = [0.0, 1.0, 1.0, 0.0, 1.0], [0, 0, 1, 2, 2]
    first = clustered_interval(values, clusters, seed=3)
    assert first == clustered_interval(values, clusters, seed=3)


@pytest.mark.parametrize("values", [[], [1.0], [1.0, 0.0, 1.0]])
def test_one_cluster_shows_no_spread(values: list[float]) -> None:
    assert clustered_interval(values, [7] * len(values)) is None
