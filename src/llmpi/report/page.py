"""The page of a study: one file, no network, no script."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from llmpi.records import Record, is_ok, whole_file
from llmpi.report import charts

Row = dict[str, Any]


def write_page(summary: Record, recommendation: Record | None, out: Path) -> None:
    """Draw a study into `out`, atomically.

    Args:
        summary: of `llmpi.report.summary.summarize`.
        recommendation: of `llmpi.decide.choice.recommend`, with `money`; None while the study is
            not whole.

    A group of boards is shown as one device, and board by board in a table of its own. What comes
    from outside (reasons, logs, host names) is escaped by the template.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=number, estimate=estimate, mb=mb, seconds=seconds, pretty=pretty, interval=interval
    )
    by_class = {**summary, "rows": summary["classes"]}
    html = environment.get_template("page.html").render(
        summary=summary,
        recommendation=recommendation,
        ruled_out=[c for c in recommendation["candidates"] if c["killed_by"]]
        if recommendation
        else [],
        groups=[_group(by_class, *place) for place in _places(summary["classes"])],
        failed=_failed(summary),
        tasks=list(summary["questions"]),
        dequantized=_dequantized(summary["rows"]),
        pair_rows=_pair_rows,
    )
    with whole_file(out) as partial:
        partial.write_text(html, encoding="utf-8")


def _places(rows: Sequence[Row]) -> list[tuple[str, str]]:
    return list(dict.fromkeys((row["device"], row["workload"]) for row in rows))


def _group(summary: Record, device: str, workload: str) -> Record:
    """What is shown of one workload on one device: these cells can be compared with one another."""
    rows = [
        {**row, "variant": _variant(row, summary)}
        for row in summary["rows"]
        if (row["device"], row["workload"]) == (device, workload)
    ]
    return {
        "device": device,
        "workload": workload,
        "settings": summary["provenance"]["config"]["workloads"][workload],
        "rows": rows,
        "parity": [row for row in rows if row["parity_top1_pct"] is not None],
        "not_transferred": [r for r in rows if r["parity_reason"] and r["status"] == "ok"],
        "metered": any(row["tg_power_w"] is not None for row in rows),
        "tg": charts.speed(rows, "tg", "token generation, tokens/s"),
        "pp": charts.speed(rows, "pp", "prompt processing, tokens/s"),
        "tradeoff": {
            task: svg
            for task, asked in summary["questions"].items()
            if is_ok(asked)
            and (svg := charts.quality_against_speed(rows, task, _abstaining_pct(asked)))
        },
    }


def _variant(row: Row, summary: Record) -> str:
    """The quantization, and the runtime where there are several to tell apart."""
    several = len(summary["provenance"]["config"]["runtimes"]) > 1
    return f"{row['quant']} {row['runtime']}" if several else row["quant"]


def _abstaining_pct(asked: Record) -> float:
    return 100 * asked["unanswerable"] / asked["questions"]


def _failed(summary: Record) -> list[Record]:
    cells = []
    for row in summary["rows"]:
        where = {key: row[key] for key in ("device", "model", "quant")}
        if row["status"] != "ok":
            where["quant"] = _variant(row, summary)
            cells.append({**where, "what": row["workload"], "reason": row["reason"]})
        elif row["parity_reason"]:
            cells.append({**where, "what": "parity", "reason": row["parity_reason"]})
        where |= {"device": "workstation", "quant": row["quant"]}
        cells += [
            {**where, "what": task, "reason": row[f"{task}_reason"]}
            for task in summary["provenance"]["config"]["quality"]
            if row[f"{task}_status"] != "ok"
        ]
    return list({json.dumps(cell): cell for cell in cells}.values())


def _pair_rows(pair: Record) -> list[tuple[str, Record]]:
    """A comparison of two variants: over all prompts, then by tag."""
    return [*([("all", pair["all"])] if pair["all"] else []), *pair["tags"].items()]


# What a base may be made of without a loss: floats, packed ternary weights, a training of our own.
NOT_QUANTIZED = ("F16", "BF16", "F32", "F64", "TERNARY", "scratch")


def _dequantized(rows: Sequence[Row]) -> dict[str, str]:
    """Models whose base was made from quantized weights: model -> type they came in."""
    came = {row["model"]: row["lineage"].split(" > ")[0] for row in rows if row["lineage"]}
    return {model: kind for model, kind in came.items() if kind not in NOT_QUANTIZED}


def number(value: float | None, digits: int = 1) -> str:
    return "" if value is None else f"{round(value, digits) + 0.0:,.{digits}f}"  # no -0.0


def estimate(value: Record, digits: int) -> str:
    """A number and its standard error, where it has one."""
    error = value["standard_error"]
    return number(value["value"], digits) + (f" ± {error:.{digits}f}" if error else "")


def interval(row: Row, key: str) -> str:
    """The 95 % interval of a score, where there is one."""
    low, high = row[f"{key}_low_pct"], row[f"{key}_high_pct"]
    return "no interval" if low is None else f"{low:.1f}–{high:.1f}"


def mb(value: float | None) -> str:
    return "" if value is None else f"{value / 1e6:,.1f}"


def seconds(value: float | None) -> str:
    """Milliseconds below a second."""
    if value is None:
        return ""
    return f"{value * 1000:.1f} ms" if value < 1 else f"{value:.2f} s"


def pretty(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False)
