"""All variants of a study judged together: which are shown to lose no more than the margins.

Everything rests on one set of draws. The clusters of a task (passages, prompts, windows) get random
weights, the same for all variants and metrics, so that what goes up and down together in the data
does so in the draws (the multiplier bootstrap: Chernozhukov, Chetverikov, Kato, *Gaussian
Approximations and Multiplier Bootstrap for Maxima of Sums of High-Dimensional Random Vectors*,
2013). A statement's own error is Student's, or Wilson's (`llmpi.quality.estimates`); the draws say
how much wider the bounds must be where many statements are made at once: their largest error stays
within the bounds in `confidence` of all studies.

*Holds*: every bound lies within its margin. What holds leaves the family, and the rest is looked at
again (Romano, Wolf, *Exact and Approximate Stepdown Methods for Multiple Hypothesis Testing*,
2005), so that a further candidate, or a copy of one, costs next to nothing. No p value decides, and
nothing is taken for equal because it could not be told apart.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import ceil, log1p
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from llmpi.decide.records import MoreItems, Named, RequirementVerdict, Shown, Standing
from llmpi.quality.estimates import Estimate, Loss, Plain, Share, loss, plain, share, student
from llmpi.quality.evidence import AnyLoss, Requirement, Score, Sequential, scored_in
from llmpi.study.runs import Scored

DRAWS = 4000
FEWEST_CLUSTERS = 10
"""With fewer, no interval that was tried holds what it promises (`python -m benchmarks.decision`),
and nothing is said to hold."""
POWER = 0.8
"""So often the promised number of items tells."""
MOST = 1000.0
"""Times what was asked: more is no advice."""

Draws = NDArray[np.float32]
NOTHING_MOVES = np.zeros((1, DRAWS), np.float32)
Factors = NDArray[np.float64]


@dataclass(frozen=True)
class Statement:
    """A loss of a variant, and the margin that it is to keep within; shares, not per cent."""

    requirement: Requirement
    estimate: Estimate
    margin: float
    items: int

    @property
    def told(self) -> bool:
        return self.estimate.clusters >= FEWEST_CLUSTERS

    def bounds(self, level: float, factor: float = 1.0) -> tuple[float, float]:
        """At a one-sided level of Student's distribution, with so many times the clusters."""
        estimate = self.estimate.times(factor) if factor != 1 else self.estimate
        return estimate.bounds(student(level, estimate.clusters))


@dataclass
class Case:
    """What is asked of a variant, and what is known."""

    variant: Scored
    statements: list[Statement] = field(default_factory=list)
    stopped: list[tuple[Requirement, Sequential]] = field(default_factory=list)
    """Verdicts of a descent, which stand by themselves."""
    missing: list[Requirement] = field(default_factory=list)
    """Where it could not be compared."""
    references: list[Requirement] = field(default_factory=list)
    """Where the others are held against it."""

    @property
    def complete(self) -> bool:
        """Whether it could hold at all."""
        return (
            not self.missing
            and all(statement.told for statement in self.statements)
            and all(verdict["decision"] == "holds" for _, verdict in self.stopped)
        )


