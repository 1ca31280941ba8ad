"""The kind `divergence`: perplexity of a text, and how far predictions are from the F16's."""

from collections.abc import Iterator, Mapping, Sequence

from llmpi.columns import Column, number
from llmpi.layout import BASE_QUANT
from llmpi.quality.divergence.records import (
    DivergenceScored,
    DivergenceSummary,
    Estimate,
    TextOrigin,
)
from llmpi.quality.kind import (
    SCORED,
    STATE,
    Chart,
    Fact,
    Figure,
    NotScored,
    Row,
    Section,
    Shown,
    Summary,
    Table,
    TaskKind,
    Value,
    columns_of,
    no_score,
    plain,
    records_of,
)
from llmpi.study.runs import Scored
from llmpi.study.study import Study


def _columns() -> Iterator[tuple[str, Column]]:
    names = {
        "perplexity": ("1", "Perplexity of the text"),
        "perplexity_ratio": ("1", "Perplexity, times the F16's"),
        "kld_mean_nats": ("nats", "KL divergence from the F16: mean over positions"),
        "kld_median_nats": ("nats", "Its median"),
        "kld_p99_nats": ("nats", "Its 99th percentile"),
        "top1_agreement_pct": ("%", "Positions with the F16's most likely token"),
    }
    for name, (unit, meaning) in names.items():
        yield name, number(unit, meaning)
        yield f"{name}_se", number(unit, "Its standard error")


COLUMNS = {**STATE, **dict(_columns())}

Records = Mapping[Scored, DivergenceScored | NotScored]


def summarize(study: Study, tasks: Sequence[str]) -> Summary:
    records: dict[str, Records] = {
        task: dict(records_of(DivergenceScored, study, task)) for task in tasks
    }
    rows = {task: {v: _row(r) for v, r in found.items()} for task, found in records.items()}
    return Summary(
        rows=rows, sections=[_section(task, records[task], rows[task]) for task in tasks]
    )


def _row(record: DivergenceScored | NotScored) -> Row:
    """Perplexity and distance from the F16, each with its standard error (`_se`)."""
    if record["status"] != "ok":
        return no_score(record, COLUMNS)
    return {**SCORED, **_numbers(record["summary"])}


def _numbers(summary: DivergenceSummary) -> Row:
    estimates: dict[str, Estimate] = {
        "perplexity": summary["perplexity"],
        "perplexity_ratio": summary["perplexity_ratio"],
        "kld_mean_nats": summary["kld_mean_nats"],
        "kld_median_nats": summary["kld_median_nats"],
        "kld_p99_nats": summary["kld_p99_nats"],
        "top1_agreement_pct": summary["top1_agreement_pct"],
    }
    row: Row = {}
    for name, estimate in estimates.items():
        row |= {name: estimate["value"], f"{name}_se": estimate["standard_error"]}
    return row


# --- the page -------------------------------------------------------------------------------------


def _section(task: str, records: Records, rows: Mapping[Scored, Row]) -> Section:
    return {
        "id": f"divergence-{task}",
        "key": "divergence",
        "values": {"task": task},
        "parts": [
            {
                "name": "",
                "facts": list(_facts(records)),
                "chart": _chart(task, rows),
                "table": _table(rows),
                "remarks": [],
            }
        ],
    }


def _facts(records: Records) -> Iterator[Fact]:
    """What was read, the same for every variant."""
    known = next((r for r in records.values() if r["status"] == "ok"), None)
    if known is None:
        return
    read: dict[str, Value] = {"chunks": known["chunks"], "tokens": known["window_tokens"]}
    yield {"key": "divergence.windows", "values": read}
    if known["chunks"] != known["wanted_chunks"]:
        yield {"key": "divergence.fewer", "values": {"wanted": known["wanted_chunks"]}}
    yield {"key": "divergence.text", "values": _told(known["corpus"]["source"])}


def _told(source: TextOrigin) -> dict[str, Value]:
    return {key: value for key, value in source.items() if isinstance(value, str | int | float)}


def _shown(key: str, title: str, digits: int) -> Shown:
    return {"key": key, "title": title, "digits": digits, "error": f"{key}_se"}


def _table(rows: Mapping[Scored, Row]) -> Table:
    return {
        "columns": [
            *columns_of(rows),
            _shown("perplexity", "perplexity", 2),
            _shown("perplexity_ratio", "times the\nF16's", 3),
            _shown("kld_mean_nats", "divergence,\nmean", 4),
            _shown("kld_median_nats", "median", 4),
            _shown("kld_p99_nats", "99th\npercentile", 3),
            _shown("top1_agreement_pct", "same top-1\n%", 1),
        ],
        "rows": [_line(one, row) for one, row in rows.items()],
    }


def _line(asked: Scored, row: Row) -> dict[str, Value]:
    named: dict[str, Value] = {**asked._asdict()}
    if row["status"] != "ok":
        return {**named, "reason": plain(row, "status"), "bad": "reason"}
    return named | {key: plain(row, key) for key in COLUMNS}


def _chart(task: str, rows: Mapping[Scored, Row]) -> Chart | None:
    """All but the reference, whose divergence is 0 but for rounding."""
    points = [
        {"name": one.name, **_line(one, row)}
        for one, row in rows.items()
        if row["status"] == "ok" and one != Scored(one.model, BASE_QUANT)
    ]
    if not points:
        return None
    return {
        "id": f"divergence-{task}",
        "key": "divergence",
        "kind": "over bits per weight",
        "value": _shown("kld_mean_nats", "mean KL divergence, nats", 4),
        "scale": "log",
        "limit": None,
        "verdict": None,
        "shown": [
            {"key": "top1_agreement_pct", "title": "same top-1, %", "digits": 1},
            {"key": "perplexity", "title": "perplexity", "digits": 2},
        ],
        "points": points,
    }


KIND = TaskKind(
    name="divergence",
    record=DivergenceScored,
    columns=COLUMNS,
    figures={
        "perplexity_ratio": Figure("perplexity, times the F16's", 3),
        "kld_mean_nats": Figure("mean KL divergence, nats", 4),
        "top1_agreement_pct": Figure("same top-1, %", 1),
    },
    summarize=summarize,
)
