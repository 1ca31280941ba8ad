"""Uncertainty of a score, and what a paired comparison of two variants can tell.

Questions of one paragraph stand or fall together. Whatever took single questions for independent
would be too sure of itself, so everything here but McNemar's test goes by whole clusters.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from math import ceil
from typing import Any, NamedTuple, TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray

from llmpi.quality.estimates import Counts, Loss, loss, plain, share, student

RESAMPLES = 10_000
CELLS_AT_ONCE = 1_000_000
CELLS_KEPT = 5_000_000
"""40 MB."""
TESTS_AT_ONCE = 100


# --- intervals of items ---------------------------------------------------------------------------


class Grouped(NamedTuple):
    """Clusters that are asked about more than once.

    Args:
        places: of each item its cluster's, from 0.
        counts: the items of each cluster.
    """

    places: NDArray[np.intp]
    counts: Counts


def grouped(clusters: ArrayLike) -> Grouped:
    """By the name that each item's cluster has."""
    _, places = np.unique(np.asarray(clusters), return_inverse=True)
    return Grouped(places, Counts(np.bincount(places)))


def share_interval(
    values: Sequence[float], clusters: ArrayLike, *, level: float = 0.95
) -> tuple[float, float] | None:
    """Interval of a mean.

    Args:
        values: a score per item, 0 to 1.
        clusters: the cluster of each item, same length.

    Returns:
        (low, high); None below two clusters, which show no spread.
    """
    sums, counts = _totals(values, clusters)
    if len(sums) < 2:
        return None
    found = share(sums, float(np.square(values).sum()), counts)
    return found.bounds(student((1 + level) / 2, found.clusters))


def mean_spread(values: ArrayLike, clusters: ArrayLike | Grouped, *, level: float = 0.95) -> float:
    """Half the width of the interval of a mean of numbers above 0, as a share of it; 0 below two
    clusters, which show none."""
    sums, counts = _totals(values, clusters)
    found = plain(sums, counts)
    if len(sums) < 2 or not found.value:
        return 0.0
    return student((1 + level) / 2, found.clusters) * found.deviation / found.value


