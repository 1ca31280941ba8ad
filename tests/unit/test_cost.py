"""The money, against figures worked out by hand."""

import json
from typing import get_args

import made_records as made
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from llmpi.decide.candidates import id_of
from llmpi.decide.cost import Running, assumptions, costs, evaluate, sensitivity
from llmpi.decide.hat import hat_gain
from llmpi.decide.records import Decision, DefaultSource, DeviceMoney, Money, Source
from llmpi.records import check
from llmpi.report.words import english
from llmpi.study.decision import (
    CloudApi,
    Cost,
    Engineering,
    Figure,
    LargerBoard,
    OtherDevice,
    RentedGpu,
)
from llmpi.study.measuring import Workload
from llmpi.study.study import Study
from llmpi.summary.records import ClassRow

PI = {"board": 100, "m2_hat": {"value": 20, "source": "shop"}, "ssd": 30}
WORKLOAD = Workload(prompt_tokens=100, output_tokens=40)


def row(device: str = "pi", **more: object) -> ClassRow:
    """1 s for the prompt and 4 s for 40 tokens: 8 tokens/s; 10 + 30 J: 1 J a token, 8 W."""
    return made.row(device, "Q4_0") | {
        "pp_tps": 100.0,
        "tg_tps": 10.0,
        "cold_load_s": 2.0,
        "energy_tier": "metered",
        "energy_reason": None,
        "idle_power_w": 3.0,
        "pp_power_w": 10.0,
        "tg_power_w": 7.5,
        "pp_mean_tps": 100.0,
        "tg_mean_tps": 10.0,
        "pp_j_per_token": 0.1,
        "tg_j_per_token": 0.75,
        **more,
    }


def asked(**more: object) -> Cost:
    return Cost.model_validate(
        {
            "currency": "EUR",
            "hardware": {"pi": PI},
            "lifespan_years": 4,
            "duty_pct": 25,
            "price_per_kwh": 0.3,
            "grid_co2_g_per_kwh": {"value": 400, "source": "the grid's operator"},
            "engineering": {
                "price_per_day": 400,
                "setup_days": 2,
                "qat_days": 3,
                "maintenance_days_per_year": 0.5,
            },
            **more,
        }
    )


NO_POWER = {"tg_power_w": None, "tg_j_per_token": None, "pp_j_per_token": None, "energy_tier": None}
API = {
    "kind": "api",
    "price_per_million_input_tokens": 1,
    "price_per_million_output_tokens": 10,
    "setup_days": 1,
}
GPU = {"kind": "gpu", "price_per_hour": 0.5, "output_tokens_per_s": 100, "power_w": 300}


def money(cost: Cost, *rows: ClassRow, smaller: ClassRow | None = None) -> Money:
    """What is picked on each device is its row.

    Args:
        smaller: beside the overall pick.
    """
    rows = rows or (row(),)
    there = [*rows, *([smaller] if smaller else [])]
    config = {
        "study": "s",
        "models": {"m": {"source": {"path": "m.gguf"}}},
        "quants": ["Q4_0"],
        "devices": {row["device"]: {"transport": "local"} for row in there},
        "workloads": {"chat": {"prompt_tokens": 100, "output_tokens": 40}},
    }
    dumped = Study.model_validate(config).model_dump(mode="json")
    picks = {r["device"]: id_of(r) for r in rows}
    decisions = [decision("overall", next(iter(picks.values())), smaller and id_of(smaller))]
    decisions += [decision(device, pick) for device, pick in picks.items()]
    summary = {"rows": there, "provenance": {"config": dumped}}
    found = costs(summary, cost, {"workload": "chat", "decisions": decisions})
    whole = json.dumps(found)
    assert check(whole, Money, "recommendation.json") == json.loads(whole)
    return found


def decision(where: str, pick: str, smaller: str | None = None) -> Decision:
    """As much of one as the money reads."""
    beside = {"id": smaller, "probability": 0.9, "more": []} if smaller else None
    return {"where": where, "pick": pick, "smaller": beside}


