"""Percentiles, by linear interpolation (Hyndman and Fan's type 7)."""

from collections.abc import Sequence


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
