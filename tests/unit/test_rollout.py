"""The rollout's logic: who is touched, who goes back, who never sees the release."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmpi.errors import LlmpiError
from llmpi.operate.rollout import Rollout, roll_out, split


@pytest.mark.parametrize(
    ("count", "stages", "sizes"),
    [
        (10, [1, 0.25, 1.0], [1, 2, 7]),
        (2, [1, 0.25, 1.0], [1, 1]),
        (1, [1, 0.25, 1.0], [1]),
        (50, [1, 0.1, 0.5, 1.0], [1, 4, 20, 25]),
        (3, [1.0], [3]),
        (3, [5, 1.0], [3]),
        (10, [0.1, 0.3, 1.0], [1, 2, 7]),
    ],
)
def test_stages(count: int, stages: list[float], sizes: list[int]) -> None:
    devices = [f"pi{i}" for i in range(count)]
    found = split(devices, stages)
    assert [len(stage) for stage in found] == sizes
    assert [device for stage in found for device in stage] == devices


class Fleet:
    """Devices that serve a release; some of them cannot serve the new one."""

    def __init__(self, devices: list[str], bad: set[str], stuck: set[str]) -> None:
        self.serves = dict.fromkeys(devices, "old")
        self.saw: list[str] = []
        self.bad, self.stuck = bad, stuck

    def update(self, device: str) -> list[str]:
        self.saw.append(device)
        self.serves[device] = "new"
        if device in self.bad and len(device) % 2:
            raise LlmpiError("it is off")
        return ["F1 is 0"] if device in self.bad else []

    def undo(self, device: str) -> None:
        if device in self.stuck:
            raise LlmpiError("it is off")
        self.serves[device] = "old"


fleets = st.integers(1, 12).map(lambda n: [f"pi{i}" for i in range(n)])
stage_lists = st.lists(st.integers(1, 12) | st.floats(0.01, 1.0, allow_nan=False), max_size=4).map(
    lambda stages: [*stages, 1.0]
)


def run(devices: list[str], stages: list[float], fleet: Fleet) -> Rollout:
    return roll_out(split(devices, stages), fleet.update, fleet.undo, lambda _: None)


@given(devices=fleets, stages=stage_lists, data=st.data())
def test_a_failing_stage_takes_back_what_was_touched_and_nothing_else(
    devices: list[str], stages: list[float], data: st.DataObject
) -> None:
    bad = set(data.draw(st.lists(st.sampled_from(devices), unique=True)))
    stuck = set(data.draw(st.lists(st.sampled_from(devices), unique=True)))
    fleet = Fleet(devices, bad, stuck)
    result = run(devices, stages, fleet)
    # Nobody is touched twice, and they are touched in the order of the stages.
    seen = set(fleet.saw)
    assert len(fleet.saw) == len(seen)
    gone: set[str] = set()
    for stage in split(devices, stages):
        assert seen.issuperset(stage) or seen.isdisjoint(stage)
        if gone & bad:
            assert seen.isdisjoint(stage), "behind a stage that failed"
        gone |= set(stage)
    if not bad:
        assert result.good
        assert result.updated == devices
        assert set(fleet.serves.values()) == {"new"}
        return
    assert not result.good
    assert result.updated == []
    assert set(result.objections) == bad & seen
    assert {*result.rolled_back, *result.stuck} == seen
    assert set(result.stuck) == stuck & seen
    for device in devices:
        assert fleet.serves[device] == ("new" if device in stuck & seen else "old")


def test_what_went_wrong_is_told() -> None:
    fleet = Fleet(["a", "bb", "cc"], bad={"a"}, stuck={"a"})
    said: list[str] = []
    result = roll_out([["a"], ["bb", "cc"]], fleet.update, fleet.undo, said.append)
    assert result.objections == {"a": ["it is off"]}
    assert said == [
        "stage 1 of 2: a",
        "a: failed: it is off",
        "a: could not be rolled back: it is off",
    ]


def test_a_bug_in_the_update_goes_back_too() -> None:
    def broken(device: str) -> list[str]:
        raise KeyError("quota")

    undone: list[str] = []
    result = roll_out([["a"]], broken, undone.append, lambda _: None)
    assert undone == ["a"]
    assert result.objections == {"a": ["KeyError: 'quota'"]}
