"""A whole search on this machine with the real engine and a tiny model; broken off, and resumed."""

import contextlib
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from stand_ins import put, replaying
from tiny_llama import tiny_llama, write_tokenizer

from llmpi.device.machine import environment
from llmpi.engine import info as engine_info
from llmpi.errors import LlmpiError
from llmpi.records import check, sha256_of
from llmpi.remote import blocks as remote_blocks
from llmpi.remote import tune as remote_tune
from llmpi.remote.connection import connected
from llmpi.remote.deploy import put_model
from llmpi.study.devices import LocalDevice
from llmpi.study.measuring import Runtime, Workload
from llmpi.study.meters import HwmonMeter
from llmpi.study.tuning import Tune
from llmpi.train.small import Small, write_start
from llmpi.tune.records import Tuned

SPACE: dict[str, list] = {key: [] for key in Tune().space.model_dump()}
SPACE |= {"ubatch_tokens": [2], "kv_cache": ["q4_0"]}


@pytest.fixture
def place(tmp_path: Path) -> dict[str, Any]:
    """The tiny model on this machine as a device."""
    return placed(tiny_llama(tmp_path), tmp_path)


def placed(gguf: Path, tmp_path: Path) -> dict[str, Any]:
    device = LocalDevice(transport="local", threads=1, store=str(tmp_path / "store"))
    with connected("here", device) as reached:
        receipt = put_model(reached, gguf, "tiny/F16.gguf", sha256_of(gguf), None)
    return {"device": device, "receipt": receipt, "gguf": gguf, "kept": tmp_path / "kept"}


def searched(place: dict[str, Any], prompt_tokens: int = 48, **tune: Any) -> dict[str, Any]:
    asked = Tune.model_validate({"repetitions": 1, "confirm_blocks": 8, "space": SPACE, **tune})
    return remote_tune.tune_runtime(
        "here",
        what="a test",
        runtime=Runtime(),
        workloads={"chat": Workload(prompt_tokens=prompt_tokens, output_tokens=2)},
        tune=asked,
        provisioned={
            "preparation": None,
            "engine": engine_info.describe(),
            "machine": environment.machine(),
        },
        **place,
    )


