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

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from llmpi.decide.joint import DRAWS, FEWEST_CLUSTERS, draws, estimate_of, seed_of
from llmpi.quality.estimates import Share, student
from llmpi.quality.evidence import Requirement, scored_in
from llmpi.study.runs import Scored
from llmpi.summary.estimate import Estimate

MOST_PAIRS = 3000
"""Above, pairs are bounded by Bonferroni's inequality in place of the draws."""
MOST_CONTENDERS = 60
"""So many of the best estimates can be shown to be near the best; others are too far behind."""


@dataclass(frozen=True)
class Known:
    """A variant's quality: its value from 0 to 1, and each cluster's part in its error."""

    value: float
    residuals: NDArray[np.float64]
    clusters: float

    def error(self, other: "Known | None" = None) -> float:
        """Standard error of the value, or of its difference from another's."""
        apart = self.residuals if other is None else self.residuals - other.residuals
        clusters = max(2.0, self.clusters)
        return float(np.sqrt(clusters / (clusters - 1) * (apart @ apart)))


class Best:
    """The quality of all variants on one task.

    Args:
        requirements: of the task, those with scores.
        confidence: of all that is said at once.
    """

    def __init__(self, requirements: Sequence[Requirement], confidence: float = 0.95) -> None:
        self.margin = min((r["margin"] / 100 for r in requirements), default=0.0)
        self.confidence = confidence
        self.known = _known(requirements)
        self.clusters = requirements[0]["clusters"] if requirements else []

    def estimate(self, variant: Scored) -> Estimate | None:
        """Quality in per cent with its 95 % interval."""
        if (known := self.known.get(variant)) is None:
            return None
        reach = student(0.975, known.clusters) * known.error()
        low, high = max(0.0, known.value - reach), min(1.0, known.value + reach)
        if known.clusters < 2:
            return Estimate(100 * known.value, None, None)
        return Estimate(100 * known.value, 100 * low, 100 * high)

    def told_apart(self, a: Scored, b: Scored) -> bool | None:
        """Whether the data tell two apart, where all pairs are looked at; None where one has no
        quality."""
        one, other = self.known.get(a), self.known.get(b)
        if one is None or other is None:
            return None
        if self._fewest < FEWEST_CLUSTERS:
            return False
        reach = student(self._pair_level, self._fewest) * one.error(other)
        return abs(one.value - other.value) > reach

    def within_margin(self, variants: Collection[Scored]) -> list[Scored]:
        """Who is shown to lack no more than the margin to the best of these; who has the best
        estimate is always among them."""
        return [v for v, (_, most) in self._lacks(variants).items() if most <= self.margin]

    def may_be_best(self, variants: Collection[Scored]) -> list[Scored]:
        """Whom the data do not show to be behind the best of these."""
        return [v for v, (least, _) in self._lacks(variants).items() if least <= 0]

    def _lacks(self, variants: Collection[Scored]) -> dict[Scored, tuple[float, float]]:
        """Bounds of what each lacks to the best of the others; who leads lacks nothing."""
        order = sorted({v for v in variants if v in self.known}, key=lambda v: -self.known[v].value)
        if not order:
            return {}
        lead = self.known[order[0]].value
        found = {}
        for i in order[:MOST_CONTENDERS]:
            others = [j for j in order if j != i]
            errors = np.array([self.known[i].error(self.known[j]) for j in others])
            lacks = np.array([self.known[j].value for j in others]) - self.known[i].value
            reach = self._reach(i, others) * errors
            least = float(np.max(lacks - reach, initial=0.0))
            most = float(np.max(lacks + reach, initial=0.0))
            if self._fewest < FEWEST_CLUSTERS:
                least, most = 0.0, 1.0
            leads = self.known[i].value == lead
            found[i] = (0.0, 0.0) if leads else (least, most)
        return found

    def _reach(self, one: Scored, others: Sequence[Scored]) -> float:
        """Standard errors that all differences from the others stay within."""
        if not others:
            return 0.0
        places = [self._place[v] for v in others]
        apart = self._drawn[:, places] - self._drawn[:, [self._place[one]]]
        return student(self._level((apart / self._spread(one, others)).max(axis=1)), self._fewest)

    def _spread(self, one: Scored, others: Sequence[Scored]) -> NDArray[np.float64]:
        spread = np.array(
            [np.linalg.norm(self.known[v].residuals - self.known[one].residuals) for v in others]
        )
        return np.where(spread == 0, np.inf, spread)  # of a copy nothing is uncertain

    @cached_property
    def _pair_level(self) -> float:
        """One-sided level at which all pairs are within their bounds, to both sides."""
        order = list(self.known)
        pairs = len(order) * (len(order) - 1) // 2
        if pairs > MOST_PAIRS:
            return 1 - (1 - self.confidence) / (2 * pairs)
        most = np.zeros(DRAWS)
        for at, one in enumerate(order[1:], start=1):
            others = order[:at]
            apart = self._drawn[:, :at] - self._drawn[:, [at]]
            most = np.maximum(most, np.abs(apart / self._spread(one, others)).max(axis=1))
        both = 1 - (1 - self.confidence) / 2
        return max(both, NormalDist().cdf(float(np.quantile(most, self.confidence))))

    def _level(self, largest: NDArray[np.float64]) -> float:
        normal = NormalDist()
        quantile = float(np.quantile(largest, self.confidence))
        return normal.cdf(max(normal.inv_cdf(self.confidence), quantile))

    @cached_property
    def _fewest(self) -> float:
        return min((known.clusters for known in self.known.values()), default=0.0)

    @cached_property
    def _place(self) -> dict[Scored, int]:
        return {variant: at for at, variant in enumerate(self.known)}

    @cached_property
    def _drawn(self) -> NDArray[np.float64]:
        """Errors of all variants, shape (DRAWS, variants)."""
        residuals = np.column_stack([known.residuals for known in self.known.values()])
        return draws(residuals, seed_of(self.clusters)) * np.linalg.norm(residuals, axis=0)


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
    return Known(value, residuals, min(score.clusters for score in scores))
