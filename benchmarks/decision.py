"""How often the decision is wrong, and what its bounds and promises are worth, by simulation.

All figures come from the product's own functions, on made-up answers. No peer is run beside it. The
rule that was in use before, at commit 7147956, was measured once: its 95 % intervals held in 77 to
92 % of studies of 10 or 12 passages and in 58 to 83 % of 5; at the difference that it called
detectable its power was .75 alone, at most .48 with five comparisons and at most .17 with 45, where
.80 was promised; and it took an abstainer, a variant that was shown to be worse, and one that gets
40 % right where others get all.

*Coverage.* Passages of five questions, correlated .2 within a passage (beta-binomial). `rate` is
what is estimated, or of a paired loss the reference's score; `loss` is the true one and `churn` so
many points go astray both ways. Two-sided intervals at 95 %, and of losses both one-sided bounds.

*Studies.* One or two models, each with two to five quantizations beside its F16; 10 to 200 passages
of five questions, of which about half have no answer. What a variant gets wrong hangs together with
its passage and with what the others get wrong (a probit model: normal numbers of a passage and of a
question that all variants share, and of their own). Half of the variants lose at most a point, the
others up to twice the margin, and in every study the smallest lies just beyond the margin on one
side. The smallest that holds is taken. Then undecided variants are asked as many more questions as
were promised to tell, and the whole study is decided anew.
"""

import argparse
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from copy import copy
from dataclasses import dataclass
from itertools import product, repeat
from statistics import median
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from benchmarks.made_summary import made_summary
from llmpi.decide.choice import recommend
from llmpi.decide.records import Shown, Standing
from llmpi.quality.estimates import Loss, Share, loss, share, student
from llmpi.quality.evidence import Evidence, PairedLoss, Requirement, Requirements, Sums
from llmpi.study.decision import Constraints
from llmpi.study.runs import Scored

QUESTIONS = 5
CORRELATION = 0.2
CLUSTERS = (10, 25, 100)
RATES = (0.05, 0.2, 0.5, 0.9)
LOSSES = ((0.0, 0.02), (0.03, 0.0), (0.05, 0.0), (0.05, 0.05), (0.07, 0.02))
"""(true loss, churn), as far as a reference of the rate can lose so much."""
MARGIN = 5.0
GOOD = 0.01
"""A loss that is next to nothing."""
QUANTS = ("Q8_0", "Q6_K", "Q5_K_M", "Q5_0", "Q4_K_M", "Q4_0", "Q3_K_M", "Q3_K_S", "Q2_K")
"""Beside F16, from the widest; a study takes as many as it has."""
LATENT = 0.31
MOST_MORE = 2000
"""Passages: larger promises are not simulated."""

Array = NDArray[np.float64]
Answers = NDArray[np.bool_]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.decision", description=__doc__)
    parser.add_argument("--studies", type=int, default=2000, help="(default: %(default)s)")
    parser.add_argument("--runs", type=int, default=5000, help="of each design of the coverage")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: %(default)s)")
    args = parser.parse_args()
    with ProcessPoolExecutor(args.jobs) as pool:
        coverage(pool, args.runs, args.seed)
        studies(pool, args.studies, args.seed)
    speed(args.seed)


# --- coverage -------------------------------------------------------------------------------------


class Design(NamedTuple):
    clusters: int
    rate: float
    loss: float | None = None
    churn: float = 0.0

    @property
    def name(self) -> str:
        kind = "" if self.loss is None else f", loss {self.loss:.2f} churn {self.churn:.2f}"
        return f"{self.clusters} clusters, rate {self.rate:.2f}{kind}"

    @property
    def truth(self) -> float:
        return self.rate if self.loss is None else self.loss

    @property
    def bounds(self) -> int:
        """How many of the three are in use: of a rate only the two-sided interval."""
        return 1 if self.loss is None else 3


class Held(NamedTuple):
    """Shares of the runs."""

    both: float
    below: float
    """Of runs, the truth lies above the one-sided lower bound."""
    above: float
    width_ratio: float


def coverage(pool: Executor, runs: int, seed: int) -> None:
    designs = list(_designs())
    print(f"{'':44}{'95 %':>8}{'lower':>8}{'upper':>8}{'width':>8}")
    found = []
    for design, held in zip(
        designs, pool.map(simulate, designs, repeat(runs), repeat(seed)), strict=True
    ):
        found.append(held)
        both, below, above = (f"{share:8.1%}" for share in held[:3])
        print(f"{design.name:44}{both}{below}{above}{held.width_ratio:8.2f}", flush=True)
    least = {
        design: min(held[: design.bounds]) for design, held in zip(designs, found, strict=True)
    }
    for clusters in CLUSTERS:
        lowest = min(share for design, share in least.items() if design.clusters == clusters)
        print(f"coverage_min_{clusters}_clusters_pct: {100 * lowest:.1f}")
    print(f"coverage_min_pct: {100 * min(least.values()):.1f}")
    print(f"width_ratio: {median(held.width_ratio for held in found):.2f}", flush=True)


