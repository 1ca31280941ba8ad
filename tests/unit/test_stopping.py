"""The sequential test: what it says, and how often it may be wrong."""

from itertools import product
from math import exp, log, prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmpi.quality.squad.stopping import bounds, decide, fewest_paragraphs, log_money

LOSSES = st.lists(st.floats(-1, 1), max_size=60)
# Rows of equal losses: long enough to come to a decision.
RUNS = st.lists(st.tuples(st.sampled_from([-1.0, -0.1, 0.0, 0.05, 0.5, 1.0]), st.integers(1, 150)))
DATA = LOSSES | RUNS.map(lambda runs: [x for x, n in runs for _ in range(n)])
MARGINS = st.floats(0.005, 0.5)


@given(DATA, MARGINS, MARGINS)
@settings(deadline=None)
def test_a_wider_margin_is_easier_to_hold(losses: list[float], a: float, b: float) -> None:
    order = ["fails", "undecided", "holds"]
    at = [order.index(decide(losses, margin=margin)) for margin in sorted([a, b])]
    assert at[0] <= at[1]


@given(DATA, MARGINS, st.randoms())
@settings(deadline=None, max_examples=40)
def test_the_order_of_the_paragraphs_does_not_matter(losses, margin, rng) -> None:
    shuffled = list(losses)
    rng.shuffle(shuffled)
    assert bounds(shuffled) == pytest.approx(bounds(losses), abs=1e-5)


@given(DATA, MARGINS)
@settings(deadline=None, max_examples=60)
def test_the_decision_is_where_the_bounds_lie(losses: list[float], margin: float) -> None:
    low, high = bounds(losses)
    assert -1 <= low < high <= 1
    if abs(margin - low) > 1e-5 and abs(margin - high) > 1e-5:
        expected = "holds" if high < margin else "fails" if low > margin else "undecided"
        assert decide(losses, margin=margin) == expected


def test_without_data_everything_is_possible() -> None:
    assert decide([], margin=0.03) == "undecided"
    assert bounds([]) == pytest.approx((-1, 1), abs=1e-5)


def test_a_stricter_alpha_takes_longer() -> None:
    n = fewest_paragraphs(0.05)
    assert decide([0.0] * n, margin=0.05, alpha=0.01) == "undecided"
    assert fewest_paragraphs(0.05, alpha=0.01) > n


# --- identical and broken variants ----------------------------------------------------------------


@pytest.mark.parametrize(("margin", "at_most"), [(0.02, 210), (0.03, 140), (0.05, 85), (0.1, 45)])
def test_an_identical_variant_holds_but_not_before_that_says_something(margin, at_most) -> None:
    """A variant that ruins a paragraph with probability `margin` is identical n times, too."""
    n = fewest_paragraphs(margin)
    assert log(0.05) / log(1 - margin) <= n <= at_most
    assert decide([0.0] * n, margin=margin) == "holds"
    assert decide([0.0] * (n - 1), margin=margin) == "undecided"


def test_a_few_discordant_paragraphs_do_not_stop_it_from_holding() -> None:
    assert decide(([0.2] + [0.0] * 19 + [-0.2] + [0.0] * 19) * 4, margin=0.03) == "holds"


def test_one_ruined_paragraph_puts_holds_off() -> None:
    n = fewest_paragraphs(0.03)
    assert decide([0.0] * n + [1.0], margin=0.03) == "undecided"


def test_a_broken_variant_fails_soon() -> None:
    assert decide([0.0, 0.5, 0.2, 0.1, 0.2] * 6, margin=0.03) == "fails"
    assert decide([1.0] * 6, margin=0.03) == "fails"


# --- how often it is wrong ------------------------------------------------------------------------


@pytest.mark.parametrize("values", [(1.0, 0.0), (1.0, -1.0), (0.4, -0.3)])
@pytest.mark.parametrize("m", [0.0, 0.03, 0.2])
def test_at_the_margin_betting_makes_no_money_on_average(values, m) -> None:
    """Over all outcomes of 8 paragraphs with mean loss m, on either side: exactly 1."""
    chance = (m - values[1]) / (values[0] - values[1])
    for side in (-1, 1):
        money = 0.0
        for outcome in product([0, 1], repeat=8):
            x = np.array([values[1 - hit] for hit in outcome])
            p = prod(chance if hit else 1 - chance for hit in outcome)
            money += p * exp(log_money(1 + side * x, 1 + side * m))
        assert money == pytest.approx(1)


@pytest.mark.parametrize("margin", [0.03, 0.1])
@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.2])
def test_exact_error_rate_with_a_look_after_every_paragraph(margin: float, alpha: float) -> None:
    """Paragraphs ruined with probability `margin`, else identical: the hardest to tell.

    Only the number of ruined ones matters, so the runs not yet stopped are a short table.
    """
    running, wrong = np.array([1.0]), 0.0
    for n in range(1, 251):
        running = np.append(running * (1 - margin), 0) + np.append(0, running * margin)
        for ruined in range(min(n, 8) + 1):  # more of them never hold
            x = np.repeat([1.0, 0.0], [ruined, n - ruined])
            if running[ruined] and decide(x, margin=margin, alpha=alpha) == "holds":
                wrong += running[ruined]
                running[ruined] = 0
    assert alpha / 5 < wrong <= alpha


@pytest.mark.parametrize("kind", ["exact match", "f1", "whole paragraphs"])
def test_simulated_error_rate_at_the_margin(kind: str) -> None:
    """Loss equal to the margin, a look after every 10 paragraphs of 1 to 12 questions.

    Half of the questions copy what the paragraph drew. (`python -m benchmarks.stopping` does more.)
    """
    rng, runs, shape = np.random.default_rng(4), 800, (150, 12)
    margin = 0.05
    loss = 2 * margin if kind == "f1" else margin  # the grades below halve it
    discordance = loss if kind == "whole paragraphs" else 0.2
    copying = 1.0 if kind == "whole paragraphs" else 0.5

    def losses(shape: tuple[int, int]) -> np.ndarray:
        u = rng.random(shape)
        sign = (u < (discordance + loss) / 2) * 1.0 - (u > 1 - (discordance - loss) / 2)
        return sign * rng.random(shape) if kind == "f1" else sign

    wrong = {"holds": 0, "fails": 0}
    for _ in range(runs):
        questions = np.where(rng.random(shape) < copying, losses((150, 1)), losses(shape))
        asked = np.arange(12) < rng.integers(1, 13, size=(150, 1))
        means = (questions * asked).sum(axis=1) / asked.sum(axis=1)
        looks = (decide(means[:n], margin=margin) for n in range(10, 151, 10))
        decision = next((d for d in looks if d != "undecided"), None)
        if decision:
            wrong[decision] += 1
    for count in wrong.values():
        # With two standard errors of the simulation on top.
        assert 0 < count / runs + 2 * (count / runs * (1 - count / runs) / runs) ** 0.5 <= 0.05


# --- what it refuses ------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", [5.0, -1.01, float("nan")])
def test_a_loss_in_per_cent_is_refused(loss: float) -> None:
    with pytest.raises(ValueError, match="loss is not between -1 and 1"):
        decide([0.0, loss], margin=0.03)
    with pytest.raises(ValueError, match="loss is not between -1 and 1"):
        bounds([0.0, loss])


@pytest.mark.parametrize("margin", [0.0, 3.0, 1.0])
def test_a_margin_in_per_cent_is_refused(margin: float) -> None:
    with pytest.raises(ValueError, match=f"margin {margin} is not between 0 and 1"):
        decide([0.0], margin=margin)
