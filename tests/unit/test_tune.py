"""The search for settings, against devices whose speed is known because it is made up."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.tuning import BASE, Board, found, predicted, random_slowness
from llmpi.device.records import TurnRequest
from llmpi.engine.records import Runtime, Turns
from llmpi.errors import CellError
from llmpi.study.tuning import Tune
from llmpi.tune.interval import signed_rank_interval
from llmpi.tune.looks import agreement
from llmpi.tune.proposals import Proposals
from llmpi.tune.remaining import believe
from llmpi.tune.space import Space, levels_of

RUNTIME = BASE.model_dump(exclude={"tune", "endpoint"})


def a_board_like_others(runtime: Runtime) -> float:
    """Fewer threads and small batches cost; three threads that sleep gain 12 %."""
    slowness = {2: 1.7, 3: 0.95, 4: 1.0, None: 1.0}[runtime["threads"]]
    slowness *= {64: 1.2, 128: 1.05}.get(runtime["ubatch_tokens"], 1.0)
    slowness *= {"q8_0": 1.03}.get(runtime["kv_cache"], 1.0)
    slowness *= {"off": 1.1}.get(runtime["flash_attention"], 1.0)
    slowness *= 1.0 if runtime["repack"] else 1.3
    return slowness * {"passive": 0.93, "active": 1.4}.get(runtime["omp_wait_policy"], 1.0)


def test_the_fastest_combination_is_found_and_told_with_its_interval() -> None:
    record = found(Board(a_board_like_others, seed=1))
    assert record["tuned"]
    assert record["changes"] == {"threads": (None, 3), "omp_wait_policy": (None, "passive")}
    assert record["runtime"] == {**RUNTIME, "threads": 3, "omp_wait_policy": "passive"}
    gain = record["gain"]
    assert 1 < gain["low"] < 1 / (0.95 * 0.93) < gain["high"]
    assert gain["low"] < gain["ratio"] < gain["high"]
    assert {m["metric"] for m in record["metrics"]} == {"total", "pp", "tg", "ttft"}
    assert not record["changes_output"]
    assert record["stopped"] == {"kind": "nothing to gain", "budget": None}
    assert record["remaining_pct"] < record["noise_pct"]


def test_the_most_frugal_setting_is_found_though_it_is_slower() -> None:
    """Two threads take a third of four's power and 1.7 times their seconds."""
    power_w = {2: 2.0, 3: 5.0, 4: 6.0, None: 6.0}
    board = Board(a_board_like_others, seed=1, power_w=lambda runtime: power_w[runtime["threads"]])
    record = found(board, objective="energy")
    assert record["changes"] == {"threads": (None, 2), "omp_wait_policy": (None, "passive")}
    assert record["gain"]["low"] < 6 / (2 * 1.7 * 0.93) < record["gain"]["high"]
    gains = {m["metric"]: m["ratio"] for m in record["metrics"]}
    assert gains["energy"] > 1.5
    assert gains["total"] < 0.7
    assert record["blocks"][0]["turns"][0]["costs"]["chat"].keys() == gains.keys()


def test_a_slow_setting_is_found_out_and_not_combined_further() -> None:
    record = found(Board(a_board_like_others, seed=2))
    slow = [trial for trial in record["trials"] if trial["changes"].get("threads") == (None, 2)]
    alone = next(trial for trial in slow if len(trial["changes"]) == 1)
    assert alone["gain_pct"] < -30
    assert alone["blocks"] == 1, "clearly beaten in its first block"
    assert all("threads: 2" not in f["words"] for f in record["finalists"])


@pytest.mark.parametrize("noise", [0.005, 0.02, 0.08])
def test_where_nothing_is_faster_the_default_stays(noise: float) -> None:
    """Of 12 searches, at 5 % error, more than 3 false winners have a probability of 0.2 %."""
    records = [found(Board(lambda runtime: 1.0, seed, noise=noise)) for seed in range(12)]
    assert sum(record["tuned"] for record in records) <= 3
    for record in records:
        if not record["tuned"]:
            assert record["runtime"] == RUNTIME
            assert record["gain"] is None


@pytest.mark.parametrize("seed", range(6))
def test_what_is_chosen_is_never_slower_beyond_the_noise(seed: int) -> None:
    """Any effects of the levels, drawn at random, with interactions between two keys."""

    slowness = random_slowness(seed)
    noise = 0.03
    for again in range(2):
        record = found(Board(slowness, seed=100 * seed + again, noise=noise))
        assert slowness(record["runtime"]) < math.exp(noise / 2)


@pytest.mark.parametrize("seed", range(3))
def test_another_run_finds_the_same_or_one_that_is_as_fast(seed: int) -> None:
    first, second = (
        a_board_like_others(found(Board(a_board_like_others, seed=10 * seed + i))["runtime"])
        for i in range(2)
    )
    assert abs(math.log(first / second)) < 0.02