class Analysis:
    """The verdicts on all variants of a study.

    Args:
        confidence: of all that is said at once, such as .95.
    """

    def __init__(self, requirements: Sequence[Requirement], confidence: float = 0.95) -> None:
        self.requirements = requirements
        judged = [r for r in requirements if r["kind"] != "score"]
        self.confidence = confidence
        self.cases = {case.variant: case for case in _cases(judged)}

        self._standings: dict[Scored, Standing] = {}

    def standing(self, variant: Scored) -> Standing | None:
        """What is known of a variant; None where nothing was asked of it."""
        if (case := self.cases.get(variant)) is None:
            return None
        if variant not in self._standings:
            self._standings[variant] = self._standing(case)
        return self._standings[variant]

    @property
    def seeds(self) -> dict[str, str]:
        """Of the draws, by task."""
        return {r["task"]: seed_of(r["clusters"]).hex() for r in self.requirements}

    @cached_property
    def _errors(self) -> Mapping[Scored, Draws]:
        """Standardized errors of each variant's statements, shape (statements, DRAWS)."""
        rows = [(v, s) for v, case in self.cases.items() for s in case.statements]
        drawn = np.zeros((len(rows), DRAWS), np.float32)
        seeds = {id(r): seed_of(r["clusters"]) for r in self.requirements}
        groups: dict[bytes, list[int]] = {}
        places: dict[Scored, list[int]] = {variant: [] for variant in self.cases}
        for at, (variant, statement) in enumerate(rows):
            groups.setdefault(seeds[id(statement.requirement)], []).append(at)
            places[variant].append(at)
        for seed, together in groups.items():
            residuals = [rows[at][1].estimate.residuals for at in together]
            drawn[together] = draws(np.column_stack(residuals), seed).T
        return {variant: drawn[own] for variant, own in places.items()}

    @cached_property
    def _levels(self) -> tuple[float, Mapping[Scored, float], frozenset[Scored]]:
        """One-sided levels: of the whole family, and of each variant when it was judged; and who
        holds."""
        left = {v: case for v, case in self.cases.items() if case.statements}
        largest = {v: self._errors[v].max(axis=0) for v in left}
        whole = self._level(list(largest.values()))
        levels, held = dict.fromkeys(self.cases, whole), set[Scored]()
        while True:
            level = self._level([largest[v] for v in left])
            now = [v for v, case in left.items() if case.complete and _within(case, level)]
            levels |= dict.fromkeys(left, level)
            held.update(now)
            left = {v: case for v, case in left.items() if v not in held}
            if not now or not left:
                break
        held.update(v for v, case in self.cases.items() if not case.statements and case.complete)
        return whole, levels, frozenset(held)

    def _level(self, largest: Sequence[NDArray[np.float32]]) -> float:
        """At which the largest of these errors is exceeded in 1 - confidence of the draws."""
        normal = NormalDist()
        alone = normal.inv_cdf(self.confidence)
        if not largest:
            return self.confidence
        most = np.maximum.reduce(list(largest))
        return normal.cdf(max(alone, float(np.quantile(most, self.confidence))))

    def _standing(self, case: Case) -> Standing:
        whole, levels, held = self._levels
        level = levels[case.variant]
        told = [_judged(s, level, whole) for s in case.statements]
        told += [_of_descent(*one) for one in case.stopped]
        told += [_unknown(requirement) for requirement in case.missing]
        fails = any(one["verdict"] == "fails" for one in told)
        verdict: Shown = "fails" if fails else "holds" if case.variant in held else "undecided"
        undecided = verdict == "undecided"
        return {
            "verdict": verdict,
            "reference": bool(case.references)
            and all(s.requirement["kind"] == "gate" for s in case.statements),
            "requirements": told,
            "inside": all(one["loss"] is not None and one["loss"] <= one["margin"] for one in told),
            "probability": self._probability(case) if undecided else None,
            "more": self._more(case, level) if undecided else [],
        }

    def _probability(self, case: Case) -> float | None:
        """That all losses lie within their margins, as far as the draws can say."""
        undecided = any(verdict["decision"] != "holds" for _, verdict in case.stopped)
        if case.missing or undecided or not case.statements:
            return None
        room = _margins(case) - _values(case)
        return float(np.all(self._moves(case) <= room[:, None], axis=0).mean())

    def _moves(self, case: Case) -> Draws:
        """Where the losses may lie beside their estimates, shape (statements, DRAWS).

        To either side a standard error is what the bounds for one say: where nothing was lost none
        was estimated, and yet something may be. As the error is estimated from few clusters, the
        draws are Student's (Fisher, Cornish 1960: Abramowitz, Stegun, *Handbook of Mathematical
        Functions*, 26.7.5, its first term).
        """
        bounds = np.array([s.estimate.bounds(1.0) for s in case.statements], np.float32)
        low, high = np.abs(bounds.T - _values(case).astype(np.float32))
        errors = self._errors[case.variant]
        freedom = np.array([max(2, s.estimate.clusters) - 1 for s in case.statements], np.float32)
        errors = errors * (1 + (errors**2 + 1) / (4 * freedom[:, None]))
        return errors * np.where(errors > 0, high[:, None], low[:, None])

    def _more(self, case: Case, level: float) -> list[MoreItems]:
        """Items that would tell, four times in five: either that it holds or that it fails.

        Of the tasks that have something left to tell. With f times the clusters the estimate
        moves, as far as is known today, by the draws times the root of 1 - 1/f, and the bounds
        close in on it.
        """
        left = [s for s in case.statements if not s.told or s.bounds(level)[1] > s.margin]
        asked = {s.requirement["task"]: s.requirement["asked"] for s in left}
        if not left or case.missing:
            return []
        grows = np.array([s.requirement["task"] in asked for s in case.statements])
        moves = self._moves(case)

        def tells(factor: float) -> bool:
            factors = np.where(grows, factor, 1.0)
            moved = moves * ((1 - 1 / factors) ** 0.5)[:, None]
            return self._told(case.statements, factors, moved, level) >= POWER

        least = max(1.0, *(FEWEST_CLUSTERS / max(s.estimate.clusters, 1) for s in left))
        factor = least_factor(tells, least)
        if factor is None:
            return []
        return [
            {"task": task, "items": ceil((factor - 1) * items)} for task, items in asked.items()
        ]

    def if_true(
        self, variant: Scored, requirement: Requirement, factor: float, margin: float
    ) -> float:
        """How often a requirement alone is told, with so many times the clusters, if what is known
        of it now is the truth: the estimate then lies about it by the draws over the factor's root.

        For evidence that was made up, to say what would tell before anything is measured.

        Args:
            margin: in place of the requirement's, as a share.
        """
        case = self.cases[variant]
        [at] = [i for i, s in enumerate(case.statements) if s.requirement is requirement]
        asked = replace(case.statements[at], margin=margin)
        moves = self._moves(case)[at : at + 1] if asked.estimate.residuals.any() else NOTHING_MOVES
        moved = moves / np.float32(factor**0.5)
        return self._told([asked], np.array([factor]), moved, self._levels[0])

    def _told(
        self,
        statements: Sequence[Statement],
        factors: Factors,
        moved: NDArray[np.float32] | NDArray[np.float64],
        level: float,
    ) -> float:
        """How often it is told that all hold or that one fails, with so many times the clusters of
        each and its estimate moved, shape (statements, DRAWS)."""
        each = list(zip(statements, factors.tolist(), strict=True))
        margins = np.array([s.margin for s in statements])
        low = np.array([s.bounds(self._levels[0], times)[0] for s, times in each])
        high = np.array([s.bounds(level, times)[1] for s, times in each])
        holds = np.all(moved <= (margins - high)[:, None], axis=0)
        fails = np.any(moved > (margins - low)[:, None], axis=0)
        return float(np.mean(holds | fails))