def _designs() -> Iterator[Design]:
    for clusters, rate in product(CLUSTERS, RATES):
        yield Design(clusters, rate)
        for lost, churn in LOSSES:
            if lost + churn <= rate and churn <= 1 - rate:
                yield Design(clusters, rate, lost, churn)


def simulate(design: Design, runs: int, seed: int) -> Held:
    rng = np.random.default_rng([seed, *design.name.encode()])
    draw = _shares if design.loss is None else _losses
    found = draw(design, runs, rng)
    two_sided, one_sided = (student(level, design.clusters) for level in (0.975, 0.95))
    both = np.array([one.bounds(two_sided) for one in found])
    single = np.array([one.bounds(one_sided) for one in found])
    spread = np.std([one.value for one in found])
    return Held(
        float(np.mean((both[:, 0] <= design.truth) & (design.truth <= both[:, 1]))),
        float(np.mean(single[:, 0] <= design.truth)),
        float(np.mean(design.truth <= single[:, 1])),
        float(np.median(both[:, 1] - both[:, 0]) / (2 * 1.96 * spread)),
    )


def _shares(design: Design, runs: int, rng: np.random.Generator) -> list[Share]:
    shape = runs, design.clusters
    right = rng.binomial(QUESTIONS, _beta(design.rate, shape, rng))
    counts = np.full(design.clusters, QUESTIONS)
    return [share(one, one.sum(), counts) for one in right]


def _losses(design: Design, runs: int, rng: np.random.Generator) -> list[Loss]:
    assert design.loss is not None
    shape = runs, design.clusters
    right = rng.binomial(QUESTIONS, _beta(design.rate, shape, rng))
    loses = (design.loss + design.churn) / design.rate
    gains = design.churn / (1 - design.rate)
    lost = rng.binomial(right, _beta(loses, shape, rng))
    gained = rng.binomial(QUESTIONS - right, _beta(gains, shape, rng))
    counts = np.full(design.clusters, QUESTIONS)
    return [
        loss(one, one.sum(), other, other.sum(), counts)
        for one, other in zip(lost, gained, strict=True)
    ]


def _beta(rate: float, shape: tuple[int, int], rng: np.random.Generator) -> Array:
    if rate in (0, 1):
        return np.full(shape, rate)
    scale = (1 - CORRELATION) / CORRELATION
    return rng.beta(rate * scale, (1 - rate) * scale, shape)


# --- studies --------------------------------------------------------------------------------------


class Side(NamedTuple):
    """Of the questions with an answer, or of those without: the reference's score, each other
    variant's true loss, and how much goes astray both ways; shares."""

    rate: float
    losses: list[float]
    churn: float


class Model(NamedTuple):
    """Its two sides, with an answer and without."""

    name: str
    sides: tuple[Side, Side]

    def variants(self) -> list[Scored]:
        """All but the reference."""
        return [Scored(self.name, quant) for quant in QUANTS[: len(self.sides[0].losses)]]


@dataclass(frozen=True)
class Passages:
    """Answers of all variants to some passages, shape (passages, QUESTIONS) each."""

    unanswerable: Answers
    right: Mapping[Scored, Answers]


class Made:
    """A made-up study whose truth is known, and that can be gone on with.

    Args:
        passages: of the pilot.
    """

    def __init__(self, rng: np.random.Generator, passages: int) -> None:
        self.rng = rng
        self.models = [_model(f"m{at}", rng) for at in range(rng.integers(1, 3))]
        self.trap = self.models[0].variants()[-1]
        _lay(self.models[0], rng)
        self.asked = [_answer(self.models, passages, rng)]

    def gone_on(self, more: int) -> "Made":
        """With so many more passages."""
        longer = copy(self)
        longer.asked = [*self.asked, _answer(self.models, more, self.rng)]
        return longer

    def requirements(self) -> list[Requirement]:
        return list(_requirements(self.asked))

    def largest_losses(self) -> dict[Scored, float]:
        """The larger true loss of the two sides, of each variant but the references."""
        return {
            variant: max(side.losses[at] for side in model.sides)
            for model in self.models
            for at, variant in enumerate(model.variants())
        }


