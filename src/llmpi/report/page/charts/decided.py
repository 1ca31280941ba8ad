"""Charts of what follows from the cells: choice, predictions, paper, money."""

from collections.abc import Mapping, Sequence

import altair as alt

from llmpi.decide.records import RequirementVerdict
from llmpi.report.page.charts.style import (
    FROM_ZERO,
    HEIGHT,
    LOG,
    STEP,
    VERDICTS,
    Drawn,
    Spec,
    axis,
    logarithmic,
    named,
    on,
    spec,
    told,
    tooltip,
    verdict,
    worded,
)
from llmpi.report.page.standings import StandingRow
from llmpi.report.words.texts import Texts
from llmpi.study.decision import Aim


def choice(t: Texts, objectives: Sequence[Aim]) -> Spec:
    """Those on the front, side by side: a panel per objective, the pick filled.

    Args:
        objectives: which of quality, speed, energy and memory have numbers.
    """
    titles: Mapping[Aim, str] = {
        "quality": t("quality, %"),
        "speed": t("speed, tokens/s"),
        "energy": t("energy, J/token"),
        "memory": t("memory, MB"),
    }
    summary = told("name", {}, {"role": {"pick": t("the pick")}})
    summary["values"] = [
        {"field": "value", "title": titles[name], "digits": 3, "where": {"objective": name}}
        for name in objectives
    ]
    return spec(
        alt.hconcat(*[_panel(t, name, titles[name]) for name in objectives], spacing=18),
        t("The candidates on the front with their intervals; the pick is filled"),
        summary,
    )


def _panel(t: Texts, objective: Aim, title: str) -> Drawn:
    """One objective, whose limit, where one is asked for, is a dashed line."""
    base = on("choice").transform_filter(alt.datum.objective == objective)
    y = alt.Y("name:N", sort=None, title=None, axis=alt.Axis(labelLimit=210))
    x = axis(alt.X, "value", title, FROM_ZERO)
    colour = alt.Color("role:N", legend=None, scale=alt.Scale(domain=["pick", "other"]))
    limit = base.transform_filter(alt.expr.isValid(alt.datum.limit)).mark_rule(
        style="soft", strokeDash=[4, 3]
    )
    spread = base.mark_rule(strokeWidth=2).encode(x="low:Q", x2="high:Q", y=y, color=colour)
    points = base.mark_point(size=120, filled=True, opacity=1, cursor="pointer").encode(
        x=x,
        y=y,
        color=colour,
        shape=alt.Shape(
            "role:N",
            legend=None,
            scale=alt.Scale(domain=["pick", "other"], range=["diamond", "circle"]),
        ),
        tooltip=tooltip(
            {
                "name": (t("cell"), None),
                "value": (title, ".3f"),
                "low": (t("95 % from"), ".3f"),
                "high": (t("95 % to"), ".3f"),
            }
        ),
    )
    return alt.layer(points, spread, limit.encode(x="limit:Q")).properties(height=STEP)


def standing(t: Texts, place: int, asked: RequirementVerdict, rows: Sequence[StandingRow]) -> Spec:
    """A requirement: the loss of each variant with its bounds, and the margin as a line.

    Linear within twice the margin, so that what matters is wide, and logarithmic beyond.
    """
    title = t("loss, points")
    if asked["kind"] == "gate":
        title = t("below the minimum, points")
    elif asked["metric"] == "perplexity":
        title = t("rise, %")
    unit = asked["margin"] if asked["kind"] == "loss" and asked["margin"] else 5.0
    ends = [
        end for row in rows for end in (row["low"], row["high"], row["limit"]) if end is not None
    ]
    ticks = [unit * step for step in STEPS if min(ends) <= unit * step <= max(ends)]
    base = on("standings").transform_filter(alt.datum.requirement == place)
    y = alt.Y("name:N", sort=None, title=None, axis=alt.Axis(labelLimit=190))
    x = alt.X(
        "value:Q",
        title=title,
        scale=alt.Scale(type="symlog", constant=2 * unit, padding=14, nice=False),
        axis=alt.Axis(values=[0.0, *ticks], format=",~r"),
    )
    colour, shape = verdict(t, "verdict")
    shown = tooltip(
        {
            "name": (t("variant"), None),
            "value": (title, ".2f"),
            "low": (t("from"), ".2f"),
            "high": (t("up to"), ".2f"),
            "items": (t("items"), ",d"),
            "clusters": (t("independent groups of them"), ",d"),
        }
    )
    spread = base.mark_rule(strokeWidth=2).encode(x="low:Q", x2="high:Q", y=y, color=colour)
    points = base.mark_point(size=110, filled=True, opacity=1).encode(
        x=x, y=y, color=colour, shape=shape, tooltip=shown
    )
    missing = (
        base.transform_filter("datum.value === null")
        .mark_text(style="note", align="left", text=t.label("not compared"))
        .encode(x="limit:Q", y=y)
    )
    margin = base.mark_rule(style="soft", strokeDash=[4, 3], strokeWidth=1.5).encode(
        x="mean(limit):Q"
    )
    return spec(
        alt.layer(points, spread, missing, margin).properties(height=STEP),
        t("Loss of each variant in one requirement, with its bounds and the margin"),
        told("name", {"value": (title, 2)}, {"verdict": {v: t.label(v) for v in VERDICTS}}),
    )


STEPS = (-20, -5, -2, -1, 1, 2, 5, 20, 100)
"""Ticks, in margins."""


