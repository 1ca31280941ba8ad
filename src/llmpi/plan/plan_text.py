"""A plan for people: a table for the terminal, and why something cannot work; and for machines."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from llmpi.aligned import aligned
from llmpi.plan.measuring import Planned, Talk
from llmpi.plan.plan import SessionPlan, Totals
from llmpi.plan.predict import Prediction
from llmpi.plan.presets import Range
from llmpi.plan.serving import Serving, gb
from llmpi.plan.usual import SEARCH, kwh
from llmpi.plan.workstation import Stage
from llmpi.quality.records import Json


def as_json(
    plans: Sequence[SessionPlan],
    whole: Totals,
    questions: Sequence[Json],
    service: Sequence[Serving],
) -> str:
    """The plan for machines: `sessions`, flat, `stages` of this machine, what `learning` and the
    search of mixes bring, `totals`, what the `questions` can tell (`llmpi.decide.beforehand`),
    and the `service` on each of its devices; a
    range is [least, likely, most]."""
    sessions = [
        {
            **p.session._asdict(),
            **dict.fromkeys(Prediction._fields),
            **_size(p),
            **(p.prediction._asdict() if p.prediction else {}),
            "transfer_s": p.transfer_s,
            "measure_s": p.measuring.seconds,
            "shortened": [_shortened(one) for one in p.measuring.shortened],
            "conversations": [talk._asdict() for talk in p.measuring.talks],
            "constants": _constants(p),
            "problem": problem(p),
            "unknown": p.unknown,
        }
        for p in plans
    ]
    stages = [
        {**stage._asdict(), "kwh": kwh(stage.seconds, whole.here.cores)} for stage in whole.stages
    ]
    totals = {**asdict(whole), "here": whole.here._asdict()}
    del totals["stages"], totals["brings"]
    found = {
        "sessions": sessions,
        "stages": stages,
        "learning": [one._asdict() for one in whole.brings],
        "totals": totals,
        "questions": questions,
    }
    served = [one._asdict() for one in service]
    return json.dumps({**found, "service": served}, indent=1)


def _shortened(one: Planned) -> dict[str, str | int | float | None]:
    return {
        "workload": one.workload,
        "conversations": one.conversations,
        "repetitions": one.effort.repetitions,
        "output_tokens": one.effort.output_tokens,
        "needed_s": one.asked_s,
        "had_s": one.had_s,
    }


def _size(planned: SessionPlan) -> dict[str, float]:
    names = ("file_bytes", "bits_per_weight", "fallbacks", "read_per_token_bytes")
    return {name: getattr(planned.size, name) for name in names} if planned.size else {}


def _constants(planned: SessionPlan) -> str | None:
    """Where the board's numbers come from."""
    if planned.board is None:
        return None
    return "measured" if planned.board.sources.get("name") else planned.board.name


def table(plans: Sequence[SessionPlan], whole: Totals) -> str:
    """The plan for a terminal."""
    return "\n".join(_lines(plans, whole))


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
    "to talk with",
    "ship",
)
LEGEND = (
    "fit: fits; tight, it depends on what else runs; overflow, weights are read from storage again",
    "     for every token; dies, memory runs out. To talk with: real-time above 3 tokens/s, near",
    "     real-time from 1.95. In brackets the range that holds nine times of ten; J at the meter.",
)


