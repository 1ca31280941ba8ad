"""The kind `squad`: questions on passages, on whose F1 the decision rests."""

from collections.abc import Iterator, Mapping, Sequence

from llmpi import layout
from llmpi.columns import Column, count, number, text
from llmpi.engine.records import Failed
from llmpi.quality.answers import Given, answered, was_asked
from llmpi.quality.kind import (
    SCORED,
    STATE,
    THINKING,
    AskedScore,
    Figure,
    NotScored,
    Objection,
    OverHttp,
    Row,
    Score,
    Shown,
    Summary,
    TaskKind,
    no_score,
    records_of,
    thinking_columns,
)
from llmpi.quality.records import Drawn, Skipped
from llmpi.quality.sent import ONE_AT_A_TIME, UNKNOWN_MARKS, marks_line, prompt_line
from llmpi.quality.squad.comparisons import Comparison, comparisons, paired, scored_in
from llmpi.quality.squad.lowest_width import lowest_widths
from llmpi.quality.squad.records import (
    Abstention,
    Item,
    MetricName,
    Questions,
    SquadAsked,
    SquadScored,
    SquadSummary,
)
from llmpi.quality.squad.records import Score as MetricScore
from llmpi.quality.squad.requirements import requirements
from llmpi.quality.squad.sections import sections
from llmpi.results import NotRun, result
from llmpi.study.computation import DEFAULT
from llmpi.study.quality import Gate
from llmpi.study.runs import Scored, Session, by_width
from llmpi.study.study import Study

NAMES: dict[str, tuple[MetricName, str]] = {
    "em": ("exact", "Exact match"),
    "f1": ("f1", "F1"),
    "has_ans_em": ("has_ans_exact", "Exact match on the questions that have an answer"),
    "has_ans_f1": ("has_ans_f1", "F1 on the questions that have an answer"),
    "no_ans_em": ("no_ans_exact", "Exact match on the questions without an answer"),
    "no_ans_f1": ("no_ans_f1", "F1 on the questions without an answer"),
}
"""Of the columns: the metric, and what it is."""


def _scores() -> Iterator[tuple[str, Column]]:
    for name, (_, meaning) in NAMES.items():
        yield f"{name}_pct", number("%", meaning)
        yield f"{name}_low_pct", number("%", "Lower end of its 95 % interval (Wilson, by passages)")
        yield f"{name}_high_pct", number("%", "Upper end")


COLUMNS = {
    **STATE,
    "items": count("Questions scored"),
    "best_em_pct": number("%", "Exact match at the best threshold of abstention"),
    "best_f1_pct": number("%", "F1 at the best threshold of abstention"),
    "best_f1_threshold": number(
        "nats", "That threshold: the log-likelihood of abstaining above which it abstains"
    ),
    "best_f1_abstention": text(
        "`always abstain` or `never abstain` where that is best, and no threshold; else "
        "`above the threshold`"
    ),
    "cut_pct": number("%", "Answers that were cut at `max_new_tokens`"),
    **THINKING,
    "marked_pct": number(
        "%", "Questions whose answers hold marks of which nothing is known: some may be thoughts"
    ),
    "unknown_marks": text(UNKNOWN_MARKS),
    **dict(_scores()),
    "prompt": text("The first prompt as it was sent, its first and last tokens"),
    "one_at_a_time": text(ONE_AT_A_TIME),
}
COMPARED = {
    "f1_difference_pct": number(
        "points", "F1, minus that of the model's widest quantization on the same questions"
    ),
    "f1_difference_low_pct": number("points", "Lower end of its 95 % interval"),
    "f1_difference_high_pct": number("points", "Upper end"),
    "f1_p_adjusted": number("1", "p of no difference, adjusted by Holm's method"),
    "f1_verdict": text("`better`, `worse` or `not distinguishable`"),
}

SquadRecord = SquadScored | Skipped
Records = Mapping[Scored, SquadScored | NotScored]


