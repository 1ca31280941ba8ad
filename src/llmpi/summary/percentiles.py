"""Percentiles, by linear interpolation (Hyndman and Fan's type 7), and spreads of a few numbers."""

from collections.abc import Sequence
from math import sqrt


def percentile(ordered: Sequence[float], pct: int) -> float:
    """As `statistics.quantiles` finds the 1st to the 99th with method `inclusive`; of a single
    value that one.

    Args:
        ordered: from the least on.
    """
    at, part = divmod(pct * (len(ordered) - 1), 100)
    if not part:
        return ordered[at]
    return (ordered[at] * (100 - part) + ordered[at + 1] * part) / 100


def deviation(values: Sequence[float]) -> float:
    """Sample standard deviation of at least two; of so few numbers numpy's takes ten times as
    long."""
    mean = sum(values) / len(values)
    off = [value - mean for value in values]
    return sqrt(sum(one * one for one in off) / (len(values) - 1))
