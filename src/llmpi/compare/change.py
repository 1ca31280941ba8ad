"""By how much a figure changed from one session to another, and what of that is beyond doubt.

In logarithms, where a change of the same factor is the same distance. Two things make a figure
another one without anything being slower: repetitions of a session differ, which they show
themselves; and sessions differ (where pages lie in memory, how warm it was), of which there is one
on each side. That second part is what the cells of a comparison show of it together: most of them
changed alike, or nothing is to be said of any.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log, sqrt
from statistics import median

import numpy as np
from scipy.special import stdtr, stdtrit

from llmpi.quality.estimates import PRIOR_CLUSTERS, Plain, plain, student

SESSION_SD = 0.02
"""By how much the logarithms of two sessions of one cell are taken to differ, one standard
deviation, before the comparison's own cells are looked at; it counts as if `PRIOR_CLUSTERS` of them
had shown it. An assumption: of a machine that is alone and cool."""
MAD_TO_SD = 1.4826
"""Of a normal distribution. Half of the cells may have become slower, and it does not see them."""


@dataclass(frozen=True)
class Spread:
    """Of a number: its variance and the degrees of freedom that it is known with."""

    variance: float
    freedom: float


@dataclass(frozen=True)
class Change:
    """The logarithm of a ratio.

    Args:
        deviation: its standard error.
        freedom: of Student's distribution.
    """

    value: float
    deviation: float
    freedom: float

    def bounds(self, level: float = 0.95) -> tuple[float, float]:
        reach = float(stdtrit(self.freedom, (1 + level) / 2)) * self.deviation
        return self.value - reach, self.value + reach

    def p_at_most(self, limit: float) -> float:
        """One-sided: how likely at least so much is seen where it is `limit` at most."""
        return float(stdtr(self.freedom, (limit - self.value) / self.deviation))


def of_repetitions(values: Sequence[float]) -> Plain:
    """The mean of the logarithms of a session's repetitions, all above 0."""
    return plain(np.log(values), np.ones(len(values)))


def between_sessions(changes: Sequence[float]) -> Spread:
    """How far two sessions of a cell are apart, as the changes of all cells show it.

    Their own repetitions' spread is in it, so that it is rather too large. Where they show more
    than was assumed, what was assumed was wrong, and they alone count: with it, six cells of
    sessions that differ by 10 % found something worse in 18 of 100 comparisons of the same. Two
    cells show nothing but how far they are apart.

    Args:
        changes: logarithms of ratios, one a cell; at least one.
    """
    middle = median(changes)
    seen = MAD_TO_SD * median(abs(change - middle) for change in changes)
    more = len(changes) - 1
    assumed = (PRIOR_CLUSTERS * SESSION_SD**2 + more * seen**2) / (PRIOR_CLUSTERS + more)
    if more > 1 and seen**2 > assumed:
        return Spread(seen**2, more)
    return Spread(assumed, PRIOR_CLUSTERS + more)


def changed(before: Plain, after: Plain, sessions: Spread) -> Change:
    """From one session to the other (Welch, *The generalization of "Student's" problem when several
    different population variances are involved*, 1947).

    Args:
        before, after: of two repetitions at least.
    """
    parts = [
        *(Spread(side.variance, side.clusters - 1) for side in (before, after)),
        sessions,
    ]
    variance = sum(part.variance for part in parts)
    freedom = variance**2 / sum(part.variance**2 / part.freedom for part in parts)
    return Change(after.value - before.value, sqrt(variance), freedom)


def overall(changes: Sequence[Sequence[float]], sessions: Spread) -> tuple[float, float, float]:
    """(mean, low, high) of all cells, 95 %; those of a session stand or fall together.

    Args:
        changes: of the cells of each session; at least two sessions.
    """
    found = plain([sum(of) for of in changes], [len(of) for of in changes])
    least = sqrt(sessions.variance / len(changes))
    reach = student(0.975, len(changes)) * max(found.deviation, least)
    return found.value, found.value - reach, found.value + reach


def pct(logarithm: float) -> float:
    """A change in per cent."""
    return 100 * (exp(logarithm) - 1)


def as_log(loss_pct: float) -> float:
    """What makes a speed less by so many per cent, as the logarithm of what it takes longer."""
    return -log(1 - loss_pct / 100)
