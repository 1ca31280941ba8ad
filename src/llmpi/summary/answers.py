"""What an answer takes on a board: the tokens of a task at the speed and the joules of a cell."""

from collections.abc import Mapping
from math import exp, hypot, log, log1p
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from llmpi.quality.answers import Answered
from llmpi.quality.statistics import mean_spread, quantile_ranks
from llmpi.summary.estimate import Z95
from llmpi.summary.records import AnswerCost, CellEnergy, Speed

Each = NDArray[np.float64]
"""Of one answer after the other."""
Rate = Literal["median", "least", "greatest"]


def answer_costs(
    found: Mapping[str, Answered], speed: Speed, energy: CellEnergy, prompt_tokens: int
) -> dict[str, AnswerCost]:
    """By task.

    Args:
        prompt_tokens: of the workload, behind which the speed was measured.
    """
    return {task: _cost(one, speed, energy, prompt_tokens) for task, one in found.items()}


def _cost(found: Answered, speed: Speed, energy: CellEnergy, prompt_tokens: int) -> AnswerCost:
    behind = behind_the_prompt(found.tokens, speed, prompt_tokens)
    seconds = seconds_of(behind, speed)
    ordered = {rate: np.sort(each) for rate, each in seconds.items()}
    half, most = (_kept_to(pct, found, seconds["median"], ordered) for pct in (50, 95))
    prompt, thought, answer = found.ordered_tokens.T
    right_s = _per_right(found, *(seconds[rate] for rate in RATES))
    joules = joules_of(behind, energy)
    right_j = _per_right(found, *joules) if joules else (None, None, None)
    return {
        "answers": len(found.tokens),
        "prompt_p50_tokens": int(at(50, prompt)),
        "prompt_p95_tokens": int(at(95, prompt)),
        "thought_p50_tokens": int(at(50, thought)),
        "thought_p95_tokens": int(at(95, thought)),
        "answer_p50_tokens": int(at(50, answer)),
        "answer_p95_tokens": int(at(95, answer)),
        "answer_p50_s": half.value,
        "answer_p50_low_s": half.low,
        "answer_p50_high_s": half.high,
        "answer_p50_fast_s": at(50, ordered["greatest"]),
        "answer_p50_slow_s": at(50, ordered["least"]),
        "answer_p95_s": most.value,
        "answer_p95_low_s": most.low,
        "answer_p95_high_s": most.high,
        "s_per_right_answer": right_s[0],
        "s_per_right_answer_low": right_s[1],
        "s_per_right_answer_high": right_s[2],
        "j_per_answer": _mean(joules[0]) if joules else None,
        "j_per_right_answer": right_j[0],
        "j_per_right_answer_low": right_j[1],
        "j_per_right_answer_high": right_j[2],
    }


class _KeptTo(NamedTuple):
    """Seconds, with the ends of both: of the speed, and of other questions of the same kind."""

    value: float
    low: float | None
    high: float | None


def _kept_to(pct: int, found: Answered, each: Each, ordered: Mapping[Rate, Each]) -> _KeptTo:
    value = at(pct, ordered["median"])
    low, high = quantile_ranks(each <= value, found.by_cluster, pct / 100)
    return _KeptTo(
        value,
        None if low is None else float(ordered["greatest"][low]),
        None if high is None else float(ordered["least"][high]),
    )


RATES: tuple[Rate, ...] = ("median", "greatest", "least")
"""As value, low and high end of a time."""
KEYS: Mapping[
    tuple[Literal["pp", "tg"], Rate],
    Literal["pp_tps", "pp_min_tps", "pp_max_tps", "tg_tps", "tg_min_tps", "tg_max_tps"],
] = {
    ("pp", "median"): "pp_tps",
    ("pp", "least"): "pp_min_tps",
    ("pp", "greatest"): "pp_max_tps",
    ("tg", "median"): "tg_tps",
    ("tg", "least"): "tg_min_tps",
    ("tg", "greatest"): "tg_max_tps",
}