def of_pi(cost: Cost, *rows: ClassRow) -> DeviceMoney:
    return money(cost, *rows)["devices"][0]


def test_the_smaller_one_beside_the_pick_has_its_price() -> None:
    """That which it would have if it were picked."""
    wide, small = row(quant="Q8_0", tg_tps=6.0, tg_mean_tps=6.0), row()
    found = money(asked(), wide, smaller=small)["per_million_tokens"]
    assert found == {
        id_of(wide): of_pi(asked(), wide)["per_million_tokens"],
        id_of(small): of_pi(asked(), small)["per_million_tokens"],
    }
    assert found[id_of(small)] < found[id_of(wide)]


@pytest.mark.parametrize("smaller", [row("other"), row(quant="Q2_K", idle_power_w=None)])
def test_a_smaller_one_whose_money_is_not_known_has_none(smaller: ClassRow) -> None:
    wide = row(quant="Q8_0")
    assert [*money(asked(), wide, smaller=smaller)["per_million_tokens"]] == [id_of(wide)]


def test_total_and_cost_per_million_tokens() -> None:
    """8 tokens/s x 86,400 s x 25 % x 1,461 days = 252.4608 million tokens.

    150 for the hardware, 800 for two days, 4 x 200 for maintenance; 3 + 25 % x 5 W = 4.25 W are
    149.022 kWh in four years, at 0.3 that is 44.7066.
    """
    found = of_pi(asked())
    assert found["tokens_per_day"] == pytest.approx(172_800)
    assert found["capacity_tokens_per_day"] == pytest.approx(691_200)
    assert found["parts"] == pytest.approx(
        {"hardware": 150, "engineering": 800, "maintenance": 800, "electricity": 44.7066}
    )
    assert found["total"] == pytest.approx(1794.7066)
    assert found["per_million_tokens"] == pytest.approx(1794.7066 / 252.4608)
    assert sum(found["parts_per_million_tokens"].values()) == pytest.approx(
        found["per_million_tokens"]
    )
    assert found["cheapest"] == "this device"
    assert found["overall"] is True


def test_co2_per_million_tokens() -> None:
    """4.25 W over 2 tokens/s on average is 2.125 J a token: 0.590278 kWh a million, x 400 g."""
    assert of_pi(asked())["co2_g_per_million_tokens"] == pytest.approx(236.1111, rel=1e-6)
    assert of_pi(asked(grid_co2_g_per_kwh=None))["co2_g_per_million_tokens"] is None


def test_against_an_api() -> None:
    """Per million output tokens 10 + 2.5 x 1. It is 1381.5576 cheaper before the first token (400
    for its set-up against 950, 4 x 200 and 4 x 26.298 kWh at rest); a token costs the board
    0.625 J. Per year 788.94 against 211.17665, and 550 were paid ahead.
    """
    found = of_pi(asked(alternatives={"cloud": API}))["alternatives"]["cloud"]
    assert found["total"] == pytest.approx(400 + 12.5 * 252.4608)
    assert found["per_million_tokens"] == pytest.approx(12.5 + 400 / 252.4608)
    own_token = 0.625 / 3.6e6 * 0.3
    tokens = 1381.5576 / (12.5e-6 - own_token)
    assert found["break_even_tokens_per_day"] == pytest.approx(tokens / 1461)
    assert (found["cheaper"], found["reachable"]) == ("above", True)
    assert found["break_even_months"] == pytest.approx(550 / (788.94 - 211.17665) * 12)
    assert found["saves"] == pytest.approx(found["total"] - 1794.7066)
    assert found["co2_g_per_million_tokens"] is None


def test_an_api_that_is_too_cheap_to_beat() -> None:
    cheap = {**API, "price_per_million_input_tokens": 0, "price_per_million_output_tokens": 0.1}
    found = of_pi(asked(alternatives={"cloud": cheap}))
    assert found["cheapest"] == "cloud"
    other = found["alternatives"]["cloud"]
    assert (other["cheaper"], other["reachable"], other["break_even_months"]) == (
        "never",
        False,
        None,
    )


