"""The money: what a recommended variant costs to run, against the alternatives.

Everything is linear in the tokens: a fixed cost, a running cost by the year and one by the token. A
generated token carries its share of the prompt, as in the workload that is decided on. All figures
lie flat in one mapping, so that any of them can be moved to see what it does to the result.
"""

from collections.abc import Mapping, Sequence
from math import ceil
from typing import NamedTuple, get_args

from llmpi.decide.candidates import id_of
from llmpi.decide.hat import hat_gain
from llmpi.decide.records import (
    AlternativeCost,
    Assumption,
    Cheaper,
    Choice,
    CostPart,
    Costs,
    CostUnit,
    DefaultSource,
    DeviceMoney,
    DeviceWithoutMoney,
    Money,
    Moved,
    NoMoney,
    NotCompared,
    Source,
)
from llmpi.engine.records import Tier
from llmpi.quant_types import is_trained
from llmpi.study.decision import (
    CloudApi,
    Cost,
    Figure,
    Hardware,
    LargerBoard,
    OtherDevice,
    RentedGpu,
)
from llmpi.study.measuring import Workload
from llmpi.study.study import Study
from llmpi.summary.groups import by_class
from llmpi.summary.records import ClassRow, Summary

THIS_DEVICE = "this device"
"""Where it is the cheapest; no alternative's id has a space."""

DAYS_PER_YEAR = 365.25
MONTHS_PER_YEAR = 12.0
SECONDS_PER_DAY = 86_400.0
HOURS_PER_DAY = 24.0
JOULES_PER_KWH = 3.6e6
MILLION = 1e6


class Bill(NamedTuple):
    """What something costs, all boards or machines together; prices in the study's currency.

    Args:
        once: hardware and engineering.
        per_year: what runs on whether tokens are generated or not.
        per_token: what a generated token adds, with its share of the prompt.
        capacity_tokens_per_day: what can be generated at most.
        co2_g_per_million_tokens: None where it is not stated.
        parts: by name, what each costs over the life span; they sum up to the total.
    """

    once: float
    per_year: float
    per_token: float
    capacity_tokens_per_day: float
    co2_g_per_million_tokens: float | None
    parts: Mapping[CostPart, float]

    def over(self, years: float, tokens_per_day: float) -> float:
        """Cost over so many years."""
        tokens = tokens_per_day * DAYS_PER_YEAR * years
        return self.once + self.per_year * years + self.per_token * tokens


class Running(NamedTuple):
    """What runs on a device, with the measured numbers that its money rests on: means, all of the
    same repetitions, so that joules and seconds are those of the power that was measured."""

    model: str
    quant: str
    pp_tps: float
    tg_tps: float
    pp_j_per_token: float
    tg_j_per_token: float
    idle_power_w: float
    tier: Tier


Picks = Mapping[str, Running | NoMoney]
"""By device: what runs on it, or why its money cannot be told."""


def costs(summary: Summary, cost: Cost, choice: Choice) -> Money:
    """The money of every device whose hardware is stated; what is picked there is what runs."""
    study = Study.model_validate(summary["provenance"]["config"])
    rows = by_class(summary["rows"], study.classes)
    rows = [row for row in rows if row["workload"] == choice["workload"]]
    picks = _picks(rows, choice)
    workload = study.singles[choice["workload"]]
    overall = choice["decisions"][0]["pick"]
    return {
        "currency": cost.currency,
        "per_million_tokens": _prices(rows, picks, workload, cost, choice),
        "devices": [
            device_cost(
                device,
                picks,
                workload,
                cost,
                overall=overall is not None and overall.startswith(f"{device}/"),
            )
            for device in cost.hardware
        ],
        "hat": hat_gain(rows, cost),
    }


