"""A column of a table of numbers: what it holds, in which unit, and what it means."""

from typing import Literal, NamedTuple


class Column(NamedTuple):
    """One column; `unit` is empty for texts and plain counts."""

    kind: Literal["text", "integer", "number"]
    unit: str
    meaning: str


def text(meaning: str) -> Column:
    return Column("text", "", meaning)


def count(meaning: str, unit: str = "") -> Column:
    return Column("integer", unit, meaning)


def number(unit: str, meaning: str) -> Column:
    return Column("number", unit, meaning)
