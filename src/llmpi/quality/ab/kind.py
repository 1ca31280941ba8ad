"""The kind `ab`: the user's own prompts."""

from collections.abc import Iterator, Mapping, Sequence

from llmpi import layout
from llmpi.columns import number, text
from llmpi.engine.records import Failed
from llmpi.engine.shown import visible
from llmpi.quality.ab.compare import difference
from llmpi.quality.ab.records import AbAnswered, AbAsked, ComparedPair, ComparedPrompts, Judged
from llmpi.quality.answers import Given, answered, was_asked
from llmpi.quality.evidence import Requirement, ScoredItem, evidence_of
from llmpi.quality.kind import (
    SCORED,
    STATE,
    THINKING,
    AskedScore,
    Chart,
    Fact,
    Figure,
    NotScored,
    OverHttp,
    Part,
    Row,
    Section,
    Shown,
    Summary,
    Table,
    TaskKind,
    Value,
    no_score,
    records_of,
    thinking_columns,
)
from llmpi.quality.records import Answer
from llmpi.quality.sent import ONE_AT_A_TIME, UNKNOWN_MARKS, marks_line
from llmpi.quality.thoughts import Thought, thoughts_of
from llmpi.results import NotRun, result
from llmpi.study.computation import DEFAULT
from llmpi.study.runs import Scored, Session, by_width, pairs_of
from llmpi.study.study import Study
from llmpi.study.tasks.ab import AbTask

COLUMNS = {
    **STATE,
    "passed_pct": number("%", "Own prompts whose answer meets what is expected of it"),
    **THINKING,
    "unknown_marks": text(UNKNOWN_MARKS),
    "one_at_a_time": text(ONE_AT_A_TIME),
}


def summarize(study: Study, tasks: Sequence[str]) -> Summary:
    records = {task: records_of(AbAnswered, study, task) for task in tasks}
    return Summary(
        rows={task: {v: _row(r) for v, r in found.items()} for task, found in records.items()},
        sections=list(_sections(study, tasks)),
        requirements=[one for task in tasks for one in _requirements(study, task, records[task])],
        answers={
            task: {
                variant: found
                for variant, record in of_task.items()
                if record["status"] == "ok" and (found := answered(given_answers(record)))
            }
            for task, of_task in records.items()
        },
    )


def over_http(study: Study, task: str, session: Session) -> OverHttp:
    """What an endpoint answered, beside its file in process."""
    where = {"study": study.study, "task": task, **session._asdict()}
    record = result(AbAsked, layout.ASKED, **where)
    if record["status"] != "ok":
        return OverHttp(no_score(record, COLUMNS), None, [], None)
    passed_pct, asked = record["summary"]["passed_pct"], record["answers"]
    row: Row = {
        **dict.fromkeys(COLUMNS),
        **SCORED,
        "passed_pct": passed_pct,
        **_thinking(asked),
        "thought_tokens": None,  # of which it tells nothing
    }
    ours = result(AbAnswered, layout.QUALITY, **where, computation=DEFAULT)
    told = all(one["error"] or one["prompt_tokens"] for one in asked)
    answers = answered(given_answers(record)) if told else None
    score = None if passed_pct is None else _beside(task, passed_pct, record, ours)
    return OverHttp(row, answers, [], score)


def _beside(
    task: str, passed_pct: float, asked: AbAsked, ours: AbAnswered | NotScored
) -> AskedScore:
    """The share that passes, prompt by prompt; of the same file of prompts alone."""
    same = ours["status"] == "ok" and ours["prompts_sha256"] == asked["prompts_sha256"]
    in_process = ours if ours["status"] == "ok" and same else None
    both = in_process and difference(
        [
            (float(a["passed"]), float(b["passed"]))
            for a, b in zip(in_process["outcomes"], asked["outcomes"], strict=True)
        ]
    )
    return {
        "task": task,
        "metric": PASSED,
        "items": asked["summary"]["judged"],
        "errors": asked["summary"]["errors"],
        "cut": asked["summary"]["cut"],
        "pct": passed_pct,
        "low_pct": None,
        "high_pct": None,
        "against_pct": in_process and in_process["summary"]["passed_pct"],
        "difference_pct": both and both["difference_pct"],
        "difference_low_pct": both and both["low_pct"],
        "difference_high_pct": both and both["high_pct"],
    }


