"""Engines held against one another: what is slower is found, what is equal is not told apart."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import made_records as made
import pytest
from engine_wheel import engine_wheel
from tiny_llama import tiny_llama

from llmpi.device.machine import environment
from llmpi.device.records import TurnRequest
from llmpi.engine import info as engine_info
from llmpi.engine.records import CooledTurn, FailedTurn, Turns
from llmpi.errors import CellError, LlmpiError
from llmpi.records import check, sha256_of
from llmpi.remote.compare_engines import compare_engines
from llmpi.remote.connection import connected
from llmpi.remote.deploy import put_model
from llmpi.remote.install_engines import install_engines
from llmpi.remote.records import InstalledEngines
from llmpi.study.devices import LocalDevice, SshDevice
from llmpi.study.engines import ComparedEngine
from llmpi.study.measuring import Workload
from llmpi.tune.engines import BLOCKS, ERROR, blocks_for, hold_engines
from llmpi.tune.interval import signed_rank_interval
from llmpi.tune.records import ComparedEngines, HeldEngines

RUNTIME = made.tuned()["runtime"]
MODULE = "llama_cpp/llama_cpp.py"


# --- the comparison -------------------------------------------------------------------------------


def told(slower: dict[str, float], dead: str = "", others_pct: float = 0) -> HeldEngines:
    """What is said of engines, by how many times the seconds that each takes of another's."""
    chance = random.Random(1)

    def turn(asked: TurnRequest, warmth: float) -> CooledTurn | FailedTurn:
        name = asked.get("engine", "")
        if name == dead:
            return {"status": "failed", "reason": "the engine died of SIGILL", "cooled": None}
        seconds = warmth * slower[name] * (1 + chance.gauss(0, 0.01))
        repetition = made.repetition(seconds, [seconds, seconds])
        repetition["contention"] = {
            "seconds": 1.0,
            "processors": 1,
            "own_s": 1.0,
            "sensors_s": 0.0,
            "others_s": others_pct / 100,
            "others_pct": others_pct,
        }
        return {
            "status": "ok",
            "workloads": {"chat": [repetition]},
            "peak_rss_bytes": 1,
            "output": None,
            "took_s": 1.0,
            "cooled": None,
            "energy": None,
        }

    def measure(turns: list[TurnRequest]) -> Turns:
        warmth = 1 + chance.random()  # of the whole block: it would drown everything
        return {
            "status": "ok",
            "turns": [turn(asked, warmth) for asked in turns],
            "before": made.conditions(),
            "after": made.conditions(),
            "took_s": 1.0,
        }

    engines = {name: name for name in slower}
    return hold_engines(engines, RUNTIME, ["chat"], measure, 5, "a test")


def test_a_slower_engine_is_found_with_its_interval_and_equal_ones_are_not_told_apart() -> None:
    found = told({"old": 1.0, "same": 1.0, "slow": 1.1, "fast": 0.95})
    same, slow, fast = found["held"]
    assert {f["verdict"] for f in same["figures"]} == {"not told apart"}
    for figure in slow["figures"]:
        assert figure["verdict"] == "slower"
        assert figure["low_pct"] <= figure["change_pct"] <= figure["high_pct"] < 0
        assert figure["low_pct"] < 100 * (1 / 1.1 - 1) < figure["high_pct"]
    assert [f["verdict"] for f in fast["figures"]] == ["faster", "faster"]
    assert [f["metric"] for f in slow["figures"]] == ["pp", "tg"]


def test_every_engine_has_a_turn_in_every_block_in_an_order_of_its_own() -> None:
    found = told({"old": 1.0, "new": 1.0, "newer": 1.0})
    orders = [tuple(turn["engine"] for turn in block["turns"]) for block in found["blocks"]]
    assert len(orders) == BLOCKS
    assert {frozenset(order) for order in orders} == {frozenset({"old", "new", "newer"})}
    assert len(set(orders)) > 2


def test_an_engine_that_dies_is_told_and_the_others_go_on() -> None:
    found = told({"old": 1.0, "broken": 1.0, "slow": 1.2}, dead="broken")
    broken, slow = found["held"]
    assert (broken["reason"], broken["figures"]) == ("the engine died of SIGILL", [])
    assert slow["figures"][0]["verdict"] == "slower"
    assert len(found["blocks"][0]["turns"]) == 3
    assert len(found["blocks"][1]["turns"]) == 2


@pytest.mark.parametrize(("others_pct", "marks"), [(4.0, []), (6.0, ["disturbed"])])
def test_a_machine_that_was_not_alone_is_told(others_pct: float, marks: list[str]) -> None:
    assert told({"old": 1.0, "new": 1.0}, others_pct=others_pct)["marks"] == marks


def test_nothing_is_said_where_the_first_one_dies() -> None:
    with pytest.raises(CellError, match="engine old, which others are held against, died"):
        told({"old": 1.0, "new": 1.0}, dead="old")


