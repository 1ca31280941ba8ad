"""What the charts have in common."""

from collections.abc import Mapping, Sequence
from typing import NotRequired, TypeVar

import altair as alt
from altair.expr.core import Expression
from typing_extensions import TypedDict

from llmpi.decide.records import Shown
from llmpi.report.words.texts import Texts

Spec = dict[str, object]
"""Vega-Lite as JSON, which Altair makes and the browser reads."""
Axis = TypeVar("Axis", alt.X, alt.Y)
Drawn = alt.Chart | alt.LayerChart | alt.HConcatChart | alt.FacetChart

HEIGHT = 320

# With rows of a category, the points' layer comes first: Vega-Lite orders the rows by the layers in
# which they first occur, and not every row has an interval.
STEP = alt.Step(24)
ZERO_FREE = alt.Scale(zero=False, nice=True, padding=14)
FROM_ZERO = alt.Scale(zero=True, nice=True)
LOG = alt.Scale(type="log", nice=False, padding=14)


SOME = "some_"
"""Begins the name of a layer that not all points have a mark in, so that it may be empty: the names
beside the points cannot be placed around it."""


def end(of: str, value: str) -> Expression:
    """An end of an interval, or the value itself where there is none: names cannot be placed around
    a layer that no point has a mark in (`SOME`)."""
    return alt.expr.if_(alt.expr.isValid(alt.datum[of]), alt.datum[of], alt.datum[value])


def on(data: str) -> alt.Chart:
    """A chart of a data set of the page."""
    return alt.Chart(alt.NamedData(data))


def axis(kind: type[Axis], field: str, title: str, scale: alt.Scale = ZERO_FREE) -> Axis:
    """A quantitative axis whose title stands above it, level, however narrow the screen is."""
    drawn = alt.Axis(tickCount=5)
    if kind is alt.Y:
        drawn = alt.Axis(
            tickCount=5,
            titleAngle=0,
            titleAlign="left",
            titleAnchor="end",
            titleX=0,
            titleY=-14,
            titleBaseline="bottom",
        )
    return kind(f"{field}:Q", title=title, scale=scale, axis=drawn)


def logarithmic(t: Texts, title: str) -> str:
    """Of an axis on which equal steps are equal factors, which has to be told."""
    return t("{title} (logarithmic)").format(title=title)


def category(field: str, title: str | None, values: Sequence[str]) -> tuple[alt.Color, alt.Shape]:
    """Told apart by colour and by shape, so that neither has to do it alone.

    Args:
        values: all there are; a legend of one would say nothing. That both channels name them is
            what makes one legend of the two.
    """
    scale = alt.Scale(domain=list(values))
    legend = alt.Legend(title=title, symbolOpacity=1) if len(values) > 1 else None
    return (
        alt.Color(f"{field}:N", scale=scale, legend=legend),
        alt.Shape(f"{field}:N", scale=scale, legend=legend),
    )


def tooltip(fields: Mapping[str, tuple[str, str | None]]) -> list[alt.Tooltip]:
    """What hovering shows: field -> title and number format (None: a word)."""
    return [
        alt.Tooltip(f"{name}:N", title=title)
        if digits is None
        else alt.Tooltip(f"{name}:Q", title=title, format=digits)
        for name, (title, digits) in fields.items()
    ]


def named(words: Mapping[str, str], limit: int) -> alt.Axis:
    """An axis of codes, which are told in words."""
    pairs = ", ".join(f"{_quoted(value)}: {_quoted(word)}" for value, word in words.items())
    return alt.Axis(labelLimit=limit, labelExpr=f"({{{pairs}}})[datum.label] || datum.label")