def draws(residuals: NDArray[np.float64], seed: bytes) -> Draws:
    """Standard normal errors with the correlation of the residuals.

    Args:
        residuals: shape (clusters, statements).

    Returns:
        Shape (DRAWS, statements). Where nothing varies, all statements have one error in common.
    """
    rng = np.random.default_rng(np.frombuffer(seed, np.uint32))
    length = np.linalg.norm(residuals, axis=0)
    still = length == 0
    unit = np.where(still, 0, residuals / np.where(still, 1, length)).astype(np.float32)
    found = np.zeros((DRAWS, residuals.shape[1]), np.float32)
    for start in range(0, len(unit), 500):
        part = unit[start : start + 500]
        found += rng.standard_normal((DRAWS, len(part)), np.float32) @ part
    found[:, still] = rng.standard_normal((DRAWS, 1), np.float32)
    return found


def seed_of(clusters: Sequence[str]) -> bytes:
    """By what is drawn over, so that no name of a task, a model or a device changes a draw."""
    return hashlib.sha256("\n".join(clusters).encode()).digest()


# --- from evidence to statements ------------------------------------------------------------------


def _cases(requirements: Sequence[Requirement]) -> Iterator[Case]:
    found: dict[Scored, Case] = {}
    for requirement in requirements:
        for one in requirement["variants"]:
            variant = scored_in(one)
            case = found.setdefault(variant, Case(variant))
            if one["loss"] and one["loss"]["kind"] == "sequential":
                case.stopped.append((requirement, one["loss"]))
            elif requirement["kind"] == "gate":
                _add_gate(case, requirement, one["score"])
            elif one["reference"]:
                case.references.append(requirement)
            elif one["loss"] is None:
                case.missing.append(requirement)
            else:
                case.statements.append(_statement(requirement, one["loss"]))
    _add_missing(found, requirements)
    yield from found.values()


def _add_missing(found: Mapping[Scored, Case], requirements: Sequence[Requirement]) -> None:
    """What is known of others and not of a variant, whose record failed, it does not hold."""
    for requirement in requirements:
        known = {scored_in(one) for one in requirement["variants"]}
        for scored, case in found.items():
            held_against_it = requirement["kind"] == "loss" and case.references
            if known and scored not in known and not held_against_it:
                case.missing.append(requirement)


