"""What a page shows of `squad` tasks beside the cells: comparisons, abstention, the descent."""

from collections.abc import Iterator, Mapping, Sequence

from llmpi.quality.kind import (
    Chart,
    Fact,
    Objection,
    Part,
    Row,
    Section,
    Shown,
    Table,
    TableRow,
    Value,
    columns_of,
    objection_text,
    plain,
)
from llmpi.quality.squad.comparisons import Comparison, scored_in
from llmpi.quality.squad.lowest_width import LowestWidth
from llmpi.quality.squad.records import Verdict
from llmpi.study.runs import Scored

QUANT: Shown = {"key": "quant", "title": "quantization", "digits": None}
VERDICT: Shown = {"key": "verdict", "title": "verdict", "digits": None}


def sections(
    rows: Mapping[str, Mapping[Scored, Row]],
    compared: Sequence[Comparison],
    widths: Sequence[LowestWidth],
    objections: Mapping[Scored, Sequence[Objection]] | None,
) -> list[Section]:
    """Those that have something to show.

    Args:
        rows: of each task and all that is scored.
        objections: the gates that are failed; None without gates.
    """
    found: list[Section] = []
    if compared:
        part = _part("", table=_comparisons(compared))
        found.append({"id": "comparisons", "key": "comparisons", "values": {}, "parts": [part]})
    if lines := [
        _abstaining(task, one, row)
        for task, of_task in rows.items()
        for one, row in of_task.items()
        if row["status"] == "ok"
    ]:
        columns = _abstention(rows)
        columns += THOUGHTS if any(r["thought_tokens"] for r in lines) else []
        columns += MARKS if any(r["marked_pct"] for r in lines) else []
        part = _part("", table={"columns": columns, "rows": lines})
        found.append({"id": "abstention", "key": "abstention", "values": {}, "parts": [part]})
    if widths:
        parts = [_descent(i, width, objections) for i, width in enumerate(widths)]
        found.append({"id": "descent", "key": "descent", "values": {}, "parts": parts})
    return found


def _part(name: str, table: Table, facts: Sequence[Fact] = (), chart: Chart | None = None) -> Part:
    return {"name": name, "facts": [*facts], "chart": chart, "table": table, "remarks": []}


# --- comparisons ----------------------------------------------------------------------------------


def _comparisons(compared: Sequence[Comparison]) -> Table:
    return {
        "columns": [
            {"key": "task", "title": "task", "digits": None},
            *columns_of([*map(scored_in, compared), *map(_reference, compared)]),
            {"key": "reference", "title": "against", "digits": None},
            {
                "key": "difference_pct",
                "title": "F1 difference\npoints",
                "digits": 1,
                "low": "low_pct",
                "high": "high_pct",
            },
            {"key": "p_adjusted", "title": "p", "digits": 4},
            VERDICT,
            {"key": "only", "title": "exact match only\nreference / variant", "digits": None},
            {"key": "exact_p_adjusted", "title": "p", "digits": 4},
        ],
        "rows": [_compared(one) for one in compared],
    }


def _reference(one: Comparison) -> Scored:
    return Scored(one["model"], one["reference"])


def _compared(one: Comparison) -> dict[str, Value]:
    exact = one["mcnemar"]
    row: dict[str, Value] = {
        "task": one["task"],
        "model": one["model"],
        "quant": one["quant"],
        "computation": one["computation"],
        "reference": one["reference"],
        "difference_pct": one["difference_pct"],
        "low_pct": one["low_pct"],
        "high_pct": one["high_pct"],
        "p_adjusted": one["p_adjusted"],
        "verdict": one["verdict"],
        "only": f"{exact['only_reference']} / {exact['only_variant']}",
        "exact_p_adjusted": one["exact_p_adjusted"],
    }
    return {**row, "bad": "verdict"} if one["verdict"] == "worse" else row


# --- abstention -----------------------------------------------------------------------------------


def _abstention(rows: Mapping[str, Mapping[Scored, Row]]) -> list[Shown]:
    return [
        {"key": "task", "title": "task", "digits": None},
        *columns_of(one for of_task in rows.values() for one in of_task),
        {"key": "f1_pct", "title": "F1\n%", "digits": 1},
        {"key": "best_f1_pct", "title": "best F1\n%", "digits": 1},
        {"key": "best", "title": "by", "digits": None},
        {"key": "best_f1_threshold", "title": "threshold\nnats", "digits": 2},
        {"key": "cut_pct", "title": "answers cut\n%", "digits": 1},
    ]


