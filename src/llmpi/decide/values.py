"""The numbers of a cell that constraints are held against, each with its spread."""

from collections.abc import Mapping
from typing import NamedTuple

from llmpi.decide import scores
from llmpi.decide.records import Limit, Unit
from llmpi.study.computation import DEFAULT
from llmpi.summary.estimate import Z95, Estimate, EstimateKind
from llmpi.summary.records import ClassRow


class Check(NamedTuple):
    """A numeric constraint: its unit, its direction, and whether an estimate is not enough."""

    unit: Unit
    at_least: bool
    measured: bool = False

    def meets(self, value: float, limit: float) -> bool:
        return value >= limit if self.at_least else value <= limit


CHECKS: Mapping[Limit, Check] = {
    "tps_at_least": Check("tokens/s", at_least=True),
    "ttft_at_most": Check("s", at_least=False),
    "itl_p95_at_most": Check("s", at_least=False),
    "answer_s_at_most": Check("s", at_least=False),
    "answer_s_p95_at_most": Check("s", at_least=False),
    "f1_drop_at_most": Check("points", at_least=False),
    "memory_at_most": Check("bytes", at_least=False),
    "power_at_most": Check("W", at_least=False, measured=True),
    "j_per_token_at_most": Check("J", at_least=False, measured=True),
    "j_per_right_answer_at_most": Check("J", at_least=False, measured=True),
    "battery_hours_at_least": Check("h", at_least=True, measured=True),
}


def values_of(
    row: ClassRow,
    task: str | None,
    squad: str | None,
    battery_wh: float,
    widest: Mapping[str, ClassRow],
) -> dict[Limit, Estimate | None]:
    """Of each constraint its number, whether it is asked for or not.

    Args:
        task: whose answers are looked at; None where there are none.
        squad: whose scores are.
        widest: by model, a row of what the others are held against.
    """
    tier, power_w = row["energy_tier"] or "", row["tg_power_w"]
    return {
        "tps_at_least": speed(row),
        "ttft_at_most": _single(row["ttft_s"]),
        "itl_p95_at_most": _single(row["itl_p95_s"]),
        "answer_s_at_most": _half(row, task) if task else None,
        "answer_s_p95_at_most": _most_answers(row, task) if task else None,
        "f1_drop_at_most": _drop(row, squad, widest) if squad else None,
        "memory_at_most": _exact(row["memory_bytes"]),
        "power_at_most": _single(power_w, tier),
        "j_per_token_at_most": _energy(row),
        "j_per_right_answer_at_most": _right_answer(row, task) if task else None,
        "battery_hours_at_least": _single(battery_wh / power_w if power_w else None, tier),
    }


def half_of_answers(row: ClassRow, task: str) -> Estimate | None:
    """What half of a task's answers take at most, s; to compare variants, which are asked the very
    same questions: what others would take is left out."""
    cost = row["answers"].get(task)
    ends = cost and (cost["answer_p50_s"], cost["answer_p50_fast_s"], cost["answer_p50_slow_s"])
    return _ranging(row, *ends) if ends else None


def _half(row: ClassRow, task: str) -> Estimate | None:
    cost = row["answers"].get(task)
    ends = cost and (cost["answer_p50_s"], cost["answer_p50_low_s"], cost["answer_p50_high_s"])
    return _ranging(row, *ends) if ends else None


def _most_answers(row: ClassRow, task: str) -> Estimate | None:
    cost = row["answers"].get(task)
    ends = cost and (cost["answer_p95_s"], cost["answer_p95_low_s"], cost["answer_p95_high_s"])
    return _ranging(row, *ends) if ends else None


def _right_answer(row: ClassRow, task: str) -> Estimate | None:
    cost = row["answers"].get(task)
    if cost is None or cost["j_per_right_answer"] is None:
        return None
    ends = cost["j_per_right_answer_low"], cost["j_per_right_answer_high"]
    return Estimate(cost["j_per_right_answer"], *ends, row["energy_tier"] or "")


def speed(row: ClassRow) -> Estimate | None:
    """The median, between the least and the greatest of the repetitions.

    These hold the median of all that could have been measured with probability 1 - 2^(1 - n): 94 %
    at the usual 5 (the sign test's interval; Conover, *Practical Nonparametric Statistics*, 1999).
    One repetition shows no spread.
    """
    if row["tg_tps"] is None:
        return None
    return _ranging(row, row["tg_tps"], row["tg_min_tps"], row["tg_max_tps"])


def _ranging(row: ClassRow, value: float, low: float | None, high: float | None) -> Estimate:
    """Between the ends of the repetitions."""
    several = row["repetitions"] is not None and row["repetitions"] > 1
    return Estimate(value, *((low, high) if several else (None, None)))


def _energy(row: ClassRow) -> Estimate | None:
    value, error = row["tg_j_per_token"], row["tg_uncertainty_j_per_token"]
    if value is None or error is None or row["energy_tier"] is None:
        return None
    return Estimate(value, value - Z95 * error, value + Z95 * error, row["energy_tier"])


def _drop(row: ClassRow, task: str, widest: Mapping[str, ClassRow]) -> Estimate | None:
    """Loss of F1 against the widest on the same questions, percentage points."""
    if _is_reference(row, widest):
        return None if scores.f1(row, task) is None else Estimate(0.0, 0.0, 0.0)
    value, low, high = (
        None
        if (gain := scores.number(row, task, f"f1_difference{end}_pct")) is None
        else 0.0 - gain
        for end in ("", "_high", "_low")
    )
    return None if value is None else Estimate(value, low, high)


def _single(value: float | None, kind: EstimateKind = "") -> Estimate | None:
    return None if value is None else Estimate(value, None, None, kind)


def _exact(value: float | None) -> Estimate | None:
    return None if value is None else Estimate(value, value, value)


def _is_reference(row: ClassRow, widest: Mapping[str, ClassRow]) -> bool:
    return row["quant"] == widest[row["model"]]["quant"] and row["computation"] == DEFAULT
