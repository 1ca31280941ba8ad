"""When to stop asking: a sequential non-inferiority test of a variant against its reference.

After each block of paragraphs the test says whether the variant's loss lies below a margin
("holds"), above it ("fails"), or cannot be told yet ("undecided"). One may look after every block
and stop at the first decision: a variant whose loss is at least the margin is ever said to hold
with probability at most alpha, and one whose loss is at most the margin to fail with the same.

The method is betting on a bounded mean (Waudby-Smith, Ramdas, *Estimating Means of Bounded Random
Variables by Betting*, JRSS B 2024, arXiv 2010.09686). If the loss X of a paragraph is at least m on
average, a ticket that pays 1 - X is worth at most 1 - m; whoever buys it at that price again and
again, each time for a fraction of the money held, ever makes 20 of 1 with probability at most 1/20
(Ville's inequality). The best fraction depends on the spread of the losses, so the money is split
over a grid of fractions from the start ("diversified Kelly"), with more on the large ones, which
win if there is next to no loss.

Why this and not a z test with alpha spending (Lan, DeMets 1983) or an asymptotic confidence
sequence: these go by the variance seen so far, and a variant identical so far has none. One that
ruins a few whole paragraphs and spares the others looks just like that. Betting needs no variance,
nothing about questions within a paragraph, no count of looks and no budget; what "identical so far"
justifies is `fewest_paragraphs`.

Two conditions. Paragraphs must come in random order. And the loss is the mean over paragraphs of
their mean loss, as only whole paragraphs are independent. The mean over questions is the same where
paragraphs are equally long, or loss has nothing to do with length, or paragraphs are drawn with
probability proportional to their length.
"""

from itertools import count
from math import log
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

_STEPS = 20
FRACTIONS = (np.arange(_STEPS) + 0.5) / _STEPS
SHARES = FRACTIONS / FRACTIONS.sum()

Decision = Literal["holds", "fails", "undecided"]


class Bounds(NamedTuple):
    """The losses that could not be ruled out; each bound errs with probability at most alpha."""

    low: float
    high: float


def decide(losses: ArrayLike, *, margin: float, alpha: float = 0.05) -> Decision:
    """The verdict on the paragraphs scored so far; it does not depend on their order.

    A wider margin may be tried on the same paragraphs: what holds at one margin holds at any wider.

    Args:
        losses: reference minus variant, per paragraph the mean over its questions, in [-1, 1].
        margin: the largest loss to put up with, in (0, 1), same unit.
        alpha: the probability of a wrong "holds", and of a wrong "fails".

    Raises:
        ValueError: a number is outside its range (a loss or a margin in per cent).
    """
    x = _checked(losses)
    if not 0 < margin < 1:
        raise ValueError(f"margin {margin} is not between 0 and 1")
    if log_money(1 - x, 1 - margin) >= log(1 / alpha):
        return "holds"
    if log_money(1 + x, 1 + margin) >= log(1 / alpha):
        return "fails"
    return "undecided"


def bounds(losses: ArrayLike, *, alpha: float = 0.05) -> Bounds:
    """Confidence bounds of the loss, valid at whatever time one looks.

    `high` is the smallest margin at which the variant holds, `low` the largest at which it fails;
    [-1, 1] without data.

    Args:
        losses: as for `decide`.
        alpha: of each bound, so that both together have confidence 1 - 2 alpha.

    Raises:
        ValueError: a loss is outside its range.
    """
    x = _checked(losses)
    return Bounds(-_upper(-x, alpha), _upper(x, alpha))


def fewest_paragraphs(margin: float, alpha: float = 0.05) -> int:
    """How many paragraphs it takes for "holds" if the variant is identical on all of them.

    No rule can do with less than log(alpha) / log(1 - margin): a variant that ruins each paragraph
    with probability `margin` has still spared that many with probability alpha.
    """
    return next(n for n in count(1) if decide([0.0] * n, margin=margin, alpha=alpha) == "holds")


def log_money(payoffs: ArrayLike, price: float) -> NDArray[np.float64]:
    """Log of the money made of 1 by betting on tickets, averaged over `FRACTIONS`.

    Args:
        payoffs: of each ticket, at least 0, shape (..., tickets).
        price: of a ticket; if their mean is no higher, the money is a supermartingale.

    Returns:
        Shape (...).
    """
    gain = np.asarray(payoffs)[..., None] / price - 1
    return np.logaddexp.reduce(np.log1p(FRACTIONS * gain).sum(axis=-2) + np.log(SHARES), axis=-1)


def _upper(x: NDArray[np.float64], alpha: float) -> float:
    """The smallest m in [-1, 1] with enough money against "the mean is at least m"."""
    low, high = -1.0, 1.0
    while high - low > 1e-6:  # the money grows with m
        middle = (low + high) / 2
        if log_money(1 - x, 1 - middle) >= log(1 / alpha):
            high = middle
        else:
            low = middle
    return high


def _checked(losses: ArrayLike) -> NDArray[np.float64]:
    x = np.asarray(losses, dtype=float)
    if not np.all(np.abs(x) <= 1):
        raise ValueError("a loss is not between -1 and 1")
    return x