def summarize(study: Study, tasks: Sequence[str]) -> Summary:
    scores: dict[str, Records] = {
        task: dict(records_of(SquadRecord, study, task)) for task in tasks
    }
    order = {m: quants for m in study.models if (quants := by_width(study, m))}
    compared = comparisons(order, scores)
    descent = study.descent
    widths = lowest_widths(order, scores[descent.task]) if descent else []
    objections = _objections(study.gates, scores)
    against = {(one["task"], scored_in(one)): one for one in compared}
    rows = {
        task: {
            variant: {**_row(record), **_compared(against.get((task, variant)))}
            for variant, record in records.items()
        }
        for task, records in scores.items()
    }
    return Summary(
        rows=rows,
        sections=sections(rows, compared, widths, objections if study.gates else None),
        objections=objections,
        requirements=list(requirements(study, order, scores)),
        questions={task: _drawn(study, task) for task in tasks},
        answers={
            task: {
                variant: found
                for variant, record in records.items()
                if record["status"] == "ok" and (found := answered(given_answers(record["items"])))
            }
            for task, records in scores.items()
        },
    )


def over_http(study: Study, task: str, session: Session) -> OverHttp:
    """What an endpoint answered, beside its file in process."""
    where = {"study": study.study, "task": task, **session._asdict()}
    record = result(SquadAsked, layout.ASKED, **where)
    gates = [gate for gate in study.gates if gate.task == task]
    found = [_failure(gate, record) for gate in gates]
    objections = [why for why in found if why]
    if record["status"] != "ok":
        return OverHttp(no_score(record, {**COLUMNS, **COMPARED}), None, objections, None)
    row: Row = {**dict.fromkeys({**COLUMNS, **COMPARED}), **_scored(record["summary"])}
    where["computation"] = DEFAULT
    ours = result(SquadRecord, layout.QUALITY, **where)
    told = all(item["error"] or item["prompt_tokens"] for item in record["items"])
    answers = answered(given_answers(record["items"])) if told else None
    return OverHttp(row, answers, objections, _beside(task, record, ours))


def _beside(task: str, asked: SquadAsked, ours: SquadScored | NotScored) -> AskedScore | None:
    """F1, on the questions that both were asked; a descent may have stopped early."""
    score = asked["summary"]["metrics"].get("f1")
    if score is None:
        return None
    both = paired(ours["items"], asked["items"]) if ours["status"] == "ok" else None
    in_process = _metric(ours, "f1") if ours["status"] == "ok" else None
    return {
        "task": task,
        "metric": F1,
        "items": asked["summary"]["items"],
        "errors": asked["summary"]["errors"],
        "cut": asked["summary"]["cut"],
        "pct": score["pct"],
        "low_pct": score["low_pct"],
        "high_pct": score["high_pct"],
        "against_pct": in_process and in_process["pct"],
        "difference_pct": both and both["difference_pct"],
        "difference_low_pct": both and both["low_pct"],
        "difference_high_pct": both and both["high_pct"],
    }


def given_answers(items: Sequence[Item]) -> Iterator[Given]:
    """Right is an exact match, of the questions that have an answer."""
    for at, item in enumerate(items):
        thought, new = item["thought_tokens"], item["new_tokens"]
        if was_asked(item["error"], new):
            right = bool(item["exact"]) if item["golds"] else None
            told = (item["prompt_tokens"], thought, new - thought)
            yield Given(*told, right, item["paragraph"], at)


def _row(record: SquadScored | NotScored) -> Row:
    if record["status"] != "ok":
        return no_score(record, COLUMNS)
    row = _scored(record["summary"])
    row["prompt"] = prompt_line(record["sent"])
    row["one_at_a_time"] = record["batching"][0]["one_at_a_time"] if record["batching"] else None
    return row


