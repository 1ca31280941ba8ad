"""Names and numbers for people."""

import json
from typing import Any

from llmpi.decide.candidates import OBJECTIVES
from llmpi.records import Record
from llmpi.report.words.texts import Texts

Row = dict[str, Any]


def number(value: float | None, digits: int = 1) -> str:
    return "" if value is None else f"{round(value, digits) + 0.0:,.{digits}f}"  # no -0.0


def estimate(value: Record, digits: int) -> str:
    """A number and its standard error, where it has one."""
    error = value["standard_error"]
    return number(value["value"], digits) + (f" ± {error:.{digits}f}" if error else "")


def mb(value: float | None) -> str:
    return "" if value is None else f"{value / 1e6:,.1f}"


def pretty(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False)


def cell_id(row: Row) -> str:
    return "/".join(row[key] for key in ("device", "model", "quant", "runtime", "workload"))


def group_of_board(summary: Record) -> dict[str, str]:
    """Board -> the group that a row shows it in; itself where it is in none.

    Args:
        summary: with its `classes` as `rows`.
    """
    return {board: row["device"] for row in summary["rows"] for board in row["boards"]}


def variant(row: Row, summary: Record) -> str:
    """The quantization, and the runtime where there are several to tell apart."""
    several = len(summary["provenance"]["config"]["runtimes"]) > 1
    return f"{row['quant']} {row['runtime']}" if several else row["quant"]


def named_cell(row: Row, summary: Record) -> str:
    return f"{row['model']} {variant(row, summary)}, {row['device']}, {row['workload']}"


def variant_of(candidate: Record) -> str:
    """A candidate's name without its device."""
    return str(candidate["name"]).removesuffix(f" on {candidate['device']}")


def facts(t: Texts, pick: Record | None) -> list[Record]:
    """The pick's numbers for the first screen: `value`, `unit`, `spread`."""
    units = {
        "quality": ("% F1", 1.0),
        "speed": (t("tokens/s"), 1.0),
        "energy": (t("J per token"), 1.0),
        "memory": (t("GiB of memory"), 1 / 1024**3),
    }
    return [
        {"value": f"{found['value'] * scale:.3g}", "unit": unit, "spread": _spread(t, found, scale)}
        for name in OBJECTIVES
        if pick and (found := pick[name])
        for unit, scale in [units[name]]
    ]


def _spread(t: Texts, found: Record, scale: float) -> str:
    low, high = found["low"], found["high"]
    parts = [] if low is None or low == high else [f"{low * scale:.3g}–{high * scale:.3g}"]
    return ", ".join([*parts, *([t.said(found["kind"])] if found["kind"] else [])])
