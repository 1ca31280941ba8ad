"""Blocks on this machine with the real engine, and a tiny model of random weights."""

import re
from pathlib import Path
from typing import Any

import pytest
from tiny_llama import tiny_llama

from llmpi.device.measure import turns
from llmpi.remote import requests
from llmpi.study.measuring import Runtime, Workload
from llmpi.study.meters import HwmonMeter
from llmpi.tune.looks import agreement, look

DEFAULT = Runtime().model_dump()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama(tmp_path_factory.mktemp("tiny"))


def measured(
    gguf: Path,
    *runtimes: dict[str, Any],
    log: Any = lambda line: None,
    meter: dict[str, Any] | None = None,
) -> dict[str, Any]:
    chat = Workload(prompt_tokens=24, output_tokens=3, depths=[40], repetitions=9)
    long = Workload(prompt_tokens=48, output_tokens=2)
    return turns.run(
        {
            "what": "a test",
            "seed": "1",
            "gguf": str(gguf),
            "threads": 1,
            "limits": None,
            "rest": {"cool_below_c": None, "cool_limit_s": 0},
            "workloads": {"chat": chat.model_dump(), "long": long.model_dump()},
            "repetitions": 2,
            "turns": [{"runtime": r, "check": True, "timeout_s": None} for r in runtimes],
            "timeout_s": 60,
            "meter": meter,
        },
        log=log,
    )


def test_each_setting_has_its_turn_and_says_what_it_predicts(tiny: Path) -> None:
    small_pieces = DEFAULT | {"ubatch_tokens": 8, "kv_cache": "q4_0", "omp_wait_policy": "passive"}
    record = measured(tiny, DEFAULT, DEFAULT, small_pieces)
    first, again, other = record["turns"]
    assert {turn["status"] for turn in record["turns"]} == {"ok"}
    for turn in record["turns"]:
        assert [len(r["itl_s"]) for r in turn["workloads"]["chat"]] == [3, 3], "no depths"
        assert len(turn["workloads"]["long"]) == 2
        assert turn["peak_rss_bytes"] > tiny.stat().st_size
        assert 0 < turn["took_s"] < record["took_s"]
    assert agreement(first["output"], again["output"])["identical"]
    changed = agreement(first["output"], other["output"])
    assert changed["positions"] == 96
    assert not changed["identical"]
    assert changed["kl_nats"] > 0
    seen = look(first, {"chat": 0.5, "long": 0.5}, "pp")
    pp_s = [sorted(r["pp_s"] for r in first["workloads"][w]) for w in ("chat", "long")]
    assert [seen.costs[w]["pp"] for w in ("chat", "long")] == pytest.approx(
        [sum(pair) / 2 for pair in pp_s]
    )


def test_a_turn_is_metered_if_that_is_asked_for(tiny: Path, tmp_path: Path) -> None:
    source = tmp_path / "power1_input"
    source.write_text("5000000\n")
    meter = HwmonMeter(kind="hwmon", path=str(source), interval_s=0.02)
    [turn] = measured(tiny, DEFAULT, meter=dict(requests.meter(meter)))["turns"]
    assert turn["energy"]["status"] == "ok"
    for name, done in turn["workloads"].items():
        seconds = [one["ttft_s"] + sum(one["itl_s"]) for one in done]
        assert turn["energy"]["energy_j"][name] == pytest.approx([5 * s for s in seconds])
    assert look(turn, {"chat": 1}, "energy").costs["chat"]["energy"] > 0


@pytest.mark.fault("a meter that is gone in a search", by="energy none, with its reason")
def test_a_turn_whose_meter_fails_has_no_joules_but_its_times(tiny: Path, tmp_path: Path) -> None:
    meter = HwmonMeter(kind="hwmon", path=str(tmp_path / "gone"), interval_s=0.02)
    [turn] = measured(tiny, DEFAULT, meter=dict(requests.meter(meter)))["turns"]
    assert turn["energy"]["status"] == "none"
    assert "gone" in turn["energy"]["reason"]
    assert turn["workloads"]["chat"]


def test_a_turn_that_dies_is_a_result(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.gguf").write_bytes(b"GGUF, but no more")
    lines: list[str] = []
    record = measured(tmp_path / "broken.gguf", DEFAULT, DEFAULT, log=lines.append)
    assert [turn["status"] for turn in record["turns"]] == ["failed", "failed"]
    assert re.search(r"cannot load broken\.gguf", record["turns"][0]["reason"])
    assert lines, "what the engine says is handed on"


def test_one_setting_that_cannot_work_leaves_the_others(tiny: Path) -> None:
    impossible = DEFAULT | {"flash_attention": "off", "kv_cache": "q8_0"}
    record = measured(tiny, DEFAULT, impossible, DEFAULT)
    assert [turn["status"] for turn in record["turns"]] == ["ok", "failed", "ok"]
    assert record["turns"][1]["reason"]
