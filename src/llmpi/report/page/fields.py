"""What the details of a cell show: every column, by a name, with its unit, in groups."""

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from typing_extensions import TypedDict

from llmpi import plain_yaml
from llmpi.columns import Column
from llmpi.report import words
from llmpi.report.page.content import Content
from llmpi.report.words.texts import Texts
from llmpi.summary import columns

UNITS: Mapping[str, tuple[str, float]] = {"bytes": ("MB", 1e-6), "bytes/s": ("GB/s", 1e-9)}
"""As people read them, and what they are times."""


class Field(TypedDict):
    """A column of the summary, in words."""

    key: str
    name: str
    unit: str
    scale: float


class FieldGroup(TypedDict):
    """Columns that belong together."""

    title: str
    fields: list[Field]


def fields(t: Texts, content: Content) -> list[FieldGroup]:
    """All columns, in the summary's order."""
    return [{"title": title, "fields": found} for title, found in _groups(t, content) if found]


def _groups(t: Texts, content: Content) -> Iterator[tuple[str, list[Field]]]:
    parts = (
        (t("cell"), columns.CELL),
        (t("speed and memory"), columns.SPEED),
        (t("energy"), columns.ENERGY),
        (t("file"), columns.FILE),
    )
    for title, found in parts:
        yield title, [_field(t, key, key, column) for key, column in found.items()]
    for task, kind in columns.kinds_of(content.study).items():
        answers = columns.ANSWERS if task in content.study.answering else {}
        told = {**kind.columns, **kind.compared, **answers}
        yield task, [_field(t, f"{task}_{key}", key, column) for key, column in told.items()]
    device = {**columns.DEVICE, **columns.HTTP, **columns.TUNED}
    yield t("on the device"), [_field(t, key, key, column) for key, column in device.items()]


def _field(t: Texts, key: str, name: str, column: Column) -> Field:
    unit, scale = UNITS.get(column.unit, ("" if column.unit == "1" else column.unit, 1.0))
    called = _names().get(name, {}).get(t.language, column.meaning)
    return {"key": key, "name": called, "unit": t.label(unit), "scale": scale}


@cache
def _names() -> Mapping[str, Mapping[str, str]]:
    path = Path(words.__file__).parent / "fields.yaml"
    found: Mapping[str, Mapping[str, str]] = plain_yaml.own(path)
    return found