def device_cost(
    device: str, picks: Picks, workload: Workload, cost: Cost, *, overall: bool
) -> DeviceMoney | DeviceWithoutMoney:
    """What a device's pick costs, and against each alternative.

    Args:
        overall: whether its pick is the overall one.
    """
    pick = picks.get(device, NOTHING)
    if not isinstance(pick, Running):
        return {"status": "unknown", "device": device, "reason": pick}
    figures = assumptions(device, pick, picks, workload, cost)
    values = _values(figures)
    return {
        "status": "ok",
        "device": device,
        "variant": f"{pick.model} {pick.quant}",
        "overall": overall,
        "energy_tier": pick.tier,
        "duty_pct": cost.duty_pct.value,
        "vary_pct": cost.vary_pct,
        "assumptions": figures,
        **evaluate(values, cost),
        "not_compared": _not_compared(device, picks, cost),
        "sensitivity": sensitivity(values, cost),
    }


def assumptions(
    device: str, pick: Running, picks: Picks, workload: Workload, cost: Cost
) -> dict[str, Assumption]:
    """Every figure of a device's result, by a name such as `hardware.board`.

    Measured ones say so with their tier; those of the config say what their `source` says.
    """
    found: dict[str, Assumption] = {
        "boards": _stated(cost.boards, "boards"),
        "lifespan_years": _stated(cost.lifespan_years, "years"),
        "duty_pct": _stated(cost.duty_pct, "% of the time"),
        "price_per_kwh": _stated(cost.price_per_kwh, "money/kWh"),
        "prompt_tokens_per_output_token": {
            "value": workload.prompt_tokens / workload.output_tokens,
            "unit": "tokens",
            "source": {"kind": "the workload"},
        },
        **_bought("hardware", cost.hardware[device]),
        **_measured("", pick, workload),
    }
    if cost.grid_co2_g_per_kwh:
        found["grid_co2_g_per_kwh"] = _stated(cost.grid_co2_g_per_kwh, "g CO2/kWh")
    if work := cost.engineering:
        found["price_per_day"] = _stated(work.price_per_day, "money/day")
        found["setup_days"] = _stated(work.setup_days, "days")
        if is_trained(pick.quant):
            found["qat_days"] = _stated(work.qat_days, "days")
        found["maintenance_days_per_year"] = _stated(work.maintenance_days_per_year, "days/year")
    for name, other in cost.alternatives.items():
        at = f"alternatives.{name}"
        if isinstance(other, OtherDevice):
            running = picks.get(other.device)
            if other.device != device and isinstance(running, Running):
                found |= _bought(f"{at}.hardware", cost.hardware[other.device])
                found |= _measured(f"{at}.", running, workload)
                if cost.engineering and is_trained(running.quant):
                    found[f"{at}.qat_days"] = _stated(cost.engineering.qat_days, "days")
            continue
        if isinstance(other, LargerBoard):
            found |= _bought(f"{at}.hardware", other.hardware)
        for key in type(other).model_fields:
            figure = getattr(other, key)
            if isinstance(figure, Figure):
                found[f"{at}.{key}"] = _stated(figure, _unit_of(key))
    return found


def evaluate(values: Mapping[str, float], cost: Cost) -> Costs:
    """Costs out of the figures.

    Args:
        values: the figures of `assumptions`, by name.
    """
    years = values["lifespan_years"]
    own = _boards_bill(values, "", values["boards"], values.get("qat_days", 0.0))
    tokens_per_day = own.capacity_tokens_per_day * values["duty_pct"] / 100
    tokens = tokens_per_day * DAYS_PER_YEAR * years
    total = own.over(years, tokens_per_day)
    others = {
        name: against(own, bill, values, tokens_per_day)
        for name in cost.alternatives
        if (bill := _alternative_bill(name, values, cost, tokens_per_day))
    }
    totals = {THIS_DEVICE: total, **{name: other["total"] for name, other in others.items()}}
    return {
        "boards": values["boards"],
        "lifespan_years": years,
        "tokens_per_day": tokens_per_day,
        "capacity_tokens_per_day": own.capacity_tokens_per_day,
        "total": total,
        "per_million_tokens": total / tokens * MILLION,
        "co2_g_per_million_tokens": own.co2_g_per_million_tokens,
        "parts": {**own.parts},
        "parts_per_million_tokens": {n: p / tokens * MILLION for n, p in own.parts.items()},
        "alternatives": others,
        "cheapest": min(totals, key=lambda name: totals[name]),
    }


