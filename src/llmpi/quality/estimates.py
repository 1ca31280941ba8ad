"""Estimates with bounds at any level: a share of items, a paired loss, a plain mean.

Questions of one paragraph stand or fall together. Whatever took single questions for independent
would be too sure of itself, so everything here goes by whole clusters.

The intervals were chosen by how often they hold what they should (`python -m benchmarks.decision`):
with few clusters, and with rates near 0 or 1, a bootstrap's percentiles hold it 77 to 90 times in
100 where 95 are promised, Wilson's interval with Student's quantiles and the variance below 94 or
more.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import sqrt
from typing import Protocol, Self, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

PRIOR_CLUSTERS = 10
PRIOR_CORRELATION = 0.2
"""The spread between few clusters is itself a guess. It counts as if ten more had been seen, whose
items are correlated as those of SQuAD's paragraphs are, about .2 (as Smyth, *Linear Models and
Empirical Bayes Methods*, 2004, moderates variances)."""

Vector = NDArray[np.float64]


class Estimate(Protocol):
    """An estimated number with bounds at any level."""

    @property
    def value(self) -> float: ...
    @property
    def clusters(self) -> float: ...
    @property
    def residuals(self) -> Vector:
        """Each cluster's part in its error: where two estimates rest on the same clusters, these
        say how far they go up and down together."""
        ...

    def bounds(self, t: float) -> tuple[float, float]:
        """Where it lies, `t` standard errors to either side or what comes nearest to that."""
        ...

    def times(self, factor: float) -> Self:
        """What would be known from so many times the clusters of the same kind."""
        ...


@dataclass(frozen=True)
class Share:
    """Mean of items that are each between 0 and 1.

    Args:
        variance: of the mean, see `share`.
        effective: so many independent items would tell as much.
        usual: the variance to be expected before the clusters are looked at: of items at the rate
            that Jeffreys' prior expects, correlated as usual.
    """

    value: float
    variance: float
    effective: float
    clusters: float
    residuals: Vector
    usual: float = 0.0

    def bounds(self, t: float) -> tuple[float, float]:
        """Wilson's score interval of the effective items (Wilson 1927, doi:10.2307/2276774; with
        design effects: Dean, Pagano, *Evaluating Confidence Interval Methods for Binomial
        Proportions in Clustered Surveys*, 2015). It has a width at rates of 0 and 1 too."""
        z = t * t / self.effective
        middle = (self.value + z / 2) / (1 + z)
        half = sqrt(max(0.0, z * self.value * (1 - self.value) + z * z / 4)) / (1 + z)
        return max(0.0, middle - half), min(1.0, middle + half)

    def times(self, factor: float) -> "Share":
        """At the rate that is to be expected, the mean under Jeffreys' prior, and not the one that
        was seen: where nothing was lost so far something may be, and the bounds will be wider."""
        value = (self.value * self.effective + 0.5) / (self.effective + 1)
        effective = self.effective * factor
        variance = value * (1 - value) / effective
        return Share(value, variance, effective, self.clusters * factor, self.residuals)


@dataclass(frozen=True)
class Loss:
    """What a variant loses against another on the same items: what only it gets wrong, less what
    only it gets right, each a share.

    Args:
        covariance: of the two.
    """

    lost: Share
    gained: Share
    covariance: float

    @property
    def value(self) -> float:
        return self.lost.value - self.gained.value

    @property
    def clusters(self) -> float:
        return self.lost.clusters

    @cached_property
    def residuals(self) -> Vector:
        return self.lost.residuals - self.gained.residuals

    def bounds(self, t: float) -> tuple[float, float]:
        """From the bounds of the two shares (Zou, Donner, *Construction of Confidence Intervals
        About Effect Measures: A General Approach*, 2008, with their correlation). Student's
        interval of the difference is too narrow where there are losses and next to no gains.

        A bound reaches no less far than either share's own does: the largest distance with both
        shares anywhere within their bounds. Without that, where the two go up and down together, a
        larger `t` could give a narrower bound: one share's comes to its end, 0 or 1, and the other
        makes up for ever more of it."""
        lost, gained = self.lost, self.gained
        spread = sqrt(lost.variance * gained.variance)
        both = max(-1.0, min(1.0, self.covariance / spread)) if spread else 0.0
        (lost_low, lost_high), (gained_low, gained_high) = lost.bounds(t), gained.bounds(t)

        def reach(one: float, other: float) -> float:
            return max(one, other, sqrt(max(0.0, one**2 + other**2 - 2 * both * one * other)))

        return (
            self.value - reach(lost.value - lost_low, gained_high - gained.value),
            self.value + reach(lost_high - lost.value, gained.value - gained_low),
        )

    def times(self, factor: float) -> "Loss":
        return Loss(self.lost.times(factor), self.gained.times(factor), self.covariance / factor)


@dataclass(frozen=True)
class Plain:
    """A mean of numbers of any size, with Student's interval."""

    value: float
    variance: float
    clusters: float
    residuals: Vector

    @property
    def deviation(self) -> float:
        return sqrt(self.variance)

    def bounds(self, t: float) -> tuple[float, float]:
        return self.value - t * self.deviation, self.value + t * self.deviation

    def times(self, factor: float) -> "Plain":
        return Plain(self.value, self.variance / factor, self.clusters * factor, self.residuals)


