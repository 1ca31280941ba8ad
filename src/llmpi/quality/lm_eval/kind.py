"""The kind `lm_eval`: tasks of the lm-evaluation-harness."""

from collections.abc import Mapping, Sequence

from llmpi.columns import text
from llmpi.quality.kind import (
    SCORED,
    STATE,
    NotScored,
    Row,
    Section,
    Summary,
    TaskKind,
    Value,
    columns_of,
    no_score,
    records_of,
)
from llmpi.quality.lm_eval.records import LmEvalScored, Metric, Share
from llmpi.study.runs import Scored
from llmpi.study.study import Study

COLUMNS = {
    **STATE,
    "metrics": text("The harness's metrics, `TASK/METRIC,FILTER VALUE` joined by `; `"),
}

Records = Mapping[Scored, LmEvalScored | NotScored]


def summarize(study: Study, tasks: Sequence[str]) -> Summary:
    records: dict[str, Records] = {
        task: dict(records_of(LmEvalScored, study, task)) for task in tasks
    }
    return Summary(
        rows={task: {v: _row(r) for v, r in found.items()} for task, found in records.items()},
        sections=_sections(records),
    )


def _row(record: LmEvalScored | NotScored) -> Row:
    """The metrics by name; any name may occur."""
    if record["status"] != "ok":
        return no_score(record, COLUMNS)
    values = {name: _value(metric) for name, metric in record["summary"]["metrics"].items()}
    return {**SCORED, "metrics": {n: value for n, value in values.items() if value is not None}}


def _value(metric: Share | Metric) -> float | None:
    return metric["pct"] if "pct" in metric else metric["value"]


# --- the page -------------------------------------------------------------------------------------


def _sections(records: Mapping[str, Records]) -> list[Section]:
    """A line for all that is scored, and each metric."""
    rows = [
        {"task": task, **one._asdict(), "metric": name, **_shown(metric)}
        for task, found in records.items()
        for one, record in found.items()
        if record["status"] == "ok"
        for name, metric in record["summary"]["metrics"].items()
    ]
    if not rows:
        return []
    return [
        {
            "id": "harness",
            "key": "lm_eval",
            "values": {},
            "parts": [
                {
                    "name": "",
                    "facts": [],
                    "chart": None,
                    "table": {
                        "columns": [
                            {"key": "task", "title": "task", "digits": None},
                            *columns_of(one for found in records.values() for one in found),
                            {"key": "metric", "title": "metric", "digits": None},
                            {"key": "value", "title": "value", "digits": 4, "unit": "unit"},
                            {"key": "stderr", "title": "standard error", "digits": 4},
                        ],
                        "rows": rows,
                    },
                    "remarks": [],
                }
            ],
        }
    ]


def _shown(metric: Share | Metric) -> dict[str, Value]:
    if "pct" in metric:
        return {"value": metric["pct"], "unit": "%", "stderr": metric["stderr_pct"], "digits": 1}
    return {"value": metric["value"], "unit": "", "stderr": metric["stderr"], "digits": 4}


KIND = TaskKind(name="lm_eval", record=LmEvalScored, columns=COLUMNS, summarize=summarize)
