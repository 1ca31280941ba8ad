"""Conversations side by side: the same answers as alone, stored once what they share."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_llama import tiny_llama

from llmpi.device.machine.contention import Processors
from llmpi.device.measure import session as device_session
from llmpi.device.measure.concurrent import Concurrent, context_tokens
from llmpi.engine import info as engine_info
from llmpi.engine.llama import Engine, EngineError, Rows, Settings
from llmpi.engine.supervise import Death
from llmpi.study.measuring import ConcurrentWorkload

SPEC = {
    "kind": "concurrent",
    "conversations": [1, 2, 4],
    "system_tokens": 5,
    "prompt_tokens": 3,
    "output_tokens": 4,
    "repetitions": 2,
    "warmup_limit": 1,
}


def spec(**more: Any) -> dict[str, Any]:
    return ConcurrentWorkload.model_validate({**SPEC, **more}).model_dump()


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    engine_info.log_to(lambda _: None)
    return tiny_llama(tmp_path_factory.mktemp("tiny"))


def engine(gguf: Path, **settings: Any) -> Engine:
    return Engine(gguf, Settings(threads=1, **settings), context_tokens=16)


def measured(engine: Engine, asked: dict[str, Any]) -> dict[str, Any]:
    workload = Concurrent(engine, "users", asked, 1, Processors(1))
    workload.warm_up(600)
    for _, count in workload.arms():
        workload.repeat(count, "1/1")
    return workload.record()


# --- on the device --------------------------------------------------------------------------------


def test_each_number_has_its_repetitions_and_its_memory(gguf: Path) -> None:
    with engine(gguf) as tiny:
        record = measured(tiny, spec())
    assert record["status"] == "ok"
    assert [level["conversations"] for level in record["levels"]] == [1, 2, 4]
    for level in record["levels"]:
        count = level["conversations"]
        assert level["context_tokens"] >= context_tokens(spec(), count) == 5 + count * 7
        # 2 layers, keys and values, 2 heads of 64 each, 16 bits; said in hundredths of a MiB.
        kv_bytes = level["context_tokens"] * 2 * 2 * 2 * 64 * 2
        assert level["kv_bytes"] == pytest.approx(kv_bytes, abs=0.01 * 2**20)
        assert len(level["repetitions"]) == 2
        for repetition in level["repetitions"]:
            assert len(repetition["itl_s"]) == 4, "a step gives each a token"
            assert len(repetition["ttft_each_s"]) == count
            last = repetition["ttft_each_s"][-1]
            assert repetition["pp_s"] <= last <= repetition["ttft_s"]


def test_the_first_to_come_does_not_wait_for_the_last(gguf: Path) -> None:
    """Where the prompts take several batches."""
    with engine(gguf, batch_tokens=4, ubatch_tokens=4) as tiny:
        record = measured(tiny, spec(conversations=[4], sampling="none"))
    times = record["levels"][0]["repetitions"][0]["ttft_each_s"]
    assert times == sorted(times)
    assert len(set(times)) == 3, "12 tokens in batches of 4: the 1st, then the 2nd, then two"


def test_what_does_not_fit_is_told_and_larger_numbers_are_not_tried(gguf: Path) -> None:
    with engine(gguf, batch_tokens=3, ubatch_tokens=3) as tiny:
        record = measured(tiny, spec(conversations=[2, 4, 8]))
        all_lost = measured(tiny, spec(conversations=[4, 8]))
    fits, failed, skipped = record["levels"]
    assert (record["status"], fits["status"]) == ("ok", "ok")
    assert failed == {
        "conversations": 4,
        "status": "failed",
        "reason": "batch_tokens is 3, which leaves no room for a token of each of 4 sequences",
    }
    assert skipped["status"] == "skipped"
    assert (all_lost["status"], all_lost["stage"]) == ("failed", "benchmark")
    assert all_lost["reason"] == failed["reason"]


def test_side_by_side_the_model_says_what_it_says_alone(gguf: Path) -> None:
    shared, own = [1, 2, 3, 4, 5], [[7, 8], [9, 10], [11, 12]]
    with Engine(gguf, Settings(threads=1), context_tokens=64, sequences=3) as together:
        together.decode(shared)
        together.fork(3)
        rows = Rows(6)
        rows.tokens[:] = np.ravel(own)
        rows.positions[:] = [5, 6] * 3
        rows.sequences[:] = [0, 0, 1, 1, 2, 2]
        rows.wanted[1::2] = True
        together.decode_rows(rows, 0, 2)
        first = together.logits(1).copy()
        together.decode_rows(rows, 2)
        found = np.concatenate([first, together.logits(2)])
    with engine(gguf) as alone:
        for logits, prompt in zip(found, own, strict=True):
            alone.keep(0)
            expected = alone.decode_all([*shared, *prompt])[-1]
            assert logits == pytest.approx(expected, abs=1e-2)


def test_each_may_have_a_part_of_the_cache_to_itself(gguf: Path) -> None:
    """Three prompts of three tokens, cut in batches of four: the second one in two pieces."""
    own = [[7, 8, 6], [9, 10, 5], [11, 12, 4]]
    with Engine(gguf, Settings(threads=1), context_tokens=9, sequences=3, apart=True) as together:
        assert together.context_tokens == 3 * 256
        rows = Rows(9)
        rows.tokens[:] = np.ravel(own)
        rows.positions[:] = [0, 1, 2] * 3
        rows.sequences[:] = np.repeat(np.arange(3), 3)
        rows.wanted[2::3] = True
        found = []
        for start, stop, ready in ((0, 4, 1), (4, 8, 1), (8, 9, 1)):
            together.decode_rows(rows, start, stop)
            found.append(together.logits(ready)[0].copy())
    with engine(gguf) as alone:
        for logits, prompt in zip(found, own, strict=True):
            alone.keep(0)
            assert logits == pytest.approx(alone.decode_all(prompt)[-1], abs=1e-2)


def test_what_is_shared_takes_its_place_once(gguf: Path) -> None:
    """200 shared tokens and 8 times 6: 248 of the 256 cells that the engine rounds up to."""
    with engine(gguf) as tiny:
        asked = spec(conversations=[8], system_tokens=200, prompt_tokens=2, repetitions=1)
        assert measured(tiny, asked)["levels"][0]["context_tokens"] == 256
        more = spec(conversations=[8], system_tokens=0, prompt_tokens=202, repetitions=1)
        assert measured(tiny, more)["levels"][0]["context_tokens"] > 1600


def test_a_batch_is_never_larger_than_the_engine_takes(gguf: Path) -> None:
    with engine(gguf, batch_tokens=2, ubatch_tokens=2) as tiny, pytest.raises(EngineError):
        tiny.decode_rows(Rows(3))


def level(count: int, step_s: float, **more: Any) -> dict[str, Any]:
    repetition = {
        "system_s": 0.5,
        "start_s": 100.0,
        "pp_s": 1.0,
        "ttft_each_s": [1.0] * (count - 1) + [2.0],
        "ttft_s": 2.0,
        "itl_s": [step_s] * 4,
    }
    return {
        "conversations": count,
        "status": "ok",
        "reason": None,
        "context_tokens": 256,
        "kv_bytes": 1_000_000,
        "repetitions": [repetition],
        "memory": {
            "peak_rss_bytes": 5_000_000,
            "major_faults": 0,
            "fetched_bytes": 0,
            "swap_bytes": 0,
        },
        "marks": [],
        **more,
    }


def test_a_number_that_kills_the_engine_leaves_the_smaller_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The engine's process dies with more than two conversations, as of too little memory."""

    def supervise(module: str, job: dict[str, Any], **how: Any) -> dict[str, Any] | Death:
        asked = job["workloads"]["users"]
        if asked["conversations"][-1] > 2:
            return Death("the engine was killed (SIGKILL): most likely out of memory", "")
        levels = [level(count, 0.1) for count in asked["conversations"]]
        users = {"status": "ok", "kind": "concurrent", "workload": asked, "levels": levels}
        return {"status": "ok", "workloads": {"users": users}}

    monkeypatch.setattr(device_session, "supervise", supervise)
    asked = spec(conversations=[1, 2, 4, 8], timeout_s=5)
    request = {
        "measured_by": "llmpi.device.measure.process",
        "workloads": {"users": asked},
        "runtime": {"omp_wait_policy": None},
    }
    watch = device_session.Watch(lambda _: None, None, [], [])
    users = device_session._session(request, watch)["workloads"]["users"]
    assert users["workload"] == asked
    assert [(part["conversations"], part["status"]) for part in users["levels"]] == [
        (1, "ok"),
        (2, "ok"),
        (4, "failed"),
        (8, "skipped"),
    ]
    assert "out of memory" in users["levels"][2]["reason"]
    assert "out of memory" not in users["levels"][3]["reason"]
