"""The cells of a summary as candidates: their numbers with spread, and what rules each one out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from typing_extensions import TypeIs

from llmpi.decide import scores
from llmpi.decide.best import Best
from llmpi.decide.joint import FEWEST_CLUSTERS, Analysis
from llmpi.decide.pareto import Objective
from llmpi.decide.records import AnyCaution, Interval, Kill, Limit, Standing
from llmpi.decide.values import CHECKS, values_of
from llmpi.errors import LlmpiError
from llmpi.study.computation import DEFAULT
from llmpi.study.decision import Aim
from llmpi.study.runs import Scored, width
from llmpi.study.study import Study
from llmpi.study.tasks.divergence import DivergenceTask
from llmpi.study.tasks.squad import SquadTask
from llmpi.summary.estimate import Z95, Estimate
from llmpi.summary.groups import by_class
from llmpi.summary.records import AnswerCost, ClassRow, Summary

BROKEN_PCT = 2.0
"""At most 2 % of the answers of LLMPi's Q2_K files held the right words, and its score did not tell
(arXiv 2504.02118, its own answers read again). The same of abstentions where there is no answer."""
BROKEN_RATIO = 2.0
"""Perplexity over the F16's: each token of the text has half the probability it had; ours."""

WIDE_RATIO = 1.5
"""Of the fastest repetition to the slowest: alone on a cool machine they differ by less; ours."""

