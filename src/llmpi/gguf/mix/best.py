"""The choice of a mix, by probes: which divergence types cost.

1. Each group alone is given a type near the budget, and the divergence from the unquantized model
   measured on the calibration text. Of its other types the loss is held to be in proportion to
   their squared error (see `llmpi.gguf.mix.errors`).
2. The exact choice by these (`llmpi.gguf.mix.solver`) is measured, and around it
   each group with its neighbouring type: what quantized groups do to one another is in there.
3. The choice by these, measured as well; and while none keeps to the loss that it is to keep to, by
   a tighter one. The best of them is taken.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import TypedDict

from llmpi.gguf.mix.goals import Chosen, Goal
from llmpi.gguf.mix.groups import BudgetError, Group
from llmpi.gguf.mix.probe import Divergences, Types
from llmpi.gguf.mix.seconds import NS
from llmpi.gguf.mix.solver import Losses
from llmpi.gguf.records import MixGroup, MixOption, MixProbe, MixProxy, MixRound
from llmpi.quant_types import TensorType

LATTICE = 1e-4
"""Of a group's largest error: below it a type keeps the weights as they are (they were its own
once), and its divergence says nothing of other types."""
TRUST = 4.0
"""How many times more or less a probe beside the mix may say than one alone; beyond is noise."""


class Searched(TypedDict):
    """Of `MixFound`."""

    groups: list[MixGroup]
    limit_bytes: int | None
    taken_bytes: int
    rounds: list[MixRound]
    taken_round: int
    proxy: MixProxy | None


def worth(
    goal: Goal, found: Mapping[str, Losses], probed: Callable[[Types], Divergences]
) -> tuple[dict[str, float], dict[str, TensorType]]:
    """What each group is held to lose in the first choice, and the type it is probed with.

    Raises:
        BudgetError: no types reach the goal.
    """
    anchors, _, expected = _alone(goal, found, probed)
    first = goal.choose(expected)
    return {name: expected[name][kind] for name, kind in first.items()}, anchors


def _alone(
    goal: Goal, found: Mapping[str, Losses], probed: Callable[[Types], Divergences]
) -> tuple[dict[str, TensorType], dict[str, Divergences], dict[str, Losses]]:
    """By group: the type to probe it with, what that costs alone, what all are held to cost."""
    bits = goal.bits()
    anchors = {group.name: _anchor(group, found[group.name], bits) for group in goal.groups}
    alone = {name: probed({name: kind}) for name, kind in anchors.items()}
    return anchors, alone, _losses(found, _slopes(found, anchors, alone))


def _slopes(
    found: Mapping[str, Losses],
    anchors: Mapping[str, TensorType],
    alone: Mapping[str, Divergences],
) -> dict[str, float]:
    """Nats of each group's squared error."""
    return {name: _seen(alone[name]) / (found[name][kind] or 1.0) for name, kind in anchors.items()}


def best(
    goal: Goal, found: Mapping[str, Losses], probed: Callable[[Types], Divergences]
) -> Searched:
    """The search itself.

    Args:
        found: of each group the error of each type.
        probed: the divergence that types cost, of each window.

    Raises:
        BudgetError: no types reach the goal.
    """
    groups = goal.groups
    anchors, alone, expected = _alone(goal, found, probed)
    slopes = _slopes(found, anchors, alone)
    first = goal.choose(expected)
    at_first = probed(first)
    rounds, choices = [_round(first, _sum(expected, first), at_first)], [first]

    neighbours = {
        g.name: kind for g in groups if (kind := _neighbour(g, found[g.name], first[g.name]))
    }
    beside = {name: probed({**first, name: kind}) - at_first for name, kind in neighbours.items()}
    ratios = {}
    for name, kind in neighbours.items():
        if step := expected[name][kind] - expected[name][first[name]]:
            ratios[name] = float(beside[name].mean()) / step
            slopes[name] *= min(max(ratios[name], 1 / TRUST), TRUST)
    corrected = _losses(found, slopes)
    beside_nats = rounds[0]["kld_nats"] - _sum(corrected, first)
    while len(choices) < goal.choices:
        types = goal.choose(corrected, beside_nats)
        if types in choices:
            break
        foreseen = beside_nats + _sum(corrected, types)
        choices.append(types)
        rounds.append(_round(types, foreseen, probed(types)))
        if not min(_ranks(goal, choices, rounds))[0]:
            break
        beside_nats += rounds[-1]["kld_nats"] - foreseen
    ranks = _ranks(goal, choices, rounds)
    taken = ranks.index(min(ranks))
    if ranks[taken][0]:
        raise BudgetError(
            f"none of the {len(rounds)} choices that were measured keeps to it; the weights of the "
            f"nearest lose {rounds[taken]['kld_nats']:.2g} nats; ask for more"
        )
    types = choices[taken]
    return {
        "groups": [
            _group(
                group,
                types[group.name],
                corrected[group.name],
                found[group.name],
                anchors[group.name],
                _probe(anchors[group.name], alone[group.name]),
                _probe(neighbours[group.name], beside[group.name])
                if group.name in neighbours
                else None,
            )
            for group in groups
        ],
        "limit_bytes": None if any(group.nanoseconds for group in groups) else goal.limit,
        "taken_bytes": sum(group.bytes[types[group.name]] for group in groups),
        "rounds": rounds,
        "taken_round": taken,
        "proxy": _proxy([*ratios.values()]),
    }


