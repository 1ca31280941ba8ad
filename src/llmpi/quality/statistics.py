"""Uncertainty of a score."""

from collections.abc import Sequence

import numpy as np

RESAMPLES = 10_000


def clustered_interval(
    values: Sequence[float], clusters: Sequence[int], *, level: float = 0.95, seed: int = 0
) -> tuple[float, float] | None:
    """Percentile bootstrap interval of the mean, resampling whole clusters.

    Questions of one paragraph stand or fall together; an interval that resampled single questions
    would be too narrow. (Cameron, Gelbach, Miller, *Bootstrap-Based Improvements for Inference with
    Clustered Errors*, 2008: the pairs cluster bootstrap.)

    Args:
        values: a score per item.
        clusters: the cluster of each item, same length.

    Returns:
        (low, high), in the unit of `values`; None below two clusters, which show no spread.
    """
    _, index = np.unique(np.asarray(clusters), return_inverse=True)
    if index.size == 0 or index.max() == 0:
        return None
    sums = np.bincount(index, weights=np.asarray(values, dtype=float))
    counts = np.bincount(index)
    draw = np.random.default_rng(seed).integers(len(sums), size=(RESAMPLES, len(sums)))
    means = sums[draw].sum(axis=1) / counts[draw].sum(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