CUT_PCT = 2.0
"""From so many answers on that were cut at their bound on, the score may be the bound's; ours."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """One cell of the sweep.

    Args:
        id: `device/model/quant/runtime`.
        variant: model, quantization and, of several, runtime.
        standing: what its quality is shown to be; None where nothing was asked of it.
        best: the quality of all variants on the task that decides.
        quality: its own, %.
        values: of each constraint its number, whether it is asked for or not.
        answered: what its answers take, where there are some.
        faults: what no constraint can excuse.
        cautions: what does not rule it out but should be known.
    """

    row: ClassRow
    id: str
    variant: str
    scored: Scored
    standing: Standing | None
    best: Best
    quality: Estimate | None
    f1: Estimate | None
    values: Mapping[Limit, Estimate | None]
    answered: AnswerCost | None
    faults: Sequence[Kill]
    cautions: Sequence[AnyCaution]

    @property
    def device(self) -> str:
        return self.row["device"]


def candidates(
    summary: Summary, study: Study, workload: str, task: str | None, analysis: Analysis
) -> list[Candidate]:
    """The candidates of a workload, in the order of the rows; equal boards are one choice.

    Args:
        task: whose scores are the quality; None where there are none.

    Raises:
        LlmpiError: there is no cell of the workload.
    """
    rows = by_class(summary["rows"], study.classes)
    here = [row for row in rows if row["workload"] == workload]
    if not here:
        raise LlmpiError(f"constraints.workload: '{workload}' was left out of the whole sweep")
    widest = widest_of(rows, study)
    several = len(study.runtimes) > 1
    of_task = [r for r in analysis.requirements if r["task"] == task and r["kind"] != "gate"]
    best = Best([r for r in of_task if r["tag"] is None], analysis.confidence)
    squad, answering = _squad(study, task), _answering(study, task)
    abstaining_pct = _abstaining_pct(summary, squad)
    quality = {variant: best.estimate(variant) for variant in {*map(_scored, here)}}
    return [
        Candidate(
            row=row,
            id=id_of(row),
            variant=_variant(row, several),
            scored=_scored(row),
            standing=analysis.standing(_scored(row)),
            best=best,
            quality=quality[_scored(row)],
            f1=scores.f1(row, squad) if squad else None,
            values=values_of(row, answering, squad, study.battery.wh, widest),
            answered=row["answers"].get(answering or ""),
            faults=[
                *faults(row, study, task),
                *_quality_faults(row, task, analysis.standing(_scored(row)), best),
            ],
            cautions=_cautions(row, squad, widest, abstaining_pct),
        )
        for row in here
    ]


def id_of(row: ClassRow) -> str:
    return f"{row['device']}/{row['model']}/{row['quant']}/{row['runtime']}"


def widest_of(rows: Sequence[ClassRow], study: Study) -> dict[str, ClassRow]:
    """A row of each model's widest quantization, computed by default where one is: what the others'
    quality is held against."""
    ordered = sorted(
        rows,
        key=lambda row: (width(study, row["model"], row["quant"]), row["computation"] != DEFAULT),
    )
    return {row["model"]: row for row in reversed(ordered)}


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
        if name == "j_per_right_answer_at_most" and _none_is_right(candidate):
            found.append({"kind": "none right", "constraint": name})
            continue
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
    if prefer == "quality" and candidate.quality is None and not _unknown(found):
        found.append({"kind": "no quality"})
    energy = candidate.values["j_per_token_at_most"]
    if prefer == "energy" and energy is None:
        found.append({"kind": "unmeasured", "constraint": None})
    elif prefer == "energy" and energy and energy.kind == "estimated":
        found.append({"kind": "estimated", "constraint": None, "value": energy.value, "unit": "J"})
    return found


def _none_is_right(candidate: Candidate) -> bool:
    """Whether joules are known, and are those of no right answer: more than any limit."""
    cost = candidate.answered
    return bool(cost and cost["j_per_right_answer"] is None and cost["j_per_right_answer_low"])


def _unknown(found: Sequence[Kill]) -> bool:
    """Whether it is said already that there is no quality to go by."""
    return any(kill["kind"] in ("unscored", "too few") for kill in found)


def blamed(kill: Kill) -> str:
    """What stands in the way, by a name under which kills are counted: the key of a constraint, or
    `failed`, `throttled`, `overflow`, `disturbed`, `over HTTP`, `parity`, `unscored`,
    `computation`, `no quality`, `too few`, `broken`, `loses`, `undecided`, `estimated` and
    `unmeasured` energy."""
    match kill["kind"]:
        case "limit" | "none right":
            return kill["constraint"]
        case "unmeasured":
            return kill["constraint"] or "unmeasured"
        case "marked":
            return "overflow" if kill["mark"] == "memory-bound: overflow" else kill["mark"]
        case "babbling" | "mute" | "blurting":
            return "broken"
        case other:
            return other


def worst(candidate: Candidate, name: Limit) -> float | None:
    """The end of the 95 % interval that is nearest to breaking a constraint; None where no spread
    is known."""
    estimate = candidate.values[name]
    if estimate is None:
        return None
    return estimate.low if CHECKS[name].at_least else estimate.high


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


def _told_apart(found: Sequence[Candidate]) -> NDArray[np.bool_] | None:
    """By their quality; None where none is known."""
    best = found[0].best if found else None
    return best.told_apart([c.scored for c in found]) if best and best.known else None


def _near_best(found: Sequence[Candidate]) -> list[Candidate]:
    """Who is shown to lack no more than the margin to the best of these."""
    of: dict[Scored, list[Candidate]] = {}
    for candidate in found:
        of.setdefault(candidate.scored, []).append(candidate)
    return [c for variant in found[0].best.within_margin(of) for c in of[variant]]


OBJECTIVES: Mapping[Aim, Objective[Candidate]] = {
    "quality": Objective("quality", True, lambda c: c.quality, _told_apart, _near_best),
    "speed": Objective("speed", True, lambda c: c.values["tps_at_least"]),
    "energy": Objective("energy", False, lambda c: c.values["j_per_token_at_most"]),
    "memory": Objective("memory", False, lambda c: c.values["memory_at_most"]),
}
"""In the order in which they decide."""


def _scored(row: ClassRow) -> Scored:
    return Scored(row["model"], row["quant"], row["computation"])


def _variant(row: ClassRow, several: bool) -> str:
    variant = f"{row['model']} {row['quant']}"
    return f"{variant} ({row['runtime']})" if several else variant


# --- one row --------------------------------------------------------------------------------------


def faults(row: ClassRow, study: Study, task: str | None) -> list[Kill]:
    """What no constraint can excuse, whatever its quality is shown to be.

    Args:
        task: whose scores are looked at; all that ask something of it must have some.
    """
    if row["status"] != "ok":
        return [{"kind": "failed", "status": row["status"], "reason": row["reason"] or ""}]
    found: list[Kill] = [{"kind": "marked", "mark": mark} for mark in row["marks"]]
    if row["parity_reason"]:
        misses = row["parity_misses"]
        found.append({"kind": "parity", "reason": row["parity_reason"], "misses": misses})
    if row["unscored"]:
        found.append(
            {
                "kind": "computation",
                "computation": row["computation"],
                "unscored": row["unscored"],
            }
        )
    else:
        found += [
            {"kind": "unscored", "task": one, "reason": scores.reason(row, one)}
            for one in dict.fromkeys([*filter(None, [task]), *study.asking])
            if scores.text(row, one, "status") != "ok"
        ]
    if broken := _babbling(row, study) or _constant(row, _squad(study, task)):
        found.append(broken)
    return found


def _squad(study: Study, task: str | None) -> str | None:
    return task if task and isinstance(study.quality[task], SquadTask) else None


def _answering(study: Study, task: str | None) -> str | None:
    """Whose answers are looked at: the task's, or of one without the first that has some."""
    return task if task in study.answering else next(iter(study.answering), None)


