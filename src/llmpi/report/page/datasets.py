"""The page's data sets: what its table, its details and its charts are drawn from, held once."""

from collections.abc import Iterator, Sequence

from typing_extensions import TypedDict

from llmpi.quality.kind import Chart, Value
from llmpi.report.page.content import Content, cell_id
from llmpi.report.page.decision_datasets import (
    Bar,
    ChoicePoint,
    PaperDot,
    PredictedPoint,
    Swing,
    bars,
    choice_points,
    paper_dots,
    predicted_points,
    swings,
)
from llmpi.report.page.fronts import Point, cell_fronts, estimate_of, least_losses, lost
from llmpi.report.page.standings import StandingRow, standing_rows
from llmpi.summary.estimate import Z95, Estimate
from llmpi.summary.flat import FlatRow, flat_rows
from llmpi.summary.records import ClassRow, Curve

MOST_CURVES = 6
"""Curves of one chart that a legend still tells apart."""


class Cells(TypedDict):
    """The rows by column."""

    columns: list[str]
    rows: list[list[object]]
    """Texts, numbers and None."""


class SharedCells(Cells):
    """The same in less room: of thousands of cells, most have the texts of others."""

    same: dict[str, object]
    """The columns that are alike in all rows, which do not have them."""

    shared: list[int]
    """Numbers of the columns whose texts stand in"""
    texts: list[str]
    """and are told by their place there."""


class TaskFloor(TypedDict):
    """A task with questions that have no answer."""

    task: str
    abstaining_pct: float
    """What a model that always abstains scores."""


class Sustained(TypedDict):
    """A curve over the sustained phase."""

    id: str
    device: str
    workload: str
    name: str
    at_s: list[float]
    value: list[float]


class WeighedSetting(TypedDict):
    """A setting of a search for joules, against the one it began with."""

    search: int
    """Which of those that ended well."""
    words: str
    speed_pct: float
    energy_pct: float
    blocks: int
    front: int


class Datasets(TypedDict):
    """By the names under which charts draw on them."""

    csv: list[str]
    """The columns of the cells that are the summary's."""
    cells: Cells
    tasks: list[TaskFloor]
    loads: list[int]
    """Places of the cells that tell how long a file takes to load; the page draws two points each,
    cold and warm."""
    sustained_speed: list[Sustained]
    sustained_heat: list[Sustained]
    weighed: list[WeighedSetting]
    predictions: list[PredictedPoint]
    paper: list[PaperDot]
    choice: list[ChoicePoint]
    standings: list[StandingRow]
    money: list[Bar]
    sensitivity: list[Swing]


def datasets(content: Content) -> Datasets:
    """All but those of the kinds of quality tasks."""
    flat = flat_rows(content.study, content.rows)
    cells = [
        {**columns, **_beside(row, content)}
        for columns, row in zip(flat, content.rows, strict=True)
    ]
    for task, fronts, broken in cell_fronts(content):
        for cell in cells:
            for name, best in fronts.items():
                cell[f"{task}_{name}"] = int(cell["id"] in best)
            cell[f"{task}_broken"] = int(cell["id"] in broken)
    speed, heat = _sustained(content)
    return {
        "csv": list(flat[0]),
        "cells": {"columns": list(cells[0]), "rows": [list(cell.values()) for cell in cells]},
        "tasks": [
            {"task": task, "abstaining_pct": 100 * asked["unanswerable"] / asked["questions"]}
            for task, asked in content.summary["questions"].items()
            if asked["status"] == "ok"
        ],
        "loads": _loads(content),
        "sustained_speed": speed,
        "sustained_heat": heat,
        "weighed": [*_weighed(content)],
        "predictions": predicted_points(content),
        "paper": paper_dots(content),
        "choice": choice_points(content),
        "standings": standing_rows(content),
        "money": bars(content.priced),
        "sensitivity": swings(content.priced),
    }


def with_shared_texts(cells: Cells) -> SharedCells:
    """Each text once, of the columns in which texts come again, and what is alike everywhere."""
    same: dict[str, object] = {}  # as the rows have them
    names: list[str] = []
    columns: list[list[object]] = []
    for i, name in enumerate(cells["columns"]):
        column = [row[i] for row in cells["rows"]]
        if len({*column}) == 1:
            same[name] = column[0]
        else:
            names.append(name)
            columns.append(column)
    places: dict[str, int] = {}
    shared = [i for i, column in enumerate(columns) if _comes_again(column)]
    for i in shared:
        columns[i] = [
            text if text is None else places.setdefault(str(text), len(places))
            for text in columns[i]
        ]
    rows = [list(row) for row in zip(*columns, strict=True)] or [[] for _ in cells["rows"]]
    return {
        "columns": names,
        "rows": rows,
        "same": same,
        "shared": shared,
        "texts": list(places),
    }


def _comes_again(column: Sequence[object]) -> bool:
    found = [value for value in column if value is not None]
    return all(isinstance(value, str) for value in found) and 2 * len({*found}) < len(found)


def kind_datasets(content: Content) -> dict[str, list[Point]]:
    """The points of the charts of the kinds of quality tasks, by the chart's id."""
    return {chart["id"]: _points(chart, content) for chart in charts_of(content)}


def charts_of(content: Content) -> Iterator[Chart]:
    """The charts of the kinds of quality tasks."""
    for section in content.summary["sections"]:
        for part in section["parts"]:
            if chart := part["chart"]:
                yield chart