def _ranks(
    goal: Goal, choices: Sequence[Chosen], rounds: Sequence[MixRound]
) -> list[tuple[bool, float]]:
    """Of each choice that was measured."""
    return [goal.rank(c, r["kld_nats"]) for c, r in zip(choices, rounds, strict=True)]


def _seen(divergences: Divergences) -> float:
    """What is below its own noise costs something nevertheless: that at most."""
    return max(float(divergences.mean()), _standard_error(divergences))


def _anchor(group: Group, found: Losses, bits: float) -> TensorType:
    """The type to probe a group with: of as many bits as the budget has, about, and of those the
    one that errs least; but none that keeps the weights."""
    worst = max(found.values())
    telling = [kind for kind in group.bytes if found[kind] > LATTICE * worst] or [*group.bytes]

    def off(kind: TensorType) -> tuple[float, float]:
        return abs(8 * group.bytes[kind] / group.parameters - bits), found[kind]

    return min(telling, key=off)


def _neighbour(group: Group, found: Losses, taken: TensorType) -> TensorType | None:
    """The type next below it in cost that none as cheap errs less than; where there is none the
    one next above it."""
    costs = group.costs
    front = [
        kind
        for kind, cost in costs.items()
        if not any(
            found[other] <= found[kind] and costs[other] <= cost and other != kind
            for other in costs
        )
    ]
    below = [kind for kind in front if costs[kind] < costs[taken]]
    above = [kind for kind in front if costs[kind] > costs[taken]]
    if below:
        return max(below, key=costs.__getitem__)
    return min(above, key=costs.__getitem__, default=None)


def _losses(found: Mapping[str, Losses], slopes: Mapping[str, float]) -> dict[str, Losses]:
    return {
        name: {kind: slopes[name] * error for kind, error in each.items()}
        for name, each in found.items()
    }


def _sum(losses: Mapping[str, Losses], types: Chosen) -> float:
    return sum(losses[name][kind] for name, kind in types.items())


# --- as the record says it ------------------------------------------------------------------------


class _Time(TypedDict, total=False):
    """Of `MixOption`."""

    token_s: float


def _round(types: Chosen, predicted: float, measured: Divergences) -> MixRound:
    return {
        "types": {**types},
        "predicted_nats": predicted,
        "kld_nats": float(measured.mean()),
        "standard_error": _standard_error(measured),
    }


def _probe(kind: TensorType, measured: Divergences) -> MixProbe:
    return {
        "type": kind,
        "kld_nats": float(measured.mean()),
        "standard_error": _standard_error(measured),
    }


def _standard_error(of_windows: Divergences) -> float:
    return float(of_windows.std(ddof=1) / math.sqrt(of_windows.size))


def _group(
    group: Group,
    taken: TensorType,
    losses: Losses,
    found: Losses,
    anchor: TensorType,
    alone: MixProbe,
    beside: MixProbe | None,
) -> MixGroup:
    options: list[MixOption] = [
        {
            "type": kind,
            "bytes": size,
            "error_ratio": found[kind] / (found[anchor] or 1.0),
            "loss_nats": losses[kind],
            **_time_of(group, kind),
        }
        for kind, size in group.bytes.items()
    ]
    return {
        "name": group.name,
        "tensors": [*group.tensors],
        "parameters": group.parameters,
        "type": taken,
        "bytes": group.bytes[taken],
        "loss_nats": losses[taken],
        "options": options,
        "alone": alone,
        "beside": beside,
    }


def _time_of(group: Group, kind: TensorType) -> _Time:
    return {"token_s": group.nanoseconds[kind] / NS} if group.nanoseconds else {}


def _proxy(ratios: Sequence[float]) -> MixProxy | None:
    if not ratios:
        return None
    return {
        "ratio_median": median(ratios),
        "ratio_least": min(ratios),
        "ratio_most": max(ratios),
    }