THOUGHTS: list[Shown] = [
    {"key": "thought_tokens", "title": "thought\ntokens", "digits": 0},
    {"key": "thoughts_cut_pct", "title": "thoughts cut\n%", "digits": 1},
]


MARKS: list[Shown] = [
    {"key": "marked_pct", "title": "with unknown\nmarks, %", "digits": 1},
    {"key": "unknown_marks", "title": "these marks", "digits": None},
]


def _abstaining(task: str, one: Scored, row: Row) -> dict[str, Value]:
    """As it answers, and at the best threshold: in words, with a number only where it is one."""
    numbers = (
        *("f1_pct", "best_f1_pct", "best_f1_threshold", "cut_pct"),
        *("thought_tokens", "thoughts_cut_pct", "marked_pct", "unknown_marks"),
    )
    return {
        "task": task,
        **one._asdict(),
        **{name: plain(row, name) for name in numbers},
        "best": plain(row, "best_f1_abstention"),
    }


# --- the descent ----------------------------------------------------------------------------------


def _descent(
    number: int, width: LowestWidth, objections: Mapping[Scored, Sequence[Objection]] | None
) -> Part:
    rows = [
        {
            "quant": quant,
            **_numbers(verdict),
            "gates": _gates(objections, Scored(width.model, quant)),
        }
        for quant, verdict in width.steps.items()
    ]
    skipped: list[TableRow] = [
        {"quant": quant, "verdict": "skipped", "reason": [*obstacles]}
        for quant, obstacles in width.skipped.items()
    ]
    return _part(
        width.model,
        facts=list(_facts(width)),
        chart=_ladder(number, rows, width) if rows else None,
        table={"columns": COLUMNS, "rows": [*rows, *skipped]},
    )


def _gates(objections: Mapping[Scored, Sequence[Objection]] | None, asked: Scored) -> str:
    if objections is None:
        return ""
    return "; ".join(map(objection_text, objections[asked])) or "passed"


def _numbers(verdict: Verdict) -> dict[str, Value]:
    row: dict[str, Value] = {
        "verdict": verdict["decision"],
        "loss_pct": verdict["loss_pct"],
        "low_pct": verdict["low_pct"],
        "high_pct": verdict["high_pct"],
        "questions": verdict["questions"],
        "asked": f"{verdict['questions']} / {verdict['of_questions']}",
    }
    return row if verdict["decision"] == "holds" else {**row, "bad": "verdict"}


COLUMNS: list[Shown] = [
    QUANT,
    VERDICT,
    {"key": "loss_pct", "title": "loss\npoints", "digits": 1},
    {"key": "low_pct", "title": "between\npoints", "digits": 1, "high": "high_pct"},
    {"key": "asked", "title": "questions asked", "digits": None},
    {"key": "gates", "title": "gates", "digits": None},
]


def _facts(width: LowestWidth) -> Iterator[Fact]:
    """The lowest width; what ended the descent, and why; what to try next."""
    whole = "_is_widest" if width.lowest == width.widest else ""
    yield {"key": f"descent.lowest{whole}", "values": {"quant": width.lowest}}
    if width.ended_at is None:
        return
    verdict = width.steps[width.ended_at]
    ended: dict[str, Value] = {
        "quant": width.ended_at,
        "metric": verdict["metric"],
        "margin": verdict["margin_pct"],
    }
    if verdict["decision"] == "fails":
        yield {"key": "descent.fails", "values": ended}
    else:
        asked = {key: verdict[key] for key in ("questions", "paragraphs")}
        needed = {"needed": verdict["paragraphs_needed"]}
        yield {"key": "descent.not_shown", "values": {**ended, **asked, **needed}}
    if width.train:
        yield {"key": "descent.train", "values": {"train": width.train}}
    else:
        yield {"key": "descent.trained", "values": {}}


def _ladder(number: int, rows: list[dict[str, Value]], width: LowestWidth) -> Chart:
    """From wide to narrow: the loss against the widest with its bounds, and the margin."""
    margins = [verdict["margin_pct"] for verdict in width.steps.values()]
    return {
        "id": f"descent-{number}",
        "key": "descent",
        "kind": "by name",
        "value": {
            "key": "loss_pct",
            "title": "loss, points",
            "digits": 1,
            "low": "low_pct",
            "high": "high_pct",
        },
        "scale": "linear",
        "limit": margins[0],
        "verdict": "verdict",
        "shown": [{"key": "questions", "title": "questions asked", "digits": 0}],
        "points": [{"name": row["quant"], **row} for row in rows],
    }
