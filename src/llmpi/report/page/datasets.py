"""The page's data sets: what its table, its details and its charts are drawn from, held once."""

from collections.abc import Mapping, Sequence
from typing import Any

from llmpi.decide.candidates import OBJECTIVES, candidates
from llmpi.decide.pareto import front
from llmpi.layout import BASE_QUANT
from llmpi.records import Record, is_ok
from llmpi.report.page.decision_datasets import outcomes
from llmpi.report.words.numbers import cell_id, group_of_board, named_cell, variant
from llmpi.summary.estimate import Z95

Row = dict[str, Any]


def datasets(summary: Record, recommendation: Record | None) -> Record:
    """All data sets by name.

    Args:
        summary: of `llmpi.summary.study.summarize`, its `classes` as `rows`.
        recommendation: of `llmpi.decide.choice.recommend`, with `money`; None while the study is
            not whole.

    Returns:
        `cells`, by column as `columns` and `rows`, the rows of the summary and what `_cell` adds,
        and `csv`, which of the columns are the summary's; every other one a list of records.
    """
    cells = [{**row, **_cell(row, summary)} for row in summary["rows"]]
    for task, edge, best in _fronts(summary):
        for cell in cells:
            cell[f"{task}_front"] = int(cell["id"] in best)
            cell[f"{task}_edge"] = int(cell["id"] in edge)
    sizes = {(row["model"], row["quant"]): row["bits_per_weight"] for row in summary["rows"]}
    return {
        "csv": [key for key in summary["rows"][0] if key != "boards"],
        "cells": _by_column(cells),
        "why": _why(recommendation),
        "tasks": [
            {"task": task, "abstaining_pct": 100 * asked["unanswerable"] / asked["questions"]}
            for task, asked in summary["questions"].items()
            if is_ok(asked)
        ],
        "loads": _loads(cells),
        **_sustained(summary),
        "divergence": _divergence(summary, sizes),
        "descent": [
            {"model": found["model"], **step}
            for found in summary["descent"]
            for step in found["steps"]
        ],
        "pairs": _pairs(summary),
        **outcomes(summary, recommendation),
    }


def _cell(row: Row, summary: Record) -> Row:
    """What the charts need beside a row: `transferred` is 1 where its quality is its device's."""
    j, error = row["tg_j_per_token"], row["tg_uncertainty_j_per_token"]
    share = row["tg_memory_share"]
    name = variant(row, summary)
    return {
        "id": cell_id(row),
        "variant": name,
        "name": f"{row['model']} {name}",
        "cell": named_cell(row, summary),
        "transferred": int(not row["marks"] and not row["parity_reason"]),
        "agreement": "differs" if row["parity_reason"] else "agrees",
        "roofline_tps": row["tg_tps"] / share if share else None,
        "tg_low_j_per_token": None if j is None else j - Z95 * error,
        "tg_high_j_per_token": None if j is None else j + Z95 * error,
    }


def _fronts(summary: Record) -> list[tuple[str, set[str], set[str]]]:
    """For each task the cells at the edge by their point estimates, and those nothing beats.

    On each device and workload apart; quality and speed count, see `llmpi.decide.pareto`.
    """
    found = []
    both = [OBJECTIVES["quality"], OBJECTIVES["speed"]]
    for task, asked in summary["questions"].items():
        edge: set[str] = set()
        best: set[str] = set()
        for workload in dict.fromkeys(row["workload"] for row in summary["rows"]):
            able = [
                c
                for c in candidates(summary, workload, task)
                if is_ok(asked) and not c.faults and c.quality
            ]
            for device in dict.fromkeys(c.device for c in able):
                here = [c for c in able if c.device == device]
                best |= {cell_id(c.row) for c in front(here, both)}
                edge |= {
                    cell_id(c.row)
                    for c in here
                    if not any(_ahead(other.row, c.row, task) for other in here)
                }
        found.append((task, edge, best))
    return found


