"""What the type of a session's record does not say, and its numbers are made by."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import cast

from llmpi.engine.prompted import prompts
from llmpi.engine.records import (
    AnswersCell,
    AnyRepetition,
    Cell,
    FailedCell,
    MeasuredPrefix,
    MeteredEnergy,
    Prompted,
    Session,
    SessionRecord,
)

MOST_TOKENS, MOST_BYTES = 2**31, 2**53
"""More of them no engine and no disk has."""


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
    elif cell["kind"] == "answers":
        yield from _wrong_answers(cell)
        return
    elif cell["kind"] == "conversation":
        asked = cell["workload"]
        if sorted(part["prefix"] for part in cell["prefixes"]) != sorted(asked["prefix"]):
            yield "prefixes: should be those of the workload, each once"
        measured = [part for part in cell["prefixes"] if part["status"] == "ok"]
        if not measured:
            yield "prefixes: there is none"
        for part in measured:
            yield from _wrong_times(f"prefixes.{part['prefix']}", part["repetitions"])
            yield from _wrong_turns(f"prefixes.{part['prefix']}", part, asked["turns"])
        parts = [part["energy"] for part in measured]
    else:
        levels = [level for level in cell["levels"] if level["status"] == "ok"]
        for level in levels:
            yield from _wrong_times(f"levels.{level['conversations']}", level["repetitions"])
        parts = [level["energy"] for level in levels]
    for energy in parts:
        if energy and energy["status"] == "ok":
            yield from _wrong_joules(energy)


def _wrong_joules(energy: MeteredEnergy) -> Iterator[str]:
    if energy["tg"]["power_w"] <= 0:
        yield "energy.tg.power_w: should be above 0"
    for phase in (energy["pp"], energy["tg"]):
        least = min(phase["power_w"], phase["j_per_token"], phase["uncertainty_j_per_token"])
        if min([least, *phase["energy_j"]]) < 0:
            yield "energy: less than no joules"


def _wrong_turns(where: str, part: MeasuredPrefix, count: int) -> Iterator[str]:
    repetitions, energy = part["repetitions"], part["energy"]
    answers = {len(turn["itl_s"]) for one in repetitions for turn in one["turns"]}
    if any(len(one["turns"]) != count for one in repetitions) or len(answers) > 1 or count < 2:
        yield f"{where}: all should have the workload's turns, with answers of one length"
    for turn in (turn for one in repetitions for turn in one["turns"]):
        times = [0.0, turn["restore_s"] or 0.0, turn["pp_s"], turn["ttft_s"]]
        if times != sorted(times) or not 1 <= turn["prompt_tokens"] <= MOST_TOKENS:
            yield f"{where}: the parts of a turn's time, or its tokens, cannot be"
        if (turn["save_s"] or 0.0) < 0:
            yield f"{where}: saving took less than no time"
    if any(not 0 <= one["state_bytes"] <= MOST_BYTES for one in repetitions):
        yield f"{where}: state_bytes cannot be"
    if energy and energy["status"] == "ok":
        joules = {len(phase["energy_j"]) for phase in (energy["pp"], energy["tg"])}
        if joules != {len(prompts(repetitions))}:
            yield f"{where}.energy: should have joules of every turn"


def _wrong_answers(cell: AnswersCell) -> Iterator[str]:
    """An answer that ends at once has a prompt alone."""
    done, energy = cell["repetitions"], cell["energy"]
    if not done:
        yield "repetitions: there is none"
    for one in done:
        tokens = (one["prompt_tokens"], one["thought_tokens"], one["answer_tokens"])
        if not 0 < one["pp_s"] <= one["ttft_s"] or min(one["itl_s"], default=0.0) < 0:
            yield "repetitions: one took no time"
        if min(tokens) < 0 or max(tokens) > MOST_TOKENS or not tokens[0]:
            yield "repetitions: one's tokens cannot be"
    if energy and energy["status"] == "ok":
        if len(energy["energy_j"]) != len(done):
            yield "energy: should have joules of every answer"
        if min(energy["energy_j"], default=0.0) < 0:
            yield "energy: less than no joules"


def _wrong_times(where: str, repetitions: Sequence[AnyRepetition]) -> Iterator[str]:
    if not repetitions:
        yield f"{where}: there is none"
    for repetition in prompts(repetitions):
        itl_s = repetition["itl_s"]
        if min(repetition["pp_s"], repetition["ttft_s"], sum(itl_s)) <= 0 or min(itl_s) < 0:
            yield f"{where}: one took no time"
        if not _can_be_drafted(repetition):
            yield f"{where}: one's steps, or the tokens drafted in them, cannot be"


def _can_be_drafted(repetition: Prompted) -> bool:
    """Each step gives a token, and with it those drafted ones that the model agreed with."""
    counts = [repetition.get(key) for key in ("steps", "drafted", "accepted")]
    if counts == [None] * 3:
        return True
    if None in counts:
        return False
    steps, drafted, accepted = cast(list[int], counts)
    given = steps + accepted == len(repetition["itl_s"])
    return given and steps > 0 and 0 <= accepted <= drafted <= MOST_TOKENS


def _failed(cell: Cell, reason: str) -> FailedCell:
    return {
        "status": "failed",
        "stage": "record",
        "reason": reason,
        "workload": cell["workload"],
        "levels": [],
    }
