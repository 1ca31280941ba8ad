"""Charts of the cells of one device and workload: what can be compared with one another."""

from collections.abc import Sequence
from typing import Literal

import altair as alt

from llmpi.quality.agreement import KL_AT_MOST_NATS
from llmpi.report.page.charts.style import (
    FROM_ZERO,
    HEIGHT,
    LOG,
    SOME,
    STEP,
    Spec,
    axis,
    category,
    first,
    logarithmic,
    on,
    spec,
    told,
    tooltip,
    worded,
)
from llmpi.report.words.texts import Texts
from llmpi.tune.space import AS_IT_IS


def _in_process() -> alt.Chart:
    """The cells that may stand side by side: those of endpoints have a table of their own."""
    return on("cells").transform_filter(alt.datum.endpoint == None)  # noqa: E711 - Vega's


def speed_by_bits(
    t: Texts, key: Literal["pp", "tg"], models: Sequence[str], *, named: bool
) -> Spec:
    """Speed over bits per weight, each variant by name; for tg the memory roofline above it.

    Args:
        models: ids of all there are.
        named: whether the variants' names stand beside the points.
    """
    titles = {
        "tg": t("token generation (tg), tokens/s"),
        "pp": t("prompt processing (pp), tokens/s"),
    }
    colour, shape = category("model", t("model"), models)
    x = axis(alt.X, "bits_per_weight", t("bits per weight"))
    y = axis(alt.Y, f"{key}_tps", titles[key], FROM_ZERO)
    base = _in_process().transform_filter(alt.expr.isValid(alt.datum[f"{key}_tps"]))
    by = [alt.Detail("model:N"), alt.Detail("runtime:N")]
    spread = base.mark_rule(strokeWidth=2).encode(
        x=x, y=f"{key}_min_tps:Q", y2=f"{key}_max_tps:Q", color=colour
    )
    shown = {
        "cell": (t("cell"), None),
        f"{key}_tps": (t("median, tokens/s"), ".1f"),
        f"{key}_min_tps": (t("least"), ".1f"),
        f"{key}_max_tps": (t("greatest"), ".1f"),
        "bits_per_weight": (t("bits per weight"), ".2f"),
    }
    layers = [spread]
    if key == "tg":
        shown["tg_memory_share"] = (t("share of memory bandwidth"), ".0%")
        roof = base.transform_filter(alt.expr.isValid(alt.datum.roofline_tps))
        layers.insert(
            0,
            roof.mark_line(strokeDash=[3, 4], strokeWidth=1.5)
            .encode(
                x=x,
                y="roofline_tps:Q",
                color=colour,
                detail=by,
                order=alt.Order("bits_per_weight:Q"),
            )
            .properties(name=f"{SOME}roofline"),
        )
    points = base.mark_point(size=80, filled=True, opacity=1, cursor="pointer").encode(
        x=x, y=y, color=colour, shape=shape, tooltip=tooltip(shown)
    )
    if named:
        layers.append(base.mark_text(style="label").encode(x=x, y=y, text="variant:N"))
    description = t("Speed against bits per weight, variant by variant")
    values = {f"{key}_tps": (titles[key], 1), "bits_per_weight": (t("bits per weight"), 2)}
    drawn = alt.layer(*layers, points).properties(height=HEIGHT)
    return spec(drawn, description, told("name", values))


def energy(t: Texts, models: Sequence[str], *, few: bool) -> Spec:
    """Joules per generated token with 1.96 standard deviations; the shape tells the tier."""
    title = t("tg, joules per token")
    base = _in_process().transform_filter(alt.expr.isValid(alt.datum.tg_j_per_token))
    base = first(base, "tg_j_per_token", few=few)
    y = alt.Y("name:N", sort=None, title=None)
    colour = alt.Color("model:N", scale=alt.Scale(domain=list(models)), legend=None)
    spread = base.mark_rule(strokeWidth=2).encode(
        x="tg_low_j_per_token:Q", x2="tg_high_j_per_token:Q", y=y, color=colour
    )
    points = base.mark_point(size=80, filled=True, opacity=1, cursor="pointer").encode(
        x=axis(alt.X, "tg_j_per_token", title, FROM_ZERO),
        y=y,
        color=colour,
        shape=_tier(t),
        tooltip=tooltip(
            {
                "cell": (t("cell"), None),
                "tg_j_per_token": (title, ".3f"),
                "tg_uncertainty_j_per_token": (t("standard uncertainty"), ".3f"),
                "tg_power_w": (t("power, W"), ".2f"),
                "energy_tier": (t("tier"), None),
            }
        ),
    )
    summary = told("name", {"tg_j_per_token": (title, 3)})
    drawn = (points + spread).properties(height=STEP)
    return spec(drawn, t("Energy per generated token"), summary)


