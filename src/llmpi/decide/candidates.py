"""The cells of a summary as candidates: their numbers with spread, and what rules each one out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from llmpi.decide.pareto import Objective, told_apart
from llmpi.errors import LlmpiError
from llmpi.quant_types import width_order
from llmpi.records import Record, is_ok
from llmpi.summary.estimate import Z95, Estimate

Row = dict[str, Any]

BROKEN_F1_PCT = 2.0
"""At most 2 % of the answers of LLMPi's Q2_K files held the right words, and its score did not tell
(arXiv 2504.02118, its own answers read again)."""
COLLAPSED_SHARE = 0.5
"""Who keeps less than this of the widest's F1 on the questions that have an answer, beyond what the
noise explains, abstains or babbles; ours."""
BROKEN_RATIO = 2.0
"""Perplexity over the F16's: each token of the text has half the probability it had; ours."""

ESTIMATED = "estimated"


class Check(NamedTuple):
    """A numeric constraint: its unit, its direction, and whether an estimate is not enough."""

    unit: str
    at_least: bool
    measured: bool = False

    def meets(self, value: float, limit: float) -> bool:
        return value >= limit if self.at_least else value <= limit


CHECKS = {
    "tps_at_least": Check("tokens/s", at_least=True),
    "ttft_at_most": Check("s", at_least=False),
    "itl_p95_at_most": Check("s", at_least=False),
    "f1_drop_at_most": Check("points", at_least=False),
    "memory_at_most": Check("bytes", at_least=False),
    "power_at_most": Check("W", at_least=False, measured=True),
    "j_per_token_at_most": Check("J", at_least=False, measured=True),
    "battery_hours_at_least": Check("h", at_least=True, measured=True),
}


class Kill(NamedTuple):
    """Why a candidate is out.

    Args:
        constraint: its key; or `failed`, `throttled`, `overflow`, `parity`, `unscored`, `broken`,
            `gate TASK METRIC`, `estimated` (energy that should be measured), `unmeasured` energy.
        value, limit: of a numeric constraint, in `unit`; None for others, and without a number.
    """

    constraint: str
    why: str
    value: float | None = None
    limit: float | None = None
    unit: str = ""


@dataclass(frozen=True, eq=False)
class Candidate:
    """One cell of the sweep.

    Args:
        id: `device/model/quant/runtime`.
        variant, name: model, quantization and, of several, runtime; the same with the device.
        quality: F1 of the task, per cent; None where the study or this one has no score.
        reference, verdict: whether it is its model's widest quantization; else what the paired
            comparison with that one says: `better`, `worse`, `not distinguishable`, or None.
        detectable_pct: the smallest difference that this comparison would find, points of F1.
        values: of each constraint its number, whether it is asked for or not.
        faults: what no constraint can excuse.
        cautions: what does not rule it out but should be known.
    """

    row: Row
    id: str
    variant: str
    name: str
    quality: Estimate | None
    reference: bool
    verdict: str | None
    detectable_pct: float | None
    values: Mapping[str, Estimate | None]
    faults: Sequence[Kill]
    cautions: Sequence[str]

    @property
    def device(self) -> str:
        return str(self.row["device"])


def candidates(summary: Record, workload: str, task: str | None) -> list[Candidate]:
    """The candidates of a workload, in the order of the summary's rows.

    Args:
        summary: of `llmpi.summary.study.summarize`.
        task: `squad` task whose F1 is the quality; None where the study has none.

    Raises:
        LlmpiError: the summary has no cell of the workload.
    """
    config = summary["provenance"]["config"]
    rows = [row for row in summary["rows"] if row["workload"] == workload]
    if not rows:
        raise LlmpiError(f"constraints.workload: '{workload}' was left out of the whole sweep")
    widest = widest_of(summary["rows"])
    texts = [name for name, asked in config["quality"].items() if asked["task"] == "divergence"]
    several = len(config["runtimes"]) > 1
    return [
        Candidate(
            row=row,
            id="/".join(row[key] for key in ("device", "model", "quant", "runtime")),
            variant=(variant := _variant(row, several)),
            name=f"{variant} on {row['device']}",
            quality=_scored(row, f"{task}_f1") if task else None,
            reference=row["quant"] == widest[row["model"]]["quant"],
            verdict=row[f"{task}_f1_verdict"] if task else None,
            detectable_pct=row[f"{task}_f1_minimum_detectable_pct"] if task else None,
            values=_values(row, task, config["battery"]["wh"], widest),
            faults=_faults(row, task, widest, texts),
            cautions=_cautions(row, task, widest),
        )
        for row in rows
    ]