def test_settings_that_change_the_output_may_not_win_unless_they_are_allowed_to() -> None:
    def board() -> Board:
        return Board(
            lambda runtime: 0.8 if runtime["kv_cache"] == "q8_0" else 1.0,
            seed=3,
            output=lambda runtime: int(runtime["kv_cache"] == "q8_0"),
        )

    strict = found(board())
    assert strict["runtime"]["kv_cache"] == "f16"
    [refused] = [t for t in strict["trials"] if t["refused"]]
    assert refused["changes"] == {"kv_cache": ("f16", "q8_0")}
    assert refused["refused"] == {"kind": "output", "top1_pct": 0, "at_least_pct": 100}
    free = found(board(), agreement_at_least_pct=0)
    assert free["changes"] == {"kv_cache": ("f16", "q8_0")}
    assert free["changes_output"]
    assert free["agreement"]["top1_pct"] == 0


def test_settings_that_need_too_much_memory_may_not_win() -> None:
    board = Board(
        lambda runtime: 0.7 if runtime["ubatch_tokens"] == 256 else 1.0,
        seed=4,
        peak_bytes=lambda runtime: 300 if runtime["ubatch_tokens"] == 256 else 100,
    )
    record = found(board, memory_at_most_bytes=200)
    assert not record["tuned"]
    assert any(t["refused"] and t["refused"]["kind"] == "memory" for t in record["trials"])


def test_a_base_that_needs_too_much_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(CellError, match="leaner"):
        found(Board(lambda runtime: 1.0, seed=5), memory_at_most_bytes=50)


def test_a_setting_that_dies_is_a_trial_with_its_reason() -> None:
    def slowness(runtime: Runtime) -> float:
        if runtime["flash_attention"] == "off":
            raise RuntimeError("the engine died of SIGSEGV")
        return a_board_like_others(runtime)

    record = found(Board(slowness, seed=6))
    assert record["tuned"]
    dead = [trial for trial in record["trials"] if trial["refused"]]
    assert [trial["refused"] for trial in dead] == [
        {"kind": "died", "reason": "the engine died of SIGSEGV"}
    ]
    assert dead[0]["gain_pct"] is None


def test_a_base_that_dies_ends_the_search() -> None:
    def slowness(runtime: Runtime) -> float:
        raise RuntimeError("the engine was killed")

    with pytest.raises(CellError, match="to start from cannot be measured: the engine was killed"):
        found(Board(slowness, seed=7))


def test_the_base_and_challengers_take_random_turns() -> None:
    board = Board(a_board_like_others, seed=8)
    found(board)
    places = [[t["runtime"] for t in turns].index(RUNTIME) for turns in board.blocks[4:]]
    assert len(set(places)) >= 3
    assert all(RUNTIME in [t["runtime"] for t in turns] for turns in board.blocks)


def test_challengers_have_a_time_limit_and_the_base_its_own() -> None:
    board = Board(a_board_like_others, seed=9)
    found(board)
    turns = [turn for turns in board.blocks for turn in turns]
    assert all((turn["timeout_s"] is None) == (turn["runtime"] == RUNTIME) for turn in turns)


def test_each_setting_is_checked_once() -> None:
    board = Board(a_board_like_others, seed=9)
    found(board)
    checked = [str(t["runtime"]) for turns in board.blocks for t in turns if t["check"]]
    assert len(checked) == len(set(checked))
    assert set(checked) == {str(t["runtime"]) for turns in board.blocks for t in turns}


@pytest.mark.parametrize("broken_at", [1, 7, 20])
def test_a_search_that_was_broken_off_takes_the_same_course(broken_at: int) -> None:
    whole = Board(a_board_like_others, seed=10)
    answers: list[Turns] = []

    def recorded(turns: list[TurnRequest]) -> Turns:
        answers.append(whole(turns))
        return answers[-1]

    first = found(recorded)
    asked = iter(zip(whole.blocks, answers, strict=True))

    def replayed(turns: list[TurnRequest]) -> Turns:
        known, answer = next(asked)
        assert turns == known
        return answer

    assert found(replayed) == first


def test_budgets_end_the_search_but_not_the_confirmation() -> None:
    few = found(Board(a_board_like_others, seed=11), trials=5)
    assert len(few["trials"]) == 5
    assert few["stopped"] == {"kind": "trials", "budget": 5}
    short = found(Board(a_board_like_others, seed=11), minutes=5)
    assert short["stopped"] == {"kind": "minutes", "budget": 5}
    assert short["confirm_blocks"] in (0, 10)


def test_an_empty_space_keeps_the_base() -> None:
    space = {key: [] for key in Tune().space.model_dump()}
    record = found(Board(a_board_like_others, seed=12), space=space)
    assert not record["tuned"]
    assert record["stopped"]["kind"] == "all tried"


def test_what_makes_no_difference_is_no_level() -> None:
    levels = levels_of(Tune().space, processors=4)
    space = Space(BASE, levels, threads=4, longest_prompt_tokens=100)
    assert space.levels["threads"] == [None, 3, 2]
    assert space.levels["ubatch_tokens"] == [512, 64]
    assert "batch_tokens" not in space.levels
    assert space.levels["flash_attention"] == ["auto", "off"]
    kv, attention = (list(space.levels).index(k) for k in ("kv_cache", "flash_attention"))
    every = list(space.settings([range(count) for count in space.counts]))
    assert not any(s[kv] and s[attention] for s in every), "q8_0 needs flash attention"
    assert space.base in every


