"""Which variants may be the best of those at hand, and which are shown to be within a margin of it.

A variant's quality is one number here: the harmonic mean of its task's metrics, F1 on the questions
that have an answer and the share of abstentions on those that have none. It is 0 for who always
abstains, who never does, and who always says the same, whatever the mix of the questions (as
generalized zero-shot learning weighs seen against unseen classes: Xian, Schiele, Akata, *Zero-Shot
Learning: the Good, the Bad and the Ugly*, 2017).

What is said of the best is Hsu's multiple comparison with the best (*Multiple Comparisons: Theory
and Methods*, 1996): for each variant an upper bound of what it lacks to the best of the others, all
of them right at once, from the draws of `llmpi.decide.joint`.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from llmpi.decide.joint import DRAWS, FEWEST_CLUSTERS, draws, estimate_of, seed_of
from llmpi.quality.estimates import PRIOR_CLUSTERS, Share, student
from llmpi.quality.evidence import Requirement, scored_in
from llmpi.study.runs import Scored
from llmpi.summary.estimate import Estimate

USUAL_MARGIN = 0.05
"""Where no loss is put a bound to."""
MOST_PAIRS = 3000
"""Above, pairs are bounded by Bonferroni's inequality in place of the draws."""
ROUNDING = 1e-12
"""A variance of a difference that is no larger a share of the two variances is none."""

Places = NDArray[np.int_]


@dataclass(frozen=True)
class Known:
    """A variant's quality: its value from 0 to 1, and each cluster's part in its error."""

    value: float
    residuals: NDArray[np.float64]
    clusters: float
    usual: float
    """The variance to be expected before the clusters are looked at."""

    @property
    def deviation(self) -> float:
        """Standard error of the value."""
        between = _correction(self.clusters) * (self.residuals @ self.residuals)
        return float(np.sqrt(_moderated(between, self.usual, self.clusters)))


class Best:
    """The quality of all variants on one task.

    Args:
        requirements: of the task, those with scores.
        confidence: of all that is said at once.
    """

    def __init__(self, requirements: Sequence[Requirement], confidence: float = 0.95) -> None:
        margins = [r["margin"] / 100 for r in requirements if r["kind"] == "loss"]
        self.margin = min(margins, default=USUAL_MARGIN)
        self.confidence = confidence
        self.known = _known(requirements)
        self.only_abstention = any(
            r["metric"] == "has_ans_f1" and not r["variants"] for r in requirements
        )
        """Whether no question has an answer, so that whoever says nothing is best."""
        self.clusters = requirements[0]["clusters"] if requirements else []
        self._lacking: dict[frozenset[Scored], Mapping[Scored, tuple[float, float]]] = {}

    def estimate(self, variant: Scored) -> Estimate | None:
        """Quality in per cent with its 95 % interval."""
        if (known := self.known.get(variant)) is None:
            return None
        reach = student(0.975, known.clusters) * known.deviation
        low, high = max(0.0, known.value - reach), min(1.0, known.value + reach)
        if known.clusters < 2:
            return Estimate(100 * known.value, None, None)
        return Estimate(100 * known.value, 100 * low, 100 * high)

    def told_apart(self, variants: Sequence[Scored]) -> NDArray[np.bool_]:
        """Whether the data tell each two apart, where all pairs that are known are looked at."""
        places = [self._place.get(variant, 0) for variant in variants]
        return self._apart[np.ix_(places, places)]

    def within_margin(self, variants: Collection[Scored]) -> list[Scored]:
        """Who is shown to lack no more than the margin to the best of these; who has the best
        estimate is always among them."""
        return [
            v for v, (_, most) in self._lacks(frozenset(variants)).items() if most <= self.margin
        ]

    def may_be_best(self, variants: Collection[Scored]) -> list[Scored]:
        """Whom the data do not show to be behind the best of these."""
        return [v for v, (least, _) in self._lacks(frozenset(variants)).items() if least <= 0]

    def _lacks(self, variants: frozenset[Scored]) -> Mapping[Scored, tuple[float, float]]:
        """Bounds of what each lacks to the best of the others, the best first; who leads lacks
        nothing. Left out is who cannot be shown to be near the best, and is shown to be behind it,
        were it held against the best alone."""
        if variants not in self._lacking:
            order = sorted(variants & self.known.keys(), key=lambda v: (-self.known[v].value, v))
            self._lacking[variants] = dict(self._bounds(order)) if order else {}
        return self._lacking[variants]

    def _bounds(self, order: Sequence[Scored]) -> Iterator[tuple[Scored, tuple[float, float]]]:
        """
        Args:
            order: at least one, by their values, the best first.
        """
        places = np.array([self._place[v] for v in order], int)
        values = self._values[places]
        fewest = min(self.known[v].clusters for v in order)
        if fewest < FEWEST_CLUSTERS:
            for variant, value in zip(order, values, strict=True):
                yield variant, (0.0, 0.0 if value == values[0] else 1.0)
            return
        level = 1 - (1 - self.confidence) / max(1, len(order) - 1)
        alone = student(level, fewest) * self._errors[places, places[:1]]
        contends = values[0] - values <= np.maximum(alone, self.margin)
        pairs = len(order) * (len(order) - 1) / 2
        for at in np.flatnonzero(contends).tolist():
            if values[at] == values[0]:
                yield order[at], (0.0, 0.0)
            else:
                others = np.delete(places, at)
                if pairs > MOST_PAIRS:
                    level = 1 - (1 - self.confidence) / len(others)
                else:
                    level = self._level(int(places[at]), others)
                reach = student(level, fewest) * self._errors[places[at], others]
                lacks = self._values[others] - values[at]
                least = float(np.max(lacks - reach, initial=0.0))
                yield order[at], (least, float(np.max(lacks + reach, initial=0.0)))

    def _level(self, one: int, others: Places) -> float:
        """One-sided, at which all differences of one from the others are within their bounds."""
        normal = NormalDist()
        apart = (self._drawn[:, others] - self._drawn[:, [one]]) / self._spread[one, others]
        quantile = float(np.quantile(apart.max(axis=1), self.confidence))
        return normal.cdf(max(normal.inv_cdf(self.confidence), quantile))

    @cached_property
    def _apart(self) -> NDArray[np.bool_]:
        """Of each pair of variants."""
        clusters = np.array([known.clusters for known in self.known.values()])
        fewest = np.minimum(clusters[:, None], clusters)
        reach = student(self._pair_level, fewest) * self._errors
        apart = np.abs(self._values[:, None] - self._values) > reach
        return apart & (fewest >= FEWEST_CLUSTERS)

    @cached_property
    def _pair_level(self) -> float:
        """One-sided level at which all pairs are within their bounds, to both sides."""
        count = len(self.known)
        pairs = count * (count - 1) // 2
        if pairs > MOST_PAIRS:
            return 1 - (1 - self.confidence) / (2 * pairs)
        most = np.zeros(DRAWS)
        for at in range(1, count):
            apart = (self._drawn[:, :at] - self._drawn[:, [at]]) / self._spread[at, :at]
            most = np.maximum(most, np.abs(apart).max(axis=1))
        both = 1 - (1 - self.confidence) / 2
        return max(both, NormalDist().cdf(float(np.quantile(most, self.confidence))))

    @cached_property
    def _place(self) -> dict[Scored, int]:
        return {variant: at for at, variant in enumerate(self.known)}

    @cached_property
    def _values(self) -> NDArray[np.float64]:
        return np.array([known.value for known in self.known.values()])

    @cached_property
    def _residuals(self) -> NDArray[np.float64]:
        """Of all variants, shape (clusters, variants)."""
        return np.column_stack([known.residuals for known in self.known.values()])

    @cached_property
    def _drawn(self) -> NDArray[np.float64]:
        """Errors of all variants, shape (DRAWS, variants)."""
        lengths = np.linalg.norm(self._residuals, axis=0)
        return draws(self._residuals, seed_of(self.clusters)) * lengths

    @cached_property
    def _spread(self) -> NDArray[np.float64]:
        """Of each difference's draws; infinite where nothing is uncertain, as between copies."""
        return np.where(self._distances == 0, np.inf, self._distances)

    @cached_property
    def _errors(self) -> NDArray[np.float64]:
        """Standard error of each difference."""
        clusters = np.array([known.clusters for known in self.known.values()])
        usual = np.array([known.usual for known in self.known.values()])
        fewest = np.minimum(clusters[:, None], clusters)
        between = _correction(fewest) * self._distances**2
        return np.sqrt(_moderated(between, usual[:, None] + usual, fewest))

    @cached_property
    def _distances(self) -> NDArray[np.float64]:
        """Between the residuals of each two variants."""
        products = self._residuals.T @ self._residuals
        squares = np.diag(products)
        both = squares[:, None] + squares
        apart = both - 2 * products
        return np.sqrt(np.where(apart < ROUNDING * both, 0.0, apart))