def _model(name: str, rng: np.random.Generator) -> Model:
    """Half of the variants lose next to nothing, the others anything up to twice the margin."""
    quants = int(rng.integers(2, 6))
    losses = rng.uniform(-0.01, 2 * MARGIN / 100, (2, quants))
    good = rng.random(quants) < 0.5
    losses[:, good] = rng.uniform(0, GOOD, (2, good.sum()))
    one, other = (
        Side(rng.uniform(0.3, 0.9), lost.tolist(), rng.uniform(0.01, 0.05)) for lost in losses
    )
    return Model(name, (one, other))


def _lay(model: Model, rng: np.random.Generator) -> None:
    """There is always one to be taken in by: the smallest, beyond the margin on one side alone."""
    beyond = rng.uniform(1, 1.3) * MARGIN / 100
    for side, lost in zip(model.sides, rng.permuted([0.0, beyond]), strict=True):
        side.losses[-1] = float(lost)


def _answer(models: Sequence[Model], passages: int, rng: np.random.Generator) -> Passages:
    shape = passages, QUESTIONS
    unanswerable = rng.random(shape) < 0.5
    found: dict[Scored, Answers] = {}
    for model in models:
        knows, loses, gains = (_latent(shape, rng) for _ in range(3))
        has, no = (_side(side, knows, loses, gains, rng) for side in model.sides)
        for variant, one, other in zip(
            [Scored(model.name, "F16"), *model.variants()], has, no, strict=True
        ):
            found[variant] = np.where(unanswerable, other, one)
    return Passages(unanswerable, found)


def _side(
    side: Side, knows: Array, loses: Array, gains: Array, rng: np.random.Generator
) -> Iterator[Answers]:
    """Of the reference, and of each other variant."""
    right = knows < ndtri(side.rate)
    yield right
    for loss_ in side.losses:
        astray = side.churn + max(loss_, 0), side.churn + max(-loss_, 0)
        forgotten = _own(loses, rng) < ndtri(astray[0] / side.rate)
        learnt = _own(gains, rng) < ndtri(astray[1] / (1 - side.rate))
        yield np.where(right, ~forgotten, learnt)


