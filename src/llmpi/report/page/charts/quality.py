"""Charts of quality against what it costs in time: a score or a loss, over speed or seconds."""

from collections.abc import Sequence
from typing import NamedTuple

import altair as alt

from llmpi.quality.kind import Score, Shown
from llmpi.report.page.charts.style import (
    FROM_ZERO,
    HEIGHT,
    LOG,
    SOME,
    Spec,
    axis,
    category,
    end,
    logarithmic,
    on,
    spec,
    told,
    tooltip,
)
from llmpi.report.words.texts import Texts


def against_speed(t: Texts, task: str, score: Score, models: Sequence[str], *, named: bool) -> Spec:
    """The score of a task over tg, both with their spread, see `_drawn`."""
    summary = t("Quality against speed with intervals and the front")
    return _drawn(t, task, _score(t, task, score), _speed(t, task), models, summary, named=named)


def against_seconds(
    t: Texts, task: str, score: Score, models: Sequence[str], *, named: bool
) -> Spec:
    """The score of a task over what an answer takes, see `_drawn`."""
    half = f"{task}_answer_p50"
    seconds = Over(
        key=f"{half}_s",
        least=f"{half}_fast_s",
        greatest=f"{half}_slow_s",
        front=f"{task}_answer_front",
        scale=LOG,
        axis=logarithmic(t, t("half of the answers take at most, s")),
        title=t("an answer, s"),
    )
    summary = t("Quality against seconds an answer with intervals and the front")
    return _drawn(t, task, _score(t, task, score), seconds, models, summary, named=named)


def loss_against_speed(
    t: Texts, task: str, loss: Shown, models: Sequence[str], *, named: bool
) -> Spec:
    """The loss of a task that has no score over tg, see `_drawn`."""
    column = f"{task}_loss"
    quality = Quality(loss, column, f"{column}_low", f"{column}_high", (), LOG)
    summary = t("Loss against speed with intervals and the front")
    return _drawn(t, task, quality, _speed(t, task), models, summary, named=named)


class Quality(NamedTuple):
    """What stands for the quality, and the columns of the cells that have it and its 95 %.

    `below` is drawn below the points.
    """

    value: Shown
    key: str
    low: str
    high: str
    beside: Sequence[Shown]
    scale: alt.Scale
    below: Sequence[alt.Chart] = ()


def _score(t: Texts, task: str, score: Score) -> Quality:
    """With a line where a model is that always abstains."""
    value = score.value
    key, low, high = (f"{task}_{name}" for name in (value["key"], value["low"], value["high"]))
    floor = on("tasks").transform_filter(alt.datum.task == task)
    line = floor.mark_rule(style="soft", strokeDash=[2, 4]).encode(y="abstaining_pct:Q")
    label = floor.mark_text(style="note", align="left", dx=2, dy=-5).encode(
        x=alt.value(0), y="abstaining_pct:Q", text=alt.value(t("always abstaining"))
    )
    return Quality(value, key, low, high, score.beside, FROM_ZERO, (line, label))


class Over(NamedTuple):
    """What the quality is drawn over: columns of the cells.

    `front` is 1 of a cell that nothing beats in both.
    """

    key: str
    least: str
    greatest: str
    front: str
    scale: alt.Scale
    axis: str
    title: str
    """The axis' title, and the same in a few words."""


def _speed(t: Texts, task: str) -> Over:
    return Over(
        key="tg_tps",
        least="tg_min_tps",
        greatest="tg_max_tps",
        front=f"{task}_front",
        scale=FROM_ZERO,
        axis=t("token generation (tg), tokens/s"),
        title=t("tg, tokens/s"),
    )


def _drawn(
    t: Texts,
    task: str,
    quality: Quality,
    over: Over,
    models: Sequence[str],
    summary: str,
    *,
    named: bool,
) -> Spec:
    """The quality by a task over something else, both with their spread.

    Filled points are the front: nothing beats them beyond the noise. Crossed ones are broken.

    Args:
        named: whether the variants' names stand beside the points; many would hide one another.
        models: ids of all there are.
    """
    x = axis(alt.X, over.key, over.axis, over.scale)
    value, key, low, high, beside, scale, _ = quality
    title = t("{task}: {score}").format(task=task, score=t.title(value["title"]))
    y = axis(alt.Y, key, logarithmic(t, title) if scale is LOG else title, scale)
    colour, shape = category("model", t("model"), models)
    shown = alt.expr.isValid(alt.datum[over.key]) & alt.expr.isValid(alt.datum[key])
    base = on("cells").transform_filter(shown & (alt.datum.transferred == 1))
    across = (
        base.transform_calculate(
            least=end(over.least, over.key), greatest=end(over.greatest, over.key)
        )
        .mark_rule(clip=True)
        .encode(x="least:Q", x2="greatest:Q", y=y, color=colour)
    )
    up = (
        base.transform_calculate(low=end(low, key), high=end(high, key))
        .mark_rule(clip=True)
        .encode(x=x, y="low:Q", y2="high:Q", color=colour)
    )
    shown_of = tooltip(
        {
            "cell": (t("cell"), None),
            over.key: (over.title, ".1f"),
            over.least: (t("least"), ".1f"),
            over.greatest: (t("greatest"), ".1f"),
            key: (t.title(value["title"]), f".{value['digits']}f"),
            low: (t("95 % from"), f".{value['digits']}f"),
            high: (t("95 % to"), f".{value['digits']}f"),
            **{
                f"{task}_{shown['key']}": (t.title(shown["title"]), f".{shown['digits']}f")
                for shown in beside
            },
            "bits_per_weight": (t("bits per weight"), ".2f"),
        }
    )
    best, others = (
        base.transform_filter(alt.datum[over.front] == int(filled))
        .mark_point(size=110, filled=filled, strokeWidth=1.8, opacity=1, cursor="pointer")
        .encode(x=x, y=y, color=colour, shape=shape, tooltip=shown_of)
        .properties(name=f"{SOME}{name}")
        for name, filled in (("best", True), ("others", False))
    )
    broken = (
        base.transform_filter(alt.datum[f"{task}_broken"] == 1)
        .mark_text(text="✕", style="broken")
        .encode(x=x, y=y)
        .properties(name=f"{SOME}broken")
    )
    layers = [*quality.below, across, up, others, best, broken]
    if named:
        layers.append(base.mark_text(style="label").encode(x=x, y=y, text="variant:N"))
    known = told(
        "name",
        {key: (title, value["digits"] or 0), over.key: (over.title, 1)},
        {over.front: {"1": t("on the front")}, f"{task}_broken": {"1": t("broken")}},
    )
    return spec(alt.layer(*layers).properties(height=HEIGHT), summary, known)