class Behind(NamedTuple):
    """What each answer takes, in tokens of the workload's own."""

    prompt: Each
    new: Each
    """So many tokens behind the workload's prompt would take as long as thought and answer do."""


def behind_the_prompt(tokens: NDArray[np.int64], speed: Speed, prompt_tokens: int) -> Behind:
    """Between the depths at which tg was measured a token takes what lies between; outside, what it
    took at the nearest.

    Args:
        tokens: of each answer its prompt's, its thought's and its own, n x 3.
        prompt_tokens: of the workload, behind which the speed was measured.
    """
    here = _rate(speed, "tg", "median")
    depths = {prompt_tokens: here}
    depths |= {one["depth_tokens"]: one["tps"] for one in speed["tg_at_depths_tps"]}
    prompt, new = tokens[:, 0].astype(float), (tokens[:, 1] + tokens[:, 2]).astype(float)
    if len(depths) == 1:
        return Behind(prompt, new)
    at, tps = zip(*sorted(depths.items()), strict=True)
    slower = here * np.interp(prompt + new / 2, at, 1 / np.asarray(tps))
    return Behind(prompt, np.asarray(new * slower))


def seconds_of(behind: Behind, speed: Speed) -> dict[Rate, Each]:
    """To read the whole prompt, and to write thought and answer behind it, at each rate."""
    prompt, new = behind
    return {
        rate: prompt / _rate(speed, "pp", rate) + new / _rate(speed, "tg", rate) for rate in RATES
    }


def _rate(speed: Speed, phase: Literal["pp", "tg"], rate: Rate) -> float:
    tps = speed[KEYS[phase, rate]]
    assert tps is not None  # of a cell that was measured
    return tps


def joules_of(behind: Behind, energy: CellEnergy) -> tuple[Each, Each, Each] | None:
    """With both ends of the interval that a token's joules have; None without a meter.

    Behind a longer context a token takes longer, at the same power. What is uncertain of a prompt's
    and of a new token is of one meter, and goes up and down together.
    """
    pp_j, tg_j = energy["pp_j_per_token"], energy["tg_j_per_token"]
    if pp_j is None or tg_j is None:
        return None
    pp_spread = Z95 * (energy["pp_uncertainty_j_per_token"] or 0.0)
    tg_spread = Z95 * (energy["tg_uncertainty_j_per_token"] or 0.0)
    prompt, new = behind
    return (
        prompt * pp_j + new * tg_j,
        prompt * max(pp_j - pp_spread, 0.0) + new * max(tg_j - tg_spread, 0.0),
        prompt * (pp_j + pp_spread) + new * (tg_j + tg_spread),
    )


def _per_right(
    found: Answered, middle: Each, low: Each, high: Each
) -> tuple[float | None, float | None, float | None]:
    """What all that could be right take, by those that are; where none is, no number, and what it
    takes at least.

    Other questions take longer or shorter, and more or fewer of them are answered right: both ends
    of that are put together as of independent estimates, on the scale of logarithms (Zou, Donner,
    *Construction of Confidence Intervals About Effect Measures*, 2008).
    """
    if found.right is None:
        return None, None, None
    value, fewest, most = found.right
    own = found.judged_at
    spread = log1p(mean_spread(middle[own], found.judged_by_cluster))
    least, mean, greatest = (_mean(each[own]) for each in (low, middle, high))
    if not value:
        return None, least / most / exp(spread) if most else None, None
    return (
        mean / value,
        least / value / exp(hypot(spread, log(most / value))) if most else None,
        greatest / value * exp(hypot(spread, log(value / fewest))) if fewest else None,
    )


def _mean(each: Each) -> float:
    """As `each.mean()`, in a third of its time: thousands of cells want some."""
    return float(np.add.reduce(each)) / len(each)


def at(pct: int, ordered: NDArray[np.float64 | np.int64]) -> float:
    """What so many per cent do not exceed: one of them, none in between."""
    return float(ordered[-(-pct * len(ordered) // 100) - 1])
