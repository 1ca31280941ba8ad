"""Whether a measurement had the processors to itself, by what the kernel counts."""

import os
from collections.abc import Callable
from pathlib import Path

import made_records as made
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmpi.device.machine import contention, environment
from llmpi.device.machine.contention import POOL_S, Processors, disturbed, judge
from llmpi.device.measure.rounds import ROUNDS, Rounds
from llmpi.device.measure.session import _mark
from llmpi.engine.records import Contention, Repetition, SingleCell

PROCESSORS = sorted(os.sched_getaffinity(0))
STAT = "cpu{i} {user} 20 30 4000 500 6 7 {steal} 900 900"
"""Idle, waiting for storage, and guests' time that stands under user already are no work."""


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Writes what the kernel says: ticks of each processor that may be used, and of a sampler."""
    monkeypatch.setattr(environment, "PROC", tmp_path)
    monkeypatch.setattr(contention, "TICKS_PER_S", 100)
    (tmp_path / "77").mkdir()

    def says(user: int = 0, steal: int = 0, sampler: int = 0) -> None:
        lines = [STAT.format(i=i, user=1000 + user, steal=steal) for i in PROCESSORS]
        others = ["cpu 1 2 3", f"cpu{PROCESSORS[-1] + 1} 9 9 9", "intr 5 0", "ctxt 9"]
        (tmp_path / "stat").write_text("\n".join([*others[:2], *lines, *others[2:]]) + "\n")
        taken = f"77 (a (name) of it) S {'1 ' * 10}{sampler} 0 0 0 20 0 1"
        (tmp_path / "77/stat").write_text(taken)

    says()
    return says


def test_others_are_all_but_the_measurement_and_its_sensors(kernel: Callable[..., None]) -> None:
    processors = Processors(threads=1, sensors=[77, 78])
    before = processors.now()
    kernel(user=100, steal=20, sampler=40)
    found = processors.since(before)
    assert found and found["processors"] == 1
    assert found["sensors_s"] == pytest.approx(0.4)
    both_s = len(PROCESSORS) * 1.2 - 0.4
    assert found["others_s"] + found["own_s"] == pytest.approx(both_s), "what was stolen, too"
    assert 0 <= found["own_s"] < 1


def test_what_the_measurement_takes_is_its_own(kernel: Callable[..., None]) -> None:
    processors = Processors(threads=1)
    before = processors.now()
    while (found := processors.since(before)) and found["own_s"] < 0.05:
        pass
    assert found and found["others_s"] == pytest.approx(-found["own_s"])


@pytest.mark.parametrize("text", ["", "cpu 1 2 3\n", "cpu{i} 0 0 0 9 9 0 0 0 0 0\n"])
def test_a_kernel_that_does_not_tell(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "PROC", tmp_path)
    processors = Processors(threads=2)
    assert processors.now() is None
    (tmp_path / "stat").write_text("".join(text.format(i=i) for i in PROCESSORS))
    assert processors.now() is None
    assert processors.since(None) is None


def done(seconds: float, others_s: float, start_s: float = 0.0) -> Repetition:
    repetition = made.repetition(seconds / 2, [seconds / 2], start_s=start_s)
    found: Contention = {
        "seconds": seconds,
        "processors": 2,
        "own_s": 2 * seconds,
        "sensors_s": 0.0,
        "others_s": others_s,
        "others_pct": None,
        "involuntary_switches": 0,
        "load_1min": 2.0,
    }
    return {**repetition, "contention": found}


def shares(*repetitions: Repetition) -> list[float | None]:
    judge(repetitions)
    return [repetition["contention"]["others_pct"] for repetition in repetitions]


def test_long_repetitions_are_judged_by_themselves() -> None:
    assert shares(done(2, 0.0), done(4, 0.8), done(1, -0.02)) == pytest.approx([0, 10, 0])


def test_short_repetitions_are_judged_together() -> None:
    """A tick is 4 % of a quarter of a second: four of them say what one does not."""
    quarter = [done(0.25, 0.04), done(0.25, 0.0), done(0.25, 0.0), done(0.25, 0.0)]
    assert shares(*quarter) == pytest.approx([2.0] * 4)
    assert shares(*quarter, done(0.25, 0.4)) == pytest.approx([17.6] * 5), "the rest goes with them"
    assert shares(done(0.25, 0.05)) == pytest.approx([10])


SECONDS = st.floats(0.01, 3)


@given(st.lists(st.tuples(SECONDS, st.floats(0, 1)), min_size=1, max_size=30))
def test_no_share_is_of_less_than_there_is_and_the_whole_is_kept(
    asked: list[tuple[float, float]],
) -> None:
    repetitions = [done(seconds, 2 * seconds * share) for seconds, share in asked]
    found = [r["contention"] for r in repetitions]
    pools = contention._pools(found)
    assert [one for pool in pools for one in pool] == found
    if sum(seconds for seconds, _ in asked) >= POOL_S:
        assert all(sum(one["seconds"] for one in pool) >= POOL_S for pool in pools)
    pcts = shares(*repetitions)
    total = sum(pct * one["seconds"] for pct, one in zip(pcts, found, strict=True))
    assert total == pytest.approx(100 * sum(seconds * share for seconds, share in asked), abs=1e-9)


# --- what is disturbed is measured again ----------------------------------------------------------


class Played:
    """A workload whose repetitions are disturbed as it is said of each."""

    def __init__(self, others: list[float]) -> None:
        self.others, self.aside, self.at = others, [], 0

    def repeat(self, arm: int | None, progress: str) -> Repetition:
        self.at += 1
        return done(1.0, 2 * self.others[self.at - 1], start_s=float(self.at))

    def set_aside(self, arm: int | None, repetition: Repetition) -> None:
        self.aside.append(repetition["start_s"])


def through(others: list[float], end: float = float("inf")) -> Played:
    played = Played(others)
    order = Rounds({"chat": played}, 5.0, end).through([("chat", None)] * 3)
    assert order == [("chat", None)] * 3
    return played


def test_what_was_disturbed_is_measured_again() -> None:
    quiet = through([0, 0, 0.05])
    assert (quiet.at, quiet.aside) == (3, []), "5 % are put up with"
    once = through([0, 0.06, 0.3, 0, 0])
    assert (once.at, once.aside) == (5, [2, 3])


def test_what_stays_disturbed_counts_in_the_end() -> None:
    always = through([0.5] * 99)
    assert (always.at, always.aside) == (6, [1, 2, 3]), "no round is left as it began"
    often = through([0.5, 0.5, 0.5, 0, 0.5, 0.5, 0.5, 0.5, 0, 0])
    assert (often.at, often.aside) == (3 + 3 + 2, [1, 2, 3, 5, 6]), f"{ROUNDS} rounds"


def test_what_there_is_no_time_for_is_not_measured_again() -> None:
    late = through([0.5] * 99, end=0.0)
    assert (late.at, late.aside) == (3, [])


def behind_it(cell: SingleCell) -> list[Repetition]:
    return [repetition for depth in cell["depths"] for repetition in depth["repetitions"]]


def test_a_cell_that_stays_disturbed_is_marked() -> None:
    quiet, noisy = made.cell([done(2, 0.1)]), made.cell([done(2, 0.1), done(2, 0.3)])
    behind = made.cell([done(2, 0.1)], depths=[{"depth_tokens": 8, "repetitions": [done(2, 0.3)]}])
    unknown = made.cell([made.repetition(1.0, [0.5])])
    cells = {"quiet": quiet, "noisy": noisy, "behind": behind, "unknown": unknown}
    for cell in cells.values():
        for repetition in [*cell["repetitions"], *behind_it(cell)]:
            judge([repetition])
    session = made.session(cells)
    _mark(session, [], 5.0)
    marks = {name: cell["marks"] for name, cell in cells.items()}
    assert {name for name, found in marks.items() if "disturbed" in found} == {"noisy", "behind"}
    assert not disturbed(unknown["repetitions"][0], 0.0)
