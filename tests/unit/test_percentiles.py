import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmpi.summary.percentiles import deviation, percentile


@given(st.lists(st.floats(0, 1e6), min_size=2), st.integers(1, 99))
def test_a_percentile_is_that_of_the_standard_library(values: list[float], pct: int) -> None:
    theirs = statistics.quantiles(values, n=100, method="inclusive")[pct - 1]
    assert percentile(sorted(values), pct) == pytest.approx(theirs, rel=1e-12)


def test_of_a_single_value_it_is_that_one() -> None:
    assert percentile([3.5], 50) == percentile([3.5], 99) == 3.5


@given(st.lists(st.floats(0, 1e6), min_size=2))
def test_a_deviation_is_that_of_the_standard_library(values: list[float]) -> None:
    assert deviation(values) == pytest.approx(statistics.stdev(values), rel=1e-6, abs=1e-6)
