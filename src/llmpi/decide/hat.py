"""What an M.2 HAT with its SSD buys: the same variants on a board with it and on one without."""

from collections.abc import Mapping
from statistics import median
from typing import Any

from llmpi.records import Record
from llmpi.study.decision import Cost

Row = dict[str, Any]


def hat_gain(summary: Record, cost: Cost, workload: str) -> Record | None:
    """What the M.2 HAT buys: the same variants with and without it, as measured.

    Returns:
        `with_hat`, `without_hat`, the devices; `extra_hardware`, what it costs more (None where a
        device has no hardware stated); `rows`, one a variant and runtime that both are to run:
        `model`, `quant`, `runtime`, and with `_with` and `_without` in their names `tg_tps`,
        `cold_load_s`, `tg_j_per_token`, `marks`, `reason` (why it failed); `tg_ratio` and
        `cold_load_ratio`, with to without; `median_tg_ratio` and `median_cold_load_ratio`
        of those without a mark on either side; `only_with`, how many variants work (no failure, no
        overflow) with it alone; a `sentence`. None if the config asks for no comparison.
    """
    if cost.hat is None:
        return None
    sides = {"with": cost.hat.with_hat, "without": cost.hat.without_hat}
    cells: dict[tuple[str, str, str], dict[str, Row]] = {}
    for row in summary["rows"]:
        for side, device in sides.items():
            if (row["device"], row["workload"]) == (device, workload):
                key = (row["model"], row["quant"], row["runtime"])
                cells.setdefault(key, {})[side] = row
    rows = [_hat_row(key, found) for key, found in cells.items() if len(found) == len(sides)]
    clean = [r for r in rows if r["tg_ratio"] and not r["marks_with"] and not r["marks_without"]]
    found: Record = {
        **{f"{side}_hat": device for side, device in sides.items()},
        "extra_hardware": _extra_hardware(cost, sides),
        "rows": rows,
        "median_tg_ratio": median(r["tg_ratio"] for r in clean) if clean else None,
        "median_cold_load_ratio": median(r["cold_load_ratio"] for r in clean) if clean else None,
        "only_with": sum(_works(r, "with") and not _works(r, "without") for r in rows),
    }
    return {**found, "sentence": _hat_sentence(found, len(clean), cost.currency)}


def _hat_row(key: tuple[str, str, str], found: Mapping[str, Row]) -> Record:
    names = ("tg_tps", "cold_load_s", "tg_j_per_token", "marks", "reason")
    row: Record = dict(zip(("model", "quant", "runtime"), key, strict=True))
    row |= {f"{name}_{side}": found[side][name] for name in names for side in found}
    for name, ratio in (("tg_tps", "tg_ratio"), ("cold_load_s", "cold_load_ratio")):
        a, b = row[f"{name}_with"], row[f"{name}_without"]
        row[ratio] = a / b if a and b else None
    return row


def _works(row: Record, side: str) -> bool:
    return bool(row[f"tg_tps_{side}"]) and "overflow" not in (row[f"marks_{side}"] or "")


def _extra_hardware(cost: Cost, sides: Mapping[str, str]) -> float | None:
    if any(device not in cost.hardware for device in sides.values()):
        return None
    with_hat, without = (
        sum(figure.value for _, figure in cost.hardware[device] if figure)
        for device in sides.values()
    )
    return with_hat - without


def _hat_sentence(found: Record, count: int, money: str) -> str:
    if not found["rows"]:
        return f"{found['with_hat']} and {found['without_hat']} have no variant in common."
    extra = found["extra_hardware"]
    price = "The" if extra is None else f"For {extra:,.0f} {money} more the"
    alone = found["only_with"]
    gained = f"{alone} variant{'s' * (alone > 1)}" if alone else "no variant"
    text = f"{price} M.2 HAT makes {gained} work that would not without it"
    if count:
        text += (
            f"; where both work, token generation is {found['median_tg_ratio']:.2f} and loading "
            f"{found['median_cold_load_ratio']:.2f} times what it is without (median of {count})"
        )
    return f"{text}."