def _add_gate(case: Case, requirement: Requirement, score: Score | None) -> None:
    if score is None:
        case.missing.append(requirement)
        return
    own = estimate_of(score)
    below = Missed(own)
    case.statements.append(
        Statement(requirement, below, -requirement["margin"] / 100, sum(score["items"]))
    )


@dataclass(frozen=True)
class Missed:
    """A score as a loss: the less of it the more is lost."""

    score: Share

    @property
    def value(self) -> float:
        return -self.score.value

    @property
    def clusters(self) -> float:
        return self.score.clusters

    @property
    def residuals(self) -> NDArray[np.float64]:
        return -self.score.residuals

    def bounds(self, t: float) -> tuple[float, float]:
        low, high = self.score.bounds(t)
        return -high, -low

    def times(self, factor: float) -> "Missed":
        return Missed(self.score.times(factor))


def estimate_of(score: Score) -> Share:
    """A variant's score, with what its clusters tell of its error."""
    return share(score["score"]["sums"], score["score"]["squares"], score["items"])


def _statement(requirement: Requirement, found: AnyLoss) -> Statement:
    assert found["kind"] != "sequential"
    margin, estimate = requirement["margin"] / 100, _lost(found)
    if found["kind"] == "log ratio":
        margin = log1p(margin)
    return Statement(requirement, estimate, margin, sum(found["items"]))


def _lost(found: AnyLoss) -> Loss | Plain:
    assert found["kind"] != "sequential"
    if found["kind"] == "log ratio":
        return plain(found["nats"], found["items"])
    lost, gained = found["lost"], found["gained"]
    return loss(lost["sums"], lost["squares"], gained["sums"], gained["squares"], found["items"])


# --- verdicts -------------------------------------------------------------------------------------


def _within(case: Case, level: float) -> bool:
    return all(s.bounds(level)[1] <= s.margin for s in case.statements)


def _judged(statement: Statement, level: float, whole: float) -> RequirementVerdict:
    low, high = statement.bounds(whole)[0], statement.bounds(level)[1]
    fails = statement.told and low > statement.margin
    holds = statement.told and high <= statement.margin
    requirement = statement.requirement
    say = _perplexity if requirement["metric"] == "perplexity" else _points
    return {
        **_named(requirement),
        "loss": say(statement.estimate.value),
        "low": say(low),
        "high": say(high),
        "margin": say(statement.margin),
        "items": statement.items,
        "clusters": round(statement.estimate.clusters),
        "verdict": "fails" if fails else "holds" if holds else "undecided",
        "why": None if statement.told else "too few clusters",
    }


def _points(value: float) -> float:
    return 100 * value


def _perplexity(value: float) -> float:
    return 100 * float(np.expm1(value))


def _of_descent(requirement: Requirement, found: Sequential) -> RequirementVerdict:
    whole = 100.0 if requirement["kind"] == "gate" else 0.0
    loss_pct = found["loss_pct"]
    return {
        **_named(requirement),
        "loss": None if loss_pct is None else loss_pct - whole,
        "low": found["low_pct"] - whole,
        "high": found["high_pct"] - whole,
        "margin": _margin(requirement),
        "items": found["items"],
        "clusters": found["clusters"],
        "verdict": found["decision"],
        "why": "descent ended" if found["decision"] == "undecided" else None,
    }


def _unknown(requirement: Requirement) -> RequirementVerdict:
    return {
        **_named(requirement),
        "loss": None,
        "low": None,
        "high": None,
        "margin": _margin(requirement),
        "items": 0,
        "clusters": 0,
        "verdict": "undecided",
        "why": "not compared",
    }


def _margin(requirement: Requirement) -> float:
    """Of a gate, the score to reach is a loss with its sign turned."""
    return -requirement["margin"] if requirement["kind"] == "gate" else requirement["margin"]


def _named(requirement: Requirement) -> Named:
    return {
        "task": requirement["task"],
        "metric": requirement["metric"],
        "kind": "gate" if requirement["kind"] == "gate" else "loss",
        "cluster": requirement["cluster"],
    }


def _values(case: Case) -> NDArray[np.float64]:
    return np.array([s.estimate.value for s in case.statements])


def _margins(case: Case) -> NDArray[np.float64]:
    return np.array([s.margin for s in case.statements])


def least_factor(tells: Callable[[float], bool], low: float) -> float | None:
    """The least factor that tells, to a part in a hundred; None where too many items would not."""
    if not tells(MOST):
        return None
    high = MOST
    while high / low > 1.01:
        middle = (low * high) ** 0.5
        low, high = (low, middle) if tells(middle) else (middle, high)
    return high
