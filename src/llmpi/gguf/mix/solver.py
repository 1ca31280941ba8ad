"""The exact choice: of each group one option, for the least loss within a budget, or the least
cost within a loss.

A multiple-choice knapsack problem, as an integer program for HiGHS (Huangfu, Hall, *Parallelizing
the dual revised simplex method*, 2018), which comes with scipy.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from llmpi.gguf.mix.groups import BudgetError, Group
from llmpi.quant_types import TensorType

SCALE = 1e6
"""What the largest loss becomes: HiGHS takes differences of 1e-6 for none."""
TOLERANCE = 1e-6
"""Of HiGHS, by which a sum may be above its bound."""
TIE = 1e-3
"""In the same units, what all costs together count: of equals the cheaper is taken."""


class Option(NamedTuple):
    """What a group may become."""

    cost: int
    """Bytes; or nanoseconds of a token, see `llmpi.gguf.mix.seconds`."""
    loss: float


def choose(groups: Sequence[Sequence[Option]], limit: int) -> list[int]:
    """Of each group the place of the option that is taken: the least sum of losses of all that
    cost no more than `limit` together.

    Raises:
        BudgetError: even the smallest options take more.
    """
    smallest = [min(option.cost for option in group) for group in groups]
    if sum(smallest) > limit:
        raise BudgetError(
            f"its weights take {sum(smallest):,} bytes at least, and the budget leaves {limit:,} "
            "bytes for them; ask for more"
        )
    over = [o.cost - least for group, least in zip(groups, smallest, strict=True) for o in group]
    unit = math.gcd(*over) or 1
    sizes, room = np.array(over) // unit, (limit - sum(smallest)) // unit
    losses = _scaled(np.array([option.loss for group in groups for option in group]))
    return _program(groups, losses + TIE * sizes / max(1, sizes.sum()), sizes, room)


def cheapest(groups: Sequence[Sequence[Option]], most: float) -> list[int]:
    """Of each group the place of the option that is taken: the least sum of costs of all that lose
    no more than `most` together.

    Raises:
        BudgetError: even the options of least loss lose more.
    """
    least = sum(min(option.loss for option in group) for group in groups)
    if least > most:
        raise BudgetError(
            f"its weights lose {least:.2g} nats at least, and there are {max(0.0, most):.2g} left "
            "for them; ask for more"
        )
    costs = _scaled(np.array([float(option.cost) for group in groups for option in group]))
    # None that loses more by itself is taken, however much more.
    losses = np.minimum(
        [option.loss / (most or 1.0) * SCALE for group in groups for option in group], 2 * SCALE
    )
    costs += TIE * losses / max(1.0, losses.sum())
    return _program(groups, costs, losses, SCALE * bool(most))


def _program(
    groups: Sequence[Sequence[Option]], wanted: np.ndarray, kept: np.ndarray, room: float
) -> list[int]:
    """One option of each group: the least sum of `wanted` with a sum of `kept` within `room`.

    Args:
        wanted, kept: of all options, those of the first group first.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp  # half a second, for mixes alone

    first = np.cumsum([0, *map(len, groups)])
    group_of = np.repeat(np.arange(len(groups)), [*map(len, groups)])
    one_each = (group_of == np.arange(len(groups))[:, np.newaxis]).astype(float)
    asked = room
    while True:
        found = milp(
            wanted,
            integrality=np.ones_like(wanted),
            bounds=Bounds(0, 1),
            constraints=[LinearConstraint(one_each, 1, 1), LinearConstraint(kept, ub=asked)],
            options={"mip_rel_gap": 0},
        )
        if found.x is None:
            if asked < room:  # of two that are equal but for a rounding, HiGHS knows neither
                return [int(np.argmin(kept[group_of == g])) for g in range(len(groups))]
            raise RuntimeError(f"HiGHS: {found.message}")
        picked = [int(np.argmax(found.x[group_of == g])) for g in range(len(groups))]
        taken = sum(kept[first[g] + at] for g, at in enumerate(picked))
        if taken <= room:
            return picked
        asked -= max(taken - room, TOLERANCE)  # what HiGHS's tolerance let pass


Losses = Mapping[TensorType, float]
"""Of a group, by type."""


def chosen(
    groups: Sequence[Group], losses: Mapping[str, Losses], limit: int
) -> dict[str, TensorType]:
    """The type of each group, by its name.

    Raises:
        BudgetError: even the smallest types take more.
    """
    picked = choose(_options(groups, losses), limit)
    return {g.name: [*g.costs][at] for g, at in zip(groups, picked, strict=True)}


def cheapest_of(
    groups: Sequence[Group], losses: Mapping[str, Losses], most: float
) -> dict[str, TensorType]:
    """The type of each group, by its name, for the least cost.

    Raises:
        BudgetError: even the types of least loss lose more than `most`.
    """
    picked = cheapest(_options(groups, losses), most)
    return {g.name: [*g.costs][at] for g, at in zip(groups, picked, strict=True)}


def _options(groups: Sequence[Group], losses: Mapping[str, Losses]) -> list[list[Option]]:
    return [
        [Option(cost, losses[group.name][kind]) for kind, cost in group.costs.items()]
        for group in groups
    ]


def as_expected(groups: Sequence[Group], limit: int) -> dict[str, TensorType]:
    """The types before anything is known of a model: with each bit of a weight the squared error
    falls to a quarter.

    Raises:
        BudgetError: even the smallest types take more, or the widest no more.
    """
    most = sum(group.costs[next(iter(group.bytes))] for group in groups)
    if limit >= most:
        raise BudgetError(
            f"its weights take {most:,} bytes in their widest types, and the budget leaves "
            f"{limit:,} bytes for them; ask for less"
        )
    losses = {
        group.name: {
            kind: group.parameters * 4.0 ** (-8 * size / group.parameters)
            for kind, size in group.bytes.items()
        }
        for group in groups
    }
    return chosen(groups, losses, limit)


def _scaled(losses: np.ndarray) -> np.ndarray:
    above = losses - losses.min()
    return above / (above.max() or 1.0) * SCALE
