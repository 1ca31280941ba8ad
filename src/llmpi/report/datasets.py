"""The page's data sets: what its table, its details and its charts are drawn from, held once."""

from collections.abc import Mapping, Sequence
from typing import Any

from llmpi.decide.candidates import OBJECTIVES, candidates
from llmpi.decide.pareto import Z95, front
from llmpi.layout import BASE_QUANT
from llmpi.records import Record, is_ok
from llmpi.report.comparisons import against_the_paper
from llmpi.report.wording import variant_of

Row = dict[str, Any]


def datasets(summary: Record, recommendation: Record | None) -> Record:
    """All data sets by name.

    Args:
        summary: of `llmpi.report.summary.summarize`.
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
        "csv": list(summary["rows"][0]),
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
        "predictions": _predictions(summary),
        "paper": _paper(summary),
        "choice": _choice(recommendation),
        **_money(recommendation),
    }


def cell_id(row: Row) -> str:
    return "/".join(row[key] for key in ("device", "model", "quant", "runtime", "workload"))


def variant(row: Row, summary: Record) -> str:
    """The quantization, and the runtime where there are several to tell apart."""
    several = len(summary["provenance"]["config"]["runtimes"]) > 1
    return f"{row['quant']} {row['runtime']}" if several else row["quant"]


def _cell(row: Row, summary: Record) -> Row:
    """What the charts need beside a row: `transferred` is 1 where its quality is its device's."""
    j, error = row["tg_j_per_token"], row["tg_uncertainty_j_per_token"]
    share = row["tg_memory_share"]
    name = variant(row, summary)
    return {
        "id": cell_id(row),
        "variant": name,
        "name": f"{row['model']} {name}",
        "cell": _said_of(row, summary),
        "transferred": int(not row["marks"] and not row["parity_reason"]),
        "agreement": "differs" if row["parity_reason"] else "agrees",
        "roofline_tps": row["tg_tps"] / share if share else None,
        "tg_low_j_per_token": None if j is None else j - Z95 * error,
        "tg_high_j_per_token": None if j is None else j + Z95 * error,
    }


def _said_of(row: Row, summary: Record) -> str:
    return f"{row['model']} {variant(row, summary)}, {row['device']}, {row['workload']}"


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
    found: Record = {"sustained_speed": [], "sustained_heat": []}
    for curve in summary["curves"]:
        shared = {key: curve[key] for key in ("device", "workload")}
        shared |= {"id": cell_id(curve), "name": f"{curve['model']} {variant(curve, summary)}"}
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


def _predictions(summary: Record) -> list[Row]:
    """tg as predicted and as measured, where there are both."""
    return [
        {
            "id": cell_id(found),
            "cell": _said_of(found, summary),
            **{key: found[key] for key in ("device", "verdict")},
            **{f"predicted_{key}": found["predicted"]["tg_tps"][key] for key in ENDS},
            **{f"measured_{key}": found["measured"]["tg_tps"][key] for key in ENDS},
        }
        for found in summary["predictions"]
        if found["predicted"] and found["predicted"]["tg_tps"] and found["measured"]["tg_tps"]
    ]


ENDS = ("low", "value", "high")


def _paper(summary: Record) -> list[Row]:
    """Two points for each pair that corresponds: the paper's and ours."""
    found = []
    for pair in against_the_paper(summary)["corresponding"]:
        if pair["ours"]["tg_tps"] is None:
            continue
        ours = pair["ours"]
        name = f"{pair['model']} {pair['quant']}, {pair['device']}"
        shared = {"name": name, "ratio": pair["ratios"]["tg_tps"]}
        where = {**ours, "device": pair["device"]}
        found += [
            {**shared, "who": "paper", "tg_tps": pair["paper"]["tg_tps"]},
            {**shared, "who": "ours", "tg_tps": ours["tg_tps"], "id": cell_id(where)},
        ]
    return found


LIMITS = {
    "speed": ("tps_at_least", 1.0),
    "energy": ("j_per_token_at_most", 1.0),
    "memory": ("memory_at_most", 1 / 1024**3),
}
MOST_SHOWN = 8


def _choice(recommendation: Record | None) -> list[Row]:
    """The pick, the runner-up and the front (or, without a pick, the nearest), by objective."""
    if recommendation is None:
        return []
    overall = recommendation["decisions"][0]
    ids = [overall["pick"], overall["runner_up"], overall["nearest"], *overall["front"]]
    chosen = [i for i in dict.fromkeys(ids) if i][:MOST_SHOWN]
    known = {candidate["id"]: candidate for candidate in recommendation["candidates"]}
    several = len({candidate["device"] for candidate in known.values()}) > 1
    found = []
    for i in chosen:
        for objective in OBJECTIVES:
            if (estimate := known[i][objective]) is None:
                continue
            key, scale = LIMITS.get(objective, ("", 1.0))
            limit = recommendation["constraints"].get(key)
            found.append(
                {
                    "id": f"{i}/{recommendation['workload']}",
                    "name": variant_of(known[i]) + (f", {known[i]['device']}" if several else ""),
                    "role": "pick" if i == overall["pick"] else "other",
                    "objective": objective,
                    "limit": None if limit is None else limit * scale,
                    **{
                        key: None if estimate[key] is None else estimate[key] * scale
                        for key in ("value", "low", "high")
                    },
                }
            )
    return found


MOST_FIGURES = 12


def _money(recommendation: Record | None) -> Record:
    found: Record = {"money": [], "sensitivity": []}
    money = recommendation and recommendation["money"]
    for device in (d for d in (money or {}).get("devices", []) if not d["reason"]):
        name = device["device"]
        bars = [(name, part, v) for part, v in device["parts_per_million_tokens"].items()]
        others = device["alternatives"].items()
        bars += [(other, "whole", o["per_million_tokens"]) for other, o in others]
        found["money"] += [
            {"device": name, "what": what, "part": part, "per_million_tokens": v, "place": i}
            for i, (what, part, v) in enumerate(bars)
        ]
        found["sensitivity"] += [
            {"device": name, "now": device["per_million_tokens"], **moved}
            for moved in device["sensitivity"][:MOST_FIGURES]
        ]
    return found
