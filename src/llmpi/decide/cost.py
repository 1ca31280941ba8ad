"""The money: what a recommended variant costs to run, against the alternatives.

Everything is linear in the tokens: a fixed cost, a running cost by the year and one by the token. A
generated token carries its share of the prompt, as in the workload that is decided on. All figures
lie flat in one mapping, so that any of them can be moved to see what it does to the result.
"""

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any, NamedTuple

from llmpi.decide.hat import hat_gain
from llmpi.quant_types import is_trained
from llmpi.records import Record, is_ok
from llmpi.study.decision import (
    CloudApi,
    Cost,
    Figure,
    Hardware,
    LargerBoard,
    OtherDevice,
    RentedGpu,
)

Row = dict[str, Any]

DAYS_PER_YEAR = 365.25
MONTHS_PER_YEAR = 12.0
SECONDS_PER_DAY = 86_400.0
HOURS_PER_DAY = 24.0
JOULES_PER_KWH = 3.6e6
MILLION = 1e6


class Assumption(NamedTuple):
    """A number that the result rests on, its unit, and where it is from."""

    value: float
    unit: str
    source: str


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
    parts: dict[str, float]

    def over(self, years: float, tokens_per_day: float) -> float:
        """Cost over so many years."""
        tokens = tokens_per_day * DAYS_PER_YEAR * years
        return self.once + self.per_year * years + self.per_token * tokens


def costs(summary: Record, cost: Cost, recommendation: Record) -> Record:
    """The money of every device whose hardware is stated.

    Args:
        summary: of `llmpi.summary.study.summarize`.
        recommendation: of `llmpi.decide.choice.recommend`; the picks are what runs.

    Returns:
        `currency`; `devices`, see `device_cost`; `hat`, see `hat_gain`.
    """
    picks = _picks(summary, recommendation)
    workload = _workload(summary, recommendation)
    return {
        "currency": cost.currency,
        "devices": [
            device_cost(device, picks, workload, cost, overall=_overall(recommendation))
            for device in cost.hardware
        ],
        "hat": hat_gain(summary, cost, recommendation["workload"]),
    }


def device_cost(
    device: str, picks: Mapping[str, Row], workload: Record, cost: Cost, *, overall: str | None
) -> Record:
    """What a device's pick costs, and against each alternative.

    Args:
        picks: device -> row of its pick.
        workload: `prompt_tokens` and `output_tokens`.
        overall: the device of the overall pick.

    Returns:
        `device`; `reason`, where nothing can be said, else None and: `variant`; `overall`, whether
        it is the overall pick's device; `energy_tier`; `assumptions` by name, each `value`, `unit`,
        `source`; `boards`, `lifespan_years`, `tokens_per_day` of all boards, and
        `capacity_tokens_per_day`;
        `total` over the life span, `per_million_tokens`, `co2_g_per_million_tokens` (None without a
        grid intensity); `parts` of the total and `parts_per_million_tokens`;
        `alternatives`, see `against`, and `not_compared`, by id why not; `cheapest`, which is
        `this device` or an alternative's id; `sensitivity`, see there; three `sentences`.
    """
    row = picks.get(device)
    why = _unknown(row)
    if row is None or why:
        return {"device": device, "reason": why}
    figures = assumptions(device, picks, workload, cost)
    values = {name: figure.value for name, figure in figures.items()}
    result = evaluate(values, cost)
    found: Record = {
        "device": device,
        "reason": None,
        "variant": f"{row['model']} {row['quant']}",
        "overall": device == overall,
        "energy_tier": row["energy_tier"],
        "assumptions": {name: figure._asdict() for name, figure in figures.items()},
        **result,
        "not_compared": _not_compared(device, picks, cost),
        "sensitivity": sensitivity(values, cost),
    }
    return {**found, "sentences": _sentences(found, cost)}