def _ahead(a: Row, b: Row, task: str) -> bool:
    """Whether `a` is nowhere behind `b` and somewhere ahead, by the point estimates."""
    keys = ("tg_tps", f"{task}_f1_pct")
    return all(a[k] >= b[k] for k in keys) and any(a[k] > b[k] for k in keys)


def _by_column(rows: Sequence[Row]) -> Record:
    columns = list(rows[0])
    return {"columns": columns, "rows": [[row[key] for key in columns] for row in rows]}


def _why(recommendation: Record | None) -> dict[str, list[str]]:
    """Cell -> what rules it out."""
    if recommendation is None:
        return {}
    workload = recommendation["workload"]
    return {
        f"{c['id']}/{workload}": [kill["why"] for kill in c["killed_by"]]
        for c in recommendation["candidates"]
        if c["killed_by"]
    }


def _loads(cells: Sequence[Row]) -> list[Row]:
    """Two points a variant and device, cold and warm; all workloads of a session share its load."""
    found: dict[tuple[str, ...], list[Row]] = {}
    for cell in cells:
        if cell["cold_load_s"] is None or cell["file_bytes"] is None:
            continue
        rate = cell["storage_read_bytes_per_s"]
        shared = {
            **{key: cell[key] for key in ("id", "cell", "device")},
            "file_mb": cell["file_bytes"] / 1e6,
            "read_s": cell["file_bytes"] / rate if rate else None,
        }
        key = tuple(cell[k] for k in ("device", "model", "quant", "runtime"))
        found[key] = [
            {**shared, "state": state, "load_s": cell[f"{state}_load_s"]}
            for state in ("cold", "warm")
        ]
    return [point for points in found.values() for point in points]


def _sustained(summary: Record) -> Record:
    """The curves, each of one board; they stand with the group that the board is one of."""
    groups = group_of_board(summary)
    found: Record = {"sustained_speed": [], "sustained_heat": []}
    for curve in summary["curves"]:
        group = groups[curve["device"]]
        board = "" if group == curve["device"] else f", {curve['device']}"
        shared = {
            "id": cell_id({**curve, "device": group}),
            "device": group,
            "workload": curve["workload"],
            "name": f"{curve['model']} {variant(curve, summary)}{board}",
        }
        for name, key in (("sustained_speed", "tg_tps"), ("sustained_heat", "temperature_c")):
            points = curve[key]
            found[name].append(
                {
                    **shared,
                    "at_s": [t for t, _ in points],
                    "value": [round(v, 3) for _, v in points],
                }
            )
    return found


def _divergence(summary: Record, sizes: Mapping[tuple[str, str], float | None]) -> list[Row]:
    """What each variant makes of each text, but the reference: 0 but for rounding."""
    found = []
    for text in summary["divergence"]:
        for row in text["rows"]:
            if not is_ok(row) or row["quant"] == BASE_QUANT:
                continue
            kld, error = row["kld_mean_nats"]["value"], row["kld_mean_nats"]["standard_error"] or 0
            found.append(
                {
                    "task": text["task"],
                    "model": row["model"],
                    "name": f"{row['model']} {row['quant']}",
                    "bits_per_weight": sizes.get((row["model"], row["quant"])),
                    "kld_nats": kld,
                    "low_nats": max(kld - Z95 * error, kld / 10),
                    "high_nats": kld + Z95 * error,
                    "top1_pct": row["top1_agreement_pct"]["value"],
                    "perplexity": row["perplexity"]["value"],
                }
            )
    return found


def _pairs(summary: Record) -> list[Row]:
    return [
        {"pair": i, "tag": tag, **{key: row[key] for key in keys}}
        for keys in [("difference_pct", "low_pct", "high_pct", "prompts")]
        for i, pair in enumerate(summary["pairs"])
        if is_ok(pair)
        for tag, row in by_tag(pair)
    ]


def by_tag(pair: Record) -> list[tuple[str, Record]]:
    """A comparison of two variants: over all prompts, then by tag."""
    return [*([("all", pair["all"])] if pair["all"] else []), *pair["tags"].items()]
