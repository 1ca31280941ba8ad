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

*Studies.* One or two models, each with two to five quantizations; 10 to 200 passages of five
questions, of which about half have no answer. What a variant gets wrong depends on passage and
question in the same way for all (a probit model: one normal number a passage and a question that
all variants share, and one each of their own). True losses go from none to twice the margin, and in
every study one variant lies just beyond it. An undecided variant is asked again with as many more
questions as were promised to tell, and the whole study is judged anew.
"""

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from llmpi.decide.joint import Analysis
from llmpi.decide.records import Standing
from llmpi.quality.estimates import Loss, Share, loss, share, student
from llmpi.quality.evidence import Evidence, PairedLoss, Requirement, Score, Sums
from llmpi.study.runs import Variant

QUESTIONS = 5
CORRELATION = 0.2
CLUSTERS = (10, 25, 100)
RATES = (0.05, 0.2, 0.5, 0.9)
LOSSES = ((0.0, 0.02), (0.03, 0.0), (0.05, 0.0), (0.05, 0.05), (0.07, 0.02))
"""(true loss, churn), as far as a reference of the rate can lose so much."""
MARGIN = 5.0
QUANTS = ("Q8_0", "Q6_K", "Q4_K_M", "Q4_0", "Q2_K")
LARGEST = 2000
"""Passages: larger promises are not simulated."""

Array = NDArray[np.float64]
Answers = NDArray[np.bool_]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.decision", description=__doc__)
    parser.add_argument("--studies", type=int, default=2000, help="(default: %(default)s)")
    parser.add_argument("--runs", type=int, default=5000, help="of each design of the coverage")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    coverage(args.runs, np.random.default_rng(args.seed))
    studies(args.studies, np.random.default_rng(args.seed + 1))


# --- coverage -------------------------------------------------------------------------------------


class Design(NamedTuple):
    clusters: int
    rate: float
    loss: float | None = None
    churn: float = 0.0

    @property
    def truth(self) -> float:
        return self.rate if self.loss is None else self.loss


class Held(NamedTuple):
    """Shares of the runs."""

    both: float
    below: float
    """Of runs, the truth lies above the one-sided lower bound."""
    above: float
    width_ratio: float


def coverage(runs: int, rng: np.random.Generator) -> None:
    least, ratios = [], []
    print(f"{'':44}{'95 %':>8}{'lower':>8}{'upper':>8}{'width':>8}")
    for design in _designs():
        held = simulate(design, runs, rng)
        kind = (
            "plain" if design.loss is None else f"loss {design.loss:.2f} churn {design.churn:.2f}"
        )
        name = f"{design.clusters} clusters, rate {design.rate:.2f}, {kind}"
        print(
            f"{name:44}{held.both:8.1%}{held.below:8.1%}{held.above:8.1%}{held.width_ratio:8.2f}",
            flush=True,
        )
        least.append(held.both if design.loss is None else min(held))
        ratios.append(held.width_ratio)
    print(f"coverage_min_pct: {100 * min(least):.1f}")
    print(f"width_ratio: {np.median(ratios):.2f}")
    print(f"width_ratio_max: {max(ratios):.2f}")


def _designs() -> Iterator[Design]:
    for clusters, rate in product(CLUSTERS, RATES):
        yield Design(clusters, rate)
        for lost, churn in LOSSES:
            if lost + churn <= rate and churn <= 1 - rate:
                yield Design(clusters, rate, lost, churn)


def simulate(design: Design, runs: int, rng: np.random.Generator) -> Held:
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
    losses: tuple[float, ...]
    churn: float


class Truth(NamedTuple):
    """A model's two sides."""

    model: str
    sides: tuple[Side, Side]

    def worst(self, quant: int) -> float:
        return max(side.losses[quant] for side in self.sides)


class Study:
    """A made-up study whose truth is known; it can be gone on with.

    Args:
        passages: of the pilot.
    """

    def __init__(self, passages: int, rng: np.random.Generator) -> None:
        self.passages = passages
        self.truths = _truths(rng)
        self.asked: list[Passages] = []
        self.rng = rng

    def requirements(self, passages: int) -> list[Requirement]:
        """What the answers to so many passages say."""
        known = sum(len(part.unanswerable) for part in self.asked)
        if passages > known:
            self.asked.append(_answer(self.truths, passages - known, self.rng))
        return list(_requirements(self.truths, self.asked))

    @property
    def traps(self):
        return {Variant("m0", QUANTS[len(self.truths[0].sides[0].losses) - 1])}

    def worst(self) -> dict[Variant, float]:
        """Each variant's largest true loss."""
        return {
            Variant(truth.model, quant): truth.worst(at)
            for truth in self.truths
            for at, quant in enumerate(QUANTS[: len(truth.sides[0].losses)])
        }


