"""Groups of equal boards: what they show together, and how far apart they are."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import hypot
from statistics import median, pstdev
from typing import Literal, NamedTuple, TypeVar, cast, get_args

from llmpi.device.machine.energy import tokens_per_joule
from llmpi.engine.records import Failed, Tier
from llmpi.remote.records import Provisioned
from llmpi.results import NotRun
from llmpi.summary.records import AnswerCost, BoardsApart, ClassRow, Row, Unlike

Groups = Mapping[str, Sequence[str]]
"""Of `Study.classes`: name -> devices. A device of no group is there by itself."""

Median = Literal[
    "pp_tps",
    "tg_tps",
    "ttft_s",
    "itl_p50_s",
    "itl_p95_s",
    "cold_load_s",
    "warm_load_s",
    "memory_read_bytes_per_s",
    "storage_read_bytes_per_s",
    "tg_memory_share",
]
Least = Literal["pp_min_tps", "tg_min_tps"]
Greatest = Literal["pp_max_tps", "tg_max_tps", "tg_sd_tps", "itl_max_s", "hottest_c", "others_pct"]
Most = Literal[
    "memory_bytes",
    "anonymous_bytes",
    "file_read_bytes",
    "peak_rss_bytes",
    "major_faults",
    "set_aside",
]
Fewest = Literal["repetitions", "shortened_to_tokens"]
OfEnergy = Literal[
    "idle_power_w",
    "pp_power_w",
    "tg_power_w",
    "pp_j_per_token",
    "tg_j_per_token",
]
FromEnergy = Literal[
    "pp_mean_tps", "tg_mean_tps", "tpj_board", "tpj_above_idle", "words_per_battery"
]
MEDIANS: tuple[Median, ...] = get_args(Median)
LEAST: tuple[Least, ...] = get_args(Least)
GREATEST: tuple[Greatest, ...] = get_args(Greatest)
MOST: tuple[Most, ...] = get_args(Most)
FEWEST: tuple[Fewest, ...] = get_args(Fewest)
ENERGIES: tuple[OfEnergy, ...] = get_args(OfEnergy)
FROM_ENERGIES: tuple[FromEnergy, ...] = get_args(FromEnergy)
UNCERTAIN: tuple[
    tuple[
        Literal["pp_j_per_token", "tg_j_per_token"],
        Literal["pp_uncertainty_j_per_token", "tg_uncertainty_j_per_token"],
    ],
    ...,
] = (
    ("pp_j_per_token", "pp_uncertainty_j_per_token"),
    ("tg_j_per_token", "tg_uncertainty_j_per_token"),
)
"""A token's joules, and how sure they are."""

Equal = Literal["board", "cpu", "memory_bytes", "processors"]
EQUAL: tuple[Equal, ...] = get_args(Equal)
"""What makes boards equal; a machine's record has more, such as the kernel."""
SAME_MEMORY = 0.01
"""Relative: from boot to boot the kernel counts some pages more or less, on one board too."""

Number = TypeVar("Number", int, float)


class Key(NamedTuple):
    """A cell of a group, or of a device that is in none."""

    group: str
    model: str
    quant: str
    runtime: str
    workload: str


def by_class(rows: Sequence[Row], groups: Groups) -> list[ClassRow]:
    """A summary's rows, those of a group's boards as one: `device` is the group, `boards` who.

    Medians over the boards' medians. What was least or greatest in a repetition is so over all
    boards, so that the range holds the spread between them. A cell that is not well on one board is
    not well on the group.
    """
    return [_as_one(key.group, boards) for key, boards in _cells(rows, groups).items()]


def spreads(rows: Sequence[Row], groups: Groups) -> list[BoardsApart]:
    """How far a group's boards are apart, one record a cell."""
    several = {name: devices for name, devices in groups.items() if [name] != list(devices)}
    named = {device for devices in several.values() for device in devices}
    found = _cells([row for row in rows if row["device"] in named], several)
    return [_spread(key, boards) for key, boards in found.items()]


def unlike(machines: Mapping[str, Provisioned | Failed | NotRun], groups: Groups) -> list[Unlike]:
    """What differs between the boards of a group that should be equal."""
    found: list[Unlike] = []
    for group, boards in groups.items():
        known = {b: m["machine"] for b in boards if (m := machines[b])["status"] == "ok"}
        for key in EQUAL:
            values = {board: machine[key] for board, machine in known.items()}
            if not _equal(list(values.values()), SAME_MEMORY if key == "memory_bytes" else 0.0):
                found.append({"group": group, "key": key, "values": values})
    return found


def _equal(values: Sequence[str | int | None], tolerance: float) -> bool:
    if len(set(values)) <= 1:
        return True
    numbers = [value for value in values if isinstance(value, int)]
    return len(numbers) == len(values) and max(numbers) <= (1 + tolerance) * min(numbers)


def _cells(rows: Sequence[Row], groups: Groups) -> dict[Key, list[Row]]:
    names = {device: name for name, devices in groups.items() for device in devices}
    found: dict[Key, list[Row]] = {}
    for row in rows:
        where = names[row["device"]]
        key = Key(where, row["model"], row["quant"], row["runtime"], row["workload"])
        found.setdefault(key, []).append(row)
    return found


