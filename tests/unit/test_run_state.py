"""What the events of a run add up to, and when its end is expected."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmpi.job_lines import JobLine
from llmpi.terminal import run_state
from llmpi.terminal.run_state import Kind, Run, told_time

PI4, PI5 = Kind("benchmark_device", "pi4", "m"), Kind("benchmark_device", "pi5", "m")
HERE = Kind("quantize_gguf", "", "m")


class Clock:
    """Stands still but for what is slept."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(run_state, "time", clock)
    monkeypatch.setattr(run_state.Job, "elapsed_s", lambda job: clock.now - job.began)
    return clock


def run(kinds: Counter[Kind], **more: object) -> Run:
    return Run(total=kinds.total(), left=kinds, devices=("pi4", "pi5"), **more)  # type: ignore[arg-type]


def one(found: Run, clock: Clock, kind: Kind, seconds: float, jobid: int = 0) -> None:
    job = found.begin(jobid, kind.rule, f"{kind.rule}/{jobid}", kind._asdict())
    job.began = clock.now
    clock.now += seconds
    found.finish(jobid)


def test_nothing_is_said_of_what_nothing_is_known(clock: Clock) -> None:
    assert run(Counter({PI4: 3})).eta_s() is None
    assert run(Counter({PI4: 3})).told_eta() == ""


def test_where_something_is_not_known_the_end_is_later(clock: Clock) -> None:
    found = run(Counter({PI4: 3, HERE: 1}), expected_s={PI4: 100.0})
    assert found.told_eta() == "at least 5 min left"
    found.expected_s[HERE] = 10.0
    assert found.told_eta() == "about 5 min left"
    found.left[Kind("report", "", "")] = 1
    assert found.told_eta() == "about 5 min left", "seconds, whatever is drawn"


def test_boards_are_measured_side_by_side(clock: Clock) -> None:
    found = run(Counter({PI4: 3, PI5: 3}), expected_s={PI4: 100.0, PI5: 40.0})
    assert found.eta_s() == 300


def test_what_runs_is_as_far_as_it_is(clock: Clock) -> None:
    found = run(Counter({PI4: 2}), expected_s={PI4: 100.0})
    found.begin(1, PI4.rule, "a/b", PI4._asdict()).began = clock.now
    clock.now += 30
    assert found.eta_s() == 170
    clock.now += 300
    assert found.eta_s() == 100


def test_this_machine_has_one_lane(clock: Clock) -> None:
    kinds = Counter({HERE: 2, PI4: 1})
    found = run(kinds, expected_s={HERE: 10.0, PI4: 15.0}, here=frozenset({"pi4"}))
    assert found.eta_s() == 35


def test_what_was_measured_counts_more_than_the_plan(clock: Clock) -> None:
    found = run(Counter({PI4: 3}), expected_s={PI4: 100.0})
    one(found, clock, PI4, 50)
    assert found.eta_s() == 100


def test_a_plan_that_was_wrong_of_one_model_is_wrong_of_the_next_as_much(clock: Clock) -> None:
    larger = PI4._replace(model="l")
    found = run(Counter({PI4: 1, larger: 1}), expected_s={PI4: 10.0, larger: 80.0})
    one(found, clock, PI4, 20)
    assert found.eta_s() == 160


def test_where_there_is_no_plan_its_like_tell(clock: Clock) -> None:
    found = run(Counter({PI4: 1, PI5: 2}))
    one(found, clock, PI4, 20)
    assert found.eta_s() == 40


def test_a_job_that_failed_and_is_tried_again_has_not_failed(clock: Clock) -> None:
    found = run(Counter({PI4: 1}))
    found.begin(7, PI4.rule, "a/b", {})
    found.fail(7)
    assert found.failed == {7}
    found.begin(7, PI4.rule, "a/b", {})
    assert not found.failed
    one(found, clock, PI4, 1, jobid=7)
    assert (found.done, found.failed, found.running) == (1, set(), {})


def test_what_a_job_says_is_its_own(clock: Clock) -> None:
    found = run(Counter())
    a, b = (found.begin(i, "evaluate", f"evaluate/{i}", {}) for i in range(2))
    assert found.hear(JobLine("evaluate/1", "3/9 questions, 1/s")) is b
    assert (a.step, b.step and b.step.done) == (None, 3)
    assert found.hear(JobLine("evaluate/1", "failed: no room")) is b
    assert b.step and b.step.done == 3
    assert found.hear(JobLine("evaluate/2", "who?")) is None


@given(st.lists(st.tuples(st.sampled_from(["begin", "finish", "fail", "hear"]), st.integers(0, 3))))
def test_events_in_any_order_are_taken(events: list[tuple[str, int]]) -> None:
    found = Run(total=4, left=Counter({PI4: 4}), expected_s={PI4: 5.0})
    for event, jobid in events:
        if event == "begin":
            found.begin(jobid, PI4.rule, f"b/{jobid}", PI4._asdict())
        elif event == "hear":
            found.hear(JobLine(f"b/{jobid}", "1/2 x, 3/s"))
        else:
            getattr(found, event)(jobid)
        eta = found.eta_s()
        assert eta is not None
        assert eta >= 0


def test_times_are_told_in_two_digits() -> None:
    assert [told_time(s) for s in (0.4, 59, 119, 120, 7200, 200_000)] == [
        *("0 s", "59 s", "119 s", "2 min", "2 h", "2 d"),
    ]
