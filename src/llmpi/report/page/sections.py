"""The sections of the kinds of quality tasks, as a language shows them."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from markupsafe import Markup

from llmpi.quality.kind import Part, Section, Shown, Table, TableRow, Value, plain
from llmpi.report.words.languages import WORDS
from llmpi.report.words.numbers import number
from llmpi.report.words.texts import Texts, order


class Box(NamedTuple):
    """A cell of a table: its text, what is set small below it, and how many columns it takes."""

    text: str
    below: str | None = None
    is_text: bool = False
    bad: bool = False
    columns: int = 1


class KindTable(NamedTuple):
    """The heads, each with whether its column holds texts, and the rows."""

    heads: Sequence[tuple[Markup, bool]]
    rows: Sequence[Sequence[Box]]


class KindPart(NamedTuple):
    """A part of a section; the facts in words, the chart by its id and caption."""

    name: str
    failed: bool
    facts: Sequence[Markup]
    chart: tuple[str, Markup] | None
    table: KindTable | None
    remarks: Sequence[Markup]


class KindSection(NamedTuple):
    """A section; `soft`: the facts explain what follows, and are set small."""

    id: str
    contents: str
    title: Markup
    intro: Markup | None
    soft: bool
    parts: Sequence[KindPart]


def kind_sections(t: Texts, sections: Sequence[Section]) -> list[KindSection]:
    """In the page's order."""
    return [
        KindSection(section["id"], *t.section(section), [_part(t, p) for p in section["parts"]])
        for section in sorted(sections, key=order)
    ]


def _part(t: Texts, part: Part) -> KindPart:
    chart = part["chart"]
    return KindPart(
        name=part["name"],
        failed=any(fact["key"] == "no result" for fact in part["facts"]),
        facts=[t.fact(fact) for fact in part["facts"]],
        chart=(chart["id"], t.chart(chart["key"])[0]) if chart else None,
        table=_table(t, part["table"]) if part["table"] else None,
        remarks=[t.fact(fact) for fact in part["remarks"]],
    )


def _table(t: Texts, table: Table) -> KindTable:
    heads = [
        (Markup("<br>").join(t.title(shown["title"]).split("\n")), shown["digits"] is None)
        for shown in table["columns"]
    ]
    return KindTable(heads, [list(_row(t, table["columns"], row)) for row in table["rows"]])


def _row(t: Texts, columns: Sequence[Shown], row: TableRow) -> Iterator[Box]:
    """Where it has no more values, its reason takes the remaining columns."""
    bad = row.get("bad")
    for i, shown in enumerate(columns):
        if shown["key"] not in row and "reason" in row:
            yield Box(_reason(t, row), is_text=True, bad=bad == "reason", columns=len(columns) - i)
            return
        yield _box(t, shown, row)._replace(bad=bad == shown["key"])


def _reason(t: Texts, row: TableRow) -> str:
    reason = row["reason"]
    assert isinstance(reason, str | list)
    return WORDS[t.language].unscored(reason)


def _box(t: Texts, shown: Shown, row: TableRow) -> Box:
    value = plain(row, shown["key"])
    if shown["digits"] is None:
        return Box(t.label(None if value is None else str(value)), is_text=True)
    own = row.get("digits")
    digits = own if isinstance(own, int) else shown["digits"]
    least = 10.0**-digits
    if shown["title"] == "p" and isinstance(value, int | float) and value < least / 2:
        return Box(f"< {_number(least, digits)}")  # a probability is never quite 0
    text = _number(value, digits)
    if shown.get("error") and (error := plain(row, shown["error"])):
        text += f" ± {_number(error, digits)}"
    if shown.get("unit") and plain(row, shown["unit"]):
        text += f" {plain(row, shown['unit'])}"
    if "high" in shown and "low" not in shown:
        text += f" – {_number(plain(row, shown['high']), digits)}"
    return Box(text, below=_interval(t, shown, row, digits))


def _interval(t: Texts, shown: Shown, row: TableRow, digits: int) -> str | None:
    if "low" not in shown or "high" not in shown:
        return None
    low, high = plain(row, shown["low"]), plain(row, shown["high"])
    if low is None:
        return t("no interval")
    return f"{_number(low, digits)} {t('to')} {_number(high, digits)}"


def _number(value: Value, digits: int) -> str:
    assert value is None or isinstance(value, int | float)
    return number(value, digits)
