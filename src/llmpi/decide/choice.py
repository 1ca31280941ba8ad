"""The choice: which variant on which device, how sure, and what would change it.

The constraints say what is enough. Of the candidates that keep to all of them, the Pareto front is
taken (quality, speed, energy, memory). On it the preferred objective decides; what it cannot tell
apart from its best goes on to the next objective, and in the end to the smaller file.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Any

from llmpi.decide.candidates import (
    CHECKS,
    OBJECTIVES,
    Candidate,
    Kill,
    amount,
    candidates,
    kills,
    shown,
)
from llmpi.decide.pareto import Objective, Step, front, groups, narrow
from llmpi.records import Record
from llmpi.study.decision import Constraints
from llmpi.summary.estimate import Estimate


def recommend(summary: Record, constraints: Constraints) -> Record:
    """What to take, per device and overall.

    Args:
        summary: of `llmpi.summary.study.summarize`; one workload of it is decided on.

    Returns:
        `study`, `workload`, `task` (None: quality was not scored), `prefer`, `constraints` (those
        that are asked for, by key, in the units of `llmpi.study.Constraints`);
        `candidates`, every cell of the workload: `id`, `name`, `device`, `model`, `quant`,
        `runtime`; `quality`, `speed`, `energy`, `memory`, each None or `value`, `low`, `high`
        (95 %; F1 %, tokens/s, J/token, bytes) and `kind` (the tier, for energy); `checks` by
        constraint (`value`, `limit`, `unit`, `shown`: whether the whole interval keeps to it);
        `killed_by` (`constraint`, `why`, `value`, `limit`, `unit`), empty for who is in;
        `cautions`; and `decisions`, first `overall`, then one a device, see `decide`.

    Raises:
        LlmpiError: nothing of the workload was in the sweep.
    """
    config = summary["provenance"]["config"]
    workload = constraints.workload or next(
        name
        for name, asked in config["workloads"].items()
        if asked.get("kind", "single") == "single"
    )
    task = constraints.task or next(
        (name for name, asked in config["quality"].items() if asked["task"] == "squad"), None
    )
    asked = {n: float(v) for n in CHECKS if (v := getattr(constraints, n)) is not None}
    wish = Wish(asked, constraints.prefer)
    found = candidates(summary, workload, task)
    devices = list(dict.fromkeys(candidate.device for candidate in found))
    return {
        "study": summary["study"],
        "workload": workload,
        "task": task,
        "prefer": wish.prefer,
        "constraints": wish.limits,
        "candidates": [_described(candidate, wish) for candidate in found],
        "decisions": [
            decide("overall", found, wish),
            *(decide(name, [c for c in found if c.device == name], wish) for name in devices),
        ],
    }


@dataclass(frozen=True)
class Wish:
    """What is asked for: the numeric constraints by key, and the preferred objective."""

    limits: Mapping[str, float]
    prefer: str

    def order(self) -> list[Objective[Candidate]]:
        first = OBJECTIVES[self.prefer]
        return [first, *(o for o in OBJECTIVES.values() if o is not first)]

    def kills(self, candidate: Candidate) -> list[Kill]:
        return kills(candidate, self.limits, self.prefer)

    def keeps(self, found: Sequence[Candidate]) -> list[Candidate]:
        return [candidate for candidate in found if not self.kills(candidate)]


@dataclass(frozen=True)
class Choice:
    """Who is picked of those that keep to everything, and on the way the front and the steps."""

    pick: Candidate | None
    front: list[Candidate]
    steps: list[Step[Candidate]]


def choose(able: Sequence[Candidate], order: Sequence[Objective[Candidate]]) -> Choice:
    """The pick of candidates that keep to everything; None of none."""
    on_front = front(able, order)
    left, steps = narrow(on_front, order)
    pick = min(left, key=_size, default=None)
    return Choice(pick, on_front, steps)


def _size(candidate: Candidate) -> tuple[float, float]:
    """The smaller file first, then the faster; then the order of the config."""
    size, speed = candidate.row["file_bytes"], candidate.row["tg_tps"]
    return float("inf") if size is None else size, -(speed or 0.0)


def decide(where: str, found: Sequence[Candidate], wish: Wish) -> Record:
    """One decision; candidates are named by their ids.

    Args:
        where: a device, or `overall`.

    Returns:
        `where`; `pick`, None if nobody keeps to everything; `runner_up`, the pick without the pick;
        `able`, who keeps to everything; `front`; `groups` by objective, the best group first, each
        of what cannot be told apart from its first; `steps` of the pick: `objective` and `left`,
        empty where it could not be compared; `by_preference`, the pick if another objective is
        preferred; `would_change`, see `changes`; `nearest`, where nothing keeps to everything and
        no single change would help: the candidate with the fewest reasons against it; `killed`, how
        many candidates each constraint rules out; three `sentences`.
    """
    able = wish.keeps(found)
    choice = choose(able, wish.order())
    pick = choice.pick
    second = choose([c for c in able if c is not pick], wish.order()).pick
    changed = changes(found, wish)
    killed = Counter(kill.constraint for c in found for kill in wish.kills(c))
    nearest = None if pick or changed else _nearest(found, wish)
    if pick:
        sentences = [
            _what(where, pick, wish),
            _why(pick, second, choice, able),
            _risk(found, pick, changed, wish),
        ]
    else:
        sentences = [
            f"{_on(where)} nothing can be recommended: none of {_count(len(found), 'candidate')} "
            "keeps to everything.",
            _way_back(found, changed, nearest, wish),
            "Ruled out by: " + ", ".join(f"{name} {n}" for name, n in killed.most_common()) + ".",
        ]
    return {
        "where": where,
        "pick": _id(pick),
        "runner_up": _id(second),
        "able": _ids(able),
        "front": _ids(choice.front),
        "groups": {
            name: [_ids(group) for group in groups(able, objective)]
            for name, objective in OBJECTIVES.items()
        },
        "steps": [{"objective": s.objective, "left": _ids(s.left)} for s in choice.steps],
        "by_preference": {
            name: _id(_pick_of(found, Wish(wish.limits, name))) for name in OBJECTIVES
        },
        "would_change": changed,
        "nearest": _id(nearest),
        "killed": dict(killed),
        "sentences": sentences,
    }


# --- what would change it -------------------------------------------------------------------------


WITHOUT_NUMBERS = ("failed", "unscored", "unmeasured")


def changes(found: Sequence[Candidate], wish: Wish) -> list[Record]:
    """Single changes that would lead to another pick.

    Returns:
        For each: `change`, and `pick`, the id of who would be picked then (None: nobody).
        `relax`: the smallest change of one constraint that brings another pick, as `constraint`,
        `from`, `to`, `unit`. `tighten`: the same the other way round; the pick holds at `to`, and
        beyond it no more. `without`: were it not for a fault (`constraint`, such as `throttled` or
        a gate) and its `why`, another would be picked. Faults first, then what is relaxed, then
        what is tightened, each by how little it takes.
    """
    pick = _pick_of(found, wish)
    faults, relaxed, tightened = [], [], []
    for name in dict.fromkeys(kill.constraint for c in found for kill in wish.kills(c)):
        if name in CHECKS or name in WITHOUT_NUMBERS:
            continue
        if change := _without(found, name, wish):
            faults.append(change)
    for name in wish.limits:
        if change := _relaxed(found, name, wish, pick):
            relaxed.append(change)
        if pick and (change := _tightened(found, name, wish, pick)):
            tightened.append(change)
    return [*faults, *sorted(relaxed, key=_distance), *sorted(tightened, key=_distance)]


def _without(found: Sequence[Candidate], fault: str, wish: Wish) -> Record | None:
    """The pick if one kind of fault did not count."""
    more = [c for c in found if {kill.constraint for kill in wish.kills(c)} <= {fault}]
    other = choose(more, wish.order()).pick
    why = None if other is None else {k.constraint: k.why for k in wish.kills(other)}.get(fault)
    if other is None or why is None:  # nobody, or not for its own sake
        return None
    return {"change": "without", "constraint": fault, "why": why, "pick": other.id}


def _relaxed(
    found: Sequence[Candidate], name: str, wish: Wish, pick: Candidate | None
) -> Record | None:
    """The least that a constraint must give way for another pick."""
    check, limit = CHECKS[name], wish.limits[name]
    alone = [reasons[0] for c in found if len(reasons := wish.kills(c)) == 1]
    reach = {k.value for k in alone if k.constraint == name and k.value is not None}
    for to in sorted(reach, reverse=check.at_least):
        other = _pick_of(found, Wish({**wish.limits, name: to}, wish.prefer))
        if other is not None and other is not pick:
            return _change("relax", name, limit, to, other)
    return None


def _tightened(found: Sequence[Candidate], name: str, wish: Wish, pick: Candidate) -> Record | None:
    """How far a constraint can be tightened before the pick falls, and who is picked then."""
    held = pick.values[name]
    assert held is not None
    if held.value <= 0:
        return None  # no limit can be below
    beyond = [
        c
        for c in wish.keeps(found)
        if (value := c.values[name]) and not CHECKS[name].meets(held.value, value.value)
    ]
    other = choose(beyond, wish.order()).pick
    return _change("tighten", name, wish.limits[name], held.value, other)


def _change(change: str, name: str, limit: float, to: float, other: Candidate | None) -> Record:
    return {
        "change": change,
        "constraint": name,
        "from": limit,
        "to": to,
        "unit": CHECKS[name].unit,
        "pick": _id(other),
    }


def _distance(change: Record) -> float:
    """Of a changed limit, as a share of the larger of the two."""
    start, end = change["from"], change["to"]
    return abs(end - start) / (max(abs(start), abs(end)) or 1.0)


def _pick_of(found: Sequence[Candidate], wish: Wish) -> Candidate | None:
    return choose(wish.keeps(found), wish.order()).pick


def _nearest(found: Sequence[Candidate], wish: Wish) -> Candidate | None:
    """Who fails the fewest, of those that ran at all."""
    ran = [c for c in found if all(kill.constraint != "failed" for kill in c.faults)]
    return min(ran, key=lambda c: len(wish.kills(c)), default=None)


# --- in words -------------------------------------------------------------------------------------


def _what(where: str, pick: Candidate, wish: Wish) -> str:
    count = len(wish.limits)
    keeps = (
        ""
        if not count
        else f"; it keeps to {'all ' if count > 1 else ''}{_count(count, 'constraint')}"
    )
    what = pick.name if where == "overall" else pick.variant
    return f"{_on(where)} take {what}: {_numbers(pick)}{keeps}."


def _numbers(candidate: Candidate) -> str:
    """Speed, quality, energy and memory with their intervals."""
    found = []
    for name, unit in (("speed", "tokens/s"), ("quality", "% F1"), ("energy", "J per token")):
        if estimate := OBJECTIVES[name].of(candidate):
            found.append(_spread(estimate, unit))
    if memory := OBJECTIVES["memory"].of(candidate):
        found.append(f"{amount(memory.value, 'bytes')} of memory")
    return ", ".join(found)


def _spread(estimate: Estimate, unit: str) -> str:
    spread = estimate.low is not None and estimate.high is not None
    known = [f"{estimate.low:.3g} to {estimate.high:.3g}"] if spread else []
    known += [estimate.kind] if estimate.kind else []
    return f"{estimate.value:.3g} {unit}" + (f" ({', '.join(known)})" if known else "")


SUPERLATIVES = {
    "quality": "the best F1",
    "speed": "the highest speed",
    "energy": "the least energy per token",
    "memory": "the least memory",
}


def _why(
    pick: Candidate, second: Candidate | None, choice: Choice, able: Sequence[Candidate]
) -> str:
    """How the pick came about, and who comes next."""
    if second is None:
        return "There is no runner-up: nothing else keeps to everything."
    after = f"the runner-up is {second.name}: {_numbers(second)}."
    if not choice.steps:
        quality = OBJECTIVES["quality"]
        same = [
            c for c in able if c is not pick and quality.of(c) and not quality.told_apart(pick, c)
        ]
        unsure = f", though {_names(same)} cannot be told apart from it in quality" if same else ""
        return f"It is at least as good as every other in all that was measured{unsure}; {after}"
    compared = [step for step in choice.steps if step.left]
    said = [_alike(pick, step) for step in compared if len(step.left) > 1]
    if compared and len(compared[-1].left) == 1:
        last = SUPERLATIVES[compared[-1].objective]
        said.append(f"{'so ' if said else 'it is picked for '}{last}{' decides' if said else ''}")
    else:
        said.append("so the smallest file decides")
    skipped = [step.objective for step in choice.steps if not step.left]
    if skipped and any(OBJECTIVES[o].of(c) for o in skipped for c in choice.front):
        said.append(f"{_and(skipped)} cannot be compared between all of them")
    text = "; ".join([", ".join(said), after])
    return text[0].upper() + text[1:]


def _alike(pick: Candidate, step: Step[Candidate]) -> str:
    """Who the data cannot tell from the best of a step."""
    best, *others = step.left
    rest = _names([c for c in others if c is not pick])
    if best is pick:
        text = f"{rest} cannot be told apart from it in {step.objective}"
    else:
        nor = f", nor can {rest}" if rest else ""
        text = f"in {step.objective} it cannot be told apart from the best, {best.name}{nor}"
    least = pick.detectable_pct or best.detectable_pct
    if step.objective == "quality" and least:
        text += f" (a difference under {least:.2g} points of F1 would not be seen)"
    return text


def _risk(found: Sequence[Candidate], pick: Candidate, changed: list[Record], wish: Wish) -> str:
    """What would change it, what is not shown, what to know of the pick."""
    names = {c.id: c.name for c in found}
    said = [_said(change, names) for change in _foremost(changed)]
    unsure = [n for n, limit in wish.limits.items() if shown(pick, n, limit) is False]
    if unsure:
        said.append(f"the spread of its own numbers reaches beyond {_and(unsure)}")
    said += pick.cautions
    if not said:
        return "No single change of what was asked for leads to another choice."
    return f"To know: {'; '.join(said)}."


def _foremost(changed: list[Record]) -> list[Record]:
    """Every fault that hid a better one, and the smallest change of a constraint each way."""
    kinds = {kind: [c for c in changed if c["change"] == kind] for kind in ("relax", "tighten")}
    faults = [c for c in changed if c["change"] == "without"]
    return [*faults, *kinds["relax"][:1], *kinds["tighten"][:1]]


def _said(change: Record, names: Mapping[str, str]) -> str:
    other = f"it is {names[change['pick']]}" if change["pick"] else "nothing is left"
    if change["change"] == "without":
        name = names[change["pick"]]
        return f"{name} would be picked but was set aside ({change['why']})"
    to, unit, name = change["to"], change["unit"], change["constraint"]
    if change["change"] == "relax":
        shown_in = 1024**3 if unit == "bytes" else 1
        to = eased(to / shown_in, CHECKS[name].at_least) * shown_in
        return f"with {name} at {amount(to, unit)}, not {amount(change['from'], unit)}, {other}"
    beyond = "above" if CHECKS[name].at_least else "below"
    return f"with {name} {beyond} {amount(to, unit)} {other}"


def eased(limit: float, at_least: bool) -> float:
    """A limit in three digits, rounded so that what it is to let in still keeps to it."""
    if not limit:
        return limit
    step = 10.0 ** (floor(log10(abs(limit))) - 2)
    return (floor if at_least else ceil)(round(limit / step, 9)) * step


def _way_back(
    found: Sequence[Candidate], changed: list[Record], nearest: Candidate | None, wish: Wish
) -> str:
    if changed:
        names = {c.id: c.name for c in found}
        options = "; or ".join(_said(change, names) for change in changed)
        return f"One change is enough: {options}."
    if nearest is None:
        return "Nothing ran: the reasons stand with the cells."
    reasons = "; ".join(kill.why for kill in wish.kills(nearest))
    return f"No single change is enough; the nearest is {nearest.name}, but {reasons}."


def _on(where: str) -> str:
    return "Overall," if where == "overall" else f"On {where},"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _names(found: Sequence[Candidate], most: int = 3) -> str:
    if not found:
        return ""
    names = [c.name for c in found]
    more = len(names) - most
    return _and([*names[:most], f"{more} more"] if more > 0 else names)


def _and(words: Sequence[str]) -> str:
    *front_, last = words
    return f"{', '.join(front_)} and {last}" if front_ else last


def _described(candidate: Candidate, wish: Wish) -> Record:
    checks: dict[str, Any] = {}
    for name, limit in wish.limits.items():
        value = candidate.values[name]
        checks[name] = {
            "value": value and value.value,
            "limit": limit,
            "unit": CHECKS[name].unit,
            "shown": shown(candidate, name, limit),
        }
    estimates = {name: objective.of(candidate) for name, objective in OBJECTIVES.items()}
    return {
        "id": candidate.id,
        "name": candidate.name,
        **{key: candidate.row[key] for key in ("device", "model", "quant", "runtime")},
        **{name: found and found._asdict() for name, found in estimates.items()},
        "checks": checks,
        "killed_by": [kill._asdict() for kill in wish.kills(candidate)],
        "cautions": list(candidate.cautions),
    }


def _id(candidate: Candidate | None) -> str | None:
    return None if candidate is None else candidate.id


def _ids(found: Sequence[Candidate]) -> list[str]:
    return [candidate.id for candidate in found]