def _latent(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Standard normal numbers that go together within a passage, so that at rates near one half
    answers are correlated by about `CORRELATION`."""
    passage = rng.standard_normal((shape[0], 1))
    return LATENT**0.5 * passage + (1 - LATENT) ** 0.5 * rng.standard_normal(shape)


def _own(shared: Array, rng: np.random.Generator) -> Array:
    """A variant's numbers: half of their variance is what all variants have in common."""
    return (shared + _latent(shared.shape, rng)) / 2**0.5


def _requirements(asked: Sequence[Passages]) -> Iterator[Requirement]:
    unanswerable = np.concatenate([part.unanswerable for part in asked])
    right = {v: np.concatenate([part.right[v] for part in asked]) for v in asked[0].right}
    for metric, belongs in (("has_ans_f1", ~unanswerable), ("no_ans", unanswerable)):
        yield {
            "task": "qa",
            "metric": metric,
            "tag": None,
            "margin": MARGIN,
            "kind": "loss",
            "cluster": "passage",
            "clusters": [str(at) for at in range(len(unanswerable))],
            "asked": unanswerable.size,
            "variants": [
                _evidence(variant, own, right[Scored(variant.model, "F16")], belongs)
                for variant, own in right.items()
            ],
        }


def _evidence(variant: Scored, own: Answers, reference: Answers, belongs: Answers) -> Evidence:
    items = belongs.sum(axis=1).tolist()
    paired: PairedLoss = {
        "kind": "paired",
        "items": items,
        "lost": _sums(reference & ~own & belongs),
        "gained": _sums(own & ~reference & belongs),
    }
    widest = variant.quant == "F16"
    return {
        "model": variant.model,
        "quant": variant.quant,
        "computation": variant.computation,
        "score": {"items": items, "score": _sums(own & belongs)},
        "loss": None if widest else paired,
        "reference": widest,
    }


def _sums(found: Answers) -> Sums:
    by_passage = found.sum(axis=1)
    return {"sums": by_passage.astype(float).tolist(), "squares": float(by_passage.sum())}


# --- what becomes of them -------------------------------------------------------------------------


class Again(NamedTuple):
    """A variant that was undecided, after the promised number of questions."""

    largest_loss: float
    verdict: Shown


class Outcome(NamedTuple):
    """Of a study."""

    worse_picked: list[bool]
    """Whether one beyond a margin was taken: of the pilot, and of each study that was gone on."""
    worse_held: list[bool]
    """Whether any one beyond a margin was said to hold, taken or not."""
    statements: int
    refused: int
    """For want of passages."""
    again: list[Again]


def studies(pool: Executor, count: int, seed: int) -> None:
    found = list(pool.map(outcome, range(count), repeat(seed), chunksize=20))
    again = [one for study in found for one in study.again]
    good = [one for one in again if one.largest_loss <= GOOD]
    told = [one.verdict != "undecided" for one in again]
    refused = sum(study.refused for study in found) / sum(study.statements for study in found)
    print(f"studies: {count}, gone on with: {len(again)}, for a good one: {len(good)}")
    for low, high in ((-1, 1), (1, 4), (4, 6), (6, 10)):
        some = [
            t for one, t in zip(again, told, strict=True) if low < 100 * one.largest_loss <= high
        ]
        if some:
            print(f"told at the promised number, true loss {low} to {high}: {np.mean(some):.1%}")
    for name, which in (
        ("worse_picked_pct", [w for study in found for w in study.worse_picked]),
        ("worse_held_pct", [w for study in found for w in study.worse_held]),
        ("power_at_promise_pct", told),
        ("good_refused_pct", [one.verdict != "holds" for one in good]),
    ):
        print(f"{name}: {100 * np.mean(which):.1f}")
    print(f"refused_pct: {100 * refused:.1f}", flush=True)


def outcome(at: int, seed: int) -> Outcome:
    rng = np.random.default_rng([seed, at])
    made = Made(rng, round(10 ** rng.uniform(1, np.log10(200))))
    largest = made.largest_losses()
    pilot = decide(made)
    decisions, again = [pilot], []
    for variant, items in _to_ask(pilot, made, rng):
        more = -(-items // QUESTIONS)
        if more <= MOST_MORE:
            decisions.append(decide(made.gone_on(more)))
            again.append(Again(largest[variant], decisions[-1].standings[variant]["verdict"]))
    told = [one for standing in pilot.standings.values() for one in standing["requirements"]]
    beyond = {variant for variant, lost in largest.items() if lost > MARGIN / 100}
    return Outcome(
        [decision.pick in beyond for decision in decisions],
        [
            any(decision.standings[variant]["verdict"] == "holds" for variant in beyond)
            for decision in decisions
        ],
        len(told),
        sum(one["why"] == "too few clusters" for one in told),
        again,
    )


class Decided(NamedTuple):
    pick: Scored | None
    """As shown."""
    standings: dict[Scored, Standing]


def decide(made: Made) -> Decided:
    """The smallest that holds is taken: what tempts most to take one that is too small."""
    variants = list(made.asked[0].right)
    asked: Requirements = {"study": "s", "requirements": made.requirements()}
    choice = recommend(made_summary(variants), asked, Constraints(prefer="memory"))
    overall = choice["decisions"][0]
    standings = {
        variant: one["standing"]
        for variant, one in zip(variants, choice["candidates"], strict=True)
        if one["standing"] is not None
    }
    ids = {one["id"]: v for v, one in zip(variants, choice["candidates"], strict=True)}
    pick = overall["pick"]
    return Decided(None if pick is None else ids[pick], standings)


def _to_ask(pilot: Decided, made: Made, rng: np.random.Generator) -> Iterator[tuple[Scored, int]]:
    """One undecided variant that is good and one that is not, and the questions promised to tell;
    not the one that lies just beyond the margin, of which no number would tell."""
    largest = made.largest_losses()
    undecided = [
        variant
        for variant, standing in pilot.standings.items()
        if standing["verdict"] == "undecided" and standing["more"] and variant != made.trap
    ]
    for good in (True, False):
        some = [variant for variant in undecided if (largest[variant] <= GOOD) is good]
        if some:
            variant = some[rng.integers(len(some))]
            yield variant, pilot.standings[variant]["more"][0]["items"]


# --- how long it takes ----------------------------------------------------------------------------


def speed(seed: int) -> None:
    """50 models at 10 widths on 10 devices, three requirements on 200 passages, two limits."""
    rng = np.random.default_rng(seed)
    losses = np.linspace(0, 2 * MARGIN / 100, len(QUANTS)).tolist()
    models = [
        Model(f"m{at}", (Side(rate, losses, 0.02), Side(rate, losses, 0.02)))
        for at, rate in enumerate(rng.uniform(0.4, 0.9, 50))
    ]
    has, no = _requirements([_answer(models, 200, rng)])
    third: Requirement = {**has, "task": "prompts", "metric": "passed"}
    asked: Requirements = {"study": "s", "requirements": [has, no, third]}
    variants = [Scored(one["model"], one["quant"]) for one in has["variants"]]
    summary = made_summary(variants, [f"device{at}" for at in range(10)])
    limits = Constraints(tps_at_least=15.5, memory_at_most=96_000_000)
    started, used = time.perf_counter(), time.process_time()
    recommend(summary, asked, limits)
    print(f"decide_5000_cells_s: {time.perf_counter() - started:.1f}")
    print(f"decide_5000_cells_processor_s: {time.process_time() - used:.1f}")


if __name__ == "__main__":
    main()