class Counts:
    """The items of each cluster, and what follows from their number alone: many estimates rest on
    the same clusters."""

    def __init__(self, counts: ArrayLike) -> None:
        self.each: Vector = np.asarray(counts, float)
        self.items = int(self.each.sum())
        self.clusters = int(np.count_nonzero(self.each))
        """Those that have items."""
        self.size = float(np.square(self.each).sum()) / self.items
        """Items of the cluster that an item is in, on average."""

    @classmethod
    def of(cls, counts: "ArrayLike | Counts") -> "Counts":
        return counts if isinstance(counts, Counts) else cls(counts)


def share(sums: ArrayLike, squares: float, counts: ArrayLike | Counts) -> Share:
    """A mean over items, with an error that is never below that of independent items.

    The spread between clusters (Liang, Zeger, *Longitudinal Data Analysis Using Generalized Linear
    Models*, 1986, with the factor G / (G - 1) for G clusters) is moderated, see `PRIOR_CLUSTERS`.

    Args:
        sums, counts: the items of each cluster; clusters without items do not count.
        squares: sum of the squares of all items.
    """
    by = Counts.of(counts)
    total, residuals, between = _between(sums, by)
    n, clusters = by.items, by.clusters
    value = total / n
    independent = max(0.0, squares / n - value * value) / n
    usual = 1 + (by.size - 1) * PRIOR_CORRELATION
    moderated = ((clusters - 1) * between + PRIOR_CLUSTERS * independent * usual) / (
        clusters - 1 + PRIOR_CLUSTERS
    )
    variance = max(moderated, independent)
    binary = value * (1 - value)
    effective = binary / variance if variance > 0 and binary > 0 else n / usual
    expected = (total + 0.5) / (n + 1)
    before = usual * expected * (1 - expected) / n
    return Share(value, variance, effective, clusters, residuals, before)


def loss(
    lost: ArrayLike,
    lost_squares: float,
    gained: ArrayLike,
    gained_squares: float,
    counts: ArrayLike | Counts,
) -> Loss:
    """A paired loss out of the sums of each cluster, see `share`."""
    by = Counts.of(counts)
    one, other = share(lost, lost_squares, by), share(gained, gained_squares, by)
    return Loss(one, other, _correction(one.clusters) * float(one.residuals @ other.residuals))


def plain(sums: ArrayLike, counts: ArrayLike | Counts) -> Plain:
    """A mean over items out of the sums of each cluster."""
    by = Counts.of(counts)
    total, residuals, between = _between(sums, by)
    return Plain(total / by.items, between, by.clusters, residuals)


def _between(sums: ArrayLike, by: Counts) -> tuple[float, Vector, float]:
    """(sum of all, residuals of the mean, variance from between the clusters)."""
    of = np.asarray(sums, float)
    total = float(of.sum())
    residuals = (of - by.each * (total / by.items)) / by.items
    return total, residuals, _correction(by.clusters) * float(residuals @ residuals)


def _correction(clusters: float) -> float:
    return clusters / (clusters - 1) if clusters > 1 else 1.0


@overload
def student(level: float, clusters: float) -> float: ...
@overload
def student(level: float, clusters: Vector) -> Vector: ...
def student(level: float, clusters: float | Vector) -> float | Vector:
    """Student's quantile for so many clusters, at least two."""
    if not isinstance(clusters, np.ndarray):
        return _student(level, clusters)
    from scipy.special import stdtrit  # slow to load, and who only shows a result needs none

    return np.asarray(stdtrit(np.maximum(clusters, 2) - 1, level))


@lru_cache(maxsize=4096)
def _student(level: float, clusters: float) -> float:
    """Thousands of cells ask for the same few."""
    from scipy.special import stdtrit

    return float(stdtrit(np.maximum(clusters, 2) - 1, level))