def test_against_a_rented_gpu() -> None:
    """0.5 x 24 x 365.25 x 4 = 17,532, one is enough; 300 W all day over 172,800 tokens."""
    found = of_pi(asked(alternatives={"gpu": GPU}))["alternatives"]["gpu"]
    assert found["total"] == pytest.approx(17_532)
    assert (found["cheaper"], found["reachable"]) == ("always", False)
    assert found["co2_g_per_million_tokens"] == pytest.approx(7.2 / 0.1728 * 400)
    slow = {**GPU, "output_tokens_per_s": 1.5}  # 129,600 a day
    two = of_pi(asked(alternatives={"gpu": slow}))["alternatives"]["gpu"]
    assert two["total"] == pytest.approx(2 * 17_532)


def test_against_a_larger_board() -> None:
    """300 more, 4 x 8.766 kWh less at rest."""
    board = {
        "kind": "board",
        "hardware": {"board": 450},
        "output_tokens_per_s": 16,
        "busy_power_w": 12,
        "idle_power_w": 2,
    }
    found = of_pi(asked(alternatives={"big": board}))["alternatives"]["big"]
    busy = 10 / 16 / 3.6e6 * 0.3 * 252_460_800
    at_rest = 4 * 2 * 24 * 365.25 / 1000 * 0.3
    assert found["total"] == pytest.approx(450 + 800 + 800 + at_rest + busy)


def test_against_another_device_of_the_study() -> None:
    both = asked(
        hardware={"pi": PI, "bare": {"board": 100}},
        alternatives={"no-hat": {"kind": "device", "device": "bare"}},
    )
    found = money(both, row(), row("bare"))["devices"]
    other = found[0]["alternatives"]["no-hat"]
    assert other["saves"] == pytest.approx(-50)
    assert found[1]["not_compared"] == {"no-hat": {"kind": "same device"}}
    alone = of_pi(both, row(), row("bare", **NO_POWER))
    assert alone["alternatives"] == {}
    assert english.no_money(alone["not_compared"]["no-hat"]) == (
        "its power is not known: the device has no meter"
    )


def test_boards_share_the_engineering() -> None:
    ten = of_pi(asked(boards=10))
    assert ten["parts"] == pytest.approx(
        {"hardware": 1500, "engineering": 800, "maintenance": 800, "electricity": 447.066}
    )
    assert ten["tokens_per_day"] == pytest.approx(1_728_000)


def test_training_is_paid_by_what_is_trained() -> None:
    assert of_pi(asked(), row(quant="Q2_K-qat"))["parts"]["engineering"] == pytest.approx(2000)


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (
            {**NO_POWER, "energy_reason": "the plug is gone"},
            "its power is not known: the plug is gone",
        ),
        ({"idle_power_w": None}, "its power at rest is not known: set the device's 'idle_s'"),
    ],
)
def test_no_power_no_money(more: dict[str, object], reason: str) -> None:
    found = of_pi(asked(), row(**more))
    assert (found["status"], english.no_money(found["reason"])) == ("unknown", reason)


def test_nothing_is_recommended() -> None:
    found = money(asked(hardware={"pi": PI, "pi4": PI}))["devices"][1]
    assert english.no_money(found["reason"]) == "nothing is recommended on it"


def test_every_assumption_has_a_source_and_a_unit() -> None:
    found = of_pi(asked(alternatives={"cloud": API, "gpu": GPU}))["assumptions"]
    own: Source = {"kind": "your figure"}
    assert found["hardware.board"] == {"value": 100, "unit": "money/board", "source": own}
    assert found["hardware.m2_hat"]["source"] == {"kind": "stated", "source": "shop"}
    assert found["busy_power_w"] == {
        "value": pytest.approx(8),
        "unit": "W",
        "source": {"kind": "measured", "tier": "metered"},
    }
    assert found["alternatives.gpu.hours_per_day"]["source"] == {"kind": "rented all day"}