def _lines(plans: Sequence[SessionPlan], whole: Totals) -> Iterator[str]:
    for device in dict.fromkeys(p.session.device for p in plans):
        own = [p for p in plans if p.session.device == device]
        several = len({p.session.runtime for p in own}) > 1
        rows = [HEAD, *(_row(p, several) for p in own)]
        yield f"{device} ({_basis(own)})"
        yield from (f"  {line}" for line in aligned(rows, texts=(0, 1)))
        if talks := [_talk(p, talk, several) for p in own for talk in p.measuring.talks]:
            yield "  seconds to the first token; computed again: the last turn's whole prompt"
            yield from (f"  {line}" for line in aligned([TALKS, *talks], texts=(0, 1, 2)))
        yield ""
    yield from LEGEND
    yield ""
    if whole.stages:
        yield from _here(whole)
        yield ""
    if whole.brings:
        yield from _brings(whole)
        yield ""
    for text in dict.fromkeys([*filter(None, map(problem, plans)), *problems_here(whole)]):
        yield f"! {text}"
    for planned in plans:
        for one in planned.measuring.shortened:
            yield f"! {less(planned, one)}"
    for text in dict.fromkeys(p.unknown for p in plans if p.unknown):
        yield f"? {text}"
    disks = ", ".join(f"{gb(size)} on {name}" for name, size in whole.device_bytes.items())
    yield (
        f"Download {gb(whole.download_bytes)} ({_span(whole.download_s)}); disk: "
        f"{gb(whole.workstation_bytes)} here ({gb(whole.missing_bytes)} are still to come, "
        f"{gb(whole.here.disk_bytes)} are free), {disks}."
    )
    known = [bool(p.measuring.seconds) for p in plans if not p.is_in_vain]
    at_boards = "Shipping and measuring not known (add a preset)"
    if any(known):
        at_boards = f"Shipping {_span(whole.transfer_s)}, measuring {_span(whole.measure_s)}"
    yield (
        f"{at_boards}, this machine's own work {_span(whole.workstation_s)}; the study "
        f"{'about' if all(known) else 'at least'} {_time(whole.study_s.likely)}."
    )


def _basis(own: Sequence[SessionPlan]) -> str:
    """Whether the numbers were measured there, which is another thing than a preset's."""
    board = next((p.board for p in own if p.board), None)
    if board is None:
        return "nothing known of its speed: add a preset"
    if board.sources.get("name"):
        return "MEASURED there: memory and storage, and what follows from them"
    if not board.published:
        return (
            f"ESTIMATED: preset {board.name}; no llama.cpp speed of such a board is published, "
            "so its ranges are twice as wide"
        )
    return f"ESTIMATED: preset {board.name}; nothing was measured there yet"


def _here(whole: Totals) -> Iterator[str]:
    memory = whole.here.memory_bytes
    free = f"{gb(memory)} of memory free" if memory is not None else "its memory not known"
    yield f"this machine ({whole.here.cores} cores, {free})"
    rows = [
        ("model", "stage", "jobs", "memory", "disk", "time", "kWh"),
        *(
            (
                stage.model,
                stage.stage,
                str(stage.jobs),
                gb(stage.memory_bytes),
                gb(stage.disk_bytes) if stage.disk_bytes else "-",
                f"{_time(stage.seconds.likely)} ({_span(stage.seconds)})",
                _kwh(kwh(stage.seconds, whole.here.cores)),
            )
            for stage in whole.stages
        ),
    ]
    yield from (f"  {line}" for line in aligned(rows, texts=(0, 1)))


def _kwh(values: Range) -> str:
    if values.high < LEAST_KWH:
        return "-"
    return f"{values.likely:.2f} ({values.low:.2f}-{values.high:.2g})"


def _brings(whole: Totals) -> Iterator[str]:
    yield (
        "searched and learned (wins back: of the loss of plain rounding to the type; a mix, of "
        "that of llama.cpp's types at as many bytes)"
    )
    rows = [
        ("model", "quant", "stage", "time", "kWh", "wins back", "as"),
        *(
            (
                one.model,
                one.quant,
                one.stage,
                f"{_time(one.seconds.likely)} ({_span(one.seconds)})",
                _kwh(one.kwh),
                range_text(one.wins_back),
                "a block shows" if one.basis == "probe" else "usual",
            )
            for one in whole.brings
        ),
    ]
    yield from (f"  {line}" for line in aligned(rows, texts=(0, 1, 2, 6)))
    if any(one.basis == "usual" and one.stage != SEARCH for one in whole.brings):
        yield "  of this very model `llmpi plan --probe` tells it, by one block that learns"


def problems_here(whole: Totals) -> Iterator[str]:
    """What of the study this machine has no room for, in a user's words."""
    memory, free = whole.here.memory_bytes, whole.here.disk_bytes
    for stage in whole.stages:
        if memory is not None and stage.memory_bytes > memory:
            yield (
                f"{stage.model}, {stage.stage}: needs {gb(stage.memory_bytes)} of memory, and "
                f"{gb(memory)} are free here. {_by_block(stage)}Close what else runs, take a "
                "larger machine, or leave it out."
            )
    if whole.missing_bytes > free:
        yield (
            f"the disk is too small: {gb(whole.missing_bytes)} are still to come, and {gb(free)} "
            "are free here. Make room, or ask for less."
        )


