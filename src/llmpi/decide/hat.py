"""What an M.2 HAT with its SSD buys: the same variants on a board with it and on one without."""

from collections.abc import Sequence
from statistics import median

from llmpi.decide.records import HatGain, HatRow, HatSide
from llmpi.study.decision import Cost
from llmpi.summary.records import ClassRow


def hat_gain(rows: Sequence[ClassRow], cost: Cost) -> HatGain | None:
    """What the M.2 HAT buys: the same variants with and without it, as measured.

    Args:
        rows: of one workload.

    Returns:
        None if the config asks for no comparison.
    """
    if cost.hat is None:
        return None
    with_hat, without_hat = (
        {(r["model"], r["quant"], r["runtime"]): r for r in rows if r["device"] == device}
        for device in (cost.hat.with_hat, cost.hat.without_hat)
    )
    both = [_row(row, without_hat[key]) for key, row in with_hat.items() if key in without_hat]
    clean = [
        (row["tg_ratio"], row["cold_load_ratio"])
        for row in both
        if not row["with_hat"]["marks"] and not row["without_hat"]["marks"]
    ]
    ratios = [(tg, load) for tg, load in clean if tg and load]
    return {
        "with_hat": cost.hat.with_hat,
        "without_hat": cost.hat.without_hat,
        "extra_hardware": _extra_hardware(cost, cost.hat.with_hat, cost.hat.without_hat),
        "rows": both,
        "compared": len(ratios),
        "median_tg_ratio": median(tg for tg, _ in ratios) if ratios else None,
        "median_cold_load_ratio": median(load for _, load in ratios) if ratios else None,
        "only_with": sum(_works(r["with_hat"]) and not _works(r["without_hat"]) for r in both),
    }


def _row(with_hat: ClassRow, without_hat: ClassRow) -> HatRow:
    return {
        "model": with_hat["model"],
        "quant": with_hat["quant"],
        "runtime": with_hat["runtime"],
        "with_hat": _side(with_hat),
        "without_hat": _side(without_hat),
        "tg_ratio": _ratio(with_hat["tg_tps"], without_hat["tg_tps"]),
        "cold_load_ratio": _ratio(with_hat["cold_load_s"], without_hat["cold_load_s"]),
    }


def _side(row: ClassRow) -> HatSide:
    return {
        "tg_tps": row["tg_tps"],
        "cold_load_s": row["cold_load_s"],
        "tg_j_per_token": row["tg_j_per_token"],
        "marks": row["marks"],
        "reason": row["reason"],
    }


def _ratio(a: float | None, b: float | None) -> float | None:
    return a / b if a and b else None


def _works(side: HatSide) -> bool:
    return bool(side["tg_tps"]) and "memory-bound: overflow" not in side["marks"]


def _extra_hardware(cost: Cost, with_hat: str, without_hat: str) -> float | None:
    if not {with_hat, without_hat} <= cost.hardware.keys():
        return None
    more, less = (
        sum(figure.value for _, figure in cost.hardware[device] if figure)
        for device in (with_hat, without_hat)
    )
    return more - less
