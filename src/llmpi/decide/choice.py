"""The choice: which variant on which device, how sure, and what would change it.

The constraints say what is enough, and so do the requirements of quality: only what is shown to
hold is taken (`llmpi.decide.joint`). Of the candidates that keep to all of them, the Pareto front
is taken (quality, speed, energy, memory). On it the preferred objective decides; what is near its
best goes on to the next objective, and in the end to the smaller file.

While a candidate is undecided that would be taken if it held, the choice is provisional: of what
holds, or else the widest that fits; and beside it stands what showing the smaller would take.
It is provisional, too, where there is nothing but what other programs disturbed.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from llmpi.decide import records
from llmpi.decide.best import Best
from llmpi.decide.candidates import (
    OBJECTIVES,
    Candidate,
    blamed,
    candidates,
    interval,
    kills,
    worst,
)
from llmpi.decide.joint import DRAWS, Analysis
from llmpi.decide.more import supply
from llmpi.decide.pareto import Field, Objective, Step
from llmpi.decide.records import (
    Change,
    Decision,
    Kill,
    Limit,
    MovedLimit,
    ProvisionalBy,
    Smaller,
    WithoutFault,
)
from llmpi.decide.values import CHECKS
from llmpi.quality.evidence import Requirements
from llmpi.study.decision import Aim, Constraints
from llmpi.study.runs import Scored
from llmpi.study.study import Study
from llmpi.study.tasks.squad import SquadTask
from llmpi.summary.records import Summary


def recommend(
    summary: Summary, requirements: Requirements, constraints: Constraints
) -> records.Choice:
    """What to take of one workload, per device and overall; equal boards are one choice.

    Args:
        requirements: of the same study, with the evidence of every variant.

    Raises:
        LlmpiError: nothing of the workload was in the sweep.
    """
    study = Study.model_validate(summary["provenance"]["config"])
    workload = constraints.workload or study.single_workloads[0]
    task = constraints.task or _task(study, requirements)
    analysis = Analysis(requirements["requirements"], constraints.confidence_pct / 100)
    asked = {n: float(v) for n in CHECKS if (v := getattr(constraints, n)) is not None}
    found = candidates(summary, study, workload, task, analysis)
    wish = Wish(asked, constraints.prefer, Field(found, [*OBJECTIVES.values()]))
    devices = list(dict.fromkeys(candidate.device for candidate in found))
    return {
        "study": summary["study"],
        "workload": workload,
        "task": task,
        "prefer": wish.prefer,
        "confidence_pct": constraints.confidence_pct,
        "resampling": {"draws": DRAWS, "seeds": analysis.seeds},
        "constraints": {**wish.limits},
        "supply": supply(study, requirements["requirements"]),
        "candidates": [_described(candidate, wish) for candidate in found],
        "decisions": [
            decide("overall", found, wish),
            *(decide(name, [c for c in found if c.device == name], wish) for name in devices),
        ],
    }


def _task(study: Study, requirements: Requirements) -> str | None:
    """The first `squad` task, or else the first of any kind that has scores."""
    squad = (name for name, asked in study.quality.items() if isinstance(asked, SquadTask))
    scored = (
        requirement["task"]
        for requirement in requirements["requirements"]
        if any(one["score"] for one in requirement["variants"])
    )
    return next(squad, None) or next(scored, None)


@dataclass(frozen=True)
class Wish:
    """What is asked for: the numeric constraints by key, and the preferred objective.

    Args:
        side_by_side: all candidates.
        forgiven: a fault that does not count, as `blamed` names it.
    """

    limits: Mapping[Limit, float]
    prefer: Aim
    side_by_side: Field[Candidate]
    forgiven: str | None = None
    _kills: dict[Candidate, list[Kill]] = field(default_factory=dict)

    def order(self) -> list[Objective[Candidate]]:
        first = OBJECTIVES[self.prefer]
        return [first, *(o for o in OBJECTIVES.values() if o is not first)]

    def kills(self, candidate: Candidate) -> list[Kill]:
        if candidate not in self._kills:
            found = kills(candidate, self.limits, self.prefer)
            self._kills[candidate] = [kill for kill in found if blamed(kill) != self.forgiven]
        return self._kills[candidate]

    def preferring(self, aim: Aim) -> "Wish":
        return Wish(self.limits, aim, self.side_by_side, self.forgiven)

    def forgiving(self, fault: str | None) -> "Wish":
        return Wish(self.limits, self.prefer, self.side_by_side, fault)

    def moving(self, name: Limit, to: float) -> "Wish":
        return Wish({**self.limits, name: to}, self.prefer, self.side_by_side, self.forgiven)

    def keeps(self, found: Sequence[Candidate]) -> list[Candidate]:
        return [candidate for candidate in found if not self.kills(candidate)]

    def undecided(self, found: Sequence[Candidate]) -> list[Candidate]:
        """Who keeps to everything but is not shown to hold, nor to fail. Whose estimate of quality
        is 0 gets everything of one kind wrong, and is taken for nothing."""
        return [
            c
            for c in found
            if {blamed(kill) for kill in self.kills(c)} == {"undecided"}
            and (c.quality is None or c.quality.value > 0)
        ]

    def choose(self, found: Sequence[Candidate]) -> "Chosen":
        """Of what keeps to everything, or else of the widest that may."""
        return choose(self.keeps(found) or _widest(self.undecided(found)), self)


@dataclass(frozen=True)
class Chosen:
    """Who is picked of those that keep to everything, and on the way the front and the steps."""

    pick: Candidate | None
    front: list[Candidate]
    steps: list[Step[Candidate]]


def choose(able: Sequence[Candidate], wish: Wish) -> Chosen:
    """The pick of candidates that keep to everything; None of none."""
    return _choose(wish.side_by_side.front(able), wish)


def _choose(front: list[Candidate], wish: Wish) -> Chosen:
    left, steps = wish.side_by_side.narrow(front, wish.order())
    return Chosen(min(left, key=_size, default=None), front, steps)


def _size(candidate: Candidate) -> tuple[float, float]:
    """The smaller file first, then the faster; then the order of the config."""
    size, speed = candidate.row["file_bytes"], candidate.row["tg_tps"]
    return float("inf") if size is None else size, -(speed or 0.0)


def decide(where: str, found: Sequence[Candidate], wish: Wish) -> Decision:
    """One decision.

    Args:
        where: a device, or `overall`.
    """
    lenient = wish.forgiving("disturbed")
    disturbed = wish.choose(found).pick is None and lenient.choose(found).pick is not None
    wish = lenient if disturbed else wish
    able, undecided = wish.keeps(found), wish.undecided(found)
    choice = wish.choose(found)
    pick = choice.pick
    hoped = choose([*able, *undecided], wish).pick
    unproven = pick is not None and (pick in undecided or hoped in undecided)
    by: dict[ProvisionalBy, bool] = {"quality": unproven, "disturbed": disturbed}
    changed = changes(found, wish)
    killed = Counter(blamed(kill) for c in found for kill in wish.kills(c))
    return {
        "where": where,
        "candidates": len(found),
        "pick": _id(pick),
        "standing": "none" if pick is None else "provisional" if any(by.values()) else "shown",
        "provisional_by": [why for why, is_so in by.items() if is_so],
        "smaller": _smaller(pick, undecided) if pick and unproven else None,
        "runner_up": _id(choose([c for c in able if c is not pick], wish).pick),
        "able": _ids(able),
        "front": _ids(choice.front),
        "near_best": _ids(_by_variant(able, lambda best, of: best.within_margin(of))),
        "may_be_best": _ids(_by_variant(able, lambda best, of: best.may_be_best(of))),
        "groups": {
            name: [_ids(group) for group in wish.side_by_side.groups(able, objective)]
            for name, objective in OBJECTIVES.items()
        },
        "steps": [{"objective": s.objective, "left": _ids(s.left)} for s in choice.steps],
        "by_preference": {name: _id(_pick_of(found, wish.preferring(name))) for name in OBJECTIVES},
        "would_change": changed,
        "nearest": None if pick or changed else _id(_nearest(found, wish)),
        "killed": dict(killed),
    }


def _widest(undecided: Sequence[Candidate]) -> list[Candidate]:
    """Of each model on each device the widest; of those whose estimates are all inside their
    margins, if there are such."""
    undecided = [c for c in undecided if c.standing and c.standing["inside"]] or undecided
    widths: dict[tuple[str, str], float] = {}
    for c in undecided:
        widths[_place(c)] = max(widths.get(_place(c), _width(c)), _width(c))
    return [c for c in undecided if _width(c) == widths[_place(c)]]


def _place(candidate: Candidate) -> tuple[str, str]:
    return candidate.device, candidate.row["model"]


def _width(candidate: Candidate) -> float:
    """Bits per weight, as the file has them: of a published one its name says nothing."""
    return candidate.row["bits_per_weight"] or 0.0


def _smaller(pick: Candidate, undecided: Sequence[Candidate]) -> Smaller | None:
    """The smallest other variant whose estimates are all inside their margins."""
    others = [c for c in undecided if c.scored != pick.scored and _size(c) < _size(pick)]
    inside = [c for c in others if c.standing and c.standing["inside"]]
    found = min(inside, key=_size, default=None)
    if found is None or found.standing is None:
        return None
    standing = found.standing
    return {
        "id": found.id,
        "probability": standing["probability"],
        "more": standing["more"],
    }


def _by_variant(
    able: Sequence[Candidate], chosen: Callable[[Best, Collection[Scored]], list[Scored]]
) -> list[Candidate]:
    """The candidates whose variants are chosen."""
    if not able:
        return []
    variants = chosen(able[0].best, {candidate.scored for candidate in able})
    return [candidate for candidate in able if candidate.scored in variants]


# --- what would change it -------------------------------------------------------------------------


WITHOUT_NUMBERS = (
    *("failed", "unscored", "computation", "unmeasured", "no quality", "too few"),
    "over HTTP",  # it has numbers, and they are another clock's, of another engine
)


def changes(found: Sequence[Candidate], wish: Wish) -> list[Change]:
    """Single changes that would lead to another pick, in the order of `Decision.would_change`."""
    pick = _pick_of(found, wish)
    faults: list[WithoutFault] = []
    relaxed: list[MovedLimit] = []
    tightened: list[MovedLimit] = []
    for name in dict.fromkeys(blamed(kill) for c in found for kill in wish.kills(c)):
        if name in CHECKS or name in WITHOUT_NUMBERS:
            continue
        if fault := _without(found, name, wish, pick):
            faults.append(fault)
    for constraint in wish.limits:
        if change := _relaxed(found, constraint, wish, pick):
            relaxed.append(change)
        if pick and (change := _tightened(found, constraint, wish, pick)):
            tightened.append(change)
    return [*faults, *sorted(relaxed, key=_distance), *sorted(tightened, key=_distance)]


def _without(
    found: Sequence[Candidate], fault: str, wish: Wish, pick: Candidate | None
) -> WithoutFault | None:
    """The pick if one kind of fault did not count."""
    more = [c for c in found if {blamed(kill) for kill in wish.kills(c)} <= {fault}]
    other = choose(more, wish).pick
    against = {blamed(kill): kill for kill in wish.kills(other)} if other else {}
    if other is None or other is pick or fault not in against:  # nobody new for its own sake
        return None
    return {"change": "without", "fault": against[fault], "pick": other.id}


def _relaxed(
    found: Sequence[Candidate], name: Limit, wish: Wish, pick: Candidate | None
) -> MovedLimit | None:
    """The least that a constraint must give way for another pick."""
    change = _gives_way(found, name, wish, pick)
    if wish.forgiven is None:
        return change
    # Forgiven is what nobody is without: once the limit lets in who is, that is over.
    strict, check = wish.forgiving(None), CHECKS[name]
    reach = [
        kill["value"]
        for c in found
        if {blamed(kill) for kill in strict.kills(c)} <= {name, "undecided"}
        for kill in strict.kills(c)
        if kill["kind"] == "limit"
    ]
    to = (max if check.at_least else min)(reach, default=None)
    if to is None or (change and check.meets(change["to"], to) and change["to"] != to):
        return change
    other = strict.moving(name, to).choose(found).pick
    return _moved(name, wish, to, other) if other else change


def _gives_way(
    found: Sequence[Candidate], name: Limit, wish: Wish, pick: Candidate | None
) -> MovedLimit | None:
    """The same, where what is forgiven stays so."""
    check = CHECKS[name]
    alone: dict[float, list[Candidate]] = {}
    for candidate in found:
        match wish.kills(candidate):
            case [kill] if kill["kind"] == "limit" and kill["constraint"] == name:
                alone.setdefault(kill["value"], []).append(candidate)
    reach = sorted(alone, reverse=check.at_least)
    before, *fronts = wish.side_by_side.fronts(wish.keeps(found), [alone[to] for to in reach])
    for to, front in zip(reach, fronts, strict=True):
        if front == before:
            continue
        before = front
        other = _choose(front, wish).pick
        if other is not None and other is not pick:
            return _moved(name, wish, to, other)
    return None


def _moved(name: Limit, wish: Wish, to: float, pick: Candidate) -> MovedLimit:
    return {
        "change": "relax",
        "constraint": name,
        "limit": wish.limits[name],
        "to": to,
        "unit": CHECKS[name].unit,
        "pick": pick.id,
    }


def _tightened(
    found: Sequence[Candidate], name: Limit, wish: Wish, pick: Candidate
) -> MovedLimit | None:
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
    return {
        "change": "tighten",
        "constraint": name,
        "limit": wish.limits[name],
        "to": held.value,
        "unit": CHECKS[name].unit,
        "pick": _id(choose(beyond, wish).pick),
    }


def _distance(change: MovedLimit) -> float:
    """Of a changed limit, as a share of the larger of the two."""
    start, end = change["limit"], change["to"]
    return abs(end - start) / (max(abs(start), abs(end)) or 1.0)


def _pick_of(found: Sequence[Candidate], wish: Wish) -> Candidate | None:
    return wish.choose(found).pick


def _nearest(found: Sequence[Candidate], wish: Wish) -> Candidate | None:
    """Who fails the fewest, of those that ran at all, and in process."""
    ran = [c for c in found if not {"failed", "over HTTP"} & {*map(blamed, c.faults)}]
    return min(ran, key=lambda c: len(wish.kills(c)), default=None)


# --- as a record ----------------------------------------------------------------------------------


def _described(candidate: Candidate, wish: Wish) -> records.Candidate:
    row = candidate.row
    return {
        "id": candidate.id,
        "variant": candidate.variant,
        "device": row["device"],
        "model": row["model"],
        "quant": row["quant"],
        "runtime": row["runtime"],
        "computation": row["computation"],
        "quality": interval(OBJECTIVES["quality"].of(candidate)),
        "f1": interval(candidate.f1),
        "speed": interval(OBJECTIVES["speed"].of(candidate)),
        "energy": interval(OBJECTIVES["energy"].of(candidate)),
        "memory": interval(OBJECTIVES["memory"].of(candidate)),
        "standing": candidate.standing,
        "checks": {name: _check(candidate, name, limit) for name, limit in wish.limits.items()},
        "killed_by": wish.kills(candidate),
        "cautions": [*candidate.cautions],
    }


def _check(candidate: Candidate, name: Limit, limit: float) -> records.Check:
    check, value, end = CHECKS[name], candidate.values[name], worst(candidate, name)
    return {
        "value": value and value.value,
        "worst": end,
        "limit": limit,
        "unit": check.unit,
        "shown": None if end is None else check.meets(end, limit),
    }


def _id(candidate: Candidate | None) -> str | None:
    return None if candidate is None else candidate.id


def _ids(found: Sequence[Candidate]) -> list[str]:
    return [candidate.id for candidate in found]
