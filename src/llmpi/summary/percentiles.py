"""Percentiles, by linear interpolation (Hyndman and Fan's type 7)."""

import statistics
from collections.abc import Sequence


def percentiles(values: Sequence[float]) -> list[float]:
    """The 1st to the 99th; of a single value that one, each time."""
    if len(values) == 1:
        return [*values] * 99
    return statistics.quantiles(values, n=100, method="inclusive")
