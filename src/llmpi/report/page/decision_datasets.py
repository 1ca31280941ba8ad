"""Data sets of what follows from the cells: predictions, paper, choice, money."""

from typing import Any

from llmpi.decide.candidates import OBJECTIVES
from llmpi.records import Record
from llmpi.report.page.paper_section import against_the_paper
from llmpi.report.words.numbers import cell_id, group_of_board, named_cell, variant_of

Row = dict[str, Any]


def outcomes(summary: Record, recommendation: Record | None) -> Record:
    """`predictions`, `paper`, `choice`, `money`, `sensitivity`, each a list of records.

    Args:
        summary, recommendation: as for `llmpi.report.page.datasets.datasets`.
    """
    return {
        "predictions": _predictions(summary),
        "paper": _paper(summary),
        "choice": _choice(recommendation),
        **_money(recommendation),
    }


def _predictions(summary: Record) -> list[Row]:
    """tg as predicted and as measured, where there are both."""
    groups = group_of_board(summary)
    return [
        {
            "id": cell_id({**found, "device": groups[found["device"]]}),
            "cell": named_cell(found, summary),
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
    groups = group_of_board(summary)
    for pair in against_the_paper(summary)["corresponding"]:
        if pair["ours"]["tg_tps"] is None:
            continue
        ours = pair["ours"]
        name = f"{pair['model']} {pair['quant']}, {pair['device']}"
        shared = {"name": name, "ratio": pair["ratios"]["tg_tps"]}
        where = {**ours, "device": groups[pair["device"]]}
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
