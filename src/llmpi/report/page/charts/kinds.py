"""Charts of the kinds of quality tasks, by what `llmpi.quality.kind.Chart` says of them."""

from collections.abc import Sequence

import altair as alt

from llmpi.quality.kind import Chart, Shown
from llmpi.report.page.charts.style import (
    HEIGHT,
    LOG,
    SOME,
    STEP,
    VERDICTS,
    ZERO_FREE,
    Spec,
    axis,
    category,
    end,
    logarithmic,
    on,
    spec,
    told,
    tooltip,
    verdict,
)
from llmpi.report.words.texts import Texts

SCALES = {"linear": ZERO_FREE, "log": LOG}
FROM_ZERO = alt.Scale(zero=True, padding=14)


def draw(t: Texts, chart: Chart, models: Sequence[str], *, named: bool) -> Spec:
    """Its data set has the chart's id.

    Args:
        models: ids of all there are.
        named: whether the variants' names stand beside points that have no line of their own.
    """
    if chart["kind"] == "by name":
        return _by_name(t, chart)
    return _over_bits(t, chart, models, named=named)


def _by_name(t: Texts, chart: Chart) -> Spec:
    """A line of its own for each name, the first on top; and one where the limit is."""
    base = on(chart["id"])
    y = alt.Y("name:N", sort=None, title=None)
    scale = FROM_ZERO if chart["limit"] == 0 else SCALES[chart["scale"]]
    x = axis(alt.X, chart["value"]["key"], _title(t, chart, scale), scale)
    spread = base.mark_rule(strokeWidth=2).encode(x="low:Q", x2="high:Q", y=y)
    points = base.mark_point(size=110, filled=True, opacity=1).encode(
        x=x, y=y, tooltip=_tooltip(t, chart)
    )
    if chart["verdict"]:
        colour, shape = verdict(t, chart["verdict"])
        spread, points = spread.encode(color=colour), points.encode(color=colour, shape=shape)
    layers = [points, spread]
    if chart["limit"] is not None:
        dash = [4, 3] if chart["limit"] else [1, 0]
        layers.append(base.mark_rule(style="soft", strokeDash=dash).encode(x="mean(limit):Q"))
    words: dict[str, str] = {name: t.label(name) for name in VERDICTS}
    groups = {chart["verdict"]: words} if chart["verdict"] else None
    summary = told("name", _values(t, chart), groups)
    return spec(alt.layer(*layers).properties(height=STEP), t.chart(chart["key"])[1], summary)


def _over_bits(t: Texts, chart: Chart, models: Sequence[str], *, named: bool) -> Spec:
    """Over the bits per weight, each variant by name: what lies between two types is neither.

    Filled points are the front of their model.
    """
    base = on(chart["id"])
    colour, shape = category("model", t("model"), models)
    x = axis(alt.X, "bits_per_weight", t("bits per weight"))
    key, scale = chart["value"]["key"], SCALES[chart["scale"]]
    spread = (
        base.transform_calculate(least=end("low", key), greatest=end("high", key))
        .mark_rule(strokeWidth=2)
        .encode(x=x, y="least:Q", y2="greatest:Q", color=colour)
    )
    y = axis(alt.Y, key, _title(t, chart, scale), scale)
    best, others = (
        base.transform_filter(alt.datum.front == int(filled))
        .mark_point(size=80, filled=filled, strokeWidth=1.8, opacity=1)
        .encode(x=x, y=y, color=colour, shape=shape, tooltip=_tooltip(t, chart))
        .properties(name=f"{SOME}{name}")
        for name, filled in (("best", True), ("others", False))
    )
    layers = [spread, others, best]
    if named:
        layers.append(base.mark_text(style="label").encode(x=x, y=y, text="variant:N"))
    if chart["limit"] is not None:
        layers.append(base.mark_rule(style="soft", strokeDash=[4, 3]).encode(y="mean(limit):Q"))
    summary = told("name", _values(t, chart), {"front": {"1": t("on the front")}})
    return spec(alt.layer(*layers).properties(height=HEIGHT), t.chart(chart["key"])[1], summary)


def _values(t: Texts, chart: Chart) -> dict[str, tuple[str, int]]:
    value = chart["value"]
    return {value["key"]: (t.title(value["title"]), value["digits"] or 0)}


def _tooltip(t: Texts, chart: Chart) -> list[alt.Tooltip]:
    """The name, the value with its interval, and what else the chart wants shown."""
    fields: dict[str, tuple[str, str | None]] = {"name": (t("what"), None)}
    fields |= _field(t, chart["value"])
    if "low" in chart["value"]:
        digits = _format(chart["value"])
        fields |= {"low": (t("from"), digits), "high": (t("up to"), digits)}
    for shown in chart["shown"]:
        fields |= _field(t, shown)
    if chart["kind"] == "loss over bits per weight":
        fields["bits_per_weight"] = (t("bits per weight"), ".2f")
    return tooltip(fields)


def _field(t: Texts, shown: Shown) -> dict[str, tuple[str, str | None]]:
    return {shown["key"]: (t.title(shown["title"]), _format(shown))}


def _format(shown: Shown) -> str | None:
    return None if shown["digits"] is None else f".{shown['digits']}f"


def _title(t: Texts, chart: Chart, scale: alt.Scale) -> str:
    title = t.title(chart["value"]["title"])
    return logarithmic(t, title) if scale is LOG else title
