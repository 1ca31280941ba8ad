"""Two studies, paired where their cells are the same; the regressions first."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

from llmpi.compare.change import (
    Change,
    Spread,
    as_log,
    between_sessions,
    changed,
    of_repetitions,
    overall,
    pct,
)
from llmpi.compare.differences import differences
from llmpi.compare.levels import Level, Values, levels, runs
from llmpi.compare.measured import Measured
from llmpi.compare.records import (
    CellPart,
    Comparison,
    Figure,
    Overall,
    PairedCell,
    QualityChange,
    Quantity,
    Side,
    Unpaired,
    UnpairedState,
    Verdict,
)
from llmpi.compare.scores import quality_changes
from llmpi.engine.records import Mark
from llmpi.quality.estimates import Plain
from llmpi.quality.evidence import Requirement
from llmpi.quality.statistics import distinguishable, holm
from llmpi.study.runs import Run, Session
from llmpi.summary.row import place

QUANTITIES: Mapping[Quantity, bool] = {"tg_tps": True, "pp_tps": True, "tg_j_per_token": False}
"""Whether more of it is better."""
NOT_COMPARED: frozenset[Mark] = frozenset({"throttled", "disturbed"})
"""A cell that overflows memory is as slow as it is; these might be faster on another day."""
SAME_WORKLOAD = (
    *("kind", "prompt_tokens", "output_tokens", "sampling", "prompt", "system_tokens"),
    *("turns", "pause_s"),
)
"""What a figure depends on; repetitions and limits of time it does not."""


@dataclass(frozen=True)
class Pair:
    """A quantity of a level in both."""

    level: Level
    quantity: Quantity
    before: Plain
    after: Plain
    marked: bool

    @property
    def change(self) -> float:
        """Logarithm of the ratio."""
        return self.after.value - self.before.value


def compare(before: Measured, after: Measured, *, at_most_pct: float = 5.0) -> Comparison:
    """Hold a study against an earlier one.

    Args:
        at_most_pct: what is put up with: so many per cent fewer tokens per second, or more joules.
    """
    old, new = levels(before), levels(after)
    both = [level for level in old if level in new and _alike(before, after, level.run)]
    pairs = [pair for level in both for pair in _pairs(level, old[level], new[level])]
    spreads = {
        quantity: between_sessions(found)
        for quantity in QUANTITIES
        if (found := [pair.change for pair in pairs if pair.quantity == quantity])
    }
    figures = _judged(pairs, spreads, at_most_pct)
    cells = [_cell(level, old[level], new[level], of) for level, of in figures.items()]
    unpaired = sorted(
        _unpaired(before, after, {*old}, {*new}),
        key=lambda one: UNPAIRED.index(one["state"]),
    )
    quality = sorted(
        quality_changes(_same_questions(before, after), after.requirements), key=_score_place
    )
    verdicts = [
        one["verdict"] for one in (*(f for cell in cells for f in cell["figures"]), *quality)
    ]
    return {
        "before": _side(before),
        "after": _side(after),
        "at_most_pct": at_most_pct,
        "between_sessions_pct": {q: pct(math.sqrt(s.variance)) for q, s in spreads.items()},
        "differences": list(differences(before, after)),
        "overall": list(_overall(pairs, spreads)),
        "cells": sorted(cells, key=_cell_place),
        "unpaired": unpaired,
        "quality": quality,
        "regressions": verdicts.count("worse")
        + sum(one["state"] == "fails now" for one in unpaired),
        "judged": len(verdicts) - verdicts.count("not judged"),
    }


UNPAIRED: Sequence[UnpairedState] = (
    *(
        "fails now",
        "another workload",
        "over HTTP in one only",
        "only before",
        "worked only now",
        "only now",
    ),
    "failed in both",
)


# --- pairs ----------------------------------------------------------------------------------------


def _same_questions(before: Measured, after: Measured) -> list[Requirement]:
    """What the earlier one asks of scores, but for tasks that were other questions then, though
    under the same names."""

    def is_same(task: str) -> bool:
        then, now = before.asked.get(task), after.asked.get(task)
        return None in (then, now) or then == now

    return [one for one in before.requirements if is_same(one["task"])]


def _alike(before: Measured, after: Measured, run: Run) -> bool:
    """Whether the same was asked for, and of the same kind of engine."""
    one, other = (
        study.sessions[run.session].get("workloads", {})[run.workload]["workload"]
        for study in (before, after)
    )
    return all(one.get(key) == other.get(key) for key in SAME_WORKLOAD) and not _one_over_http(
        before, after, run
    )


def _one_over_http(before: Measured, after: Measured, run: Run) -> bool:
    """Whether one is of an endpoint and the other is not: another clock, another engine."""
    there = ["endpoint" in study.sessions[run.session] for study in (before, after)]
    return len({*there}) > 1


def _pairs(level: Level, old: Values, new: Values) -> Iterator[Pair]:
    marked = not NOT_COMPARED.isdisjoint([*old.marks, *new.marks])
    for quantity in QUANTITIES:
        if not all(map(_has_logarithms, (old.of.get(quantity), new.of.get(quantity)))):
            continue
        if quantity == "tg_j_per_token" and old.tier != new.tier:
            continue
        before, after = (of_repetitions(values.of[quantity]) for values in (old, new))
        yield Pair(level, quantity, before, after, marked)


def _has_logarithms(values: Sequence[float] | None) -> bool:
    """A record of elsewhere may say that a prompt took next to no time, or no energy."""
    return bool(values) and all(0 < value < math.inf for value in values or ())


def _judged(
    pairs: Sequence[Pair], spreads: Mapping[Quantity, Spread], at_most_pct: float
) -> dict[Level, list[Figure]]:
    """All figures, their p values adjusted together."""
    changes = [_change(pair, spreads[pair.quantity]) for pair in pairs]
    limits = [_limits(pair.quantity, at_most_pct) for pair in pairs]
    worse: list[float | None] = []
    better: list[float | None] = []
    for pair, change, (lost, gained) in zip(pairs, changes, limits, strict=True):
        cost = change and _as_cost(pair.quantity, change)
        worse.append(None if cost is None else cost.p_at_most(lost))
        better.append(None if cost is None else _less(cost).p_at_most(gained))
    found: dict[Level, list[Figure]] = {pair.level: [] for pair in pairs}
    for pair, change, limit, p_worse, p_better in zip(
        pairs, changes, limits, holm(worse), holm(better), strict=True
    ):
        found[pair.level].append(_figure(pair, change, limit, p_worse, p_better))
    return found


def _change(pair: Pair, sessions: Spread) -> Change | None:
    """None of what is not judged."""
    few = min(pair.before.clusters, pair.after.clusters) < 2
    return None if few or pair.marked else changed(pair.before, pair.after, sessions)


def _limits(quantity: Quantity, at_most_pct: float) -> tuple[float, float]:
    """What may be lost and gained, as logarithms of what a token costs."""
    less, more = as_log(at_most_pct), as_log(-at_most_pct)
    return (less, -more) if QUANTITIES[quantity] else (-more, less)


def _as_cost(quantity: Quantity, change: Change) -> Change:
    """More of it is worse."""
    return _less(change) if QUANTITIES[quantity] else change


def _less(change: Change) -> Change:
    return Change(-change.value, change.deviation, change.freedom)


def _figure(
    pair: Pair,
    change: Change | None,
    limits: tuple[float, float],
    p_worse: float | None,
    p_better: float | None,
) -> Figure:
    low, high = change.bounds() if change else (None, None)
    return {
        "quantity": pair.quantity,
        "before": math.exp(pair.before.value),
        "after": math.exp(pair.after.value),
        "repetitions": (int(pair.before.clusters), int(pair.after.clusters)),
        "change_pct": pct(pair.change),
        "low_pct": None if low is None else pct(low),
        "high_pct": None if high is None else pct(high),
        "p_worse": p_worse,
        "verdict": _verdict(pair, change, limits, p_worse, p_better),
        "why": None if change else "marked" if pair.marked else "one repetition",
    }


def _verdict(
    pair: Pair,
    change: Change | None,
    limits: tuple[float, float],
    p_worse: float | None,
    p_better: float | None,
) -> Verdict:
    if change is None:
        return "not judged"
    if distinguishable(p_worse):
        return "worse"
    if distinguishable(p_better):
        return "better"
    low, high = _as_cost(pair.quantity, change).bounds()
    lost, gained = limits
    return "the same" if -gained <= low and high <= lost else "undecided"


def _overall(pairs: Sequence[Pair], spreads: Mapping[Quantity, Spread]) -> Iterator[Overall]:
    """Of what may be compared, where there are two sessions at least."""
    for device in dict.fromkeys(pair.level.run.device for pair in pairs):
        for quantity in spreads:
            of: dict[Session, list[float]] = {}
            for pair in pairs:
                run = pair.level.run
                if run.device == device and pair.quantity == quantity and not pair.marked:
                    of.setdefault(run.session, []).append(pair.change)
            if len(of) > 1:
                value, low, high = map(pct, overall([*of.values()], spreads[quantity]))
                yield {
                    "device": device,
                    "quantity": quantity,
                    "sessions": len(of),
                    "change_pct": value,
                    "low_pct": low,
                    "high_pct": high,
                }


def _cell(level: Level, old: Values, new: Values, figures: list[Figure]) -> PairedCell:
    return {
        **_part(level),
        "same_file": old.gguf_sha256 == new.gguf_sha256,
        "says_the_same": old.output == new.output if old.output and new.output else None,
        "marks": {"before": [*old.marks], "after": [*new.marks]},
        "figures": sorted(figures, key=_place),
    }


def _part(level: Level) -> CellPart:
    conversations, prefix = level.conversations, level.prefix
    return {**place(level.run), "conversations": conversations, "prefix": prefix}


def _unpaired(
    before: Measured, after: Measured, olds: Set[Level], news: Set[Level]
) -> Iterator[Unpaired]:
    """Cells of either that gave no figures in both, or none that can be compared; or parts of them.

    Args:
        olds, news: those that gave some.
    """
    old, new = _runs(olds), _runs(news)
    there = [set(_runs_of(study, other)) for study, other in ((before, after), (after, before))]
    for run in sorted(there[0] | there[1]):
        if run in old and run in new:
            if not _alike(before, after, run):
                http = _one_over_http(before, after, run)
                other: UnpairedState = "over HTTP in one only" if http else "another workload"
                yield {**_part(Level(run)), "state": other, "reason": None}
                continue
            for level in sorted((one for one in olds ^ news if one.run == run), key=str):
                part: UnpairedState = "fails now" if level in olds else "worked only now"
                yield {**_part(level), "state": part, "reason": None}
        elif run in there[0] and run in there[1]:
            reason = _why(before if run in new else after, run)
            state: UnpairedState = "failed in both"
            if run in old or run in new:
                state = "fails now" if run in old else "worked only now"
            yield {**_part(Level(run)), "state": state, "reason": reason}
        else:
            only: UnpairedState = "only before" if run in there[0] else "only now"
            yield {**_part(Level(run)), "state": only, "reason": None}


def _runs(found: Iterable[Level]) -> set[Run]:
    return {level.run for level in found}


def _runs_of(study: Measured, other: Measured) -> Iterator[Run]:
    """Its cells; of a session that failed as a whole, and names none, those of the other's."""
    yield from runs(study)
    for session, record in study.sessions.items():
        if not record.get("workloads") and session in other.sessions:
            for workload in other.sessions[session].get("workloads", {}):
                yield Run(*session, workload)


def _why(study: Measured, run: Run) -> str | None:
    record = study.sessions[run.session]
    cell = record.get("workloads", {}).get(run.workload)
    if cell and cell["status"] == "failed":
        return cell["reason"]
    return record["reason"] if record["status"] == "failed" else None


def _side(study: Measured) -> Side:
    started = [s["started"] for s in study.sessions.values() if s["status"] == "ok"]
    return {
        "study": study.study,
        "folder": str(study.folder),
        "started": min(started, default=None),
        "sessions": len(study.sessions),
    }


# --- the order ------------------------------------------------------------------------------------

VERDICTS: Sequence[Verdict] = ("worse", "undecided", "not judged", "the same", "better")


def _place(figure: Figure) -> tuple[int, float]:
    """What is worse first, and most of it."""
    lost = -figure["change_pct"] if QUANTITIES[figure["quantity"]] else figure["change_pct"]
    return VERDICTS.index(figure["verdict"]), -lost


def _cell_place(cell: PairedCell) -> tuple[int, float]:
    return min(map(_place, cell["figures"]))


def _score_place(score: QualityChange) -> tuple[int, float]:
    return VERDICTS.index(score["verdict"]), -score["loss_points"]