def words_per_battery(t: Texts, models: Sequence[str], *, few: bool) -> Spec:
    """With the joules' 1.96 standard deviations; the shape tells the tier."""
    title = t("words per battery")
    per_joule = alt.datum.words_per_battery * alt.datum.tg_j_per_token
    base = _in_process().transform_filter(alt.expr.isValid(alt.datum.words_per_battery))
    base = first(base, "words_per_battery", few=few, greatest=True)
    y = alt.Y("name:N", sort=None, title=None)
    colour = alt.Color("model:N", scale=alt.Scale(domain=list(models)), legend=None)
    spread = (
        base.transform_filter(alt.datum.tg_low_j_per_token > 0)
        .transform_calculate(
            least=per_joule / alt.datum.tg_high_j_per_token,
            most=per_joule / alt.datum.tg_low_j_per_token,
        )
        .mark_rule(strokeWidth=2)
        .encode(x="least:Q", x2="most:Q", y=y, color=colour)
    )
    points = base.mark_point(size=80, filled=True, opacity=1, cursor="pointer").encode(
        x=axis(alt.X, "words_per_battery", title, FROM_ZERO),
        y=y,
        color=colour,
        shape=_tier(t),
        tooltip=tooltip(
            {
                "cell": (t("cell"), None),
                "words_per_battery": (title, ",.0f"),
                "energy_tier": (t("tier"), None),
            }
        ),
    )
    summary = told("name", {"words_per_battery": (title, 0)})
    return spec((points + spread).properties(height=STEP), title, summary)


def _tier(t: Texts) -> alt.Shape:
    """How the energy is known."""
    words = {tier: t.label(tier) for tier in ("metered", "pmic", "estimated")}
    return worded("energy_tier", t("tier"), words)[1]


def speed_against_joules(t: Texts, search: int) -> Spec:
    """Settings of a search for joules against the default; filled points are the front."""
    titles = {
        "speed_pct": t("speed against the default, %"),
        "energy_pct": t("joules against the default, %"),
    }
    x = axis(alt.X, "speed_pct", titles["speed_pct"])
    y = axis(alt.Y, "energy_pct", titles["energy_pct"])
    named = alt.expr.if_(alt.datum.words == AS_IT_IS, t("default"), alt.datum.words)
    base = (
        on("weighed")
        .transform_filter(alt.datum.search == search)
        .transform_calculate(variant=named)
    )
    shown = tooltip(
        {
            "variant": (t("settings"), None),
            **{key: (title, "+.1f") for key, title in titles.items()},
            "blocks": (t("blocks"), "d"),
        }
    )
    points = [
        base.transform_filter(alt.datum.front == int(filled))
        .mark_point(size=90, filled=filled, strokeWidth=1.8, opacity=1)
        .encode(x=x, y=y, tooltip=shown)
        .properties(name=f"{SOME}{name}")
        for name, filled in (("best", True), ("others", False))
    ]
    names = base.mark_text(style="label").encode(x=x, y=y, text="variant:N")
    description = t("Speed against joules of the settings that were tried")
    values = {key: (title, 1) for key, title in titles.items()}
    summary = told("variant", values, {"front": {"1": t("on the front")}})
    return spec(alt.layer(*points, names).properties(height=HEIGHT), description, summary)