def _scored(summary: SquadSummary) -> Row:
    best = summary["thresholds"]
    answers = summary["items"] - summary["errors"]
    row: Row = {
        **SCORED,
        "items": summary["items"],
        "best_em_pct": best and best["best_exact"],
        "best_f1_pct": best and best["best_f1"],
        **_threshold(best["best_f1_thresh"] if best else None),
        "cut_pct": 100 * summary["cut"] / answers if answers else None,
        **thinking_columns(summary, summary["items"]),
    }
    marked = summary["marked"]
    row["marked_pct"] = 100 * marked / summary["items"] if marked else None
    row["unknown_marks"] = marks_line(summary["marks"])
    for name, (metric, _) in NAMES.items():
        score = summary["metrics"].get(metric)
        row[f"{name}_pct"] = score and score["pct"]
        row[f"{name}_low_pct"] = score and score["low_pct"]
        row[f"{name}_high_pct"] = score and score["high_pct"]
    return row


def _threshold(best: float | Abstention | None) -> Row:
    """In words where it is no number; neither where nothing could be asked."""
    if isinstance(best, str):
        return {"best_f1_threshold": None, "best_f1_abstention": best}
    above = None if best is None else "above the threshold"
    return {"best_f1_threshold": best, "best_f1_abstention": above}


def _compared(one: Comparison | None) -> Row:
    """F1 against the reference's: what the data say, and whether they can tell the two apart."""
    if one is None:
        return dict.fromkeys(COMPARED)
    return {
        "f1_difference_pct": one["difference_pct"],
        "f1_difference_low_pct": one["low_pct"],
        "f1_difference_high_pct": one["high_pct"],
        "f1_p_adjusted": one["p_adjusted"],
        "f1_verdict": one["verdict"],
    }


def _objections(
    gates: Sequence[Gate], scores: Mapping[str, Records]
) -> dict[Scored, list[Objection]]:
    """The gates that a variant fails."""
    asked = dict.fromkeys(one for records in scores.values() for one in records)
    failures = {
        one: [_failure(gate, scores[gate.task][one]) for gate in gates if gate.task in scores]
        for one in asked
    }
    return {one: [why for why in whys if why] for one, whys in failures.items()}


def _failure(gate: Gate, record: SquadScored | SquadAsked | NotScored) -> Objection | None:
    scored = record["status"] == "ok"
    score = _metric(record, gate.metric) if record["status"] == "ok" else None
    if score is not None and score["pct"] >= gate.at_least_pct:
        return None
    return {
        "task": gate.task,
        "metric": gate.metric,
        "at_least_pct": gate.at_least_pct,
        "got_pct": score and score["pct"],
        "why": "below" if score else "no items" if scored else "not scored",
    }


def _metric(record: SquadScored | SquadAsked, name: MetricName) -> MetricScore | None:
    """None of a metric that has no items."""
    return record["summary"]["metrics"].get(name)


def _drawn(study: Study, task: str) -> Drawn | Failed | NotRun:
    found = result(Questions, layout.QUESTIONS, study=study.study, task=task)
    if found["status"] != "ok":
        return found
    return {
        "status": "ok",
        "source": found["source"],
        "questions": found["questions"],
        "unanswerable": found["unanswerable"],
        "paragraphs": found["paragraphs"],
        "sha256": found["sha256"],
    }


# --- what the page shows --------------------------------------------------------------------------


def _shown(name: str, title: str) -> Shown:
    """A metric of a row with its interval, per cent."""
    return {
        "key": f"{name}_pct",
        "title": title,
        "digits": 1,
        "low": f"{name}_low_pct",
        "high": f"{name}_high_pct",
    }


F1 = "F1, %"

KIND = TaskKind(
    name="squad",
    record=SquadRecord,
    columns=COLUMNS,
    compared=COMPARED,
    figures={
        "has_ans_f1_pct": Figure("HasAns F1, %", 1),
        "no_ans_f1_pct": Figure("NoAns F1, %", 1),
        "f1_pct": Figure("F1, %", 1),
    },
    summarize=summarize,
    shown=(
        _shown("em", "EM %"),
        _shown("f1", "F1 %"),
        _shown("has_ans_f1", "HasAns F1 %"),
        _shown("no_ans_f1", "NoAns F1 %"),
    ),
    score=Score(_shown("f1", F1), beside=[_shown("has_ans_f1", "F1 HasAns, %")]),
    over_http=over_http,
    asked=SquadAsked,
)
