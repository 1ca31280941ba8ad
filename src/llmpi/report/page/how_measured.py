"""Under which conditions each cell was measured, and its repetitions, for its details."""

from collections.abc import Iterable

from typing_extensions import TypedDict

from llmpi.device.machine.environment import THROTTLED
from llmpi.engine.records import Conditions
from llmpi.report.page.content import Content, cell_id
from llmpi.report.page.fields import Field
from llmpi.report.words.texts import Texts
from llmpi.summary.records import HowMeasured

Moment = list[str | float | None]
"""What the machine was like: the values of `_conditions`, in their order."""
OnBoard = list[str | int | list[float | None]]
"""The board; where its moments before and after stand; then a list for each of `_repetitions`,
empty where none tells it."""


class Measured(TypedDict):
    """In little room: thousands of cells share the conditions of their sessions."""

    moments: list[Moment]
    """Each once; a place below 0 is none of them."""
    cells: list[list[OnBoard]]
    """In the order of the cells; several boards of a group, none of a cell that is not well."""


class MeasuredTexts(TypedDict):
    """What a language calls all that."""

    title: str
    board: str
    before: str
    after: str
    repetition: str
    conditions: list[Field]
    repetitions: list[Field]
    throttled: dict[str, str]
    """What the firmware says, in words."""


def how_measured(content: Content) -> Measured:
    found: dict[str, list[HowMeasured]] = {}
    for one in content.summary["measured"]:
        found.setdefault(content.shown_id(one), []).append(one)
    places: dict[tuple[str | float | None, ...], int] = {}
    cells = [[_on_board(one, places) for one in found.get(cell_id(r), [])] for r in content.rows]
    return {"moments": [list(moment) for moment in places], "cells": cells}


def measured_texts(t: Texts) -> MeasuredTexts:
    return {
        "title": t("How it was measured"),
        "board": t("How it was measured: {board}"),
        "before": t("before"),
        "after": t("after"),
        "repetition": t("repetition"),
        "conditions": _conditions(t),
        "repetitions": _repetitions(t),
        "throttled": {code: t.label(code) for code in (NOT_THROTTLED, *THROTTLED)},
    }


NOT_THROTTLED = "not throttled"


def _conditions(t: Texts) -> list[Field]:
    """In the order of a moment's values."""
    return [
        _field(t, "at", t("time")),
        _field(t, "governor", t("frequency governor")),
        _field(t, "frequency_hz", t("frequency of the fastest processor"), "MHz", 1e-6),
        _field(t, "temperature_c", t("temperature"), "°C"),
        _field(t, "throttled", t("throttling")),
        _field(t, "load_1min", t("load (1 minute)")),
        _field(t, "memory_available_bytes", t("memory available"), "MB", 1e-6),
        _field(t, "swap_free_bytes", t("swap free"), "MB", 1e-6),
    ]


def _repetitions(t: Texts) -> list[Field]:
    return [
        _field(t, "pp_tps", t("pp"), "tokens/s"),
        _field(t, "tg_tps", t("tg"), "tokens/s"),
        _field(t, "ttft_s", t("TTFT"), "ms", 1e3),
        _field(t, "others_pct", t("processors taken by other programs"), "%"),
    ]


def _field(t: Texts, key: str, name: str, unit: str = "", scale: float = 1.0) -> Field:
    return {"key": key, "name": name, "unit": t.label(unit), "scale": scale}


def _on_board(one: HowMeasured, places: dict[tuple[str | float | None, ...], int]) -> OnBoard:
    repetitions = one["repetitions"]
    return [
        one["device"],
        _place(one["before"], places),
        _place(one["after"], places),
        _told(r["pp_tps"] for r in repetitions),
        _told(r["tg_tps"] for r in repetitions),
        _told(r["ttft_s"] for r in repetitions),
        _told(r["others_pct"] for r in repetitions),
    ]


def _place(found: Conditions | None, places: dict[tuple[str | float | None, ...], int]) -> int:
    if found is None:
        return -1
    return places.setdefault(_moment(found), len(places))


def _moment(found: Conditions) -> tuple[str | float | None, ...]:
    throttled, frequencies = found["throttled"], found["frequency_hz"]
    return (
        found["at"].replace("T", " ").replace("+00:00", " UTC"),
        found["governor"],
        max(frequencies) if frequencies else None,
        found["temperature_c"],
        None if throttled is None else "; ".join(throttled["now"]) or NOT_THROTTLED,
        found["load_1min"],
        found["memory_available_bytes"],
        found["swap_free_bytes"],
    )


def _told(values: Iterable[float | None]) -> list[float | None]:
    """To four digits, which is more than a repetition tells."""
    found = [None if value is None else float(f"{value:.4g}") for value in values]
    return found if any(value is not None for value in found) else []