def widest_of(rows: Sequence[Row]) -> dict[str, Row]:
    """A row of each model's widest quantization, which the others' quality is held against."""
    ordered = sorted(rows, key=lambda row: width_order(row["quant"]))
    return {row["model"]: row for row in reversed(ordered)}


def kills(candidate: Candidate, limits: Mapping[str, float], prefer: str) -> list[Kill]:
    """All that rules a candidate out.

    Args:
        limits: the numeric constraints that are asked for, by their keys.
        prefer: an objective; who has no measured energy cannot be preferred for it.
    """
    found = list(candidate.faults)
    if any(kill.constraint == "failed" for kill in found):
        return found
    for name, limit in limits.items():
        check, estimate = CHECKS[name], candidate.values[name]
        if estimate is None:
            found.append(Kill(name, f"{name}: it was not measured", unit=check.unit))
            continue
        if check.measured and estimate.kind == ESTIMATED:
            why = f"{name}: {amount(estimate.value, check.unit)} is estimated, not measured"
            found.append(Kill("estimated", why))
        if not check.meets(estimate.value, limit):
            got, asked = amount(estimate.value, check.unit), amount(limit, check.unit)
            found.append(
                Kill(name, f"{name}: {got} against {asked}", estimate.value, limit, check.unit)
            )
    energy = candidate.values["j_per_token_at_most"]
    if prefer == "energy" and energy is None:
        found.append(Kill("unmeasured", "prefer energy: its energy was not measured"))
    elif prefer == "energy" and energy and energy.kind == ESTIMATED:
        found.append(Kill("estimated", "prefer energy: its energy is estimated, not measured"))
    return found


def shown(candidate: Candidate, name: str, limit: float) -> bool | None:
    """Whether the whole 95 % interval keeps to a constraint; None where no spread is known."""
    check, estimate = CHECKS[name], candidate.values[name]
    end = None if estimate is None else estimate.low if check.at_least else estimate.high
    return None if end is None else check.meets(end, limit)


def _paired(a: Candidate, b: Candidate) -> bool | None:
    """What is known of two candidates' quality from the same questions."""
    if a.row["model"] != b.row["model"]:
        return None
    if a.row["quant"] == b.row["quant"]:
        return False  # one file, scored once
    verdict = a.verdict if b.reference else b.verdict if a.reference else None
    return None if verdict is None else verdict != "not distinguishable"


OBJECTIVES: dict[str, Objective[Candidate]] = {
    "quality": Objective("quality", True, lambda c: c.quality, _paired),
    "speed": Objective("speed", True, lambda c: c.values["tps_at_least"]),
    "energy": Objective("energy", False, lambda c: c.values["j_per_token_at_most"]),
    "memory": Objective("memory", False, lambda c: c.values["memory_at_most"]),
}
"""In the order in which they decide."""


def amount(value: float, unit: str) -> str:
    """A number with its unit, for people: three digits; bytes as the config's `4G` means it."""
    if unit == "bytes":
        value, unit = value / 1024**3, "GiB"
    digits = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{digits} {unit}"


def _variant(row: Row, several: bool) -> str:
    variant = f"{row['model']} {row['quant']}"
    return f"{variant} ({row['runtime']})" if several else variant


# --- one row --------------------------------------------------------------------------------------


def _values(
    row: Row, task: str | None, battery_wh: float, widest: Mapping[str, Row]
) -> dict[str, Estimate | None]:
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


def _speed(row: Row) -> Estimate | None:
    """The median, between the least and the greatest of the repetitions.

    These hold the median of all that could have been measured with probability 1 - 2^(1 - n): 94 %
    at the usual 5 (the sign test's interval; Conover, *Practical Nonparametric Statistics*, 1999).
    One repetition shows no spread.
    """
    if row["tg_tps"] is None:
        return None
    if row["repetitions"] < 2:
        return Estimate(row["tg_tps"], None, None)
    return Estimate(row["tg_tps"], row["tg_min_tps"], row["tg_max_tps"])


def _energy(row: Row) -> Estimate | None:
    value, error = row["tg_j_per_token"], row["tg_uncertainty_j_per_token"]
    if value is None:
        return None
    return Estimate(value, value - Z95 * error, value + Z95 * error, row["energy_tier"])