def worded(field: str, title: str | None, words: Mapping[str, str]) -> tuple[alt.Color, alt.Shape]:
    """A field of known values, told apart by colour and by shape, with their words as legend.

    Args:
        words: value -> what the reader's language calls it, in the order of colours.
    """
    pairs = ", ".join(f"{_quoted(value)}: {_quoted(word)}" for value, word in words.items())
    legend = alt.Legend(
        title=title, symbolOpacity=1, labelExpr=f"({{{pairs}}})[datum.label] || datum.label"
    )
    scale = alt.Scale(domain=list(words))
    return (
        alt.Color(f"{field}:N", scale=scale, legend=legend),
        alt.Shape(f"{field}:N", scale=scale, legend=legend),
    )


VERDICTS: Mapping[Shown, str] = {
    "holds": "var(--c1)",
    "fails": "var(--c2)",
    "undecided": "var(--soft)",
}
"""Have the same colours on every chart."""


def verdict(t: Texts, field: str) -> tuple[alt.Color, alt.Shape]:
    """Whether a variant holds, as it is told everywhere."""
    words: dict[str, str] = {name: t.label(name) for name in VERDICTS}
    colour, shape = worded(field, None, words)
    scale = alt.Scale(domain=list(VERDICTS), range=list(VERDICTS.values()))
    return colour.scale(scale), shape


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


class ToldValue(TypedDict):
    """A quantity whose least and greatest are told."""

    field: str
    title: str
    digits: int
    where: NotRequired[dict[str, str]]
    """Field -> value: of these points alone."""


class ToldGroup(TypedDict):
    """Points that are told by name."""

    field: str
    words: dict[str, str]
    """Value -> what is said of those that have it; of others nothing."""


class Told(TypedDict):
    """What the page's script says of a chart's points, for who does not see them."""

    name: str
    """Field that names a point."""
    words: NotRequired[Mapping[str, str]]
    """Of that field, where it is a code."""
    values: list[ToldValue]
    groups: list[ToldGroup]
    sums: NotRequired[bool]
    """Points of one name are parts of a whole."""
    course: NotRequired[bool]
    """Points of one name follow one another, and begin and end of each is told."""


MOST_BY_NAME = 24
"""Points of a chart that has a line for each: such a chart still fits on a sheet of paper."""


def first(base: alt.Chart, field: str, *, few: bool, greatest: bool = False) -> alt.Chart:
    """The points with the least (or greatest) values, where there are many.

    Args:
        few: whether all of them have room.
    """
    if few:
        return base
    order = alt.SortField(field, order="descending" if greatest else "ascending")
    ranked = base.transform_window(place="row_number()", sort=[order])
    return ranked.transform_filter(alt.datum.place <= MOST_BY_NAME)


def told(
    name: str,
    values: Mapping[str, tuple[str, int]],
    groups: Mapping[str, Mapping[str, str]] | None = None,
) -> Told:
    """
    Args:
        values: field -> title and digits behind the point.
        groups: field -> value -> word.
    """
    return {
        "name": name,
        "values": [
            {"field": field, "title": title, "digits": digits}
            for field, (title, digits) in values.items()
        ],
        "groups": [{"field": f, "words": {**words}} for f, words in (groups or {}).items()],
    }


def spec(chart: Drawn, description: str, summary: Told) -> Spec:
    """The chart as Vega-Lite; `usermeta.data` names the page's data sets that it draws on.

    Args:
        description: for who does not see it: what is compared.
        summary: what is told of the points, when they are drawn.
    """
    described = chart.properties(description=description)
    if not isinstance(described, alt.HConcatChart):
        described = described.properties(width="container")
    made: Spec = described.to_dict(validate=False)
    made.pop("config", None)
    made.pop("$schema", None)
    own = made.get("datasets")
    named = _named(made) - (own.keys() if isinstance(own, dict) else set())
    return {**made, "usermeta": {"data": sorted(named), "told": summary}}


def _named(part: object) -> set[str]:
    """The data sets a spec draws on."""
    if isinstance(part, list):
        return set().union(*map(_named, part))
    if not isinstance(part, dict):
        return set()
    data = part.get("data")
    name = data.get("name") if isinstance(data, dict) else None
    return set().union({name} if name else set(), *map(_named, part.values()))
