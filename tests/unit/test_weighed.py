"""Speed against joules of the settings that a search tried."""

import made_records as made
import pytest

from llmpi.tune.weighed import weighed


def test_only_differences_within_a_block_count() -> None:
    """The machine was twice as slow in the second block."""
    blocks = [
        made.block(as_it_is=(1.0, 10.0), fewer=(2.0, 5.0)),
        made.block(fewer=(4.0, 10.0), as_it_is=(2.0, 20.0)),
    ]
    base, fewer = weighed(blocks, [], {})
    assert base == {
        **{"words": "as it is", "speed_pct": 0, "energy_pct": 0},
        **{"blocks": 2, "on_front": True},
    }
    assert (fewer["words"], fewer["blocks"], fewer["on_front"]) == ("fewer", 2, True)
    assert fewer["speed_pct"] == pytest.approx(-50)
    assert fewer["energy_pct"] == pytest.approx(-50)


def test_what_another_beats_in_both_is_not_on_the_front() -> None:
    blocks = [made.block(as_it_is=(1.0, 10.0), better=(0.9, 9.0), faster=(0.8, 12.0))]
    on_front = {one["words"]: one["on_front"] for one in weighed(blocks, [], {})}
    assert on_front == {"as it is": False, "better": True, "faster": True}


def test_what_was_refused_or_died_is_left_out() -> None:
    changes = made.trial("changes", 3.0, {"kind": "output", "top1_pct": 9, "at_least_pct": 100})
    blocks = [made.block(as_it_is=(1.0, 10.0), changes=(0.5, 5.0), dies=None, stays=(1.0, 9.0))]
    assert [one["words"] for one in weighed(blocks, [changes], {})] == ["as it is", "stays"]


def test_workloads_count_as_the_search_weighed_them() -> None:
    block = made.block(as_it_is=(1.0, 10.0), other=(2.0, 5.0))
    for turn, costs in zip(block["turns"], [(1.0, 10.0), (1.0, 10.0)], strict=True):
        assert turn["costs"]
        turn["costs"]["long"] = {"total": costs[0], "energy": costs[1]}
    [_, alike] = weighed([block], [], {})
    [_, chat] = weighed([block], [], {"chat": 3.0, "elsewhere": 9.0})
    assert alike["speed_pct"] == pytest.approx(100 * (0.5**0.5 - 1))
    assert chat["speed_pct"] == pytest.approx(-50)


def test_without_joules_there_is_nothing_to_weigh() -> None:
    block = made.block(as_it_is=(1.0, 10.0), other=(2.0, 5.0))
    for turn in block["turns"]:
        assert turn["costs"]
        del turn["costs"]["chat"]["energy"]
    assert weighed([block], [], {}) == []