@dataclass(frozen=True)
class Passages:
    """Answers of all variants to some passages, shape (passages, QUESTIONS) each."""

    unanswerable: Answers
    right: Mapping[Variant, Answers]


def _truths(rng: np.random.Generator) -> list[Truth]:
    found = []
    for at in range(rng.integers(1, 3)):
        quants = rng.integers(2, len(QUANTS) + 1)
        losses = rng.uniform(-0.01, 2 * MARGIN / 100, (quants, 2))
        good = rng.random(quants) < 0.5
        losses[good] = rng.uniform(0, 0.01, (good.sum(), 2))
        if at == 0:  # there is always one to be taken in by
            losses[-1] = rng.permuted([0.0, rng.uniform(1, 1.3) * MARGIN / 100])
        sides = [
            Side(rate, tuple(lost), churn)
            for rate, lost, churn in zip(
                rng.uniform(0.3, 0.9, 2), losses.T.tolist(), rng.uniform(0.01, 0.05, 2), strict=True
            )
        ]
        found.append(Truth(f"m{at}", (sides[0], sides[1])))
    return found


def _answer(truths: list[Truth], passages: int, rng: np.random.Generator) -> Passages:
    shape = passages, QUESTIONS
    unanswerable = rng.random(shape) < 0.5
    found: dict[Variant, Answers] = {}
    for truth in truths:
        known, losing, gaining = (_latent(shape, rng) for _ in range(3))
        sides = []
        for side in truth.sides:
            right = known < ndtri(side.rate)
            sides.append([right])
            for lost in side.losses:
                loses = (max(lost, 0) + side.churn) / side.rate
                gains = (max(-lost, 0) + side.churn) / (1 - side.rate)
                forgets = _of_one(losing, rng) < ndtri(loses)
                learns = _of_one(gaining, rng) < ndtri(gains)
                sides[-1].append(np.where(right, ~forgets, learns))
        for quant, has, no in zip(("F16", *QUANTS), *sides, strict=False):
            found[Variant(truth.model, quant)] = np.where(unanswerable, no, has)
    return Passages(unanswerable, found)


def _latent(shape: tuple[int, int], rng: np.random.Generator) -> Array:
    """Standard normal numbers, correlated within a passage so that of rates near one half the
    answers are by about `CORRELATION`."""
    both = 0.31
    passage = rng.standard_normal((shape[0], 1))
    return both**0.5 * passage + (1 - both) ** 0.5 * rng.standard_normal(shape)


def _of_one(shared: Array, rng: np.random.Generator) -> Array:
    """A variant's own numbers: half is what all variants have in common."""
    return (shared + _latent((shared.shape[0], shared.shape[1]), rng)) / 2**0.5


def _requirements(truths: list[Truth], asked: list[Passages]) -> Iterator[Requirement]:
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
                _evidence(variant, answers, right[Variant(variant.model, "F16")], belongs)
                for variant, answers in right.items()
            ],
        }


def _evidence(variant: Variant, own: Answers, reference: Answers, belongs: Answers) -> Evidence:
    items = belongs.sum(axis=1).tolist()
    score: Score = {"items": items, "score": _sums(own & belongs)}
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
        "score": score,
        "loss": None if widest else paired,
        "reference": widest,
    }


def _sums(found: Answers) -> Sums:
    by_passage = found.sum(axis=1)
    return {"sums": by_passage.astype(float).tolist(), "squares": float(by_passage.sum())}