def assumptions(
    device: str, picks: Mapping[str, Row], workload: Record, cost: Cost
) -> dict[str, Assumption]:
    """Every figure of a device's result, by a name such as `hardware.board`.

    Measured ones say so with their tier; those of the config say what their `source` says.
    """
    money, days = cost.currency, "days"
    found: dict[str, Assumption] = {
        "boards": _stated(cost.boards, "boards"),
        "lifespan_years": _stated(cost.lifespan_years, "years"),
        "duty_pct": _stated(cost.duty_pct, "% of the time"),
        "price_per_kwh": _stated(cost.price_per_kwh, f"{money}/kWh"),
        "prompt_tokens_per_output_token": Assumption(
            workload["prompt_tokens"] / workload["output_tokens"], "tokens", "the workload"
        ),
        **_bought("hardware", cost.hardware[device], money),
        **_measured("", picks[device], workload),
    }
    if cost.grid_co2_g_per_kwh:
        found["grid_co2_g_per_kwh"] = _stated(cost.grid_co2_g_per_kwh, "g CO2/kWh")
    if work := cost.engineering:
        found["price_per_day"] = _stated(work.price_per_day, f"{money}/day")
        found["setup_days"] = _stated(work.setup_days, days)
        if is_trained(picks[device]["quant"]):
            found["qat_days"] = _stated(work.qat_days, days)
        found["maintenance_days_per_year"] = _stated(work.maintenance_days_per_year, "days/year")
    for name, other in cost.alternatives.items():
        at = f"alternatives.{name}"
        if isinstance(other, OtherDevice):
            if other.device != device and not _unknown(picks.get(other.device)):
                found |= _bought(f"{at}.hardware", cost.hardware[other.device], money)
                found |= _measured(f"{at}.", picks[other.device], workload)
                if cost.engineering and is_trained(picks[other.device]["quant"]):
                    found[f"{at}.qat_days"] = _stated(cost.engineering.qat_days, days)
            continue
        if isinstance(other, LargerBoard):
            found |= _bought(f"{at}.hardware", other.hardware, money)
        for key in type(other).model_fields:
            figure = getattr(other, key)
            if isinstance(figure, Figure):
                found[f"{at}.{key}"] = _stated(figure, _unit_of(key, money))
    return found