@pytest.mark.parametrize("figures", [1, 4, 12, 100, 1000])
def test_there_are_blocks_enough_for_every_figure_to_be_told_apart(figures: int) -> None:
    gains = [0.1] * blocks_for(figures)
    assert signed_rank_interval(gains, ERROR / figures).low > 0


# --- here -----------------------------------------------------------------------------------------

Install = Callable[..., InstalledEngines]
HERE: Any = {
    "preparation": None,
    "device": "here",
    "engine": engine_info.describe(),
    "machine": environment.machine(),
}


@pytest.fixture
def device(tmp_path: Path) -> LocalDevice:
    return LocalDevice(transport="local", threads=1, store=str(tmp_path / "store"))


@pytest.fixture
def install(device: LocalDevice, tmp_path: Path) -> Install:
    def installed(**engines: dict[str, Any]) -> InstalledEngines:
        asked = {name: ComparedEngine.model_validate(one) for name, one in engines.items()}
        return install_engines("here", device, asked, HERE, tmp_path / "wheels")

    return installed


def edited(old: bytes, new: bytes) -> Callable[[str, bytes], bytes]:
    def edit(name: str, held: bytes) -> bytes:
        assert name != MODULE or old in held
        return held.replace(old, new) if name == MODULE else held

    return edit


def test_the_installed_engine_laid_over_itself_computes_the_same(
    device: LocalDevice, install: Install, tmp_path: Path
) -> None:
    wheel = engine_wheel(tmp_path / "mine")
    version = HERE["engine"]["version"]
    installed = install(here={"version": version}, again={"wheel": str(wheel)})
    mine, again = installed["engines"].values()
    assert (mine["folder"], mine["engine"]) == (None, HERE["engine"])
    assert again["wheel_sha256"] == sha256_of(wheel)
    assert again["engine"]["library_sha256"] == HERE["engine"]["library_sha256"]
    assert again["engine"]["build_flags"] is None, "whoever built it did not say"
    gguf = tiny_llama(tmp_path)
    with connected("here", device) as reached:
        receipt = put_model(reached, gguf, "tiny/F16.gguf", sha256_of(gguf), None)
    damaged = Path(again["folder"] or "") / MODULE
    damaged.write_text("half a")  # the power went: it is laid there again
    record = compare_engines(
        "here",
        device,
        what="a test",
        runtime=RUNTIME,
        workloads={"chat": Workload(prompt_tokens=32, output_tokens=2)},
        provisioned=HERE,
        installed=installed,
        receipt=receipt,
        gguf=gguf,
        kept=tmp_path / "kept",
    )
    assert record["status"] == "ok", record
    assert check(json.dumps(record), ComparedEngines, "the record") == record
    [held] = record["held"]
    assert held["reason"] is None
    assert held["agreement"]
    assert held["agreement"]["identical"]
    assert held["same_model"]
    assert len(record["blocks"]) == len([*(tmp_path / "kept").glob("*.json")]) == BLOCKS
    assert record["first"] == "here"


def test_an_engine_without_a_field_that_is_set_is_refused_by_name(
    install: Install, tmp_path: Path
) -> None:
    wheel = engine_wheel(tmp_path / "old", edited(b'("load_mode",', b'("load_way",'))
    with pytest.raises(LlmpiError, match=r"engine old cannot.*lacks llama_model_params\.load_mode"):
        install(new={"version": HERE["engine"]["version"]}, old={"wheel": str(wheel)})


def test_an_engine_whose_field_is_of_another_type_is_refused_by_name(
    install: Install, tmp_path: Path
) -> None:
    field = b'("flash_attn_type", ctypes.c_int)'
    wheel = engine_wheel(tmp_path / "old", edited(field, field.replace(b"c_int", b"c_bool")))
    with pytest.raises(LlmpiError, match=r"flash_attn_type is c_bool there, not c_int"):
        install(new={"version": HERE["engine"]["version"]}, old={"wheel": str(wheel)})


def test_a_board_that_no_engine_can_be_made_for_is_told_before_it_is_reached(
    tmp_path: Path,
) -> None:
    board = SshDevice(transport="ssh", host="nowhere.invalid")
    machine = {**made.machine(), "arch": "x86_64"}
    there: Any = {**HERE, "device": "nas", "machine": machine}
    asked = {name: ComparedEngine(version=name) for name in ("0.3.34", "0.3.35")}
    with pytest.raises(LlmpiError, match=r"engines\.0\.3\.34: device nas is x86_64.*Name a wheel"):
        install_engines("nas", board, asked, there, tmp_path / "wheels")


def test_a_wheel_of_something_else_is_refused(install: Install, tmp_path: Path) -> None:
    wheel = engine_wheel(tmp_path / "bad", lambda name, held: b"!" if name == MODULE else held)
    with pytest.raises(LlmpiError, match="engine bad: the engine failed"):
        install(new={"version": HERE["engine"]["version"]}, bad={"wheel": str(wheel)})
