"""What an answer takes on a board: the tokens of a task at the speed and the joules of a cell."""

from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from llmpi.quality.answers import Answered
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
    seconds = {rate: seconds_of(found.tokens, speed, prompt_tokens, rate) for rate in RATES}
    half, most = ({rate: at(pct, each) for rate, each in seconds.items()} for pct in (50, 95))
    right_s = _per_right(found, *(seconds[rate] for rate in RATES))
    joules = joules_of(found.tokens, energy)
    right_j = _per_right(found, *joules) if joules else (None, None, None)
    return {
        "answers": len(found.tokens),
        "prompt_p50_tokens": int(at(50, found.tokens[:, 0])),
        "prompt_p95_tokens": int(at(95, found.tokens[:, 0])),
        "thought_p50_tokens": int(at(50, found.tokens[:, 1])),
        "thought_p95_tokens": int(at(95, found.tokens[:, 1])),
        "answer_p50_tokens": int(at(50, found.tokens[:, 2])),
        "answer_p95_tokens": int(at(95, found.tokens[:, 2])),
        "answer_p50_s": half["median"],
        "answer_p50_low_s": half["greatest"],
        "answer_p50_high_s": half["least"],
        "answer_p95_s": most["median"],
        "answer_p95_low_s": most["greatest"],
        "answer_p95_high_s": most["least"],
        "s_per_right_answer": right_s[0],
        "s_per_right_answer_low": right_s[1],
        "s_per_right_answer_high": right_s[2],
        "j_per_answer": float(joules[0].mean()) if joules else None,
        "j_per_right_answer": right_j[0],
        "j_per_right_answer_low": right_j[1],
        "j_per_right_answer_high": right_j[2],
    }


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


def seconds_of(tokens: NDArray[np.int64], speed: Speed, prompt_tokens: int, rate: Rate) -> Each:
    """To read the whole prompt, and to write thought and answer behind it.

    Between the depths at which tg was measured a token takes what lies between; outside, what it
    took at the nearest.

    Args:
        tokens: of each answer its prompt's, its thought's and its own, n x 3.
    """
    pp_tps, tg_tps = _rate(speed, "pp", rate), _rate(speed, "tg", rate)
    depths = {prompt_tokens: _rate(speed, "tg", "median")}
    depths |= {one["depth_tokens"]: one["tps"] for one in speed["tg_at_depths_tps"]}
    at, tps = zip(*sorted(depths.items()), strict=True)
    prompt, new = tokens[:, 0], tokens[:, 1:].sum(1)
    spread = _rate(speed, "tg", "median") / tg_tps
    per_token = spread * np.interp(prompt + new / 2, at, 1 / np.asarray(tps))
    return np.asarray(prompt / pp_tps + new * per_token)


def _rate(speed: Speed, phase: Literal["pp", "tg"], rate: Rate) -> float:
    tps = speed[KEYS[phase, rate]]
    assert tps is not None  # of a cell that was measured
    return tps


def joules_of(tokens: NDArray[np.int64], energy: CellEnergy) -> tuple[Each, Each, Each] | None:
    """With both ends of the interval that a token's joules have; None without a meter."""
    pp_j, tg_j = energy["pp_j_per_token"], energy["tg_j_per_token"]
    if pp_j is None or tg_j is None:
        return None
    spread = Z95 * (energy["tg_uncertainty_j_per_token"] or 0.0)
    prompt, new = tokens[:, 0] * pp_j, tokens[:, 1:].sum(1)
    return (
        prompt + new * tg_j,
        prompt + new * max(tg_j - spread, 0.0),
        prompt + new * (tg_j + spread),
    )


def _per_right(
    found: Answered, middle: Each, low: Each, high: Each
) -> tuple[float | None, float | None, float | None]:
    """What all that could be right take, by those that are; no number where none is."""
    if found.right is None:
        return None, None, None
    value, fewest, most = found.right
    return (
        _by(middle[found.judged].mean(), value),
        _by(low[found.judged].mean(), most),
        _by(high[found.judged].mean(), fewest),
    )


def _by(value: float, share: float | None) -> float | None:
    return float(value / share) if share else None


def at(pct: int, each: NDArray[np.float64 | np.int64]) -> float:
    """What so many per cent do not exceed: one of them, none in between."""
    ordered = np.sort(each)
    return float(ordered[-(-pct * len(ordered) // 100) - 1])