def evaluate(values: Mapping[str, float], cost: Cost) -> Record:
    """Costs out of the figures; see `device_cost` for what is returned.

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
    cheapest = min([("this device", total), *((n, o["total"]) for n, o in others.items())],
                   key=lambda item: item[1])  # fmt: skip
    return {
        "boards": values["boards"],
        "lifespan_years": years,
        "tokens_per_day": tokens_per_day,
        "capacity_tokens_per_day": own.capacity_tokens_per_day,
        "total": total,
        "per_million_tokens": total / tokens * MILLION,
        "co2_g_per_million_tokens": own.co2_g_per_million_tokens,
        "parts": own.parts,
        "parts_per_million_tokens": {n: p / tokens * MILLION for n, p in own.parts.items()},
        "alternatives": others,
        "cheapest": cheapest[0],
    }


def against(own: Bill, other: Bill, values: Mapping[str, float], tokens_per_day: float) -> Record:
    """An alternative that does the same work.

    Returns:
        `total` over the life span, `per_million_tokens`, `co2_g_per_million_tokens` (None if not
        stated), `saves`, what the own boards save over the life span against it (negative: cost
        more); `break_even_months`, after which the own boards have cost less at this duty (0: from
        the beginning; None: never); `break_even_tokens_per_day`, of all boards over the life span
        (None: there is none); `reachable`, whether the boards can generate that many a day; and
        where the own boards are `cheaper`: `above` or `below` it, `always`, `never`, as far as they
        can generate. Machines of the alternative are as many as this duty needs.
    """
    years = values["lifespan_years"]
    days = DAYS_PER_YEAR * years
    total = other.over(years, tokens_per_day)
    # own - other = fixed + slope x tokens a day
    fixed = own.over(years, 0) - other.over(years, 0)
    slope = (own.per_token - other.per_token) * days
    break_even, cheaper = _crossing(fixed, slope)
    reachable = break_even is None or break_even <= own.capacity_tokens_per_day
    if not reachable:
        cheaper = {"above": "never", "below": "always"}[cheaper]
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


def sensitivity(values: Mapping[str, float], cost: Cost) -> list[Record]:
    """What each figure moves: it alone goes down and up by `vary_pct`, the others stay.

    Returns:
        For each figure that moves anything: `assumption`; `low` and `high`, its two values;
        `at_low` and `at_high`, the cost per million tokens then, and `swing` between them (never
        negative); `cheapest_at_low` and `cheapest_at_high`. The one with the largest swing first,
        then those that only move who is cheapest.
    """
    found = []
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


def _stated(figure: Figure, unit: str) -> Assumption:
    return Assumption(figure.value, unit, figure.source)


def _bought(prefix: str, hardware: Hardware, money: str) -> dict[str, Assumption]:
    return {
        f"{prefix}.{part}": _stated(figure, f"{money}/board")
        for part, figure in hardware
        if figure is not None
    }


def _measured(prefix: str, row: Row, workload: Record) -> dict[str, Assumption]:
    """Speed and power of a row, for a generated token with its share of the prompt."""
    prompt, output = workload["prompt_tokens"], workload["output_tokens"]
    seconds = (prompt / row["pp_tps"] + output / row["tg_tps"]) / output
    joules = (prompt * row["pp_j_per_token"] + output * row["tg_j_per_token"]) / output
    tier = f"measured ({row['energy_tier']})"
    return {
        f"{prefix}output_tokens_per_s": Assumption(1 / seconds, "tokens/s", "measured"),
        f"{prefix}busy_power_w": Assumption(joules / seconds, "W", tier),
        f"{prefix}idle_power_w": Assumption(row["idle_power_w"], "W", tier),
    }


def _unit_of(key: str, money: str) -> str:
    return {
        "price_per_million_input_tokens": f"{money}/million tokens",
        "price_per_million_output_tokens": f"{money}/million tokens",
        "co2_g_per_million_output_tokens": "g CO2/million tokens",
        "price_per_hour": f"{money}/h",
        "hours_per_day": "h/day",
        "output_tokens_per_s": "tokens/s",
        "setup_days": "days",
    }.get(key, "W")


def _unknown(row: Row | None) -> str | None:
    """Why the money of a device cannot be told; None if it can."""
    if row is None:
        return "nothing is recommended on it"
    if row["tg_power_w"] is None:
        reason = row["energy_reason"] or "the device has no meter"
        return f"its power is not known: {reason}"
    if row["idle_power_w"] is None:
        return "its power at rest is not known: set the device's 'idle_s'"
    return None


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


def _crossing(fixed: float, slope: float) -> tuple[float | None, str]:
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


# --- what it is about -----------------------------------------------------------------------------


def _picks(summary: Record, recommendation: Record) -> dict[str, Row]:
    """Device -> the row of what is recommended on it."""
    rows = {
        "/".join(row[key] for key in ("device", "model", "quant", "runtime")): row
        for row in summary["rows"]
        if row["workload"] == recommendation["workload"] and is_ok(row)
    }
    made = [d for d in recommendation["decisions"] if d["where"] != "overall" and d["pick"]]
    return {decision["where"]: rows[decision["pick"]] for decision in made}


def _overall(recommendation: Record) -> str | None:
    pick = recommendation["decisions"][0]["pick"]
    return pick.partition("/")[0] if pick else None


def _workload(summary: Record, recommendation: Record) -> Record:
    return summary["provenance"]["config"]["workloads"][recommendation["workload"]]


def _not_compared(device: str, picks: Mapping[str, Row], cost: Cost) -> dict[str, str]:
    others = {n: o.device for n, o in cost.alternatives.items() if isinstance(o, OtherDevice)}
    reasons = {
        name: "it is this device" if other == device else _unknown(picks.get(other))
        for name, other in others.items()
    }
    return {name: reason for name, reason in reasons.items() if reason}


# --- in words -------------------------------------------------------------------------------------


def _sentences(found: Record, cost: Cost) -> list[str]:
    """What it costs; against what it pays; what that hangs on."""
    money, per_million = cost.currency, found["per_million_tokens"]
    boards = "one board" if found["boards"] == 1 else f"{found['boards']:g} boards"
    largest = max(found["parts"].items(), key=lambda item: item[1])
    share = 100 * largest[1] / found["total"] if found["total"] else 0.0
    first = (
        f"On {found['device']} a million tokens of {found['variant']} cost {per_million:,.2f} "
        f"{money} with {boards} over {found['lifespan_years']:g} years at a duty of "
        f"{cost.duty_pct.value:g} % ({found['tokens_per_day']:,.0f} tokens a day); "
        f"{share:.0f} % of it is {largest[0]}."
    )
    others = [
        _versus(name, o, found["lifespan_years"], money)
        for name, o in found["alternatives"].items()
    ]
    second = (
        "; ".join(others)[0].upper() + "; ".join(others)[1:] + "."
        if others
        else "It is compared with nothing: name 'alternatives' under 'cost'."
    )
    return [first, second, _hangs_on(found["sensitivity"], found["cheapest"], cost)]


def _versus(name: str, other: Record, years: float, money: str) -> str:
    text = f"against {name} ({other['per_million_tokens']:,.2f} {money})"
    at, cheaper = other["break_even_tokens_per_day"], other["cheaper"]
    if cheaper in ("always", "never"):
        more = "" if at is None else f" (the line is at {at:,.0f} tokens a day, beyond its reach)"
        return f"{text} it is {cheaper} cheaper{more}"
    months = other["break_even_months"]
    when = "never" if months is None else f"after {months:,.1f} months"
    if months is not None and months > years * MONTHS_PER_YEAR:
        when += ", which is longer than it lasts"
    return f"{text} it is cheaper {cheaper} {at:,.0f} tokens a day, at this duty {when}"


def _hangs_on(moved: Sequence[Record], cheapest: str, cost: Cost) -> str:
    if not moved:
        return "No figure moves the result."
    first = moved[0]
    flips = [
        m["assumption"]
        for m in moved
        if {m["cheapest_at_low"], m["cheapest_at_high"]} != {cheapest}
    ]
    flip = f"that changes with {', '.join(flips)}" if flips else "no figure changes that"
    return (
        f"The figure that moves it most is {first['assumption']}: {cost.vary_pct:g} % down or up "
        f"give {first['at_low']:,.2f} and {first['at_high']:,.2f} {cost.currency}; the cheapest is "
        f"{cheapest}, and {flip}."
    )
