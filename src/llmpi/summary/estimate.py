"""A number with the interval it may lie in."""

from statistics import NormalDist
from typing import Literal, NamedTuple

Z95 = NormalDist().inv_cdf(0.975)
"""Standard errors to either end of a 95 % interval."""


EstimateKind = Literal["", "metered", "pmic", "estimated"]
"""Of energy, its tier."""


class Estimate(NamedTuple):
    """A number with its 95 % interval, in one unit.

    Args:
        low, high: None where no spread was seen, which is no proof that there is none; both are
            `value` where it is exact.
        kind: numbers of different kinds (energy tiers) are never ranked against each other.
    """

    value: float
    low: float | None
    high: float | None
    kind: EstimateKind = ""