def _points(chart: Chart, content: Content) -> list[Point]:
    """With the ends of the interval; over the bits per weight also these, and whether it is on the
    front of its model."""
    sizes = {(row["model"], row["quant"]): row["bits_per_weight"] for row in content.rows}
    found = []
    for point in chart["points"]:
        low, high = _ends(chart, point)
        shown: Point = {**point, "low": low, "high": high, "limit": chart["limit"]}
        if chart["kind"] == "loss over bits per weight":
            variant = (str(point["model"]), str(point["quant"]))
            shown["bits_per_weight"] = sizes.get(variant)
            shown["variant"] = variant[1]
        found.append(shown)
    if chart["kind"] == "loss over bits per weight":
        best = {id(point) for point in least_losses(found, chart["value"])}
        found = [{**point, "front": int(id(point) in best)} for point in found]
    return found


def _ends(chart: Chart, point: Point) -> tuple[Value, Value]:
    shown = chart["value"]
    if "error" not in shown:
        return point.get(shown.get("low", "")), point.get(shown.get("high", ""))
    found = estimate_of(point, shown)
    assert found
    return _above_zero(found) if chart["scale"] == "log" else found.low, found.high


def _above_zero(found: Estimate) -> float | None:
    """The lower end where a logarithmic axis can still draw it."""
    return None if found.low is None else max(found.low, found.value / 10)


def _beside(row: ClassRow, content: Content) -> FlatRow:
    """What the charts need beside a row: `transferred` is 1 where its quality is its device's."""
    j, error = row["tg_j_per_token"], row["tg_uncertainty_j_per_token"]
    spread = None if j is None or error is None else Z95 * error
    share, tps = row["tg_memory_share"], row["tg_tps"]
    name = content.variant(row)
    return {
        "id": cell_id(row),
        "variant": name,
        "name": f"{row['model']} {name}",
        "cell": content.name(row),
        "transferred": int(not row["marks"] and not row["parity_reason"]),
        "agreement": "differs" if row["parity_reason"] else "agrees",
        "roofline_tps": tps / share if share and tps else None,
        "tg_low_j_per_token": None if j is None or spread is None else j - spread,
        "tg_high_j_per_token": None if j is None or spread is None else j + spread,
        **_losses(row, content),
    }


def _losses(row: ClassRow, content: Content) -> FlatRow:
    """Each as it is drawn over the speed: with its ends, and none of the reference."""
    found: FlatRow = {}
    for task, loss in content.losses.items():
        known = lost(row, task, loss)
        found[f"{task}_loss"] = known and known.value
        found[f"{task}_loss_low"] = known and _above_zero(known)
        found[f"{task}_loss_high"] = known and known.high
    return found


def _weighed(content: Content) -> Iterator[WeighedSetting]:
    ended = [search for search in content.summary["tuned"] if search["status"] == "ok"]
    for at, search in enumerate(ended):
        for one in search["weighed"]:
            yield {
                "search": at,
                "words": one["words"],
                "speed_pct": one["speed_pct"],
                "energy_pct": one["energy_pct"],
                "blocks": one["blocks"],
                "front": int(one["on_front"]),
            }


def _loads(content: Content) -> list[int]:
    """One a variant and device: all workloads of a session share its load."""
    last = {
        (r["device"], r["model"], r["quant"], r["runtime"]): place
        for place, r in enumerate(content.rows)
        if _loaded(r)
    }
    return list(last.values())


def _loaded(row: ClassRow) -> bool:
    return row["cold_load_s"] is not None and row["file_bytes"] is not None


def _sustained(content: Content) -> tuple[list[Sustained], list[Sustained]]:
    """Speed and temperature, a curve a board; it stands with the group that the board is one of.

    Of a device and workload with many, those that a decision names, then those that slowed down
    most.
    """
    decisions = content.recommendation["decisions"] if content.recommendation else []
    named = {one for decision in decisions for one in (decision["pick"], decision["runner_up"])}

    def order(curve: Curve) -> tuple[bool, float]:
        return content.shown_id(curve).rpartition("/")[0] not in named, _kept(curve)

    by_place: dict[tuple[str, str], list[Curve]] = {}
    for curve in content.summary["curves"]:
        place = content.group_of_board[curve["device"]], curve["workload"]
        by_place.setdefault(place, []).append(curve)
    curves = [
        curve for here in by_place.values() for curve in sorted(here, key=order)[:MOST_CURVES]
    ]
    speed = [_curve(curve, curve["tg_tps"], content) for curve in curves]
    heat = [
        _curve(curve, felt, content) for curve in curves if (felt := curve["temperature_c"])
    ]  # of a board that does not tell it, none: a chart without a point has no scale
    return speed, heat


def _kept(curve: Curve) -> float:
    """Share of the first speed that is left at the end."""
    (_, first), (_, last) = curve["tg_tps"][0], curve["tg_tps"][-1]
    return last / first if first else 1.0


def _curve(curve: Curve, points: Sequence[Sequence[float]], content: Content) -> Sustained:
    group = content.group_of_board[curve["device"]]
    board = "" if group == curve["device"] else f", {curve['device']}"
    return {
        "id": content.shown_id(curve),
        "device": group,
        "workload": curve["workload"],
        "name": f"{curve['model']} {content.variant(curve)}{board}",
        "at_s": [at_s for at_s, _ in points],
        "value": [round(value, 3) for _, value in points],
    }