def _as_one(name: str, rows: Sequence[Row]) -> ClassRow:
    boards = [row["device"] for row in rows]
    if boards == [name]:
        return {**rows[0], "boards": boards}
    bad = next((row for row in rows if row["status"] != "ok"), None)
    if bad:
        reason = f"{bad['device']}: {bad['reason']}"
        return {**bad, "device": name, "boards": boards, "reason": reason}
    ordered = sorted(rows, key=lambda row: row["tg_tps"] or 0.0)
    objected = (row for row in rows if row["parity_reason"] or row["unscored"])
    middle = next(objected, ordered[(len(rows) - 1) // 2])
    one: ClassRow = {**middle, "device": name, "boards": boards}
    for key in MEDIANS:
        one[key] = _over(median, (row[key] for row in rows))
    for least in LEAST:
        one[least] = _over(min, (row[least] for row in rows))
    for greatest in GREATEST:
        one[greatest] = _over(max, (row[greatest] for row in rows))
    for most in MOST:
        one[most] = _over(max, (row[most] for row in rows))
    for fewest in FEWEST:
        one[fewest] = _over(min, (row[fewest] for row in rows))
    one["marks"] = list(dict.fromkeys(mark for row in rows for mark in row["marks"]))
    _energy_as_one(one, [row for row in rows if row["tg_j_per_token"] is not None], len(rows))
    one["answers"] = {
        task: _answer_as_one([row["answers"][task] for row in rows], one["energy_tier"])
        for task in middle["answers"]
        if all(task in row["answers"] for row in rows)
    }
    return one


def _answer_as_one(boards: Sequence[AnswerCost], tier: Tier | None) -> AnswerCost:
    """Tokens are the same on all boards, as scores are; joules as those of a token."""
    one: dict[str, float | None] = {}
    for name, values in zip(boards[0], zip(*map(_values, boards), strict=True), strict=True):
        upwards, downwards = ("_high", "_slow"), ("_low", "_fast")
        middle = max if _any(upwards, name) else min if _any(downwards, name) else median
        if name == "answers" or name.endswith("_tokens"):
            middle = min
        of_time = not name.startswith("j_")
        endless = of_time and None in values  # where one end is not known, that of all is not
        one[name] = _over(middle, values) if (tier or of_time) and not endless else None
    return cast(AnswerCost, one)  # the keys are a board's


def _any(parts: Sequence[str], name: str) -> bool:
    return any(part in name for part in parts)


def _values(cost: AnswerCost) -> list[float | None]:
    found: Mapping[str, object] = cost  # whose keys are read by no name
    return [value if isinstance(value, int | float) else None for value in found.values()]


def _energy_as_one(one: ClassRow, metered: Sequence[Row], boards: int) -> None:
    """Of the boards that have a meter; numbers of different tiers are not put together."""
    tiers = sorted({tier for row in metered if (tier := row["energy_tier"])})
    if len(tiers) > 1:
        for key in (*ENERGIES, *FROM_ENERGIES):
            one[key] = None
        one["pp_uncertainty_j_per_token"] = one["tg_uncertainty_j_per_token"] = None
        one["energy_tier"] = None
        one["energy_reason"] = f"the boards' energy is of different tiers: {', '.join(tiers)}"
    elif metered:
        for key in ENERGIES:
            one[key] = _over(median, (row[key] for row in metered))
        _from_energy(one, metered[0])
        for value, error in UNCERTAIN:
            each = [row[value] or 0.0 for row in metered]
            one[error] = hypot(median(row[error] or 0.0 for row in metered), pstdev(each))
        one["energy_tier"] = metered[0]["energy_tier"]
        few = len(metered) < boards
        one["energy_reason"] = f"of {len(metered)} of {boards} boards" if few else None


def _from_energy(one: ClassRow, board: Row) -> None:
    """What follows from the medians of power and joules, so that it closes as a board's does.

    Args:
        board: any that is metered; all have the same battery.
    """
    pp_j, tg_j = one["pp_j_per_token"], one["tg_j_per_token"]
    power_w, idle_w, words = one["tg_power_w"], one["idle_power_w"], board["words_per_battery"]
    if not (pp_j and tg_j and power_w and one["pp_power_w"]):
        return
    tps = power_w / tg_j
    one["pp_mean_tps"], one["tg_mean_tps"] = one["pp_power_w"] / pp_j, tps
    one["tpj_board"] = tokens_per_joule(tps, power_w)
    one["tpj_above_idle"] = None if idle_w is None else tokens_per_joule(tps, power_w, idle_w)
    one["words_per_battery"] = words and words * (board["tg_j_per_token"] or 0.0) / tg_j


def _over(
    middle: Callable[[list[Number]], Number], values: Iterable[Number | None]
) -> Number | None:
    known = [value for value in values if value is not None]
    return middle(known) if known else None


def _spread(key: Key, rows: Sequence[Row]) -> BoardsApart:
    good = [row for row in rows if row["status"] == "ok"]
    speeds = [row["tg_tps"] for row in good if row["tg_tps"] is not None]
    whole = median(speeds) if speeds else None
    return {
        "group": key.group,
        "model": key.model,
        "quant": key.quant,
        "runtime": key.runtime,
        "workload": key.workload,
        "boards": [
            {
                "device": row["device"],
                "pp_tps": row["pp_tps"],
                "tg_tps": row["tg_tps"],
                "tg_j_per_token": row["tg_j_per_token"],
            }
            for row in good
        ],
        "missing": [row["device"] for row in rows if row["status"] != "ok"],
        "median": whole,
        "between_pct": 100 * (max(speeds) - min(speeds)) / whole if whole else None,
        "within_pct": 100 * median(map(_range_of, good)) if good else None,
    }


def _range_of(row: Row) -> float:
    """Greatest minus least repetition, as a share of the median."""
    low, middle, high = row["tg_min_tps"], row["tg_tps"], row["tg_max_tps"]
    return (high - low) / middle if low is not None and middle and high is not None else 0.0
