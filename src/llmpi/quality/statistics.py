"""Uncertainty of a score, and what a paired comparison of two variants can tell.

Questions of one paragraph stand or fall together. Whatever took single questions for independent
would be too sure of itself, so everything here but McNemar's test goes by whole clusters.
"""

from collections.abc import Iterator, Sequence
from math import comb, sqrt
from statistics import NormalDist
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000
CELLS_AT_ONCE = 1_000_000


class McNemar(TypedDict):
    """McNemar's exact test, see `mcnemar`."""

    only_reference: int
    only_variant: int
    """Items that only one of them gets right."""
    p: float


class Compared(TypedDict):
    """A paired comparison, see `compare`.

    Interval, p and minimum are None below two clusters; the minimum also where all clusters differ
    alike: no spread seen is no proof that there is none.
    """

    difference_pct: float
    """Of the graded metric: variant minus reference in points, so that a loss is negative."""
    low_pct: float | None
    high_pct: float | None
    """95 %, `clustered_interval`."""
    p: float | None
    """`randomization_p`, before any correction for the number of comparisons."""
    mcnemar: McNemar
    """Of the 0/1 metric."""
    minimum_detectable_pct: float | None
    items: int
    clusters: int


def clustered_interval(
    values: Sequence[float], clusters: Sequence[int], *, level: float = 0.95, seed: int = 0
) -> tuple[float, float] | None:
    """Percentile bootstrap interval of the mean, resampling whole clusters.

    (Cameron, Gelbach, Miller, *Bootstrap-Based Improvements for Inference with Clustered Errors*,
    2008: the pairs cluster bootstrap.)

    Args:
        values: a score per item.
        clusters: the cluster of each item, same length.

    Returns:
        (low, high), in the unit of `values`; None below two clusters, which show no spread.
    """
    sums, counts = _totals(values, clusters)
    if len(sums) < 2:
        return None
    rng = np.random.default_rng(seed)
    means = []
    for shape in _chunks(len(sums)):
        draw = rng.integers(len(sums), size=shape)
        means.append(sums[draw].sum(axis=1) / counts[draw].sum(axis=1))
    low, high = np.quantile(np.concatenate(means), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def clustered_standard_error(values: Sequence[float], clusters: Sequence[int]) -> float | None:
    """Standard error of the mean over items, from the spread between clusters.

    (Liang, Zeger, *Longitudinal Data Analysis Using Generalized Linear Models*, 1986, with the
    factor G / (G - 1) for G clusters; for evaluations of language models: Miller, *Adding Error
    Bars to Evals*, arXiv 2411.00640.)

    Args:
        values: a score per item.
        clusters: the cluster of each item, same length.

    Returns:
        In the unit of `values`; None below two clusters.
    """
    sums, counts = _totals(values, clusters)
    if len(sums) < 2:
        return None
    residuals = sums - counts * (sums.sum() / counts.sum())
    return sqrt(len(sums) / (len(sums) - 1) * float(residuals @ residuals)) / int(counts.sum())


def compare(
    reference: Sequence[float],
    variant: Sequence[float],
    clusters: Sequence[int],
    *,
    exact_reference: Sequence[int],
    exact_variant: Sequence[int],
) -> Compared:
    """Paired comparison of a variant with its reference on the same items.

    Args:
        reference, variant: a graded metric (F1) per item, in 0..1; at least one item.
        clusters: the cluster (paragraph) of each item.
        exact_reference, exact_variant: a 0/1 metric (exact match) per item.
    """
    differences = 100 * (np.asarray(variant, float) - np.asarray(reference, float))
    low, high = clustered_interval(differences.tolist(), clusters) or (None, None)
    error = clustered_standard_error(differences.tolist(), clusters)
    return {
        "difference_pct": float(differences.mean()),
        "low_pct": low,
        "high_pct": high,
        "p": randomization_p(differences.tolist(), clusters),
        "mcnemar": mcnemar(exact_reference, exact_variant),
        "minimum_detectable_pct": minimum_detectable_difference(error) if error else None,
        "items": len(differences),
        "clusters": len(set(clusters)),
    }


def randomization_p(
    differences: Sequence[float], clusters: Sequence[int], *, seed: int = 0
) -> float | None:
    """Two-sided p value of "variant and reference are exchangeable", by flipping whole clusters.

    Under the null a cluster's differences might as well have come with the other sign. p is the
    share of random flips with at least the observed |mean|, the observed one counted in:
    (1 + count) / (1 + flips). (Fisher's randomization test, in the approximate form of Noreen,
    *Computer-Intensive Methods for Testing Hypotheses*, 1989.) It is valid for any number of
    clusters, where a centred bootstrap finds two clusters that agree significant, and is
    McNemar's test if the clusters are single 0/1 items.

    Args:
        differences: variant minus reference per item, in any unit.
        clusters: the cluster of each item, same length.

    Returns:
        None below two clusters.
    """
    sums, _ = _totals(differences, clusters)
    if len(sums) < 2:
        return None
    rng = np.random.default_rng(seed)
    # A flip that ties with the observed sum must not lose to it by rounding.
    observed = abs(sums.sum()) - 1e-9 * np.abs(sums).sum()
    count = sum(
        int(np.count_nonzero(np.abs(rng.choice((-1.0, 1.0), size=shape) @ sums) >= observed))
        for shape in _chunks(len(sums))
    )
    return (1 + count) / (1 + RESAMPLES)


def mcnemar(reference: Sequence[int], variant: Sequence[int]) -> McNemar:
    """McNemar's exact test of two 0/1 scores on the same items, two-sided.

    If neither is better, each of the items on which they differ falls to either side like a coin.
    (McNemar, *Note on the Sampling Error of the Difference Between Correlated Proportions*, 1947;
    exact binomial form.) It takes items for independent, so with several questions to a paragraph
    its p is on the small side.
    """
    pairs = list(zip(reference, variant, strict=True))
    only_reference = sum(bool(r) and not v for r, v in pairs)
    only_variant = sum(bool(v) and not r for r, v in pairs)
    return {
        "only_reference": only_reference,
        "only_variant": only_variant,
        "p": sign_test(only_reference, only_variant),
    }


def sign_test(one: int, other: int) -> float:
    """Two-sided p of a split at least this uneven between two equally likely sides."""
    n, fewer = one + other, min(one, other)
    return min(1.0, 2 * sum(comb(n, k) for k in range(fewer + 1)) / 2**n)


def minimum_detectable_difference(
    standard_error: float, *, alpha: float = 0.05, power: float = 0.8
) -> float:
    """The smallest true difference that a two-sided test finds with this power.

    (z(1 - alpha/2) + z(power)) * standard error. (Bloom, *Minimum Detectable Effects*, 1995.)

    Args:
        standard_error: of the paired difference, clustered; the result has its unit.
    """
    z = NormalDist().inv_cdf
    return (z(1 - alpha / 2) + z(power)) * standard_error


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """p values adjusted for their number, in the same order.

    (Holm, *A Simple Sequentially Rejective Multiple Test Procedure*, 1979.) None, a comparison that
    could not be tested, stays None and does not count.
    """
    adjusted: list[float | None] = [None] * len(p_values)
    tested = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    floor = 0.0
    for rank, (p, i) in enumerate(tested):
        floor = max(floor, min(1.0, (len(tested) - rank) * p))
        adjusted[i] = floor
    return adjusted


def distinguishable(p_adjusted: float | None, alpha: float = 0.05) -> bool:
    """Whether the data tell the two apart; an adjusted p of None does not."""
    return p_adjusted is not None and p_adjusted <= alpha


def _totals(values: Sequence[float], clusters: Sequence[int]) -> tuple[NDArray[Any], NDArray[Any]]:
    """(sum of the values, number of items) per cluster."""
    _, index = np.unique(np.asarray(clusters), return_inverse=True)
    return np.bincount(index, weights=np.asarray(values, dtype=float)), np.bincount(index)


def _chunks(clusters: int) -> Iterator[tuple[int, int]]:
    """Shapes (resamples, clusters) that add up to RESAMPLES rows and are each small in memory."""
    rows = max(1, CELLS_AT_ONCE // clusters)
    for start in range(0, RESAMPLES, rows):
        yield min(rows, RESAMPLES - start), clusters
