"""Answers that were timed on a device, beside what is computed of the same questions."""

import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from llmpi.engine.records import AnsweredQuestion, AnswersCell, Failed, SessionRecord
from llmpi.quality.answers import Answered
from llmpi.quality.estimates import student
from llmpi.results import NotRun
from llmpi.study.runs import Run, Scored, Session, expand_runs
from llmpi.study.study import Study
from llmpi.summary.answers import RATES, Each, at, behind_the_prompt, joules_of, seconds_of
from llmpi.summary.measured import answers
from llmpi.summary.records import Row, SampleAgainst, SampleCell
from llmpi.summary.row import place

LEVEL = 0.95


def samples(
    study: Study,
    sessions: Mapping[Session, SessionRecord | NotRun],
    rows: Mapping[Run, Row],
    scored: Mapping[str, Mapping[Scored, Answered]],
) -> list[SampleCell]:
    """A study's cells of answers.

    Args:
        rows: of the cells of one conversation, by whose speeds answers are computed.
        scored: task -> what was scored -> its answers.
    """
    beside: dict[Session, list[Row]] = {}
    for run, row in rows.items():
        beside.setdefault(run.session, []).append(row)
    return [
        _cell(
            study,
            run,
            answers(sessions[run.session], run.workload),
            beside.get(run.session, []),
            scored,
        )
        for run in expand_runs(study)
        if run.workload in study.answer_workloads
    ]


def _cell(
    study: Study,
    run: Run,
    found: AnswersCell | Failed | NotRun,
    beside: Sequence[Row],
    scored: Mapping[str, Mapping[Scored, Answered]],
) -> SampleCell:
    asked = study.answer_workloads[run.workload]
    cell: SampleCell = {
        **place(run),
        "status": found["status"],
        "reason": None,
        "task": asked.task,
        "questions": asked.questions,
        "of": None,
        "left_out": None,
        "late": None,
        "answers": 0,
        "scored": 0,
        "as_scored": 0,
        "p50_s": None,
        "p95_s": None,
        "energy_tier": None,
        "j_per_answer": None,
        "marks": [],
        "against": [],
    }
    if found["status"] != "ok":
        return {**cell, "reason": found["reason"]}
    done, energy = found["repetitions"], found["energy"]
    seconds = np.array([_answered_s(one) for one in done])
    j = np.array(energy["energy_j"]) if energy and energy["status"] == "ok" else None
    computed = {Scored(*run.variant, row["computation"]) for row in beside}
    own = scored.get(asked.task, {})
    told = _told(done, next((own[one] for one in computed if one in own), None))
    return {
        **cell,
        "of": found["of"],
        "left_out": found["left_out"],
        "late": found["late"],
        "answers": len(done),
        "scored": told.scored,
        "as_scored": told.as_scored,
        "p50_s": at(50, np.sort(seconds)),
        "p95_s": at(95, np.sort(seconds)),
        "energy_tier": energy and energy["tier"],
        "j_per_answer": None if j is None else float(j.mean()),
        "marks": found["marks"],
        "against": [
            _against(row, done, seconds, told.tokens, study.singles[row["workload"]].prompt_tokens)
            for row in beside
            if row["status"] == "ok"
        ],
    }


class _Told(NamedTuple):
    """Of each answer the tokens that are computed with, n x 3; how many answers were scored, too,
    and how many of these have the very tokens that were."""

    tokens: NDArray[np.int64]
    scored: int
    as_scored: int


def _told(done: Sequence[AnsweredQuestion], scored: Answered | None) -> _Told:
    """As they were scored, or where a question was not, as they were answered."""
    own = [(one["prompt_tokens"], one["thought_tokens"], one["answer_tokens"]) for one in done]
    if scored is None:
        return _Told(np.array(own), 0, 0)
    known = dict(zip(scored.numbers.tolist(), map(tuple, scored.tokens.tolist()), strict=True))
    then = [known.get(one["number"]) for one in done]
    tokens = [was or mine for was, mine in zip(then, own, strict=True)]
    same = sum(was == mine for was, mine in zip(then, own, strict=True))
    return _Told(np.array(tokens), sum(was is not None for was in then), same)


def _answered_s(one: AnsweredQuestion) -> float:
    return one["ttft_s"] + sum(one["itl_s"])


def _against(
    row: Row,
    done: Sequence[AnsweredQuestion],
    seconds: Each,
    tokens: NDArray[np.int64],
    prompt_tokens: int,
) -> SampleAgainst:
    behind = behind_the_prompt(tokens, row, prompt_tokens)
    predicted, joules = seconds_of(behind, row), joules_of(behind, row)
    median = predicted["median"]
    numbers = [one["number"] for one in done]
    half = _half_width(numbers, seconds, median)
    ratio, *ends = (float(seconds.sum() / predicted[rate].sum()) for rate in RATES)
    low, high = (None, None) if half is None else (max(0.0, min(ends) - half), max(ends) + half)
    return {
        "workload": row["workload"],
        "predicted_p50_s": at(50, np.sort(median)),
        "predicted_p95_s": at(95, np.sort(median)),
        "predicted_j_per_answer": float(joules[0].mean()) if joules else None,
        "ratio": ratio,
        "ratio_low": low,
        "ratio_high": high,
        "parts": None if low is None or high is None else not low <= 1 <= high,
    }


def _half_width(numbers: Sequence[int], seconds: Each, predicted: Each) -> float | None:
    """Of the interval of a ratio of sums, by questions: Student's, of its residuals (Cochran,
    *Sampling Techniques*, 1977, 6.3); None below two."""
    ratio = seconds.sum() / predicted.sum()
    residuals: dict[int, float] = {}
    for number, rest in zip(numbers, seconds - ratio * predicted, strict=True):
        residuals[number] = residuals.get(number, 0.0) + float(rest)
    count = len(residuals)
    if count < 2:
        return None
    error = statistics.fmean(r * r for r in residuals.values()) ** 0.5 * count
    error /= (count - 1) ** 0.5 * float(predicted.sum())
    return student((1 + LEVEL) / 2, count) * error