def studies(count: int, rng: np.random.Generator) -> None:
    tally = Tally()
    for at in range(count):
        passages = round(10 * 20 ** rng.random())
        study = Study(passages, rng)
        worst = study.worst()
        standings = judge(study.requirements(passages))
        tally.pilot(standings, worst)
        asked = {
            v: s["more"][0]["items"]
            for v, s in standings.items()
            if s["verdict"] == "undecided" and s["more"]
        }
        for good in (True, False):
            some = [v for v in asked if (worst[v] <= 0.01) == good and v not in study.traps]
            if some:
                variant = some[rng.integers(len(some))]
                more = -(-asked[variant] // QUESTIONS)
                if passages + more <= LARGEST:
                    again = judge(study.requirements(passages + more))
                    tally.again(variant, again, worst, passages, more, standings)
    tally.show()


def judge(requirements: list[Requirement]) -> dict[Variant, Standing]:
    analysis = Analysis(requirements)
    found = {variant: analysis.standing(variant) for variant in analysis.cases}
    return {v: s for v, s in found.items() if s and not s["reference"]}


class Tally:
    def __init__(self):
        self.und = 0
        self.n = 0
        self.worse = 0
        self.rows = []
        self.st = 0
        self.ref = 0
        self.noN = 0
        self.held = 0
        self.good = 0
        self.goodheld = 0
        self.worse_fails = 0
        self.worse_n = 0
        self.prob = []

    def pilot(self, st, worst):
        self.n += 1
        self.worse += any(s["verdict"] == "holds" and worst[v] > 0.05 for v, s in st.items())
        self.falsefail = getattr(self, "falsefail", 0) + any(
            s["verdict"] == "fails" and worst[v] <= 0.05 for v, s in st.items()
        )
        for v, s in st.items():
            self.und += s["verdict"] == "undecided"
            self.noN += s["verdict"] == "undecided" and not s["more"]
            if s["probability"] is not None:
                self.prob.append((s["probability"], worst[v] <= 0.05))
            if worst[v] <= 0.01:
                self.good += 1
                self.goodheld += s["verdict"] == "holds"
            for r in s["requirements"]:
                self.st += 1
                self.ref += r["why"] == "too few clusters"

    def again(self, v, again, worst, p, more, st):
        s = again[v]
        self.rows.append(
            (worst[v], p, more, s["verdict"], max(r["loss"] for r in st[v]["requirements"]))
        )
        self.worse2 = getattr(self, "worse2", 0) + any(
            s["verdict"] == "holds" and worst[x] > 0.05 for x, s in again.items()
        )
        self.n2 = getattr(self, "n2", 0) + 1

    def show(self):
        rows = self.rows
        good = [r for r in rows if r[0] <= 0.01]
        print(
            "undecided",
            self.und,
            "noN",
            self.noN,
            "n",
            self.n,
            "good held at pilot",
            self.goodheld / self.good,
        )
        print(
            "worse_held_pct",
            100 * self.worse / self.n,
            "again",
            100 * self.worse2 / self.n2,
            "false fails",
            100 * self.falsefail / self.n,
        )
        print("power all", np.mean([r[3] != "undecided" for r in rows]), len(rows))
        print("power other", np.mean([r[3] != "undecided" for r in rows if r[0] > 0.01]))
        print(
            "good: undecided, fails",
            np.mean([r[3] == "undecided" for r in good]),
            np.mean([r[3] == "fails" for r in good]),
            len(good),
        )
        for lo, hi in (
            (-0.02, 0.01),
            (0.01, 0.03),
            (0.03, 0.045),
            (0.045, 0.055),
            (0.055, 0.07),
            (0.07, 0.11),
        ):
            x = [r for r in rows if lo < r[0] <= hi]
            print(
                lo,
                hi,
                len(x),
                np.mean([r[3] != "undecided" for r in x]),
                "holds",
                np.mean([r[3] == "holds" for r in x]),
                "median more",
                np.median([r[2] for r in x]),
            )
        for lo, hi in ((0, 15), (15, 25), (25, 50), (50, 100), (100, 201)):
            x = [r for r in rows if lo <= r[1] < hi]
            g = [r for r in good if lo <= r[1] < hi]
            print(
                "passages",
                lo,
                hi,
                len(x),
                np.mean([r[3] != "undecided" for r in x]),
                "good refused",
                np.mean([r[3] != "holds" for r in g]),
                len(g),
            )
        print("refused", 100 * self.ref / self.st)
        a = np.array(self.prob)
        for lo in np.arange(0, 1, 0.1):
            m = (a[:, 0] >= lo) & (a[:, 0] < lo + 0.1)
            print(f"prob {lo:.1f} {a[m, 0].mean():.2f} {a[m, 1].mean():.2f} {m.sum()}")


if __name__ == "__main__":
    main()