def against(
    own: Bill, other: Bill, values: Mapping[str, float], tokens_per_day: float
) -> AlternativeCost:
    """An alternative that does the same work, with as many machines as this duty needs."""
    years = values["lifespan_years"]
    days = DAYS_PER_YEAR * years
    total = other.over(years, tokens_per_day)
    # own - other = fixed + slope x tokens a day
    fixed = own.over(years, 0) - other.over(years, 0)
    slope = (own.per_token - other.per_token) * days
    break_even, cheaper = _crossing(fixed, slope)
    reachable = break_even is None or break_even <= own.capacity_tokens_per_day
    if not reachable:
        cheaper = "never" if cheaper == "above" else "always"
    running, other_running = (b.over(1, tokens_per_day) - b.once for b in (own, other))
    return {
        "total": total,
        "per_million_tokens": total / (tokens_per_day * days) * MILLION,
        "co2_g_per_million_tokens": other.co2_g_per_million_tokens,
        "saves": total - own.over(years, tokens_per_day),
        "break_even_months": _months(own.once - other.once, other_running - running),
        "break_even_tokens_per_day": break_even,
        "cheaper": cheaper,
        "reachable": reachable,
    }


SETTINGS = ("boards", "prompt_tokens_per_output_token")
"""What the study sets: nothing to be wrong about."""
MOST = {"duty_pct": 100.0, "hours_per_day": HOURS_PER_DAY}


def sensitivity(values: Mapping[str, float], cost: Cost) -> list[Moved]:
    """What each figure moves: it alone goes down and up by `vary_pct`, the others stay.

    Returns:
        Those that move anything, the one with the largest swing first, then those that only move
        who is cheapest.
    """
    found: list[Moved] = []
    base = evaluate(values, cost)
    for name, value in values.items():
        if name in SETTINGS:
            continue
        low, high = (value * (1 + sign * cost.vary_pct / 100) for sign in (-1, 1))
        high = min(high, MOST.get(name.rpartition(".")[2], high))
        down, up = (evaluate({**values, name: moved}, cost) for moved in (low, high))
        at_low, at_high = down["per_million_tokens"], up["per_million_tokens"]
        swing = abs(at_high - at_low)
        same = down["cheapest"] == up["cheapest"] == base["cheapest"]
        if same and swing <= 1e-12 * base["per_million_tokens"]:
            continue
        found.append(
            {
                "assumption": name,
                "low": low,
                "high": high,
                "at_low": at_low,
                "at_high": at_high,
                "swing": swing,
                "cheapest_at_low": down["cheapest"],
                "cheapest_at_high": up["cheapest"],
            }
        )
    return sorted(found, key=lambda item: -item["swing"])


# --- the figures ----------------------------------------------------------------------------------


def _values(figures: Mapping[str, Assumption]) -> dict[str, float]:
    return {name: figure["value"] for name, figure in figures.items()}


def _stated(figure: Figure, unit: CostUnit) -> Assumption:
    return {"value": figure.value, "unit": unit, "source": _source(figure)}


def _source(figure: Figure) -> Source:
    for default in get_args(DefaultSource):
        if figure.source == default:
            return {"kind": default}
    return {"kind": "stated", "source": figure.source}


def _bought(prefix: str, hardware: Hardware) -> dict[str, Assumption]:
    return {
        f"{prefix}.{part}": _stated(figure, "money/board")
        for part, figure in hardware
        if figure is not None
    }


def _measured(prefix: str, pick: Running, workload: Workload) -> dict[str, Assumption]:
    """Speed and power of a pick, for a generated token with its share of the prompt."""
    prompt, output = workload.prompt_tokens, workload.output_tokens
    seconds = (prompt / pick.pp_tps + output / pick.tg_tps) / output
    joules = (prompt * pick.pp_j_per_token + output * pick.tg_j_per_token) / output
    power: Source = {"kind": "measured", "tier": pick.tier}
    return {
        f"{prefix}output_tokens_per_s": {
            "value": 1 / seconds,
            "unit": "tokens/s",
            "source": {"kind": "measured", "tier": None},
        },
        f"{prefix}busy_power_w": {"value": joules / seconds, "unit": "W", "source": power},
        f"{prefix}idle_power_w": {"value": pick.idle_power_w, "unit": "W", "source": power},
    }


