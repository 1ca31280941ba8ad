"""What beats what where numbers are uncertain: estimates, the Pareto front, groups, an order.

*Ahead* is a matter of the point estimates, *told apart* one of their spread.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import hypot
from typing import Generic, NamedTuple, TypeVar

from llmpi.study.decision import Aim
from llmpi.summary.estimate import Estimate

T = TypeVar("T")


def told_apart(a: Estimate, b: Estimate) -> bool:
    """Whether the 95 % interval of the difference leaves out 0.

    The interval is recovered from those of the two: difference of the values, minus the root of the
    squared distances to the ends that face each other (Zou, Donner, *Construction of Confidence
    Intervals About Effect Measures: A General Approach*, 2008). It takes the two for independent;
    scores on the same questions go up and down together, so it errs towards "not told apart".
    """
    small, large = sorted((a, b), key=lambda estimate: estimate.value)
    if a.kind != b.kind or large.low is None or small.high is None:
        return False
    return large.value - small.value > hypot(large.value - large.low, small.high - small.value)


@dataclass(frozen=True)
class Objective(Generic[T]):
    """Something to have much or little of.

    Args:
        of: a candidate's estimate; None where there is none.
        directly: whether the data tell two candidates apart, where that was tested directly (on the
            same items, say); None where it was not.
        near: of candidates with a number, the best and those shown to be as good for all that
            matters, the best first. Where that was not tested, who cannot be told apart from the
            best is taken for it.
    """

    name: Aim
    larger_is_better: bool
    of: Callable[[T], Estimate | None]
    directly: Callable[[T, T], bool | None] = lambda _a, _b: None
    near: Callable[[Sequence[T]], list[T]] | None = None

    def comparable(self, a: T, b: T) -> bool:
        """Whether both have a number, and of the same kind."""
        x, y = self.of(a), self.of(b)
        return x is not None and y is not None and x.kind == y.kind

    def loss(self, a: T) -> float:
        """The candidate's number turned so that less is better; it must have one."""
        estimate = self.of(a)
        assert estimate is not None
        return -estimate.value if self.larger_is_better else estimate.value

    def told_apart(self, a: T, b: T) -> bool:
        """Whether the data tell two candidates apart, in either direction."""
        x, y = self.of(a), self.of(b)
        if x is None or y is None or x.kind != y.kind:
            return False
        directly = self.directly(a, b)
        return told_apart(x, y) if directly is None else directly


def dominates(a: T, b: T, objectives: Sequence[Objective[T]]) -> bool:
    """Whether `a` is nowhere behind `b`, and somewhere ahead of it beyond the noise.

    What cannot be compared is not dominated; what neither has is left out. As the point estimates
    alone decide who is behind, no circle can arise, and a front is never empty; with "not told
    apart" in their place it could.
    """
    asked = [o for o in objectives if o.of(a) or o.of(b)]
    if any(not o.comparable(a, b) or o.loss(a) > o.loss(b) for o in asked):
        return False
    return any(o.loss(a) < o.loss(b) and o.told_apart(a, b) for o in asked)


def front(candidates: Sequence[T], objectives: Sequence[Objective[T]]) -> list[T]:
    """Who is dominated by no other, in the order given."""
    return [b for b in candidates if not any(dominates(a, b, objectives) for a in candidates)]


def alike(candidates: Sequence[T], objective: Objective[T]) -> list[T]:
    """The best in one objective, and behind it all that cannot be told apart from it.

    Args:
        candidates: at least one; all with a number of the same kind.
    """
    best, *others = sorted(candidates, key=objective.loss)
    return [best, *(c for c in others if not objective.told_apart(best, c))]


def groups(candidates: Sequence[T], objective: Objective[T]) -> list[list[T]]:
    """Candidates by what can be told apart, from the best group to the worst, kinds separately.

    "Not told apart" is not transitive: a group holds what cannot be told apart from its first,
    which is its best; two others of it may well differ. Who has no number stands in no group.
    """
    found = []
    left = [c for c in candidates if objective.of(c) is not None]
    while left:
        kind = [c for c in left if objective.comparable(left[0], c)]
        group = alike(kind, objective)
        found.append(group)
        left = [c for c in left if c not in group]
    return found


class Step(NamedTuple, Generic[T]):
    """One step of an order of preference: whom the objective left.

    `left` is empty where the candidates could not be compared in it, and all of them went on.
    """

    objective: Aim
    left: list[T]


def narrow(candidates: Sequence[T], order: Sequence[Objective[T]]) -> tuple[list[T], list[Step[T]]]:
    """Objective by objective keep what is near the best, until one is left.

    Returns:
        Who is left, and the steps that were needed.
    """
    left, steps = list(candidates), []
    for objective in order:
        if len(left) < 2:
            break
        able = all(objective.comparable(left[0], c) for c in left)
        kept = (objective.near or partial(alike, objective=objective))(left) if able else []
        steps.append(Step(objective.name, kept))
        left = kept or left
    return left, steps