def given_answers(record: AbAnswered | AbAsked) -> Iterator[Given]:
    """Right is who meets what is expected, which has to be something of every prompt: an outcome
    does not say which answer is its own."""
    outcomes, answers = record["outcomes"], record["answers"]
    whole = len(outcomes) == len(answers)
    for at, answer in enumerate(answers):
        thought, new = answer["thought_tokens"], answer["new_tokens"]
        if was_asked(answer["error"], new):
            right = outcomes[at]["passed"] if whole else None
            yield Given(answer["prompt_tokens"], thought, new - thought, right, at, at)


def _row(record: AbAnswered | NotScored) -> Row:
    """Share of the prompts with an expectation whose answer meets it."""
    if record["status"] != "ok":
        return no_score(record, COLUMNS)
    answers = record["answers"]
    return {
        **SCORED,
        "passed_pct": record["summary"]["passed_pct"],
        **_thinking(answers),
        "unknown_marks": marks_line(mark for one in answers for mark in one.get("marks", ())),
        "one_at_a_time": record["batching"]["one_at_a_time"],
    }


def _thinking(answers: Sequence[Answer]) -> Row:
    thoughts = (
        Thought(one["thought_tokens"], ended=one["error"] is None)
        for one in answers
        if one["thought"] is not None
    )
    return thinking_columns(thoughts_of(thoughts), len(answers))


def _requirements(
    study: Study, task: str, records: Mapping[Scored, AbAnswered | NotScored]
) -> Iterator[Requirement]:
    """The share of all prompts, and of those of every safety tag."""
    asked = study.quality[task]
    assert isinstance(asked, AbTask)
    order = {model: by_width(study, model) for model in study.models}
    outcomes = {v: r["outcomes"] for v, r in records.items() if r["status"] == "ok"}
    prompts = {one["id"]: one["tags"] for found in outcomes.values() for one in found}
    for tag, margin in margins_of(asked, prompts):
        clusters = sorted(prompts)
        items = {
            variant: [
                ScoredItem(one["id"], one["id"], float(one["passed"]))
                for one in found
                if tag is None or tag in one["tags"]
            ]
            for variant, found in outcomes.items()
        }
        yield {
            "task": task,
            "metric": metric_of(tag),
            "tag": tag,
            "margin": margin,
            "kind": "loss",
            "cluster": "prompt",
            "clusters": clusters,
            "asked": len(prompts),
            "variants": evidence_of(items, order, clusters),
        }


def margins_of(
    asked: AbTask, prompts: Mapping[str, Sequence[str]]
) -> Iterator[tuple[str | None, float]]:
    """All prompts, then every safety tag: what may be lost; nothing of what is not asked for.

    Args:
        prompts: tags by id.
    """
    tags = sorted({tag for of in prompts.values() for tag in of if tag.startswith("safety")})
    margins = [
        (None, asked.passed_drop_at_most),
        *((tag, asked.safety_drop_at_most) for tag in tags),
    ]
    yield from ((tag, margin) for tag, margin in margins if margin is not None and prompts)


def metric_of(tag: str | None) -> str:
    return f"passed {tag}" if tag else "passed"


# --- pairs of variants ----------------------------------------------------------------------------


def _sections(study: Study, tasks: Sequence[str]) -> Iterator[Section]:
    """Every pair of variants that is compared."""
    parts: list[Part] = []
    for task in tasks:
        for pair, (a, b) in pairs_of(study, task).items():
            where = {"study": study.study, "task": task, "pair": pair}
            record = result(ComparedPair, layout.AB, **where)
            name = f"{task}: A {'/'.join(a)}, B {'/'.join(b)}"
            sheet = f"../../ab/{study.study}/{task}/{pair}.html"
            found = _part(name, f"pair-{len(parts)}", sheet, record)
            if isinstance(a, Session) or isinstance(b, Session):
                found["facts"].append({"key": "ab.over_http", "values": {}})
            parts.append(found)
    if parts:
        yield {"id": "pairs", "key": "ab.pairs", "values": {}, "parts": parts}