def test_every_default_source_is_known_as_one() -> None:
    """So that each language has its word for it."""
    kinds: list[type[BaseModel]] = [
        Figure,
        Cost,
        Engineering,
        CloudApi,
        RentedGpu,
        LargerBoard,
        OtherDevice,
    ]
    defaults = [field.default for kind in kinds for field in kind.model_fields.values()]
    sources = {default.source for default in defaults if isinstance(default, Figure)}
    assert sources | {Figure(value=1).source} == {*get_args(DefaultSource)}


def test_the_prices_swings_add_up_to_the_whole() -> None:
    """The cost is linear in all prices at once: each moved by 20 % both ways, 40 % in all."""
    found = of_pi(asked())
    prices = [
        m for m in found["sensitivity"] if m["assumption"].startswith(("hardware.", "price_per_"))
    ]
    assert sum(m["swing"] for m in prices) == pytest.approx(0.4 * found["per_million_tokens"])
    swings = [m["swing"] for m in found["sensitivity"]]
    assert swings == sorted(swings, reverse=True)


def test_sensitivity_names_what_turns_the_comparison() -> None:
    """At 7.11 a million against 7.5 the duty decides, and the API's own price does."""
    close = {
        **API,
        "price_per_million_input_tokens": 0,
        "price_per_million_output_tokens": 7.5,
        "setup_days": 0,
    }
    moved = {m["assumption"]: m for m in of_pi(asked(alternatives={"c": close}))["sensitivity"]}
    assert moved["duty_pct"]["cheapest_at_low"] == "c"
    assert moved["duty_pct"]["cheapest_at_high"] == "this device"
    price = moved["alternatives.c.price_per_million_output_tokens"]
    assert (price["swing"], price["cheapest_at_low"]) == (0, "c")
    assert "boards" not in moved


def test_shares_stay_within_the_whole() -> None:
    moved = {m["assumption"]: m for m in of_pi(asked(duty_pct=90))["sensitivity"]}
    assert moved["duty_pct"]["high"] == 100


def sentences(cost: Cost) -> list[str]:
    return english.money(of_pi(cost), cost.currency)


def test_sentences() -> None:
    found = sentences(asked(alternatives={"cloud": API, "gpu": GPU}))
    assert found[0] == (
        "On pi a million tokens of m Q4_0 cost 7.11 EUR with one board over 4 years at a duty of "
        "25 % (173,000 tokens a day); 45 % of it is engineering."
    )
    assert found[1].startswith(
        "Against cloud (14.08 EUR) it is cheaper above 76,000 tokens a day, at this duty after "
        "11.4 months; against gpu (69.44 EUR) it is always cheaper (the line is at "
    )
    assert found[2].startswith("The figure that moves it most is ")
    assert len(sentences(asked())) == 3


def test_a_break_even_beyond_the_life_span_is_no_comfort() -> None:
    """550 ahead, saved at 577.76 a year: 11.4 months of 6."""
    found = sentences(asked(alternatives={"cloud": API}, lifespan_years=0.5))
    assert "at this duty after 11.4 months, which is longer than it lasts" in found[1]


