"""The cells of a summary as candidates: their numbers with spread, and what rules each one out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from llmpi.decide import scores
from llmpi.decide.pareto import Objective, told_apart
from llmpi.decide.records import AnyCaution, Interval, Kill, Limit, Unit, Verdict
from llmpi.errors import LlmpiError
from llmpi.quant_types import width_order
from llmpi.study.computation import DEFAULT
from llmpi.study.decision import Aim
from llmpi.study.study import Study
from llmpi.study.tasks.divergence import DivergenceTask
from llmpi.summary.estimate import Z95, Estimate, EstimateKind
from llmpi.summary.records import ClassRow

BROKEN_F1_PCT = 2.0
"""At most 2 % of the answers of LLMPi's Q2_K files held the right words, and its score did not tell
(arXiv 2504.02118, its own answers read again)."""
COLLAPSED_SHARE = 0.5
"""Who keeps less than this of the widest's F1 on the questions that have an answer, beyond what the
noise explains, abstains or babbles; ours."""
BROKEN_RATIO = 2.0
"""Perplexity over the F16's: each token of the text has half the probability it had; ours."""


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
    "f1_drop_at_most": Check("points", at_least=False),
    "memory_at_most": Check("bytes", at_least=False),
    "power_at_most": Check("W", at_least=False, measured=True),
    "j_per_token_at_most": Check("J", at_least=False, measured=True),
    "battery_hours_at_least": Check("h", at_least=True, measured=True),
}


@dataclass(frozen=True, eq=False)
class Candidate:
    """One cell of the sweep.

    Args:
        id: `device/model/quant/runtime`.
        variant: model, quantization and, of several, runtime.
        quality: F1 of the task, per cent; None where the study or this one has no score.
        reference, verdict: whether it is its model's widest quantization; else what the paired
            comparison with that one says, or None.
        detectable_points: the smallest difference that this comparison would find, points of F1.
        values: of each constraint its number, whether it is asked for or not.
        faults: what no constraint can excuse.
        cautions: what does not rule it out but should be known.
    """

    row: ClassRow
    id: str
    variant: str
    quality: Estimate | None
    reference: bool
    verdict: Verdict | None
    detectable_points: float | None
    values: Mapping[Limit, Estimate | None]
    faults: Sequence[Kill]
    cautions: Sequence[AnyCaution]

    @property
    def device(self) -> str:
        return self.row["device"]


def candidates(
    rows: Sequence[ClassRow], study: Study, workload: str, task: str | None
) -> list[Candidate]:
    """The candidates of a workload, in the order of the rows.

    Args:
        rows: a summary's `classes`: equal boards are one choice.
        task: `squad` task whose F1 is the quality; None where the study has none.

    Raises:
        LlmpiError: there is no cell of the workload.
    """
    here = [row for row in rows if row["workload"] == workload]
    if not here:
        raise LlmpiError(f"constraints.workload: '{workload}' was left out of the whole sweep")
    widest = widest_of(rows)
    texts = [name for name, asked in study.quality.items() if isinstance(asked, DivergenceTask)]
    several = len(study.runtimes) > 1
    return [
        Candidate(
            row=row,
            id=id_of(row),
            variant=_variant(row, several),
            quality=scores.f1(row, task) if task else None,
            reference=_is_reference(row, widest),
            verdict=scores.verdict(row, task) if task else None,
            detectable_points=(
                scores.number(row, task, "f1_minimum_detectable_pct") if task else None
            ),
            values=_values(row, task, study.battery.wh, widest),
            faults=_faults(row, task, widest, texts),
            cautions=_cautions(row, task, widest),
        )
        for row in here
    ]


def id_of(row: ClassRow) -> str:
    return f"{row['device']}/{row['model']}/{row['quant']}/{row['runtime']}"


def widest_of(rows: Sequence[ClassRow]) -> dict[str, ClassRow]:
    """A row of each model's widest quantization, computed by default where one is: what the others'
    quality is held against."""
    ordered = sorted(
        rows, key=lambda row: (width_order(row["quant"]), row["computation"] != DEFAULT)
    )
    return {row["model"]: row for row in reversed(ordered)}


def _is_reference(row: ClassRow, widest: Mapping[str, ClassRow]) -> bool:
    return row["quant"] == widest[row["model"]]["quant"] and row["computation"] == DEFAULT