def _unit_of(key: str) -> CostUnit:
    units: Mapping[str, CostUnit] = {
        "price_per_million_input_tokens": "money/million tokens",
        "price_per_million_output_tokens": "money/million tokens",
        "co2_g_per_million_output_tokens": "g CO2/million tokens",
        "price_per_hour": "money/h",
        "hours_per_day": "h/day",
        "output_tokens_per_s": "tokens/s",
        "setup_days": "days",
    }
    return units.get(key, "W")


# --- the bills ------------------------------------------------------------------------------------


def _boards_bill(values: Mapping[str, float], prefix: str, boards: float, qat_days: float) -> Bill:
    """Boards that are bought, with the study's engineering."""
    years, price = values["lifespan_years"], values["price_per_kwh"]
    busy_w, idle_w = values[f"{prefix}busy_power_w"], values[f"{prefix}idle_power_w"]
    tokens_per_s = values[f"{prefix}output_tokens_per_s"]
    hardware = boards * sum(v for n, v in values.items() if n.startswith(f"{prefix}hardware."))
    day = values.get("price_per_day", 0.0)
    engineering = day * (values.get("setup_days", 0.0) + qat_days)
    maintenance = day * values.get("maintenance_days_per_year", 0.0)
    idle_kwh_per_year = boards * idle_w * HOURS_PER_DAY * DAYS_PER_YEAR / 1000
    kwh_per_token = (busy_w - idle_w) / tokens_per_s / JOULES_PER_KWH
    capacity = boards * tokens_per_s * SECONDS_PER_DAY
    tokens_per_day = _tokens_per_day(values)
    tokens_per_year = tokens_per_day * DAYS_PER_YEAR
    kwh_per_year = idle_kwh_per_year + kwh_per_token * tokens_per_year
    grid = values.get("grid_co2_g_per_kwh")
    return Bill(
        once=hardware + engineering,
        per_year=maintenance + idle_kwh_per_year * price,
        per_token=kwh_per_token * price,
        capacity_tokens_per_day=capacity,
        co2_g_per_million_tokens=(
            None if grid is None else kwh_per_year / tokens_per_year * MILLION * grid
        ),
        parts={
            "hardware": hardware,
            "engineering": engineering,
            "maintenance": maintenance * years,
            "electricity": kwh_per_year * price * years,
        },
    )


def _tokens_per_day(values: Mapping[str, float]) -> float:
    """What the own boards generate at the duty."""
    per_board = values["output_tokens_per_s"] * SECONDS_PER_DAY * values["duty_pct"] / 100
    return values["boards"] * per_board


def _alternative_bill(
    name: str, values: Mapping[str, float], cost: Cost, tokens_per_day: float
) -> Bill | None:
    """The bill of an alternative for the same tokens; None for a device not measured, or itself.

    Of other boards it takes as many as of the own, which stand in so many places; or more, if they
    are too slow.
    """
    other, at = cost.alternatives[name], f"alternatives.{name}."
    if isinstance(other, CloudApi):
        return _api_bill(values, at)
    if isinstance(other, RentedGpu):
        return _gpu_bill(values, at, tokens_per_day)
    if f"{at}output_tokens_per_s" not in values:
        return None
    capacity = values[f"{at}output_tokens_per_s"] * SECONDS_PER_DAY
    boards = max(values["boards"], _whole(tokens_per_day / capacity))
    trained = f"{at}qat_days" if isinstance(other, OtherDevice) else "qat_days"
    return _boards_bill(values, at, boards, values.get(trained, 0.0))


def _api_bill(values: Mapping[str, float], at: str) -> Bill:
    price = (
        values[f"{at}price_per_million_output_tokens"]
        + values["prompt_tokens_per_output_token"] * values[f"{at}price_per_million_input_tokens"]
    ) / MILLION
    setup = values.get("price_per_day", 0.0) * values[f"{at}setup_days"]
    grams = values.get(f"{at}co2_g_per_million_output_tokens")
    return Bill(setup, 0.0, price, float("inf"), grams, {})


