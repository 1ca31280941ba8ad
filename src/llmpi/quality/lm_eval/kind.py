"""The kind `lm_eval`: tasks of the lm-evaluation-harness."""

from collections.abc import Iterator, Mapping, Sequence

from llmpi.columns import text
from llmpi.quality.evidence import Requirement, ScoredItem, evidence_of
from llmpi.quality.kind import (
    SCORED,
    STATE,
    THINKING,
    NotScored,
    Row,
    Section,
    Summary,
    TaskKind,
    Value,
    columns_of,
    no_score,
    records_of,
    thinking_columns,
)
from llmpi.quality.lm_eval.records import HarnessItem, LmEvalScored, Metric, Share
from llmpi.quality.sent import UNKNOWN_MARKS, marks_line
from llmpi.study.runs import Scored, by_width
from llmpi.study.study import Study
from llmpi.study.tasks.lm_eval import LmEvalTask

COLUMNS = {
    **STATE,
    "metrics": text("The harness's metrics, `TASK/METRIC,FILTER VALUE` joined by `; `"),
    **THINKING,
    "unknown_marks": text(UNKNOWN_MARKS),
}

Records = Mapping[Scored, LmEvalScored | NotScored]
AT_ONCE: Row = dict.fromkeys(THINKING)


def summarize(study: Study, tasks: Sequence[str]) -> Summary:
    records: dict[str, Records] = {
        task: dict(records_of(LmEvalScored, study, task)) for task in tasks
    }
    return Summary(
        rows={task: {v: _row(r) for v, r in found.items()} for task, found in records.items()},
        sections=_sections(records),
        requirements=[one for task in tasks for one in _requirements(study, task, records[task])],
    )


def _row(record: LmEvalScored | NotScored) -> Row:
    """The metrics by name; any name may occur."""
    if record["status"] != "ok":
        return no_score(record, COLUMNS)
    thinking = record["summary"].get("thinking")
    values = {name: _value(metric) for name, metric in record["summary"]["metrics"].items()}
    return {
        **SCORED,
        "metrics": {n: value for n, value in values.items() if value is not None},
        **(thinking_columns(thinking, thinking["answers"]) if thinking else AT_ONCE),
        "unknown_marks": marks_line(record.get("marks", ())),
    }


def _value(metric: Share | Metric) -> float | None:
    return metric["pct"] if "pct" in metric else metric["value"]


def _requirements(study: Study, task: str, records: Records) -> Iterator[Requirement]:
    """Every metric that is a share of the items of which more is better."""
    asked = study.quality[task]
    assert isinstance(asked, LmEvalTask)
    if asked.drop_at_most is None:
        return
    order = {model: by_width(study, model) for model in study.models}
    scored = {v: r for v, r in records.items() if r["status"] == "ok"}
    clusters = sorted({_key(item) for r in scored.values() for item in r["items"]})
    metrics = {n: m for r in scored.values() for n, m in r["summary"]["metrics"].items()}
    for name, metric in metrics.items():
        if "pct" not in metric or not metric["higher_is_better"]:
            continue
        items = {variant: _items(record["items"], name) for variant, record in scored.items()}
        if any(items.values()):
            yield {
                "task": task,
                "metric": name,
                "tag": None,
                "margin": asked.drop_at_most,
                "kind": "loss",
                "cluster": "item",
                "clusters": clusters,
                "asked": len(clusters),
                "variants": evidence_of(items, order, clusters),
            }


def _items(items: Sequence[HarnessItem], name: str) -> list[ScoredItem]:
    """The part of every item in a metric `TASK/METRIC,FILTER`."""
    task, _, rest = name.rpartition("/")
    metric, _, chosen = rest.partition(",")
    found = []
    for item in items:
        value = item["metrics"].get(metric)
        here = (item["task"], item["filter"]) == (task, chosen)
        if here and isinstance(value, int | float) and 0 <= value <= 1:  # NaN is neither
            found.append(ScoredItem(_key(item), _key(item), float(value)))
    return found


def _key(item: HarnessItem) -> str:
    return f"{item['task']} {item['id']}"


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
