"""How often the sequential test is wrong, and how many questions it saves, by simulation.

The peer is the fixed-sample non-inferiority z test with clustered standard errors, at the same
alpha, with power 0.9 for a variant without loss at the usual discordance: exact match differs on
15 % of the questions, either way alike, with correlation 0.2 within a paragraph. Its size is
((z(1 - alpha) + z(0.9)) * spread / margin)^2 paragraphs, where spread is the standard error of the
loss per question times the square root of the number of paragraphs.

Paragraphs have 1 to 12 questions. Per question the variant loses, wins or ties (-1, 0, 1; for F1
that times a uniform number); correlation comes from questions that copy what the whole paragraph
drew. The test looks after every block of paragraphs, and a run ends with its first decision or at
the budget.
"""

import argparse
from math import sqrt
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from llmpi.quality.estimates import plain
from llmpi.quality.squad.stopping import Decision, decide

LONGEST = 12
SHORT = 6
POWER = 0.9

Array = NDArray[np.float64]


class Truth(NamedTuple):
    """A variant to draw from: losses per question, in 0..1."""

    loss: float
    discordance: float
    correlation: float = 0.2
    graded: bool = False
    only_long: bool = False  # short paragraphs are spared
    by_length: bool = False  # paragraphs are drawn in proportion to their length


class Tally(NamedTuple):
    """Shares of the runs, and the mean number of questions asked."""

    holds: float
    fails: float
    questions: float


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stopping", description=__doc__)
    parser.add_argument("--runs", type=int, default=4000, help="(default: %(default)s)")
    parser.add_argument("--margin", type=float, default=0.03)
    parser.add_argument("--alpha", type=float, default=0.05)
    parser.add_argument("--block", type=int, default=10, help="paragraphs between two looks")
    parser.add_argument("--budget", type=int, default=400, help="paragraphs")
    args = parser.parse_args()
    m, rng = args.margin, np.random.default_rng(0)
    usual = Truth(0, 0.15)
    fixed = fixed_questions(usual, m, args.alpha, rng)

    # `m` per question, but less per paragraph: what the test doesn't promise to find.
    long_share = sum(range(SHORT + 1, LONGEST + 1)) / sum(range(1, LONGEST + 1))
    at_margin = {
        "at the margin, exact match": Truth(m, 0.15),
        "at the margin, F1": Truth(m, 0.3, graded=True),
        "at the margin, only losses": Truth(m, m, correlation=0),
        "at the margin, whole paragraphs": Truth(m, m, correlation=1),
    }
    identical = {
        "identical": Truth(0, 0),
        "nearly identical (2 %), exact match": Truth(0, 0.02),
        "nearly identical (3 %), exact match": Truth(0, 0.03),
        "nearly identical (4 %), F1": Truth(0, 0.04, graded=True),
    }
    broken = {
        "broken (20 points), exact match": Truth(0.2, 0.3),
        "broken (20 points), F1": Truth(0.2, 0.5, graded=True),
        "broken (4 margins), exact match": Truth(4 * m, 0.2),
    }
    long = Truth(m / long_share, m / long_share, correlation=1, only_long=True)
    others = {
        "no loss, usual discordance": usual,
        "long paragraphs only, margin per question": long,
        "the same, drawn by length": long._replace(by_length=True),
    }
    print(f"fixed-sample test: {fixed:.0f} questions; budget: {args.budget} paragraphs")
    print(f"{'':48}{'holds':>8}{'fails':>8}{'questions':>11}{'fewer':>8}")
    tallies = {}
    for name, truth in {**at_margin, **identical, **broken, **others}.items():
        t = tallies[name] = simulate(truth, args, rng)
        fewer = 1 - t.questions / fixed
        print(f"{name:48}{t.holds:8.2%}{t.fails:8.2%}{t.questions:11.0f}{fewer:8.1%}", flush=True)

    def worst(group: dict[str, Truth]) -> float:
        return 100 * (1 - max(tallies[name].questions for name in group) / fixed)

    false_holds = max(tallies[name].holds for name in at_margin)
    false_fails = max(tallies[name].fails for name in at_margin)
    print(f"false_holds_pct: {100 * false_holds:.2f}")
    print(f"false_holds_upper_pct: {100 * upper_limit(false_holds, args.runs):.2f}")
    print(f"false_fails_pct: {100 * false_fails:.2f}")
    print(f"fewer_if_identical_pct: {worst(identical):.1f}")
    print(f"fewer_if_broken_pct: {worst(broken):.1f}")


def simulate(truth: Truth, args: argparse.Namespace, rng: np.random.Generator) -> Tally:
    decisions: list[Decision] = []
    asked = []
    for _ in range(args.runs):
        sums, sizes = draw(truth, args.budget, rng)
        means = sums / sizes
        for end in range(args.block, args.budget + 1, args.block):
            decision = decide(means[:end], margin=args.margin, alpha=args.alpha)
            if decision != "undecided":
                break
        decisions.append(decision)
        asked.append(sizes[:end].sum())
    return Tally(
        decisions.count("holds") / args.runs,
        decisions.count("fails") / args.runs,
        float(np.mean(asked)),
    )


def draw(truth: Truth, paragraphs: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """(sum of the losses, number of questions) per paragraph."""
    lengths = np.arange(1, LONGEST + 1)
    chances = lengths / lengths.sum() if truth.by_length else None
    sizes = rng.choice(lengths, size=paragraphs, p=chances)
    shape = (paragraphs, LONGEST)
    # Two questions that both copy are equal; that happens with probability `correlation`.
    copies = rng.random(shape) < sqrt(truth.correlation)
    losses = np.where(copies, _losses(truth, (paragraphs, 1), rng), _losses(truth, shape, rng))
    if truth.only_long:
        losses[sizes <= SHORT] = 0
    losses[np.arange(LONGEST) >= sizes[:, None]] = 0
    return losses.sum(axis=1), sizes.astype(float)


def _losses(truth: Truth, shape: tuple[int, int], rng: np.random.Generator) -> Array:
    # The uniform factor halves the mean.
    loss = 2 * truth.loss if truth.graded else truth.loss
    u = rng.random(shape)
    lost, won = u < (truth.discordance + loss) / 2, u > 1 - (truth.discordance - loss) / 2
    losses = lost.astype(float) - won
    return losses * rng.random(shape) if truth.graded else losses


def fixed_questions(truth: Truth, margin: float, alpha: float, rng: np.random.Generator) -> float:
    """Questions that the fixed-sample test asks."""
    paragraphs = 100_000
    sums, sizes = draw(truth, paragraphs, rng)
    error = plain(sums, sizes).deviation
    z = NormalDist().inv_cdf
    needed = ((z(1 - alpha) + z(POWER)) * error * sqrt(paragraphs) / margin) ** 2
    return float(needed * sizes.mean())


def upper_limit(share: float, runs: int) -> float:
    """Upper 97.5 % limit of a simulated share (Wilson 1927)."""
    z = NormalDist().inv_cdf(0.975)
    centre = share + z * z / (2 * runs)
    spread = z * sqrt(share * (1 - share) / runs + z * z / (4 * runs**2))
    return (centre + spread) / (1 + z * z / runs)


if __name__ == "__main__":
    main()
