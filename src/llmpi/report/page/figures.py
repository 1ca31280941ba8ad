"""Which charts a study's page has: its data decide."""

from llmpi.decide.candidates import OBJECTIVES
from llmpi.decide.scores import number
from llmpi.quality.kind import Score
from llmpi.report.page.charts import decided, kinds, measured, quality
from llmpi.report.page.charts.style import MOST_BY_NAME, Spec
from llmpi.report.page.content import Content
from llmpi.report.page.datasets import Datasets, charts_of
from llmpi.report.page.fronts import lost
from llmpi.report.page.standings import asked
from llmpi.report.words.languages import WORDS
from llmpi.report.words.texts import Texts
from llmpi.summary.records import ClassRow

MOST_NAMED = 24
"""Points of one chart whose names stand beside them; more would hide one another."""


def _at_a_place(content: Content) -> float:
    return len(content.rows) / len(content.places)


def is_crowded(content: Content) -> bool:
    """Whether the charts with a line for each cell show only the first of them."""
    return _at_a_place(content) > MOST_BY_NAME


def figures(t: Texts, content: Content, data: Datasets) -> dict[str, Spec]:
    """Chart id -> Vega-Lite spec, in one language."""
    return {**_choice(t, data), **_standings(t, content, data), **_cells(t, content, data),
            **_kinds(t, content), **_weighed(t, data), **_held_against(t, data),
            **_money(t, content)}  # fmt: skip


def _choice(t: Texts, data: Datasets) -> dict[str, Spec]:
    """None of a single candidate: a dot by itself shows nothing."""
    if len({point["name"] for point in data["choice"]}) < 2:
        return {}
    told = {point["objective"] for point in data["choice"]}
    objectives = [objective for objective in OBJECTIVES if objective in told]
    return {"choice": decided.choice(t, objectives)} if objectives else {}


def _standings(t: Texts, content: Content, data: Datasets) -> dict[str, Spec]:
    """A chart a requirement."""
    return {
        f"standing-{at}": decided.standing(
            t, at, one, [row for row in data["standings"] if row["requirement"] == at]
        )
        for at, one in enumerate(asked(content).values())
    }


def _cells(t: Texts, content: Content, data: Datasets) -> dict[str, Spec]:
    rows, models = content.rows, list(content.summary["models"])
    found: dict[str, Spec] = {}
    named, few = _at_a_place(content) <= MOST_NAMED, not is_crowded(content)
    for task, score in content.scores.items():
        if any(_drawn(row, task, score) for row in rows):
            drawn = quality.against_speed(t, task, score, models, named=named)
            found[f"tradeoff-{task}"] = drawn
        if any(_drawn(row, task, score) and task in row["answers"] for row in rows):
            drawn = quality.against_seconds(t, task, score, models, named=named)
            found[f"answers-{task}"] = drawn
    for task, loss in content.losses.items():
        if any(_measured(row) and lost(row, task, loss) for row in rows):
            drawn = quality.loss_against_speed(t, task, loss, models, named=named)
            found[f"tradeoff-{task}"] = drawn
    if any(row["tg_tps"] is not None and row["bits_per_weight"] is not None for row in rows):
        found["tg"] = measured.speed_by_bits(t, "tg", models, named=named)
        found["pp"] = measured.speed_by_bits(t, "pp", models, named=named)
    if any(row["tg_j_per_token"] is not None for row in rows):
        found["energy"] = measured.energy(t, models, few=few)
        found["words"] = measured.words_per_battery(t, models, few=few)
    if data["loads"]:
        devices = list(dict.fromkeys(row["device"] for row in rows))
        found["load"] = measured.loading(t, devices)
    if data["sustained_speed"]:
        found["sustained-speed"] = measured.sustained(t, "tg_tps")
    if data["sustained_heat"]:
        found["sustained-heat"] = measured.sustained(t, "temperature_c")
    if any(row["parity_kl_nats"] is not None for row in rows):
        found["parity"] = measured.parity(t, few=few)
    return found


def _kinds(t: Texts, content: Content) -> dict[str, Spec]:
    models = list(content.summary["models"])
    return {
        chart["id"]: kinds.draw(t, chart, models, named=len(chart["points"]) <= MOST_NAMED)
        for chart in charts_of(content)
    }


def _weighed(t: Texts, data: Datasets) -> dict[str, Spec]:
    """A chart a search."""
    searches = dict.fromkeys(one["search"] for one in data["weighed"])
    return {f"weighed-{at}": measured.speed_against_joules(t, at) for at in searches}


def _held_against(t: Texts, data: Datasets) -> dict[str, Spec]:
    found: dict[str, Spec] = {}
    if data["predictions"]:
        found["predictions"] = decided.predictions(t)
    if data["paper"]:
        found["paper"] = decided.paper(t)
    return found


def _money(t: Texts, content: Content) -> dict[str, Spec]:
    money = content.recommendation and content.recommendation["money"]
    words = WORDS[t.language]
    found: dict[str, Spec] = {}
    for i, device in enumerate(money["devices"] if money else []):
        if money and device["status"] == "ok":
            name, currency = device["device"], money["currency"]
            found[f"money-{i}"] = decided.money(t, name, currency)
            if device["sensitivity"]:
                found[f"sensitivity-{i}"] = decided.sensitivity(
                    t, name, currency, {n: words.assumption(n) for n in device["assumptions"]}
                )
    return found


def _drawn(row: ClassRow, task: str, score: Score) -> bool:
    """Whether a cell stands in the chart of quality against speed."""
    return _measured(row) and number(row, task, score.value["key"]) is not None


def _measured(row: ClassRow) -> bool:
    return row["tg_tps"] is not None and not row["marks"] and not row["parity_reason"]
