"""What the type of a session's record does not say, and its numbers are made by."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from llmpi.engine.prompted import prompts
from llmpi.engine.records import (
    AnyRepetition,
    Cell,
    FailedCell,
    MeasuredPrefix,
    Session,
    SessionRecord,
)


def sound(session: Session, where: str) -> SessionRecord:
    """The session, in which a cell that no number can be made of has failed.

    Args:
        where: names the file in reasons.
    """
    if why := next(_wrong_as_a_whole(session), None):
        return {"status": "failed", "stage": "record", "reason": f"{where}: {why}"}
    cells: dict[str, Cell] = {}
    for name, cell in session["workloads"].items():
        why = next(_wrong(cell), None)
        cells[name] = _failed(cell, f"{where}: workloads.{name}.{why}") if why else cell
    return {**session, "workloads": cells}


def _wrong_as_a_whole(session: Session) -> Iterator[str]:
    speeds = session["bandwidth"]
    if speeds and min(speeds["memory_read_bytes_per_s"], speeds["storage_read_bytes_per_s"]) <= 0:
        yield "bandwidth: should be above 0"
    try:
        datetime.fromisoformat(session["started"])
    except ValueError:
        yield f"started: should be a time, not {session['started']!r}"


def _wrong(cell: Cell) -> Iterator[str]:
    if cell["status"] == "failed":
        return
    if cell["kind"] == "single":
        yield from _wrong_times("repetitions", cell["repetitions"])
        for depth in cell["depths"]:
            yield from _wrong_times(f"depths.{depth['depth_tokens']}", depth["repetitions"])
        parts = [cell["energy"]]
    elif cell["kind"] == "conversation":
        measured = [part for part in cell["prefixes"] if part["status"] == "ok"]
        for part in measured:
            yield from _wrong_times(f"prefixes.{part['prefix']}", part["repetitions"])
            yield from _wrong_turns(f"prefixes.{part['prefix']}", part)
        parts = [part["energy"] for part in measured]
    else:
        levels = [level for level in cell["levels"] if level["status"] == "ok"]
        for level in levels:
            yield from _wrong_times(f"levels.{level['conversations']}", level["repetitions"])
        parts = [level["energy"] for level in levels]
    for energy in parts:
        if energy and energy["status"] == "ok" and energy["tg"]["power_w"] <= 0:
            yield "energy.tg.power_w: should be above 0"


def _wrong_turns(where: str, part: MeasuredPrefix) -> Iterator[str]:
    repetitions, energy = part["repetitions"], part["energy"]
    turns = {len(repetition["turns"]) for repetition in repetitions}
    if len(turns) > 1 or min(turns, default=2) < 2:
        yield f"{where}: all should have the same turns, two or more"
    if energy and energy["status"] == "ok":
        joules = {len(energy[phase]["energy_j"]) for phase in ("pp", "tg")}
        if joules != {len(prompts(repetitions))}:
            yield f"{where}.energy: should have joules of every turn"


def _wrong_times(where: str, repetitions: Sequence[AnyRepetition]) -> Iterator[str]:
    if not repetitions:
        yield f"{where}: there is none"
    for repetition in prompts(repetitions):
        if repetition["pp_s"] <= 0 or sum(repetition["itl_s"]) <= 0:
            yield f"{where}: one took no time"
        if repetition.get("steps", 1) == 0:
            yield f"{where}: one took no steps"


def _failed(cell: Cell, reason: str) -> FailedCell:
    return {
        "status": "failed",
        "stage": "record",
        "reason": reason,
        "workload": cell["workload"],
        "levels": [],
    }