def _known(requirements: Sequence[Requirement]) -> dict[Scored, Known]:
    """Of the variants that have a score in every metric that has any."""
    scores: dict[Scored, list[Share]] = {}
    for requirement in requirements:
        for one in requirement["variants"]:
            if one["score"]:
                variant = scored_in(one)
                scores.setdefault(variant, []).append(estimate_of(one["score"]))
    most = max(map(len, scores.values()), default=0)
    return {v: _harmonic(found) for v, found in scores.items() if len(found) == most}


def _harmonic(scores: Sequence[Share]) -> Known:
    """Of a mean H of n scores, dH/ds = H^2 / (n s^2)."""
    values = np.array([score.value for score in scores])
    if np.any(values <= 0):
        value, slopes = 0.0, np.where(values <= 0, float(len(values)), 0.0)
    else:
        value = len(values) / float((1 / values).sum())
        slopes = value * value / (len(values) * values * values)
    residuals = np.sum([s * score.residuals for s, score in zip(slopes, scores, strict=True)], 0)
    usual = sum(s * s * score.usual for s, score in zip(slopes.tolist(), scores, strict=True))
    return Known(value, residuals, min(score.clusters for score in scores), usual)


def _moderated(
    between: NDArray[np.float64] | float,
    usual: NDArray[np.float64] | float,
    clusters: NDArray[np.float64] | float,
) -> NDArray[np.float64]:
    """A variance from few clusters, as if some more had been seen that vary as usual: where two
    never differed, they may yet (`llmpi.quality.estimates.PRIOR_CLUSTERS`)."""
    seen = np.maximum(clusters, 1) - 1
    return (seen * between + PRIOR_CLUSTERS * usual) / (seen + PRIOR_CLUSTERS)


def _correction(clusters: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """Of a variance between clusters, see `llmpi.quality.estimates.share`."""
    several = np.maximum(2.0, clusters)
    return several / (several - 1)