def _gpu_bill(values: Mapping[str, float], at: str, tokens_per_day: float) -> Bill:
    """As many as the tokens need, rented so many hours of every day, busy or not."""
    hours = values[f"{at}hours_per_day"]
    capacity = values[f"{at}output_tokens_per_s"] * 3600 * hours
    machines = _whole(tokens_per_day / capacity)
    setup = values.get("price_per_day", 0.0) * values[f"{at}setup_days"]
    power_w, grid = values.get(f"{at}power_w"), values.get("grid_co2_g_per_kwh")
    grams = None
    if power_w is not None and grid is not None:
        grams = machines * power_w * hours / 1000 / tokens_per_day * MILLION * grid
    rent = machines * values[f"{at}price_per_hour"] * hours * DAYS_PER_YEAR
    return Bill(setup, rent, 0.0, machines * capacity, grams, {})


def _whole(machines: float) -> int:
    """Machines are bought and rented whole; a rounding error asks for no other one."""
    return max(1, ceil(machines - 1e-9))


def _crossing(fixed: float, slope: float) -> tuple[float | None, Cheaper]:
    """Where `fixed + slope x tokens` turns its sign, and on which side it is negative."""
    if fixed > 0 > slope:
        return -fixed / slope, "above"
    if fixed < 0 < slope:
        return -fixed / slope, "below"
    return None, "never" if fixed >= 0 and slope >= 0 else "always"


def _months(ahead: float, saved_per_year: float) -> float | None:
    """Until what was paid ahead is saved; None if it never is or what was saved is lost again."""
    if saved_per_year > 0:
        return max(0.0, ahead / saved_per_year * MONTHS_PER_YEAR)
    return 0.0 if ahead < 0 and saved_per_year == 0 else None


# --- what runs ------------------------------------------------------------------------------------

NOTHING: NoMoney = {"kind": "nothing recommended", "energy_reason": None}


def _picks(rows: Sequence[ClassRow], choice: Choice) -> Picks:
    """By device: what is recommended on it, of the rows of the workload that was decided on."""
    cells = {id_of(row): row for row in rows}
    return {
        decision["where"]: _running(cells[decision["pick"]])
        for decision in choice["decisions"]
        if decision["where"] != "overall" and decision["pick"]
    }


def _prices(
    rows: Sequence[ClassRow], picks: Picks, workload: Workload, cost: Cost, choice: Choice
) -> dict[str, float]:
    """Cost of a million tokens of every pick, and of every smaller variant beside it."""
    cells = {id_of(row): row for row in rows}
    told = [made["pick"] for made in choice["decisions"]]
    told += [made["smaller"]["id"] for made in choice["decisions"] if made["smaller"]]
    found: dict[str, float] = {}
    for name in dict.fromkeys(told):
        if name is None or cells[name]["device"] not in cost.hardware:
            continue
        runs, device = _running(cells[name]), cells[name]["device"]
        if isinstance(runs, Running):
            values = _values(assumptions(device, runs, picks, workload, cost))
            found[name] = evaluate(values, cost)["per_million_tokens"]
    return found


def _running(row: ClassRow) -> Running | NoMoney:
    pp_j, tg_j, tier = row["pp_j_per_token"], row["tg_j_per_token"], row["energy_tier"]
    if pp_j is None or tg_j is None or tier is None:
        return {"kind": "no power", "energy_reason": row["energy_reason"]}
    if row["idle_power_w"] is None:
        return {"kind": "no power at rest", "energy_reason": None}
    assert row["pp_mean_tps"] and row["tg_mean_tps"], "who has joules has their speeds"
    return Running(
        model=row["model"],
        quant=row["quant"],
        pp_tps=row["pp_mean_tps"],
        tg_tps=row["tg_mean_tps"],
        pp_j_per_token=pp_j,
        tg_j_per_token=tg_j,
        idle_power_w=row["idle_power_w"],
        tier=tier,
    )


def _not_compared(device: str, picks: Picks, cost: Cost) -> dict[str, NotCompared]:
    found: dict[str, NotCompared] = {}
    for name, other in cost.alternatives.items():
        if isinstance(other, OtherDevice):
            running = picks.get(other.device, NOTHING)
            if other.device == device:
                found[name] = {"kind": "same device"}
            elif not isinstance(running, Running):
                found[name] = running
    return found
