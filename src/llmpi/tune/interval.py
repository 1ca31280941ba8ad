"""An interval for paired differences that asks for no normal distribution."""

from collections.abc import Sequence
from typing import NamedTuple


class Interval(NamedTuple):
    """An estimate and its bounds."""

    middle: float
    low: float
    high: float


def signed_rank_interval(differences: Sequence[float], error: float) -> Interval:
    """Where the centre of symmetric differences lies, with probability 1 - `error` at least.

    The Hodges-Lehmann estimate and the exact interval of Wilcoxon's signed-rank test: Hollander,
    Wolfe, Chicken, *Nonparametric Statistical Methods*, 3rd ed., 3.2 and 3.3. One wild difference
    moves it little.

    Raises:
        ValueError: so few differences cannot show anything at this error.
    """
    n = len(differences)
    sums = sorted(
        (differences[i] + differences[j]) / 2 for i in range(n) for j in range(i, n)
    )  # Walsh averages
    cut = _cut(n, error)
    if cut == 0:
        raise ValueError(f"{n} differences cannot give an interval with an error of {error:g}")
    half = len(sums) // 2
    middle = sums[half] if len(sums) % 2 else (sums[half - 1] + sums[half]) / 2
    return Interval(middle, sums[cut - 1], sums[-cut])


def _cut(n: int, error: float) -> int:
    """The greatest c with 2 P(T < c) <= `error`; T is the sum of the ranks whose sign is plus."""
    ways = [1]
    for rank in range(1, n + 1):
        longer = ways + [0] * rank
        for total, count in enumerate(ways):
            longer[total + rank] += count
        ways = longer
    below, cut = 0, 0
    while 2 * (below + ways[cut]) <= error * 2**n:
        below += ways[cut]
        cut += 1
    return cut