def test_what_the_hat_buys() -> None:
    cost = asked(
        hardware={"pi": PI, "bare": {"board": 100, "ssd": 10}},
        hat={"with_hat": "pi", "without_hat": "bare"},
    )
    rows = [
        row(),
        row("bare", cold_load_s=8.0),
        row(quant="F16", tg_tps=4.0),
        row("bare", quant="F16", tg_tps=0.4, marks=["memory-bound: overflow"]),
        row(quant="Q8_0"),
    ]
    found = hat_gain(rows, cost)
    assert found
    assert (found["with_hat"], found["without_hat"]) == ("pi", "bare")
    assert [r["quant"] for r in found["rows"]] == ["Q4_0", "F16"]
    assert (found["median_tg_ratio"], found["median_cold_load_ratio"]) == (1.0, 0.25)
    assert (found["only_with"], found["extra_hardware"]) == (1, 40)
    assert english.hat(found, "EUR") == (
        "For 40 EUR more the M.2 HAT makes 1 variant work that would not without it; where both "
        "work, token generation is 1.00 and loading 0.25 times what it is without (median of 1)."
    )
    assert hat_gain(rows, asked()) is None


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"lifespan_years": 0}, "should be more than 0"),
        ({"duty_pct": 101}, "should be at most 100"),
        ({"price_per_kwh": "cheap"}, "should be a number, or a mapping of 'value' and 'source'"),
        ({"price_per_kwh": -1}, "should be a number that is not negative"),
        ({"price_per_kwh": float("nan")}, "should be a number that is not negative"),
        (
            {"alternatives": {"x": {"kind": "device", "device": "pi4"}}},
            "no device 'pi4' under 'cost.hardware'",
        ),
        ({"alternatives": {"x": API}, "engineering": None}, "add the section 'engineering'"),
        ({"alternatives": {"x": {**GPU, "hours_per_day": 25}}}, "should be at most 24"),
    ],
)
def test_bad_figures(more: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message.replace("'", ".")):
        asked(**more)


# --- what always holds ----------------------------------------------------------------------------

RUNNING = Running("m", "Q4_0", 100.0, 10.0, 0.1, 0.75, 3.0, "metered")
"""What `row` has."""


def figures(cost: Cost) -> dict[str, float]:
    found = assumptions("pi", RUNNING, {"pi": RUNNING}, WORKLOAD, cost)
    return {name: assumption["value"] for name, assumption in found.items()}


price = st.floats(0, 1000)
some = st.floats(0.01, 100)


@given(board=price, price_per_day=price, api=some, per_kwh=st.floats(0, 2), duty=st.floats(1, 100))
def test_at_the_break_even_both_cost_the_same(
    board: float, price_per_day: float, api: float, per_kwh: float, duty: float
) -> None:
    cost = asked(
        hardware={"pi": {"board": board}},
        engineering={"price_per_day": price_per_day, "setup_days": 2},
        price_per_kwh=per_kwh,
        duty_pct=duty,
        alternatives={"api": {**API, "price_per_million_output_tokens": api}},
    )
    values = figures(cost)
    found = evaluate(values, cost)
    other = found["alternatives"]["api"]
    at = other["break_even_tokens_per_day"]
    if at is not None and at > 1:
        there = {**values, "duty_pct": 100 * at / found["capacity_tokens_per_day"]}
        met = evaluate(there, cost)
        assert met["total"] == pytest.approx(met["alternatives"]["api"]["total"], rel=1e-6)
    assert (other["saves"] > 0) == (found["total"] < other["total"])
    months = other["break_even_months"]
    if months and months < 1e6:
        then = evaluate({**values, "lifespan_years": months / 12}, cost)
        assert then["total"] == pytest.approx(then["alternatives"]["api"]["total"], rel=1e-6)


@given(board=some, per_day=some, per_kwh=some, duty=st.floats(1, 100), years=st.floats(0.1, 20))
def test_parts_sum_up_and_swings_do(
    board: float, per_day: float, per_kwh: float, duty: float, years: float
) -> None:
    cost = asked(
        hardware={"pi": {"board": board, "case": 1}},
        engineering={"price_per_day": per_day, "setup_days": 1, "maintenance_days_per_year": 1},
        price_per_kwh=per_kwh,
        duty_pct=duty,
        lifespan_years=years,
        vary_pct=10,
    )
    values = figures(cost)
    result = evaluate(values, cost)
    assert sum(result["parts"].values()) == pytest.approx(result["total"])
    linear = [
        m
        for m in sensitivity(values, cost)
        if m["assumption"].startswith(("hardware.", "price_per_"))
    ]
    assert sum(m["swing"] for m in linear) == pytest.approx(0.2 * result["per_million_tokens"])