def quantile_ranks(
    below: Sequence[bool] | NDArray[np.bool_],
    clusters: ArrayLike | Grouped,
    share_below: float,
    *,
    level: float = 0.95,
) -> tuple[int | None, int | None]:
    """Between which of some items, in their order, the quantile of all such items lies.

    By the sign test (Conover, *Practical Nonparametric Statistics*, 1999), of as many items as
    independent ones would tell as much.

    Args:
        below: whether each item is below the quantile as these items have it, or is it.
        clusters: the cluster of each item, same length.
        share_below: of all such items.

    Returns:
        Ranks from 0; None where the items are too few for an end, or in fewer than two clusters.
    """
    sums, counts = _totals(below, clusters)
    if len(sums) < 2:
        return None, None
    items, found = counts.items, share(sums, float(sums.sum()), counts)
    alone = min(items, ceil(found.effective))
    low, high = _sign_ranks(alone, share_below, level)
    return (
        low * items // alone - 1 if low else None,
        -(-high * items // alone) - 1 if high <= alone else None,
    )


@lru_cache(maxsize=4096)
def _sign_ranks(items: int, share_below: float, level: float) -> tuple[int, int]:
    """Ranks from 1, of so many independent items; 0 and one too many where there is no such end.
    Thousands of cells ask for the same few."""
    from scipy.special import bdtr  # slow, and who only shows a result needs none

    fewer = bdtr(np.arange(items, dtype=float), items, share_below)
    low = int(np.searchsorted(fewer, (1 - level) / 2, side="right"))
    return low, int(np.searchsorted(fewer, (1 + level) / 2)) + 1


def paired_loss(
    reference: Sequence[float], variant: Sequence[float], clusters: ArrayLike | Grouped
) -> Loss:
    """What the variant loses.

    Args:
        reference, variant: a score per item, 0 to 1; at least one item.
        clusters: the cluster of each item.
    """
    by = _by(clusters)
    lost = np.asarray(reference, float) - np.asarray(variant, float)
    worse, better = np.maximum(lost, 0), np.maximum(-lost, 0)
    return loss(
        _totals(worse, by)[0],
        float(worse @ worse),
        _totals(better, by)[0],
        float(better @ better),
        by.counts,
    )


def loss_interval(found: Loss, *, level: float = 0.95) -> tuple[float, float] | None:
    """Interval of a loss; None below two clusters."""
    if found.clusters < 2:
        return None
    return found.bounds(student((1 + level) / 2, found.clusters))


# --- paired comparisons ---------------------------------------------------------------------------


class McNemar(TypedDict):
    """McNemar's exact test, see `mcnemar`."""

    only_reference: int
    only_variant: int
    """Items that only one of them gets right."""
    p: float


class Compared(TypedDict):
    """A paired comparison, see `compare`.

    Interval and p are None below two clusters.
    """

    difference_pct: float
    """Of the graded metric: variant minus reference in points, so that a loss is negative."""
    low_pct: float | None
    high_pct: float | None
    """95 %, `Loss.bounds`."""
    p: float | None
    """`randomization_p`, before any correction for the number of comparisons."""
    mcnemar: McNemar
    """Of the 0/1 metric."""
    items: int
    clusters: int


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
    return compare_all([Pair(reference, variant, clusters, exact_reference, exact_variant)])[0]


class Pair(NamedTuple):
    """What is compared, as `compare` takes it."""

    reference: Sequence[float]
    variant: Sequence[float]
    clusters: Sequence[int]
    exact_reference: Sequence[int]
    exact_variant: Sequence[int]


def compare_all(pairs: Sequence[Pair]) -> list[Compared]:
    """Of each pair what `compare` says, the tests of all in one go."""
    by = [grouped(pair.clusters) for pair in pairs]
    differences = [
        np.asarray(pair.variant, float) - np.asarray(pair.reference, float) for pair in pairs
    ]
    tested = randomization_ps(list(zip(differences, by, strict=True)))
    return [_compared(*one) for one in zip(pairs, by, tested, strict=True)]


def _compared(pair: Pair, by: Grouped, p: float | None) -> Compared:
    found = paired_loss(pair.reference, pair.variant, by)
    low, high = loss_interval(found) or (None, None)
    return {
        "difference_pct": -100 * found.value + 0.0,
        "low_pct": None if high is None else -100 * high,
        "high_pct": None if low is None else -100 * low,
        "p": p,
        "mcnemar": mcnemar(pair.exact_reference, pair.exact_variant),
        "items": len(pair.variant),
        "clusters": len(by.counts.each),
    }


def randomization_p(
    differences: ArrayLike, clusters: ArrayLike | Grouped, *, seed: int = 0
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
    return randomization_ps([(differences, _by(clusters))], seed=seed)[0]


def randomization_ps(
    tests: Sequence[tuple[ArrayLike, Grouped]], *, seed: int = 0
) -> list[float | None]:
    """Of each test what `randomization_p` says; those of as many clusters are flipped together."""
    sums = [_totals(*test)[0] for test in tests]
    found: list[float | None] = [None] * len(tests)
    for clusters in {len(one) for one in sums if len(one) > 1}:
        alike = [at for at, one in enumerate(sums) if len(one) == clusters]
        for start in range(0, len(alike), TESTS_AT_ONCE):
            some = alike[start : start + TESTS_AT_ONCE]
            for at, p in zip(some, _ps([sums[at] for at in some], seed), strict=True):
                found[at] = p
    return found


def _ps(sums: Sequence[NDArray[np.float64]], seed: int) -> list[float]:
    """p of each test, of its sums by cluster."""
    together = np.column_stack(sums)
    # A flip that ties with the observed sum must not lose to it by rounding.
    observed = np.abs(together.sum(axis=0)) - 1e-9 * np.abs(together).sum(axis=0)
    counts = np.zeros(len(sums), int)
    for flips in _flips(len(together), seed):
        counts += np.count_nonzero(np.abs(flips @ together) >= observed, axis=0)
    return [(1 + count) / (1 + RESAMPLES) for count in counts.tolist()]


def _flips(clusters: int, seed: int) -> Iterable[NDArray[np.float64]]:
    """Signs of [resamples, clusters], piece by piece: the same for all that have as many clusters,
    so that they are kept where they are few."""
    if clusters * RESAMPLES > CELLS_KEPT:
        return _drawn_flips(clusters, seed)
    return _kept_flips(clusters, seed)


@lru_cache(maxsize=2)
def _kept_flips(clusters: int, seed: int) -> list[NDArray[np.float64]]:
    return [*_drawn_flips(clusters, seed)]


def _drawn_flips(clusters: int, seed: int) -> Iterator[NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    for shape in _chunks(clusters):
        yield rng.choice((-1.0, 1.0), size=shape)


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
    ways, uneven = 1, 1  # n over k, from one to the next, and the sum of all so far
    for k in range(fewer):
        ways = ways * (n - k) // (k + 1)
        uneven += ways
    return min(1.0, 2 * uneven / 2**n)


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


def _by(clusters: ArrayLike | Grouped) -> Grouped:
    return clusters if isinstance(clusters, Grouped) else grouped(clusters)


def _totals(values: ArrayLike, clusters: ArrayLike | Grouped) -> tuple[NDArray[Any], Counts]:
    """(sum of the values, items) of each cluster."""
    by = _by(clusters)
    return np.bincount(by.places, weights=np.asarray(values, dtype=float)), by.counts


def _chunks(clusters: int) -> Iterator[tuple[int, int]]:
    """Shapes (resamples, clusters) that add up to RESAMPLES rows and are each small in memory."""
    rows = max(1, CELLS_AT_ONCE // clusters)
    for start in range(0, RESAMPLES, rows):
        yield min(rows, RESAMPLES - start), clusters
