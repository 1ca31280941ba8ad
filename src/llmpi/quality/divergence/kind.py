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
from llmpi.quality.evidence import Evidence, Requirement
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
from llmpi.study.tasks.divergence import DivergenceTask


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

LOSS: Shown = {
    "key": "kld_mean_nats",
    "title": "mean KL divergence, nats",
    "digits": 4,
    "error": "kld_mean_nats_se",
}

Records = Mapping[Scored, DivergenceScored | NotScored]


def summarize(study: Study, tasks: Sequence[str]) -> Summary:
    records: dict[str, Records] = {
        task: dict(records_of(DivergenceScored, study, task)) for task in tasks
    }
    rows = {task: {v: _row(r) for v, r in found.items()} for task, found in records.items()}
    return Summary(
        rows=rows,
        sections=[_section(task, records[task], rows[task]) for task in tasks],
        requirements=[one for task in tasks for one in _requirements(study, task, records[task])],
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


def _requirements(study: Study, task: str, records: Records) -> Iterator[Requirement]:
    """The perplexity of each model's variants: windows are its own, as tokens are."""
    asked = study.quality[task]
    assert isinstance(asked, DivergenceTask)
    scored = {v: r for v, r in records.items() if r["status"] == "ok"}
    if asked.perplexity_rise_at_most_pct is None or not scored:
        return
    chunks = max(record["chunks"] for record in scored.values())
    clusters = [f"window {at:06}" for at in range(chunks)]
    yield {
        "task": task,
        "metric": "perplexity",
        "tag": None,
        "margin": asked.perplexity_rise_at_most_pct,
        "kind": "loss",
        "cluster": "window",
        "clusters": clusters,
        "asked": chunks,
        "variants": [_evidence(one, record, chunks) for one, record in scored.items()],
    }


def _evidence(one: Scored, record: DivergenceScored, chunks: int) -> Evidence:
    empty = [0] * (chunks - record["chunks"])
    reference = one == Scored(one.model, BASE_QUANT)
    nats = [sums["nll"] - sums["reference_nll"] for sums in record["chunk_sums"]]
    tokens = [record["positions_per_chunk"]] * record["chunks"]
    return {
        "model": one.model,
        "quant": one.quant,
        "computation": one.computation,
        "score": None,
        "loss": None
        if reference
        else {"kind": "log ratio", "items": tokens + empty, "nats": [*nats, *map(float, empty)]},
        "reference": reference,
    }


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
    """The text, and what each model read of it: the same for all variants of the model."""
    of_model = {v.model: record for v, record in records.items() if record["status"] == "ok"}
    for model, known in of_model.items():
        read = {"chunks": known["chunks"], "tokens": known["window_tokens"]}
        yield {"key": "divergence.windows", "values": {"model": model, **read}}
        if known["chunks"] != known["wanted_chunks"]:
            yield {"key": "divergence.fewer", "values": {"wanted": known["wanted_chunks"]}}
    for known in [*of_model.values()][:1]:
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
    """All but the reference, whose divergence is 0 but for rounding, and who has none at all."""
    points = [
        {"name": one.name, **line}
        for one, row in rows.items()
        if row["status"] == "ok" and one != Scored(one.model, BASE_QUANT)
        for line in [_line(one, row)]
        if isinstance(nats := line[LOSS["key"]], int | float) and nats > 0
    ]
    if not points:
        return None
    return {
        "id": f"divergence-{task}",
        "key": "divergence",
        "kind": "loss over bits per weight",
        "value": LOSS,
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
    loss=LOSS,
    figures={
        "perplexity_ratio": Figure("perplexity, times the F16's", 3),
        "kld_mean_nats": Figure("mean KL divergence, nats", 4),
        "top1_agreement_pct": Figure("same top-1, %", 1),
    },
    summarize=summarize,
)