def test_speculation_is_tried_with_a_quantized_cache_only() -> None:
    asked = Tune.model_validate(
        {"space": {"kv_cache": ["q8_0"], "prompt_lookup": [{"draft_tokens": 5}]}}
    )
    levels = levels_of(asked.space, processors=1)
    space = Space(BASE, levels, threads=1, longest_prompt_tokens=1)
    runtimes = [space.runtime(s) for s in space.settings([range(n) for n in space.counts])]
    speculating = [r for r in runtimes if r["prompt_lookup"]]
    assert {r["kv_cache"] for r in speculating} == {"q8_0"}
    assert {r["prompt_lookup"]["draft_tokens"] for r in speculating} == {5}
    assert not any(space.runtime(s)["prompt_lookup"] for s in space.singles())


def test_a_micro_batch_is_no_larger_than_the_batch() -> None:
    levels = {"batch_tokens": [64], "ubatch_tokens": [64, 256]}
    space = Space(BASE, levels, threads=4, longest_prompt_tokens=4096)
    runtimes = [
        space.runtime(setting) for setting in space.settings([range(n) for n in space.counts])
    ]
    assert {(r["batch_tokens"], r["ubatch_tokens"]) for r in runtimes} == {
        (2048, 512),
        (2048, 64),
        (2048, 256),
        (64, 64),
    }
    assert len(runtimes) == 4


def test_the_interval_of_wilcoxon_is_the_textbooks() -> None:
    """Hollander, Wolfe, Chicken, example 3.3: Hamilton depression scale, n = 9, 96.1 %."""
    before = [1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30]
    after = [0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29]
    differences = [b - a for a, b in zip(before, after, strict=True)]
    interval = signed_rank_interval(differences, 0.04)
    assert interval.low == pytest.approx(-0.786)
    assert interval.high == pytest.approx(-0.010)
    assert interval.middle == pytest.approx(-0.46)


def test_too_few_differences_give_no_interval() -> None:
    with pytest.raises(ValueError, match="5 differences"):
        signed_rank_interval([1.0] * 5, 0.05)


@given(st.lists(st.floats(-1, 1), min_size=8, max_size=20), st.floats(-5, 5))
def test_the_interval_moves_with_the_differences(values: list[float], shift: float) -> None:
    here = signed_rank_interval(values, 0.05)
    there = signed_rank_interval([v + shift for v in values], 0.05)
    assert here.low <= here.middle <= here.high
    for a, b in zip(here, there, strict=True):
        assert a + shift == pytest.approx(b, abs=1e-9)


def test_the_interval_covers_as_often_as_it_says() -> None:
    """2,000 intervals at 95 %; the standard error of the count is 0.5 %."""
    draws = np.random.default_rng(1).standard_t(2, (2000, 10))
    covered = [
        interval.low <= 0 <= interval.high
        for interval in (signed_rank_interval(row, 0.05) for row in draws.tolist())
    ]
    assert 0.94 < np.mean(covered) < 0.975


def test_beliefs_follow_what_was_measured_and_grow_unsure_away_from_it() -> None:
    tried = [(0, 0), (1, 0), (0, 1)]
    settings = [*tried, (1, 1), (2, 2)]
    belief = believe(tried, [0.0, 0.2, -0.1], [0.0, 0.001, 0.001], settings)
    assert belief.mean[:3] == pytest.approx([0.0, 0.2, -0.1], abs=0.01)
    assert max(belief.sd[:3]) < min(belief.sd[3:])


def test_a_key_that_never_mattered_is_not_expected_to() -> None:
    tried = [(a, b) for a in (0, 1, 2) for b in (0, 1)]
    gains = [[0.0, 0.3, -0.3][a] for a, _ in tried]
    belief = believe(tried[:-1], gains[:-1], [0.01] * 5, tried[-1:])
    assert belief.mean[0] == pytest.approx(-0.3, abs=0.05)
    assert belief.sd[0] < 0.1


def test_proposals_are_the_same_for_the_same_past() -> None:
    def course() -> list[Any]:
        proposals, known = Proposals([range(6), range(2)], seed=4), set()
        for setting in [(0, 0), (1, 0), (2, 1)]:
            proposals.tell(setting, float(setting[0]), refused=setting[1] == 1)
            known.add(setting)
        proposals.tell((5, 0), None, refused=True)
        for _ in range(3):
            for setting in proposals.next(2, lambda s: s not in known):
                known.add(setting)
                proposals.tell(setting, float(setting[0]), refused=False)
        return sorted(known)

    assert course() == course()
    assert len(course()) == 9


def test_agreement_tells_rounding_from_another_token() -> None:
    same = agreement(predicted(1), predicted(1))
    assert same == {"top1_pct": 100, "kl_nats": 0, "identical": True, "positions": 4}
    other = agreement(predicted(1), predicted(2))
    assert other["top1_pct"] == 0
    assert other["kl_nats"] > 0
    assert not other["identical"]