def loading(t: Texts, names: Sequence[str]) -> Spec:
    """Load time over file size, cold and warm; the line is the storage's read rate.

    Args:
        names: of all devices.
    """
    devices, _ = category("device", t("device"), names)
    x = axis(alt.X, "file_mb", logarithmic(t, t("file, MB")), LOG)
    base = on("loads")
    words = {"cold": t("cold"), "warm": t("warm")}
    line = (
        base.transform_filter(alt.expr.isValid(alt.datum.read_s))
        .mark_line(strokeDash=[3, 4])
        .encode(x=x, y="read_s:Q", color=devices, order=alt.Order("file_mb:Q"))
    )
    points = base.mark_point(size=70, filled=True, opacity=0.9, cursor="pointer").encode(
        x=x,
        y=axis(alt.Y, "load_s", logarithmic(t, t("load, s")), LOG),
        color=devices,
        shape=worded("state", t("load"), words)[1],
        tooltip=tooltip(
            {
                "cell": (t("cell"), None),
                "load_s": (t("load, s"), ".3f"),
                "read_s": (t("at the storage's read rate, s"), ".3f"),
                "file_mb": (t("file, MB"), ",.1f"),
            }
        ),
    )
    summary = told("cell", {"file_mb": (t("file, MB"), 1)})
    for state, word in words.items():
        title = f"{t('load, s')} ({word})"
        summary["values"].append(
            {"field": "load_s", "title": title, "digits": 2, "where": {"state": state}}
        )
    drawn = (line + points).properties(height=HEIGHT)
    return spec(drawn, t("Cold and warm load by file size"), summary)


def sustained(t: Texts, key: Literal["tg_tps", "temperature_c"]) -> Spec:
    """tg or temperature over the sustained phase."""
    legend = alt.Legend(title=t("variant"))
    titles = {"tg_tps": t("tg, tokens/s"), "temperature_c": t("temperature, °C")}
    data = {"tg_tps": "sustained_speed", "temperature_c": "sustained_heat"}[key]
    line = (
        on(data)
        .transform_flatten(["at_s", "value"])
        .mark_line(strokeWidth=1.8)
        .encode(
            x=axis(alt.X, "at_s", t("seconds since the phase began"), alt.Scale(nice=False)),
            y=axis(alt.Y, "value", titles[key]),
            color=alt.Color("name:N", legend=legend),
            strokeDash=alt.StrokeDash("name:N", legend=legend),
            tooltip=tooltip(
                {
                    "name": (t("variant"), None),
                    "at_s": (t("seconds since the phase began"), ".0f"),
                    "value": (titles[key], ".1f"),
                }
            ),
        )
    )
    summary = told("name", {"value": (titles[key], 1)})
    summary["course"] = True
    return spec(line.properties(height=220), titles[key], summary)


def parity(t: Texts, *, few: bool) -> Spec:
    """KL divergence of the device's predictions from the workstation's; the line is the limit."""
    base = on("cells").transform_filter(alt.expr.isValid(alt.datum.parity_kl_nats))
    base = first(base, "parity_kl_nats", few=few, greatest=True)
    words = {"agrees": t("agrees"), "differs": t("does not agree")}
    colour, shape = worded("agreement", None, words)
    points = base.mark_point(size=90, filled=True, opacity=1, cursor="pointer").encode(
        x=axis(
            alt.X,
            "parity_kl_nats",
            logarithmic(t, t("KL divergence, nats")),
            alt.Scale(type="symlog", constant=0.001, zero=True),
        ),
        y=alt.Y("name:N", sort=None, title=None),
        color=colour,
        shape=shape,
        tooltip=tooltip(
            {
                "cell": (t("cell"), None),
                "parity_kl_nats": (t("KL divergence, nats"), ".4f"),
                "parity_top1_pct": (t("same top-1, %"), ".1f"),
            }
        ),
    )
    limit = (
        alt.Chart(alt.InlineData([{"limit": KL_AT_MOST_NATS, "label": t("agrees up to here")}]))
        .mark_rule(strokeDash=[4, 4], color="var(--soft)")
        .encode(
            x="limit:Q",
            tooltip=tooltip({"label": ("", None), "limit": (t("KL divergence, nats"), ".2f")}),
        )
    )
    drawn = (points + limit).properties(height=STEP)
    summary = told(
        "name",
        {"parity_kl_nats": (t("KL divergence, nats"), 4)},
        {"agreement": {"differs": words["differs"]}},
    )
    return spec(drawn, t("Parity of the device with the workstation"), summary)
