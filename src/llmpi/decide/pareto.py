"""What beats what where numbers are uncertain: estimates, the Pareto front, groups, an order.

*Ahead* is a matter of the point estimates, *told apart* one of their spread.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from llmpi.study.decision import Aim
from llmpi.summary.estimate import Estimate

T = TypeVar("T")
Matrix = NDArray[np.bool_]
"""Of each of some candidates against each of others."""
Places = NDArray[np.int_]

ROWS_AT_ONCE = 256


@dataclass(frozen=True)
class Objective(Generic[T]):
    """Something to have much or little of.

    Args:
        of: a candidate's estimate; None where there is none.
        directly: of candidates, whether the data tell each two apart, where that was tested
            directly (on the same items, say); None where it was not. Of who has no estimate nothing
            is asked.
        near: of candidates with a number, the best and those shown to be as good for all that
            matters, the best first. Where that was not tested, who cannot be told apart from the
            best is taken for it.
    """

    name: Aim
    larger_is_better: bool
    of: Callable[[T], Estimate | None]
    directly: Callable[[Sequence[T]], Matrix | None] = lambda _: None
    near: Callable[[Sequence[T]], list[T]] | None = None


class Measured(Generic[T]):
    """Many candidates in one objective, as arrays in their order.

    Args:
        loss: the number turned so that less is better; NaN where there is none.
        worse, better: from there to the ends of the interval, infinite where one is not known.
        kind: only numbers of one kind are compared; -1 where there is none.
        directly: see `Objective`.
    """

    def __init__(self, candidates: Sequence[T], objective: Objective[T]) -> None:
        sign = -1.0 if objective.larger_is_better else 1.0
        estimates = [objective.of(c) for c in candidates]
        kinds = list(dict.fromkeys(e.kind for e in estimates if e))
        ends = np.array(
            [
                (np.nan, np.inf, np.inf) if e is None else _reach(e, objective.larger_is_better)
                for e in estimates
            ]
        ).reshape(-1, 3)
        self.loss, self.worse, self.better = sign * ends[:, 0], ends[:, 1], ends[:, 2]
        self.kind = np.array([-1 if e is None else kinds.index(e.kind) for e in estimates], int)
        self.directly = objective.directly(candidates)

    def ahead(self, a: Places, b: Places) -> tuple[Matrix, Matrix]:
        """Where each of `a` is not behind each of `b`, or neither has a number; and where it is
        ahead beyond the noise: the 95 % interval of the difference leaves out 0.

        The interval is recovered from those of the two: difference of the values, minus the root of
        the squared distances to the ends that face each other (Zou, Donner, *Construction of
        Confidence Intervals About Effect Measures: A General Approach*, 2008). It takes the two for
        independent; scores on the same questions go up and down together, so it errs towards "not
        told apart".
        """
        with np.errstate(invalid="ignore"):
            gap = self.loss[b] - self.loss[a][:, None]
            if self.directly is None:
                apart = gap**2 > self.worse[a][:, None] ** 2 + self.better[b] ** 2
            else:
                apart = self.directly[np.ix_(a, b)]
            alike = self.kind[a][:, None] == self.kind[b]
            none = (self.kind[a] < 0)[:, None] & (self.kind[b] < 0)
            return alike & (gap >= 0) | none, alike & (gap > 0) & apart

    def in_order(self, some: Places) -> Places:
        """The best first."""
        return some[np.argsort(self.loss[some], kind="stable")]

    def alike(self, order: Places) -> NDArray[np.bool_]:
        """Which of some cannot be told apart from the first.

        Args:
            order: at least one, all with a number of the same kind, the best first.
        """
        return ~self.ahead(order[:1], order)[1][0]


def _reach(estimate: Estimate, larger_is_better: bool) -> tuple[float, float, float]:
    """(value, distance to its worse end, to its better end)."""
    value, low, high = estimate.value, estimate.low, estimate.high
    below = np.inf if low is None else value - low
    above = np.inf if high is None else high - value
    return (value, below, above) if larger_is_better else (value, above, below)


class Step(NamedTuple, Generic[T]):
    """One step of an order of preference: whom the objective left.

    `left` is empty where the candidates could not be compared in it, and all of them went on.
    """

    objective: Aim
    left: list[T]


class Field(Generic[T]):
    """Candidates side by side: what beats what, worked out once for all of them.

    Its methods take some of these very candidates, in any order.
    """

    def __init__(self, candidates: Sequence[T], objectives: Sequence[Objective[T]]) -> None:
        self._place = {id(candidate): at for at, candidate in enumerate(candidates)}
        self._candidates = candidates
        self._measured = {o.name: Measured(candidates, o) for o in objectives}

    def front(self, some: Sequence[T]) -> list[T]:
        """Who is dominated by no other, in the order given."""
        places = self._places(some)
        beaten: Matrix = np.any(self._dominates[np.ix_(places, places)], axis=0)
        return [c for c, lost in zip(some, beaten, strict=True) if not lost]

    def fronts(self, some: Sequence[T], more: Iterable[Sequence[T]]) -> Iterator[list[T]]:
        """The front of some, and again each time that more have come in."""
        inside, beaten = np.zeros((2, len(self._candidates)), bool)
        for entering in (some, *more):
            places = self._places(entering)
            inside[places] = True
            beaten |= self._dominates[places].any(axis=0)
            yield self._those(np.flatnonzero(inside & ~beaten))

    def groups(self, some: Sequence[T], objective: Objective[T]) -> list[list[T]]:
        """Candidates by what can be told apart, from the best group to the worst, kinds separately.

        "Not told apart" is not transitive: a group holds what cannot be told apart from its first,
        which is its best; two others of it may well differ. Who has no number stands in no group.
        """
        measured, places = self._measured[objective.name], self._places(some)
        found = []
        for kind in dict.fromkeys(measured.kind[places].tolist()):
            left = measured.in_order(places[measured.kind[places] == kind])
            while kind >= 0 and len(left):
                alike = measured.alike(left)
                found.append(self._those(left[alike]))
                left = left[~alike]
        return found

    def narrow(
        self, some: Sequence[T], order: Sequence[Objective[T]]
    ) -> tuple[list[T], list[Step[T]]]:
        """Objective by objective keep what is near the best, until one is left.

        Returns:
            Who is left, and the steps that were needed.
        """
        left, steps = list(some), []
        for objective in order:
            if len(left) < 2:
                break
            kept = self._near(left, objective)
            steps.append(Step(objective.name, kept))
            left = kept or left
        return left, steps

    def _near(self, left: Sequence[T], objective: Objective[T]) -> list[T]:
        measured, places = self._measured[objective.name], self._places(left)
        kinds = measured.kind[places]
        if kinds[0] < 0 or np.any(kinds != kinds[0]):
            return []
        if objective.near:
            return objective.near(left)
        order = measured.in_order(places)
        return self._those(order[measured.alike(order)])

    @cached_property
    def _dominates(self) -> Matrix:
        """Whether the first is nowhere behind the second, and somewhere ahead beyond the noise.

        What cannot be compared is not dominated; what neither has is left out. As the point
        estimates alone decide who is behind, no circle can arise, and a front is never empty; with
        "not told apart" in their place it could.
        """
        every = np.arange(len(self._candidates))
        found = np.empty((len(every), len(every)), bool)
        for start in range(0, len(every), ROWS_AT_ONCE):
            rows = every[start : start + ROWS_AT_ONCE]
            each = [measured.ahead(rows, every) for measured in self._measured.values()]
            nowhere_behind = np.logical_and.reduce([not_behind for not_behind, _ in each])
            found[rows] = nowhere_behind & np.logical_or.reduce([beyond for _, beyond in each])
        return found

    def _places(self, some: Sequence[T]) -> Places:
        return np.array([self._place[id(candidate)] for candidate in some], int)

    def _those(self, places: Places) -> list[T]:
        return [self._candidates[at] for at in places]