def kills(candidate: Candidate, limits: Mapping[Limit, float], prefer: Aim) -> list[Kill]:
    """All that rules a candidate out.

    Args:
        limits: the numeric constraints that are asked for, by their keys.
        prefer: an objective; who has no measured energy cannot be preferred for it.
    """
    found = list(candidate.faults)
    if any(kill["kind"] == "failed" for kill in found):
        return found
    for name, limit in limits.items():
        check, estimate = CHECKS[name], candidate.values[name]
        if estimate is None:
            found.append({"kind": "unmeasured", "constraint": name})
            continue
        number = estimate.value
        if check.measured and estimate.kind == "estimated":
            found.append(
                {"kind": "estimated", "constraint": name, "value": number, "unit": check.unit}
            )
        if not check.meets(number, limit):
            found.append(
                {
                    "kind": "limit",
                    "constraint": name,
                    "value": number,
                    "limit": limit,
                    "unit": check.unit,
                }
            )
    energy = candidate.values["j_per_token_at_most"]
    if prefer == "energy" and energy is None:
        found.append({"kind": "unmeasured", "constraint": None})
    elif prefer == "energy" and energy and energy.kind == "estimated":
        found.append({"kind": "estimated", "constraint": None, "value": energy.value, "unit": "J"})
    return found


def blamed(kill: Kill) -> str:
    """What stands in the way, by a name under which kills are counted: the key of a constraint, or
    `failed`, `throttled`, `overflow`, `parity`, `unscored`, `computation`, `broken`,
    `gate TASK METRIC`, `estimated` and `unmeasured` energy."""
    match kill["kind"]:
        case "limit":
            return kill["constraint"]
        case "unmeasured":
            return kill["constraint"] or "unmeasured"
        case "gate":
            return f"gate {kill['task']} {kill['metric']}"
        case "marked":
            return {"throttled": "throttled", "memory-bound: overflow": "overflow"}[kill["mark"]]
        case "babbling" | "mute":
            return "broken"
        case other:
            return other


def shown(candidate: Candidate, name: Limit, limit: float) -> bool | None:
    """Whether the whole 95 % interval keeps to a constraint; None where no spread is known."""
    check, estimate = CHECKS[name], candidate.values[name]
    end = None if estimate is None else estimate.low if check.at_least else estimate.high
    return None if end is None else check.meets(end, limit)


def interval(estimate: Estimate | None) -> Interval | None:
    """An estimate as a record holds it."""
    if estimate is None:
        return None
    return {
        "value": estimate.value,
        "low": estimate.low,
        "high": estimate.high,
        "kind": estimate.kind,
    }


def _paired(a: Candidate, b: Candidate) -> bool | None:
    """What is known of two candidates' quality from the same questions."""
    if a.row["model"] != b.row["model"]:
        return None
    if all(a.row[key] == b.row[key] for key in SCORED):
        return False  # one score
    verdict = a.verdict if b.reference else b.verdict if a.reference else None
    return None if verdict is None else verdict != "not distinguishable"


SCORED: Sequence[Literal["quant", "computation"]] = ("quant", "computation")
"""What of a model's rows has one score."""

OBJECTIVES: Mapping[Aim, Objective[Candidate]] = {
    "quality": Objective("quality", True, lambda c: c.quality, _paired),
    "speed": Objective("speed", True, lambda c: c.values["tps_at_least"]),
    "energy": Objective("energy", False, lambda c: c.values["j_per_token_at_most"]),
    "memory": Objective("memory", False, lambda c: c.values["memory_at_most"]),
}
"""In the order in which they decide."""


def _variant(row: ClassRow, several: bool) -> str:
    variant = f"{row['model']} {row['quant']}"
    return f"{variant} ({row['runtime']})" if several else variant


# --- one row --------------------------------------------------------------------------------------


def _values(
    row: ClassRow, task: str | None, battery_wh: float, widest: Mapping[str, ClassRow]
) -> dict[Limit, Estimate | None]:
    tier, power_w = row["energy_tier"] or "", row["tg_power_w"]
    return {
        "tps_at_least": _speed(row),
        "ttft_at_most": _single(row["ttft_s"]),
        "itl_p95_at_most": _single(row["itl_p95_s"]),
        "f1_drop_at_most": _drop(row, task, widest) if task else None,
        "memory_at_most": _exact(row["peak_rss_bytes"]),
        "power_at_most": _single(power_w, tier),
        "j_per_token_at_most": _energy(row),
        "battery_hours_at_least": _single(battery_wh / power_w if power_w else None, tier),
    }


