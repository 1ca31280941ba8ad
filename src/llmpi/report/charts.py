"""Figures as SVG: no script, no network, sharp in print."""

from collections.abc import Sequence
from typing import Any

import altair as alt
import vl_convert

Row = dict[str, Any]

# Okabe and Ito's palette: told apart with every common kind of colour blindness.
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442"]


def quality_against_speed(rows: Sequence[Row], task: str, abstaining_pct: float) -> str:
    """F1 of a task over tg, both with their spread; one point per measured cell without a mark
    whose quality is transferred to its device.

    Args:
        abstaining_pct: F1 of a model that always abstains, drawn as a line: the share of
            unanswerable questions.
    """
    points = [
        {
            "model": row["model"],
            "variant": row["variant"],
            "tg": row["tg_tps"],
            "tg_min": row["tg_min_tps"],
            "tg_max": row["tg_max_tps"],
            "f1": row[f"{task}_f1_pct"],
            "low": row[f"{task}_f1_low_pct"],
            "high": row[f"{task}_f1_high_pct"],  # None below two paragraphs: then no line is drawn
        }
        for row in rows
        if row["tg_tps"] is not None
        and row[f"{task}_f1_pct"] is not None
        and not row["marks"]
        and not row["parity_reason"]
    ]
    if not points:
        return ""
    x = alt.X("tg:Q", title="token generation, tokens/s", scale=alt.Scale(zero=False, padding=20))
    y = alt.Y("f1:Q", title=f"{task}: F1, %", scale=alt.Scale(zero=False, padding=20))
    colour = alt.Color("model:N", scale=alt.Scale(range=COLOURS), title="model")
    base = alt.Chart(alt.InlineData(values=points))
    across = base.mark_rule(opacity=0.5).encode(x="tg_min:Q", x2="tg_max:Q", y=y, color=colour)
    up = base.mark_rule(opacity=0.5).encode(x=x, y="low:Q", y2="high:Q", color=colour)
    dots = base.mark_point(filled=True, size=70, opacity=1).encode(x=x, y=y, color=colour)
    names = base.mark_text(align="left", dx=8, dy=-8).encode(x=x, y=y, text="variant:N")
    floor = alt.Chart(alt.InlineData(values=[{"f1": abstaining_pct, "name": "always abstaining"}]))
    line = floor.mark_rule(strokeDash=[4, 4], color="#777777").encode(y=y)
    label = floor.mark_text(align="left", dx=4, dy=-6, color="#777777").encode(
        x=alt.value(0), y=y, text="name:N"
    )
    layers = line + label + across + up + dots + names
    return _svg(layers.properties(width=640, height=340))


def speed(rows: Sequence[Row], key: str, title: str) -> str:
    """Speed by variant: bar at the median, line from the least to the greatest repetition.

    Args:
        key: `pp` or `tg`.
    """
    bars = [
        {
            "model": row["model"],
            "variant": row["variant"],
            "median": row[f"{key}_tps"],
            "min": row[f"{key}_min_tps"],
            "max": row[f"{key}_max_tps"],
        }
        for row in rows
        if row[f"{key}_tps"] is not None
    ]
    if not bars:
        return ""
    order = list(dict.fromkeys(row["variant"] for row in rows))
    y = alt.Y("variant:N", sort=order, title=None)
    colour = alt.Color("model:N", scale=alt.Scale(range=COLOURS), title="model")
    offset = alt.YOffset("model:N")
    base = alt.Chart(alt.InlineData(values=bars))
    bar = base.mark_bar().encode(
        x=alt.X("median:Q", title=title), y=y, yOffset=offset, color=colour
    )
    line = base.mark_rule(strokeWidth=2).encode(x="min:Q", x2="max:Q", y=y, yOffset=offset)
    return _svg((bar + line).properties(width=260, height=alt.Step(22)))


def _svg(chart: Any) -> str:
    chart = chart.configure_view(stroke=None).configure(font="sans-serif", background="#ffffff")
    return vl_convert.vegalite_to_svg(chart.to_json())