def _part(name: str, chart: str, sheet: str, record: ComparedPair | Failed | NotRun) -> Part:
    if record["status"] != "ok":
        why: dict[str, Value] = {"status": record["status"], "reason": record["reason"]}
        failure: Fact = {"key": "no result", "values": why}
        return {"name": name, "facts": [failure], "chart": None, "table": None, "remarks": []}
    rows = _by_tag(record)
    return {
        "name": name,
        "facts": [{"key": "ab.sheet", "values": {"sheet": sheet}}],
        "chart": _chart(chart, rows),
        "table": _table(rows),
        "remarks": [*map(_judged, record["judged"]), *map(_unread, record.get("unread", []))],
    }


def _by_tag(pair: ComparedPair) -> list[dict[str, Value]]:
    """The comparison over all prompts, then by tag."""
    found = {"all": pair["all"]} if pair["all"] else {}
    return [{"tag": tag, **_numbers(row)} for tag, row in {**found, **pair["tags"]}.items()]


def _numbers(row: ComparedPrompts) -> dict[str, Value]:
    return {
        "prompts": row["prompts"],
        "a_pct": row["a_pct"],
        "b_pct": row["b_pct"],
        "difference_pct": row["difference_pct"],
        "low_pct": row["low_pct"],
        "high_pct": row["high_pct"],
        "p_adjusted": row["p_adjusted"],
        "verdict": row["verdict"],
    }


TAG: Shown = {"key": "tag", "title": "tag", "digits": None}
PROMPTS: Shown = {"key": "prompts", "title": "prompts", "digits": 0}


def _table(rows: list[dict[str, Value]]) -> Table:
    return {
        "columns": [
            TAG,
            PROMPTS,
            {"key": "a_pct", "title": "A\n%", "digits": 1},
            {"key": "b_pct", "title": "B\n%", "digits": 1},
            {
                "key": "difference_pct",
                "title": "difference\npoints",
                "digits": 1,
                "low": "low_pct",
                "high": "high_pct",
            },
            {"key": "p_adjusted", "title": "p", "digits": 4},
            {"key": "verdict", "title": "verdict", "digits": None},
        ],
        "rows": rows,
    }


def _chart(name: str, rows: list[dict[str, Value]]) -> Chart:
    return {
        "id": name,
        "key": "ab.pairs",
        "kind": "by name",
        "value": {
            "key": "difference_pct",
            "title": "difference, points",
            "digits": 1,
            "low": "low_pct",
            "high": "high_pct",
        },
        "scale": "linear",
        "limit": 0.0,
        "verdict": None,
        "shown": [PROMPTS],
        "points": [{"name": row["tag"], **row} for row in rows],
    }


def _judged(judged: Judged) -> Fact:
    """What a person found who did not know which is which."""
    counts = judged["all"]
    return {
        "key": "ab.judged" if judged["judge"] else "ab.judged_by_unnamed",
        "values": {
            "judge": judged["judge"],
            "a": counts["a_better"],
            "b": counts["b_better"],
            "tie": counts["tie"],
            "bad": counts["both_bad"],
            "unjudged": counts["unjudged"],
            "verdict": counts["verdict"],
            "p": counts["p"],
        },
    }


def _unread(name: str) -> Fact:
    return {"key": "ab.unread", "values": {"file": visible(name)[:100]}}


PASSED = "own prompts passed, %"

KIND = TaskKind(
    name="ab",
    record=AbAnswered,
    columns=COLUMNS,
    figures={"passed_pct": Figure(PASSED, 1)},
    summarize=summarize,
    over_http=over_http,
    asked=AbAsked,
)