def predictions(t: Texts) -> Spec:
    """tg as measured over tg as predicted, with both ranges; on the line they are the same."""
    words = {verdict: t.label(verdict) for verdict in ("in range", "above", "below")}
    colour, shape = worded("verdict", None, words)
    base = on("predictions")
    x = axis(alt.X, "predicted_value", logarithmic(t, t("predicted tg, tokens/s")), LOG)
    y = axis(alt.Y, "measured_value", logarithmic(t, t("measured tg, tokens/s")), LOG)
    across = base.mark_rule(strokeWidth=2).encode(
        x="predicted_low:Q", x2="predicted_high:Q", y=y, color=colour
    )
    up = base.mark_rule(strokeWidth=2).encode(
        x=x, y="measured_low:Q", y2="measured_high:Q", color=colour
    )
    same = base.mark_line(style="soft", strokeDash=[4, 3]).encode(
        x="measured_value:Q", y="measured_value:Q", order=alt.Order("measured_value:Q")
    )
    points = base.mark_point(size=80, filled=True, opacity=1, cursor="pointer").encode(
        x=x,
        y=y,
        color=colour,
        shape=shape,
        tooltip=tooltip(
            {
                "cell": (t("cell"), None),
                "predicted_value": (t("predicted tg, tokens/s"), ".1f"),
                "predicted_low": (t("from"), ".1f"),
                "predicted_high": (t("up to"), ".1f"),
                "measured_value": (t("measured tg, tokens/s"), ".1f"),
            }
        ),
    )
    return spec(
        alt.layer(same, across, up, points).properties(height=HEIGHT),
        t("Measured against predicted token generation"),
        told(
            "cell",
            {
                "predicted_value": (t("predicted tg, tokens/s"), 1),
                "measured_value": (t("measured tg, tokens/s"), 1),
            },
            {"verdict": words},
        ),
    )


def paper(t: Texts) -> Spec:
    """tg of the paper's points and of the cells that correspond to them."""
    words = {"paper": t("the paper"), "ours": t("this study")}
    colour, shape = worded("who", None, words)
    base = on("paper")
    y = alt.Y("name:N", sort=None, title=None)
    between = base.mark_line(style="soft", strokeWidth=1.5).encode(
        x="tg_tps:Q", y=y, detail="name:N"
    )
    points = base.mark_point(size=90, filled=True, opacity=1, cursor="pointer").encode(
        x=axis(alt.X, "tg_tps", logarithmic(t, t("tg, tokens/s")), LOG),
        y=y,
        color=colour,
        shape=shape,
        tooltip=tooltip(
            {
                "name": (t("variant"), None),
                "who": (t("whose"), None),
                "tg_tps": (t("tg, tokens/s"), ".2f"),
                "ratio": (t("ours / the paper's"), ".2f"),
            }
        ),
    )
    return spec(
        alt.layer(points, between).properties(height=STEP),
        t("Token generation, the paper's and this study's"),
        told("name", {"tg_tps": (t("tg, tokens/s"), 2), "ratio": (t("ours / the paper's"), 2)}),
    )


def money(t: Texts, device: str, currency: str) -> Spec:
    """Cost of a million tokens: this device's by parts, the alternatives' as a whole."""
    parts = ("hardware", "engineering", "maintenance", "electricity", "whole")
    words = {part: t.label(part) for part in parts}
    bars = (
        on("money")
        .transform_filter(alt.datum.device == device)
        .mark_bar(height={"band": 0.6})
        .encode(
            x=axis(
                alt.X,
                "per_million_tokens",
                t("{currency} per million tokens").format(currency=currency),
                alt.Scale(zero=True, nice=True),
            ),
            y=alt.Y("what:N", sort=None, title=None, axis=alt.Axis(labelLimit=170)),
            color=worded("part", None, words)[0],
            order=alt.Order("place:Q"),
            tooltip=tooltip(
                {
                    "what": (t("what"), None),
                    "part": (t("part"), None),
                    "per_million_tokens": (currency, ",.2f"),
                }
            ),
        )
    )
    title = t("{currency} per million tokens").format(currency=currency)
    summary = told("what", {"per_million_tokens": (title, 2)})
    summary["sums"] = True
    return spec(bars.properties(height=STEP), t("Cost of a million tokens"), summary)


def sensitivity(t: Texts, device: str, currency: str, names: Mapping[str, str]) -> Spec:
    """What each figure moves, alone, down and up; the dashed line is the result as it stands.

    Args:
        names: of the figures, in words.
    """
    base = on("sensitivity").transform_filter(alt.datum.device == device)
    y = alt.Y("assumption:N", sort=None, title=None, axis=named(names, limit=230))
    title = t("{currency} per million tokens").format(currency=currency)
    shown = tooltip(
        {
            "assumption": (t("figure"), None),
            "low": (t("moved down to"), ".4g"),
            "at_low": (t("gives"), ",.2f"),
            "high": (t("moved up to"), ".4g"),
            "at_high": (t("which gives"), ",.2f"),
        }
    )
    ends = base.transform_fold(["at_low", "at_high"], as_=["end", "cost"])
    span = base.mark_rule(strokeWidth=2).encode(x="at_low:Q", x2="at_high:Q", y=y, tooltip=shown)
    words = {"at_low": t("figure lower"), "at_high": t("figure higher")}
    colour, shape = worded("end", None, words)
    points = ends.mark_point(size=70, filled=True, opacity=1).encode(
        x=axis(alt.X, "cost", title),
        y=y,
        color=colour,
        shape=shape,
        tooltip=shown,
    )
    now = base.mark_rule(style="soft", strokeDash=[4, 3]).encode(x="mean(now):Q")
    return spec(
        alt.layer(now, span, points).properties(height=STEP),
        t("What each figure moves when it alone goes down and up"),
        {**told("assumption", {"cost": (title, 2)}), "words": names},
    )