def _by_block(stage: Stage) -> str:
    if stage.by_block_bytes is None:
        return ""
    return f"Block by block (`by_block: true`) it is about {gb(stage.by_block_bytes)}. "


LEAST_KWH = 0.01
"""What is less is not told."""
TALKS = ("model", "quant", "conversation", "first turn", "last turn", "computed again")


def _talk(planned: SessionPlan, talk: Talk, several: bool) -> tuple[str, ...]:
    waits = (
        f"{seconds.likely:.2g} ({seconds.low:.2g}–{seconds.high:.2g})"
        for seconds in (talk.first_s, talk.kept_s, talk.computed_s)
    )
    return (planned.session.model, _quant(planned, several), talk.workload, *waits)


def _quant(planned: SessionPlan, several: bool) -> str:
    return planned.session.quant + (f" ({planned.session.runtime})" if several else "")


def _row(planned: SessionPlan, several: bool) -> tuple[str, ...]:
    session, found = planned.session, planned.prediction
    quant = _quant(planned, several)
    if planned.size is None:
        return (session.model, quant, *["-" if planned.refused else "?"] * (len(HEAD) - 2))
    file = gb(planned.size.file_bytes)
    if found is None or planned.transfer_s is None:
        return (session.model, quant, file, *["?"] * (len(HEAD) - 3))
    return (
        session.model,
        quant,
        file,
        gb(found.needed_bytes),
        gb(found.room_bytes),
        found.fit,
        range_text(found.pp_tps),
        "-" if found.fit == "dies" else range_text(found.tg_tps),
        "-" if found.fit == "dies" else range_text(found.tg_j_per_token),
        found.band,
        _time(planned.transfer_s.likely),
    )


def range_text(values: Range | None) -> str:
    """The likely one, and in brackets from where to where it may be."""
    if not values:
        return "?"
    low, likely, high = (f"{v:.2g}" if v < 99.5 else f"{v:.0f}" for v in values)
    return f"{likely} ({low}-{high})"


def _span(seconds: Range) -> str:
    return f"{_time(seconds.low)} to {_time(seconds.high)}"


def _time(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{math.ceil(seconds)} s"


def problem(planned: SessionPlan) -> str | None:
    """Why a session cannot work, in a user's words; None if it can."""
    if planned.refused:
        return planned.refused
    found, board, session = planned.prediction, planned.board, planned.session
    if found is None or board is None or not planned.does_not_fit:
        return None
    weights = found.needed_bytes - found.kv_cache_bytes - found.working_bytes
    verdict = "impossible" if found.fit == "dies" else "does not fit"
    asks = (
        f"{session.model} {session.quant} on {session.device}: {verdict}. It needs "
        f"{gb(found.needed_bytes)} of memory ({gb(weights)} of weights, "
        f"{gb(found.kv_cache_bytes)} of context), and {gb(found.room_bytes)} of "
        f"{gb(board.memory_bytes)} are free."
    )
    if found.fit == "dies":
        return (
            f"{asks} The engine copies the weights into memory of its own (repack), so the system "
            "will kill it; choose fewer bits or a smaller model, or read them where they are, "
            "with a runtime of `repack: false`."
        )
    return (
        f"{asks} {gb(found.reread_bytes)} would be read from storage again for every token: one "
        f"token in {1 / found.tg_tps.likely:.0f} s. Choose fewer bits, a smaller model or more "
        "memory, or leave it out with `exclude`."
    )


def less(planned: SessionPlan, one: Planned) -> str:
    """What of a workload there is no time for, in a user's words."""
    session, asked, effort = planned.session, one.asked, one.effort
    count = f" of {one.conversations} conversations" if one.conversations else ""
    enough_s = 100 * math.ceil(one.enough_s / 100)
    leaves = f"its limit leaves {_time(one.had_s)}" if one.had_s > 0 else "its limit leaves nothing"
    done = (
        f"even {effort.repetitions} of {effort.output_tokens} would be stopped"
        if one.late
        else f"{effort.repetitions} of {effort.output_tokens} would be measured"
    )
    return (
        f"{session.model} {session.quant} on {session.device}, {one.workload}{count}: "
        f"{asked.repetitions} repetitions of {asked.output_tokens} tokens would take "
        f"{_time(one.asked_s)}, {leaves}: {done}. For all of them set the workload's `timeout_s` "
        f"to {enough_s:.0f}."
    )
