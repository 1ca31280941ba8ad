"""Settings that a search for joules tried: their speed against their joules.

Only differences within a block count, as in the search: a setting's seconds and joules stand beside
those that the base took shortly before or after.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

from llmpi.tune.records import Block, Metric, Trial, Weighed
from llmpi.tune.space import AS_IT_IS

Costs = Mapping[str, Mapping[Metric, float]]


class Gain(NamedTuple):
    """Natural logarithms of what the base takes / what a setting takes."""

    seconds: float
    joules: float

    def is_beaten_by(self, other: "Gain") -> bool:
        """In nothing better, and another."""
        return other != self and other.seconds >= self.seconds and other.joules >= self.joules


def weighed(
    blocks: Sequence[Block], trials: Sequence[Trial], weights: Mapping[str, float]
) -> list[Weighed]:
    """The base and every setting that may win, in the order of trial; none where no joules are
    known.

    Args:
        weights: of the workloads that count; where none is given all count the same.
    """
    refused = {trial["words"] for trial in trials if trial["refused"]}
    gains: dict[str, list[Gain]] = {}
    for words, gain in _gains(blocks, weights):
        if words not in refused:
            gains.setdefault(words, []).append(gain)
    if not gains:
        return []
    means = {AS_IT_IS: Gain(0.0, 0.0)}
    means |= {words: Gain(*map(fmean, zip(*many, strict=True))) for words, many in gains.items()}
    return [
        {
            "words": words,
            "speed_pct": 100 * (math.exp(gain.seconds) - 1),
            "energy_pct": 100 * (math.exp(-gain.joules) - 1),
            "blocks": len(gains[words]) if words in gains else len(blocks),
            "on_front": not any(map(gain.is_beaten_by, means.values())),
        }
        for words, gain in means.items()
    ]


def _gains(blocks: Sequence[Block], weights: Mapping[str, float]) -> Iterator[tuple[str, Gain]]:
    """Of each turn against the base's in its block, where joules of both are known."""
    for block in blocks:
        turns = ((turn["changes"], turn["costs"]) for turn in block["turns"])
        known: dict[str, Costs] = {w: costs for w, costs in turns if costs and _have_joules(costs)}
        base = known.pop(AS_IT_IS, None)
        if base:
            for words, own in known.items():
                yield (
                    words,
                    Gain(_gain(base, own, weights, "total"), _gain(base, own, weights, "energy")),
                )


def _have_joules(costs: Costs) -> bool:
    return all(cost.get("energy", 0.0) > 0 for cost in costs.values())


def _gain(base: Costs, own: Costs, weights: Mapping[str, float], metric: Metric) -> float:
    counted = {name: weight for name, weight in weights.items() if name in base}
    counted = counted or dict.fromkeys(base, 1.0)
    logs = (w * math.log(base[name][metric] / own[name][metric]) for name, w in counted.items())
    return sum(logs) / sum(counted.values())
