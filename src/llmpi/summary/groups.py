"""Groups of equal boards: what they show together, and how far apart they are."""

from collections.abc import Callable, Mapping, Sequence
from math import hypot
from statistics import median, pstdev
from typing import Any

from llmpi.records import Record, is_ok

Row = dict[str, Any]
Groups = Mapping[str, Sequence[str]]
"""Of `llmpi.study.Study.classes`: name -> devices. A device of no group is there by itself."""

MEDIANS = (
    *("pp_tps", "tg_tps", "ttft_s", "itl_p50_s", "itl_p95_s", "cold_load_s", "warm_load_s"),
    *("memory_read_bytes_per_s", "storage_read_bytes_per_s", "tg_memory_share"),
)
ENERGIES = (
    *("idle_power_w", "pp_power_w", "tg_power_w", "pp_j_per_token", "tg_j_per_token"),
    *("tpj_board", "tpj_above_idle", "words_per_battery"),
)
LEAST = ("pp_min_tps", "tg_min_tps", "repetitions")
GREATEST = (
    *("pp_max_tps", "tg_max_tps", "itl_max_s"),
    *("peak_rss_bytes", "major_faults", "hottest_c"),
)
UNCERTAINTY = "tg_uncertainty_j_per_token"

# What makes boards equal; `llmpi.device.machine.environment.machine` has more, such as the kernel.
EQUAL = ("board", "cpu", "memory_bytes", "processors")


def by_class(rows: Sequence[Row], groups: Groups) -> list[Row]:
    """A summary's rows, those of a group's boards as one: `device` is the group, `boards` who.

    Medians over the boards' medians. What was least or greatest in a repetition is so over all
    boards, so that the range holds the spread between them. A cell that is not well on one board is
    not well on the group.
    """
    found: dict[tuple[str, ...], list[Row]] = {}
    names = {device: name for name, devices in groups.items() for device in devices}
    for row in rows:
        found.setdefault(_cell(row, names), []).append(row)
    return [_as_one(cell[0], boards) for cell, boards in found.items()]


def spreads(rows: Sequence[Row], groups: Groups) -> list[Record]:
    """How far a group's boards are apart, one record a cell.

    Returns:
        `group`, `model`, `quant`, `runtime`, `workload`; `boards`, those with numbers, each
        `device`, `pp_tps`, `tg_tps`, `tg_j_per_token`; of `tg_tps` the `median`, the
        `between_pct` (greatest minus least board, per cent of the median) and the `within_pct`
        (the same of a board's repetitions, the median over the boards); `missing`, the others.
    """
    several = {name: devices for name, devices in groups.items() if [name] != list(devices)}
    names = {device: name for name, devices in several.items() for device in devices}
    cells: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        if row["device"] in names:
            cells.setdefault(_cell(row, names), []).append(row)
    return [_spread(cell, boards) for cell, boards in cells.items()]


def unlike(machines: Mapping[str, Record], groups: Groups) -> list[str]:
    """What differs between the boards of a group that should be equal, a sentence each."""
    found = []
    for group, boards in groups.items():
        known = {b: m["machine"] for b in boards if "machine" in (m := machines[b])}
        for key in EQUAL:
            values = {board: machine[key] for board, machine in known.items()}
            if len(set(values.values())) > 1:
                told = ", ".join(f"{board} {value}" for board, value in values.items())
                found.append(f"The boards of {group} are not equal, {key}: {told}.")
    return found


def _cell(row: Row, names: Mapping[str, str]) -> tuple[str, ...]:
    where = names[row["device"]]
    return (where, *(row[key] for key in ("model", "quant", "runtime", "workload")))


def _as_one(name: str, rows: Sequence[Row]) -> Row:
    boards = [row["device"] for row in rows]
    if boards == [name]:
        return {**rows[0], "boards": boards}
    named = {"device": name, "boards": boards}
    bad = next((row for row in rows if not is_ok(row)), None)
    if bad:
        return {**bad, **named, "reason": f"{bad['device']}: {bad['reason']}"}
    ordered = sorted(rows, key=lambda row: row["tg_tps"])
    middle = next((row for row in rows if row["parity_reason"]), ordered[(len(rows) - 1) // 2])
    marks = dict.fromkeys(mark for row in rows for mark in row["marks"].split("; ") if mark)
    return {
        **middle,
        **named,
        **{key: _over(median, rows, key) for key in MEDIANS},
        **{key: _over(min, rows, key) for key in LEAST},
        **{key: _over(max, rows, key) for key in GREATEST},
        **_energy(rows),
        "marks": "; ".join(marks),
    }


def _energy(rows: Sequence[Row]) -> Row:
    """Of the boards that have a meter; numbers of different tiers are not put together."""
    metered = [row for row in rows if row["tg_j_per_token"] is not None]
    tiers = {row["energy_tier"] for row in metered}
    if len(tiers) > 1:
        reason = f"the boards' energy is of different tiers: {', '.join(sorted(tiers))}"
        nothing = dict.fromkeys((*ENERGIES, UNCERTAINTY))
        return {**nothing, "energy_tier": None, "energy_reason": reason}
    if not metered:
        return {}
    each = [row["tg_j_per_token"] for row in metered]
    of_each = median(row[UNCERTAINTY] or 0.0 for row in metered)
    few = len(metered) < len(rows)
    return {
        **{key: _over(median, metered, key) for key in ENERGIES},
        UNCERTAINTY: hypot(of_each, pstdev(each)),
        "energy_tier": tiers.pop(),
        "energy_reason": f"of {len(metered)} of {len(rows)} boards" if few else None,
    }


def _over(middle: Callable[[list[float]], float], rows: Sequence[Row], key: str) -> float | None:
    values = [row[key] for row in rows if row[key] is not None]
    return middle(values) if values else None


def _spread(cell: tuple[str, ...], rows: Sequence[Row]) -> Record:
    good = [row for row in rows if is_ok(row)]
    shown = ("device", "pp_tps", "tg_tps", "tg_j_per_token")
    record: Record = {
        **dict(zip(("group", "model", "quant", "runtime", "workload"), cell, strict=True)),
        "boards": [{key: row[key] for key in shown} for row in good],
        "missing": [row["device"] for row in rows if not is_ok(row)],
        **dict.fromkeys(("median", "between_pct", "within_pct")),
    }
    if good:
        speeds = [row["tg_tps"] for row in good]
        record["median"] = whole = median(speeds)
        record["between_pct"] = 100 * (max(speeds) - min(speeds)) / whole
        ranges = [(r["tg_max_tps"] - r["tg_min_tps"]) / r["tg_tps"] for r in good]
        record["within_pct"] = 100 * median(ranges)
    return record