def _speed(row: ClassRow) -> Estimate | None:
    """The median, between the least and the greatest of the repetitions.

    These hold the median of all that could have been measured with probability 1 - 2^(1 - n): 94 %
    at the usual 5 (the sign test's interval; Conover, *Practical Nonparametric Statistics*, 1999).
    One repetition shows no spread.
    """
    if row["tg_tps"] is None:
        return None
    if row["repetitions"] is None or row["repetitions"] < 2:
        return Estimate(row["tg_tps"], None, None)
    return Estimate(row["tg_tps"], row["tg_min_tps"], row["tg_max_tps"])


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


def _faults(
    row: ClassRow, task: str | None, widest: Mapping[str, ClassRow], texts: Sequence[str]
) -> list[Kill]:
    if row["status"] != "ok":
        return [{"kind": "failed", "status": row["status"], "reason": row["reason"] or ""}]
    found: list[Kill] = [{"kind": "marked", "mark": mark} for mark in row["marks"]]
    if row["parity_reason"]:
        misses = row["parity_misses"]
        found.append({"kind": "parity", "reason": row["parity_reason"], "misses": misses})
    found += [{"kind": "gate", **gate} for gate in row["gates_failed"]]
    if row["unscored"]:
        found.append(
            {
                "kind": "computation",
                "computation": row["computation"],
                "unscored": row["unscored"],
            }
        )
    elif task and scores.f1(row, task) is None:
        why = scores.text(row, task, "reason") or scores.text(row, task, "status")
        found.append({"kind": "unscored", "task": task, "reason": why or ""})
    if broken := _babbling(row, texts) or _mute(row, task, widest):
        found.append(broken)
    return found


def _babbling(row: ClassRow, texts: Sequence[str]) -> Kill | None:
    """The first text that a variant finds far less likely than the F16 does."""
    for text in texts:
        ratio = scores.number(row, text, "perplexity_ratio")
        error = scores.number(row, text, "perplexity_ratio_se") or 0.0
        if ratio is not None and ratio - Z95 * error > BROKEN_RATIO:
            return {"kind": "babbling", "task": text, "perplexity_ratio": ratio}
    return None


def _mute(row: ClassRow, task: str | None, widest: Mapping[str, ClassRow]) -> Kill | None:
    """Whether a variant no longer answers, whatever its overall score is.

    A model that always abstains scores the share of unanswerable questions, so the ones that have
    an answer are looked at.
    """
    answered = scores.f1(row, task, "has_ans_f1") if task else None
    if not task or answered is None:
        return None
    most = answered.value if answered.high is None else answered.high
    if most <= BROKEN_F1_PCT:
        return {"kind": "mute", "answered_pct": answered.value, "widest_pct": None}
    reference = scores.f1(widest[row["model"]], task, "has_ans_f1")
    if (
        reference
        and answered.value < COLLAPSED_SHARE * reference.value
        and told_apart(answered, reference)
    ):
        return {"kind": "mute", "answered_pct": answered.value, "widest_pct": reference.value}
    return None


def _cautions(row: ClassRow, task: str | None, widest: Mapping[str, ClassRow]) -> list[AnyCaution]:
    found: list[AnyCaution] = []
    if row["repetitions"] == 1:
        found.append({"kind": "measured once"})
    if row["energy_tier"] == "estimated":
        found.append({"kind": "energy estimated"})
    elif row["energy_tier"] == "pmic":
        found.append({"kind": "energy of the chip"})
    agreed_pct = row["output_agreement_pct"]
    if agreed_pct is not None and agreed_pct < 100:
        found.append({"kind": "output changed", "agreement_pct": agreed_pct})
    if task is None:
        found.append({"kind": "quality not asked for"})
    elif f1 := scores.f1(row, task):
        if f1.low is None:
            found.append({"kind": "no interval of F1"})
        items, asked = scores.items(row, task), scores.items(widest[row["model"]], task)
        if asked and items < asked:
            found.append({"kind": "fewer questions", "questions": items, "of_questions": asked})
    return found