def _quality_faults(
    row: ClassRow, task: str | None, standing: Standing | None, best: Best
) -> list[Kill]:
    """What its quality is not shown to be, of a cell that ran."""
    if row["status"] != "ok":
        return []
    known = best.known.get(_scored(row))
    clusters = 0 if best.only_abstention else round(known.clusters) if known else FEWEST_CLUSTERS
    if task and clusters < FEWEST_CLUSTERS:
        needed = FEWEST_CLUSTERS
        return [{"kind": "too few", "task": task, "clusters": clusters, "needed": needed}]
    if standing is None or standing["verdict"] == "holds":
        return []
    fails = standing["verdict"] == "fails"
    missed = [
        one
        for one in standing["requirements"]
        if one["verdict"] == "fails" or (not fails and one["verdict"] == "undecided")
    ]
    return [{"kind": "loses" if fails else "undecided", "requirements": missed}]


def _babbling(row: ClassRow, study: Study) -> Kill | None:
    """The first text that a variant finds far less likely than the F16 does."""
    texts = (name for name, asked in study.quality.items() if isinstance(asked, DivergenceTask))
    for text in texts:
        ratio = scores.number(row, text, "perplexity_ratio")
        error = scores.number(row, text, "perplexity_ratio_se") or 0.0
        if ratio is not None and ratio - Z95 * error > BROKEN_RATIO:
            return {"kind": "babbling", "task": text, "perplexity_ratio": ratio}
    return None


def _constant(row: ClassRow, task: str | None) -> Kill | None:
    """Whether a variant always abstains, or never does, whatever its overall score is."""
    if task is None:
        return None
    if _broken(answered := scores.f1(row, task, "has_ans_f1")):
        return {"kind": "mute", "answered_pct": answered.value}
    if _broken(abstained := scores.f1(row, task, "no_ans_em")):
        return {"kind": "blurting", "abstained_pct": abstained.value}
    return None


def _broken(score: Estimate | None) -> TypeIs[Estimate]:
    return score is not None and score.value <= BROKEN_PCT


def _abstaining_pct(summary: Summary, task: str | None) -> float | None:
    """What a program that never answers scores on a task."""
    drawn = summary["questions"].get(task) if task else None
    if drawn is None or drawn["status"] != "ok":
        return None
    return 100 * drawn["unanswerable"] / drawn["questions"]


def _cautions(
    row: ClassRow,
    task: str | None,
    widest: Mapping[str, ClassRow],
    abstaining_pct: float | None,
) -> list[AnyCaution]:
    found: list[AnyCaution] = []
    f1 = scores.f1(row, task) if task else None
    if f1 and abstaining_pct is not None and f1.value < abstaining_pct:
        found.append(
            {"kind": "below abstaining", "f1_pct": f1.value, "abstaining_pct": abstaining_pct}
        )
    slowest, fastest = row["tg_min_tps"], row["tg_max_tps"]
    if slowest and fastest and fastest > WIDE_RATIO * slowest and not row["marks"]:
        found.append({"kind": "wide spread", "ratio": fastest / slowest})
    if row["shortened_to_tokens"] is not None and row["repetitions"]:
        found.append(
            {
                "kind": "measured short",
                "repetitions": row["repetitions"],
                "tokens": row["shortened_to_tokens"],
            }
        )
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
    elif f1:
        if f1.low is None:
            found.append({"kind": "no interval of F1"})
        items, asked = scores.items(row, task), scores.items(widest[row["model"]], task)
        if asked and items < asked:
            found.append({"kind": "fewer questions", "questions": items, "of_questions": asked})
        cut_pct = scores.number(row, task, "cut_pct")
        if cut_pct is not None and cut_pct >= CUT_PCT:
            found.append({"kind": "answers cut", "cut_pct": cut_pct})
        thoughts_pct = scores.number(row, task, "thoughts_cut_pct")
        if thoughts_pct is not None and thoughts_pct >= CUT_PCT:
            found.append({"kind": "thoughts cut", "cut_pct": thoughts_pct})
        marked_pct = scores.number(row, task, "marked_pct")
        if marked_pct is not None and marked_pct >= CUT_PCT:
            marks = scores.text(row, task, "unknown_marks") or ""
            found.append({"kind": "unknown marks", "marked_pct": marked_pct, "marks": marks})
    return found
