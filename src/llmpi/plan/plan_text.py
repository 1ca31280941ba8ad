"""A plan for people: a table for the terminal, and why something cannot work."""

import math
from collections.abc import Iterator

from llmpi.plan.predict import Prediction
from llmpi.plan.presets import Board
from llmpi.records import Record
from llmpi.study.runs import Session

IMPOSSIBLE = ("overflow", "dies")


def table(records: list[Record], whole: Record) -> str:
    """The plan for a terminal."""
    return "\n".join(_lines(records, whole)) + "\n"


HEAD = (
    "model",
    "quant",
    "file",
    "memory",
    "free",
    "fit",
    "pp t/s",
    "tg t/s",
    "J/token",
    "",
    "ship",
)


def _lines(records: list[Record], whole: Record) -> Iterator[str]:
    for device in dict.fromkeys(r["device"] for r in records):
        own = [r for r in records if r["device"] == device]
        several = len({r["runtime"] for r in own}) > 1
        rows = [HEAD, *(_row(r, several) for r in own)]
        widths = [max(len(row[i]) for row in rows) for i in range(len(HEAD))]
        told = next((r["constants"] for r in own if r["constants"]), None)
        yield f"{device} ({'constants: ' + told if told else 'nothing known of its speed'})"
        for row in rows:
            cells = [
                c.ljust(w) if i < 2 else c.rjust(w)
                for i, (c, w) in enumerate(zip(row, widths, strict=True))
            ]
            yield "  " + "  ".join(cells).rstrip()
        yield ""
    for key in ("problem", "unknown"):
        for text in dict.fromkeys(r[key] for r in records if r[key]):
            yield f"{'!' if key == 'problem' else '?'} {text}"
    disks = ", ".join(f"{_gb(size)} on {name}" for name, size in whole["device_bytes"].items())
    yield (
        f"Download {_gb(whole['download_bytes'])} ({_span(whole['download_s'])}); disk: "
        f"{_gb(whole['workstation_bytes'])} here, {disks}."
    )
    yield (
        f"Shipping {_span(whole['transfer_s'])}, measuring {_span(whole['measure_s'])}; the study "
        f"about {_time(whole['study_s'][1])}, without scoring on this machine."
    )


def _row(r: Record, several: bool) -> tuple[str, ...]:
    quant = r["quant"] + (f" ({r['runtime']})" if several else "")
    if r["file_bytes"] is None:
        return (r["model"], quant, *["?"] * (len(HEAD) - 2))
    file = _gb(r["file_bytes"])
    if r["fit"] is None:
        return (r["model"], quant, file, *["?"] * (len(HEAD) - 3))
    return (
        r["model"],
        quant,
        file,
        _gb(r["needed_bytes"]),
        _gb(r["room_bytes"]),
        r["fit"],
        _numbers(r["pp_tps"]),
        "-" if r["fit"] == "dies" else _numbers(r["tg_tps"]),
        "-" if r["fit"] == "dies" else _numbers(r["tg_j_per_token"]),
        r["band"],
        _time(r["transfer_s"][1]),
    )


def _numbers(values: list[float] | None) -> str:
    if not values:
        return "?"
    low, likely, high = (f"{v:.2g}" if v < 100 else f"{v:.0f}" for v in values)
    return f"{likely} ({low}-{high})"


def _gb(count: float) -> str:
    return f"{count / 1e9:.2f} GB" if count < 10e9 else f"{count / 1e9:.1f} GB"


def _span(seconds: list[float]) -> str:
    return f"{_time(seconds[0])} to {_time(seconds[2])}"


def _time(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{math.ceil(seconds)} s"


def problem(found: Prediction, session: Session, board: Board) -> str | None:
    """Why a session cannot work, in a user's words; None if it can."""
    if found.fit not in IMPOSSIBLE:
        return None
    asks = (
        f"{session.model} {session.quant} on {session.device}: impossible. It needs "
        f"{_gb(found.needed_bytes)} of memory ({_gb(found.read_per_token_bytes)} of weights, "
        f"{_gb(found.kv_cache_bytes)} of context), and {_gb(found.room_bytes)} of "
        f"{_gb(board.memory_bytes)} are free."
    )
    if found.fit == "dies":
        return (
            f"{asks} The engine copies the weights into memory of its own (repack), so the system "
            "will kill it; choose fewer bits or a smaller model."
        )
    return (
        f"{asks} {_gb(found.reread_bytes)} would be read from storage again for every token: one "
        f"token in {1 / found.tg_tps.likely:.0f} s. Choose fewer bits, a smaller model or more "
        "memory, or leave it out with `exclude`."
    )
