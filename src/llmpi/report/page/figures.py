"""Which charts a study's page has: its data decide."""

from llmpi.decide.candidates import OBJECTIVES
from llmpi.records import Record, is_ok
from llmpi.report.page.charts import decided as findings
from llmpi.report.page.charts import measured as cells
from llmpi.report.page.charts.style import Spec
from llmpi.report.words.texts import Texts

MOST_NAMED = 24
"""Points of one chart whose names stand beside them; more would hide one another."""

MOST_CURVES = 12
"""Curves of one chart that a legend still tells apart."""


def figures(
    t: Texts, summary: Record, data: Record, recommendation: Record | None
) -> dict[str, Spec]:
    """Chart id -> Vega-Lite spec, in one language.

    Args:
        data: of `llmpi.report.page.datasets.datasets`.
    """
    rows = summary["rows"]
    places = {(row["device"], row["workload"]) for row in rows}
    models = list(summary["models"])
    devices = list(dict.fromkeys(row["device"] for row in rows))
    named = len(rows) / len(places) <= MOST_NAMED
    found: dict[str, Spec] = {}
    objectives = [o for o in OBJECTIVES if any(c["objective"] == o for c in data["choice"])]
    if objectives:
        found["choice"] = findings.choice(t, objectives)
    for item in data["tasks"]:
        task = item["task"]
        if any(_drawn(row, task) for row in rows):
            found[f"tradeoff-{task}"] = cells.quality_against_speed(t, task, models, named=named)
    if any(row["tg_tps"] is not None and row["bits_per_weight"] is not None for row in rows):
        found["tg"] = cells.speed_by_bits(t, "tg", models)
        found["pp"] = cells.speed_by_bits(t, "pp", models)
    if any(row["tg_j_per_token"] is not None for row in rows):
        found["energy"] = cells.energy(t, models)
        found["words"] = cells.words_per_battery(t, models)
    if data["loads"]:
        found["load"] = cells.loading(t, devices)
    for key, name in (("tg_tps", "sustained_speed"), ("temperature_c", "sustained_heat")):
        if data[name]:
            found[name.replace("_", "-")] = cells.sustained(
                t, key, named=len(data[name]) / len(places) <= MOST_CURVES
            )
    if any(row["parity_kl_nats"] is not None for row in rows):
        found["parity"] = cells.parity(t)
    for i, step in enumerate(summary["descent"]):
        if step["steps"]:
            found[f"descent-{i}"] = findings.descent(t, step["model"])
    for i, pair in enumerate(summary["pairs"]):
        if is_ok(pair):
            found[f"pair-{i}"] = findings.pair(t, i)
    for task in dict.fromkeys(row["task"] for row in data["divergence"]):
        found[f"divergence-{task}"] = findings.divergence(t, task, models)
    if data["predictions"]:
        found["predictions"] = findings.predictions(t)
    if data["paper"]:
        found["paper"] = findings.paper(t)
    money = (recommendation or {}).get("money") or {"devices": []}
    for i, device in enumerate(money["devices"]):
        if not device["reason"]:
            name, currency = device["device"], money["currency"]
            found[f"money-{i}"] = findings.money(t, name, currency)
            if device["sensitivity"]:
                found[f"sensitivity-{i}"] = findings.sensitivity(t, name, currency)
    return found


def _drawn(row: Record, task: str) -> bool:
    """Whether a cell stands in the chart of quality against speed."""
    measured = row["tg_tps"] is not None and row[f"{task}_f1_pct"] is not None
    return measured and not row["marks"] and not row["parity_reason"]