@pytest.mark.fault("the device gone in a search", by="blocks measured twice: none")
def test_a_search_that_was_broken_off_measures_no_block_twice(
    place: dict[str, Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "llmpi.remote.blocks")
    ask, asked = remote_blocks.Blocks._ask, []

    def gone_at_the_fourth(self: Any, job: dict[str, Any], key: str) -> dict[str, Any]:
        if len(asked) == 3:  # there are four at least, to measure the noise
            asked.append("gone")
            raise LlmpiError("the device is gone")
        asked.append(key)
        return ask(self, job, key)

    monkeypatch.setattr(remote_blocks.Blocks, "_ask", gone_at_the_fourth)
    with pytest.raises(LlmpiError, match="gone"):
        searched(place)
    record = searched(place)
    assert record["status"] == "ok"
    measured = [key for key in asked if key != "gone"]
    assert len(measured) == len(set(measured)) == len(record["blocks"])
    assert caplog.text.count("was measured before") == 3
    assert {t["words"] for t in record["trials"]} >= {"ubatch_tokens: 2", "kv_cache: q4_0"}
    default = Runtime().model_dump()
    changed = {key for key, value in record["runtime"].items() if value != default[key]}
    assert changed == set(record["changes"])
    assert record["tuned"] == bool(changed) == bool(record["gain"])
    assert check(json.dumps(record), Tuned, "the record") == record


@pytest.fixture
def metered(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """A model that takes long enough to be metered, and a chip that says what a board would take
    whose processors pay for company: 1 W, and 20 W by the square of how many an engine has use for,
    which does not depend on how many the others leave it."""
    size = Small(layers=4, width=1024, heads=8, kv_heads=4, ffn_width=2048, merges=3)
    write_tokenizer(tmp_path / "tokenizer.gguf")
    write_start(tmp_path / "tokenizer.gguf", tmp_path / "larger.gguf", size, seed=1)
    place = placed(tmp_path / "larger.gguf", tmp_path)
    source = tmp_path / "power1_input"

    def write(_: float) -> None:
        wanted = sum(map(runnable, Path("/proc").glob("[0-9]*")))
        put(source, f"{1e6 * (1 + 20 * wanted**2):.0f}\n")

    meter = HwmonMeter(kind="hwmon", path=str(source), interval_s=0.02)
    device = place["device"].model_copy(update={"threads": 2, "meter": meter})
    with replaying(write):
        yield {**place, "device": device}


def runnable(process: Path) -> int:
    """Threads that run or wait for a processor, of an engine that has a turn; 0 of any other."""
    try:
        if b"turn_process" not in (process / "cmdline").read_bytes():
            return 0
        states = [thread.read_text().rpartition(")")[2] for thread in process.glob("task/*/stat")]
    except OSError:  # it has ended
        return 0
    return sum(state.split()[0] == "R" for state in states)


def test_the_most_frugal_setting_is_found(metered: dict[str, Any]) -> None:
    """Two threads are faster, at best in half the time, and take four times the power."""
    space = {**SPACE, "threads": [1], "ubatch_tokens": [], "kv_cache": []}
    asked = {"objective": "energy", "space": space, "agreement_at_least_pct": 0}  # ties may turn
    record = searched(metered, prompt_tokens=320, **asked)
    assert record["status"] == "ok", record
    assert record["runtime"]["threads"] == 1, record["finalists"]
    [energy] = [gain for gain in record["metrics"] if gain["metric"] == "energy"]
    assert energy["low"] > 1
    assert check(json.dumps(record), Tuned, "the record") == record


@pytest.mark.fault("a meter that fails in a search", by="the block, measured again")
def test_a_block_whose_meter_failed_is_measured_again(
    place: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    meter = HwmonMeter(kind="hwmon", path=str(tmp_path / "gone"), interval_s=0.02)
    device = place["device"].model_copy(update={"meter": meter})
    record = searched({**place, "device": device}, objective="energy")
    assert (record["status"], record["stage"]) == ("failed", "tune")
    assert "no joules: the meter failed" in record["reason"]
    assert caplog.text.count("is measured again") == remote_blocks.TIMES
    assert not list(place["kept"].glob("*.json")), "the next run asks the meter again"


@pytest.mark.fault("a meter that shows no power in a search", by="no joules, in words")
def test_a_meter_without_power_is_the_searchs_reason(place: dict[str, Any], tmp_path: Path) -> None:
    put(tmp_path / "power1_input", "0\n")
    meter = HwmonMeter(kind="hwmon", path=str(tmp_path / "power1_input"), interval_s=0.02)
    device = place["device"].model_copy(update={"meter": meter})
    record = searched({**place, "device": device}, objective="energy")
    assert (record["status"], record["stage"]) == ("failed", "tune")
    assert "no joules: the meter shows 0 W" in record["reason"]


@pytest.mark.parametrize(
    ("spoilt", "says"),
    [
        ({"energy": None}, "no joules: the device gave none"),
        ({"energy": {"status": "ok", "tier": "metered", "energy_j": {}}}, "no joules: workloads"),
        ({"workloads": {}}, "other workloads"),
        ({"workloads": {"chat": []}}, "took no time"),
    ],
)
def test_turns_that_cannot_be_are_the_searchs_reason(
    spoilt: dict[str, Any],
    says: str,
    place: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ask = remote_blocks.Blocks._ask

    @contextlib.contextmanager
    def lying(self: Any, job: Any, key: str) -> Iterator[Any]:
        with ask(self, job, key) as record:
            yield {**record, "turns": [{**turn, **spoilt} for turn in record["turns"]]}

    monkeypatch.setattr(remote_blocks.Blocks, "_ask", lying)
    put(tmp_path / "power1_input", "5000000\n")
    meter = HwmonMeter(kind="hwmon", path=str(tmp_path / "power1_input"), interval_s=0.02)
    device = place["device"].model_copy(update={"meter": meter})
    record = searched({**place, "device": device}, objective="energy")
    assert record["status"] == "failed"
    assert says in record["reason"]


def test_weights_of_other_workloads_leave_nothing_to_tune_for(place: dict[str, Any]) -> None:
    record = searched(place, weights={"other": 1})
    assert (record["status"], record["stage"]) == ("failed", "tune")
    assert "tune.weights" in record["reason"]


def test_a_default_above_the_memory_limit_is_the_searchs_reason(place: dict[str, Any]) -> None:
    record = searched(place, memory_at_most_bytes=1000)
    assert record["status"] == "failed"
    assert "leaner" in record["reason"]


def test_a_file_of_another_store_is_not_measured(place: dict[str, Any], tmp_path: Path) -> None:
    """It may lie on another disk than the one that the results are filed under."""
    other = {**place["receipt"], "path": str(tmp_path / "old/models/tiny/F16.gguf")}
    with pytest.raises(LlmpiError, match=r"old/models/tiny/F16\.gguf is not in its store"):
        searched({**place, "receipt": other})
    beside = {**place["receipt"], "path": str(tmp_path / "store-2/models/tiny/F16.gguf")}
    with pytest.raises(LlmpiError, match="is not in its store"):
        searched({**place, "receipt": beside})