def _drop(row: Row, task: str, widest: Mapping[str, Row]) -> Estimate | None:
    """Loss of F1 against the widest on the same questions, percentage points."""
    if row["quant"] == widest[row["model"]]["quant"]:
        return None if row[f"{task}_f1_pct"] is None else Estimate(0.0, 0.0, 0.0)
    value, low, high = (
        None if (gain := row[f"{task}_f1_difference{end}_pct"]) is None else 0.0 - gain
        for end in ("", "_high", "_low")
    )
    return None if value is None else Estimate(value, low, high)


def _scored(row: Row, key: str) -> Estimate | None:
    value = row[f"{key}_pct"]
    return None if value is None else Estimate(value, row[f"{key}_low_pct"], row[f"{key}_high_pct"])


def _single(value: float | None, kind: str = "") -> Estimate | None:
    return None if value is None else Estimate(value, None, None, kind)


def _exact(value: float | None) -> Estimate | None:
    return None if value is None else Estimate(value, value, value)


MARKS = {
    "throttled": Kill("throttled", "the board was throttled while it was measured"),
    "memory-bound: overflow": Kill("overflow", "it does not fit in the memory"),
}


def _faults(
    row: Row, task: str | None, widest: Mapping[str, Row], texts: Sequence[str]
) -> list[Kill]:
    if not is_ok(row):
        return [Kill("failed", f"{row['status']}: {row['reason']}")]
    marks = [mark for mark in row["marks"].split("; ") if mark]
    found = [MARKS.get(mark, Kill(mark, f"it is marked: {mark}")) for mark in marks]
    parity = row["parity_reason"]
    if parity:
        found.append(Kill("parity", f"parity: {parity}"))
    gates = row["gates_failed"].removeprefix(f"parity: {parity}").removeprefix("; ")
    for gate in filter(None, gates.split("; ")):
        found.append(Kill(f"gate {gate.partition(':')[0]}", f"gate {gate}"))
    if task and row[f"{task}_f1_pct"] is None:
        reason = row[f"{task}_reason"] or row[f"{task}_status"]
        found.append(Kill("unscored", f"{task} was not scored: {reason}"))
    if why := _broken(row, task, widest, texts):
        found.append(Kill("broken", f"broken: {why}"))
    return found


def _broken(
    row: Row, task: str | None, widest: Mapping[str, Row], texts: Sequence[str]
) -> str | None:
    """What shows that a variant no longer works, whatever its overall score is.

    A model that always abstains scores the share of unanswerable questions, so the ones that have
    an answer are looked at.
    """
    for text in texts:
        ratio, error = row[f"{text}_perplexity_ratio"], row[f"{text}_perplexity_ratio_se"]
        if ratio is not None and ratio - Z95 * (error or 0.0) > BROKEN_RATIO:
            return f"its perplexity on {text} is {ratio:.3g} times the F16's"
    answered = _scored(row, f"{task}_has_ans_f1") if task else None
    if not task or answered is None:
        return None
    most = answered.value if answered.high is None else answered.high
    if most <= BROKEN_F1_PCT:
        return f"F1 on the questions that have an answer is {answered.value:.1f} %"
    reference = _scored(widest[row["model"]], f"{task}_has_ans_f1")
    if (
        reference
        and answered.value < COLLAPSED_SHARE * reference.value
        and told_apart(answered, reference)
    ):
        return (
            f"F1 on the questions that have an answer is {answered.value:.1f} %, the widest's "
            f"{reference.value:.1f} %"
        )
    return None


def _cautions(row: Row, task: str | None, widest: Mapping[str, Row]) -> list[str]:
    found = []
    if row["repetitions"] == 1:
        found.append("its speed was measured once, which shows no spread")
    if row["energy_tier"] == ESTIMATED:
        found.append("its energy is estimated, not measured")
    elif row["energy_tier"] == "pmic":
        found.append("its energy is the board's own chip's, which does not see the 5 V rail")
    agreed_pct = row["output_agreement_pct"]
    if agreed_pct is not None and agreed_pct < 100:
        found.append(
            f"its settings change the output: {agreed_pct:.1f} % of the tokens agree with those of "
            "the settings that were scored"
        )
    if task is None:
        found.append("its quality was not measured: the study has no squad task")
    elif row[f"{task}_f1_pct"] is not None:
        if row[f"{task}_f1_low_pct"] is None:
            found.append("its F1 has no interval: too few passages")
        items, asked = row[f"{task}_items"], widest[row["model"]][f"{task}_items"]
        if asked and items < asked:
            found.append(f"its F1 is of {items} questions, the widest's of {asked}")
    return found
