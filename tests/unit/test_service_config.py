"""The section `service`, what a release is made of, and who gets one."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from canary_service import expectation
from made_records import failed, gguf, tuned, write

from llmpi import layout
from llmpi.decide.records import Candidate, Decision, Recommendation
from llmpi.engine.records import Runtime
from llmpi.errors import LlmpiError
from llmpi.operate.records import Expectation
from llmpi.operate.release import devices_of, release_for, settings
from llmpi.operate.service import read_key, read_keys, url
from llmpi.records import write_json
from llmpi.remote import requests
from llmpi.study.file import ConfigError, parse_study
from llmpi.study.service import ServedVariant
from llmpi.study.study import Study

SSH = {"transport": "ssh", "host": "pi", "threads": 3}
CONFIG = {
    "study": "s",
    "models": {"m": {"source": {"path": "."}}},
    "quants": ["Q4_0", "Q8_0"],
    "devices": {"here": {"transport": "local"}, "pi4": SSH, "pi5": SSH},
    "workloads": {"chat": {"prompt_tokens": 8, "output_tokens": 8}},
    "runtimes": {
        "default": {},
        "slim": {"kv_cache": "q8_0", "threads": 2},
        "raw": {"repack": False, "lazy": "on"},
    },
    "constraints": {"tps_at_least": 1},
    "service": {"variant": {"model": "m", "quant": "Q4_0"}},
}


def study(**service: Any) -> Study:
    config = json.loads(json.dumps(CONFIG))
    config["service"] = {**config["service"], **service}
    return parse_study(config, [])


def problem(**service: Any) -> str:
    with pytest.raises(ConfigError) as error:
        study(**service)
    return str(error.value)


@pytest.mark.parametrize(
    ("service", "words"),
    [
        ({"host": "0.0.0.0"}, "can be reached from elsewhere: name a key_file"),
        ({"host": "pi.local"}, "'pi.local' is no IP address"),
        ({"stages": [1, 0.5]}, "the last stage must be 1.0"),
        ({"stages": [1, 1]}, "the last stage must be 1.0"),
        ({"stages": [1.5, 1.0]}, "a share is at most 1.0"),
        ({"devices": ["pi5", "pi5"]}, "'pi5' stands here twice"),
        ({"devices": ["here"]}, "no device behind SSH 'here' under 'devices'"),
        ({"variant": {"model": "x", "quant": "Q4_0"}}, "no model 'x' under 'models'"),
        ({"variant": {"model": "m", "quant": "F16"}}, "no quant 'F16' under 'quants'"),
        ({"slots": 0}, "greater than or equal to 1"),
        ({"port": 80}, "greater than or equal to 1024"),
        ({"prot": 8081}, "did you mean 'port'"),
    ],
)
def test_a_wrong_section_is_refused_with_its_key(service: dict, words: str) -> None:
    assert words in problem(**service)
    assert "service" in problem(**service)


def test_recommended_needs_constraints() -> None:
    config = {**CONFIG, "service": {"variant": "recommended"}}
    parse_study(config, [])
    with pytest.raises(ConfigError, match="needs the section 'constraints'"):
        parse_study({key: part for key, part in config.items() if key != "constraints"}, [])


def test_stages_as_yaml_writes_them() -> None:
    stages = yaml.safe_load("[1, 0.25, 1.0]")
    assert [type(stage) for stage in study(stages=stages).service.stages] == [int, float, float]


def test_devices_are_those_behind_ssh_in_the_order_of_the_config() -> None:
    assert [*devices_of(study(), [])] == ["pi4", "pi5"]
    assert [*devices_of(study(devices=["pi5", "pi4"]), [])] == ["pi5", "pi4"]
    assert [*devices_of(study(), ["pi5"])] == ["pi5"]
    with pytest.raises(LlmpiError, match="no service device 'here'; there are: pi4, pi5"):
        devices_of(study(), ["here"])


def with_a_shelf(**service: Any) -> Study:
    shelf = {"transport": "ssh-group", "boards": {"a": "pi-a", "b": "pi-b"}}
    devices = {**CONFIG["devices"], "shelf": shelf}
    return parse_study({**CONFIG, "devices": devices, "service": service}, [])


def test_a_group_is_all_its_boards() -> None:
    named = {"variant": {"model": "m", "quant": "Q4_0"}, "devices": ["pi5", "shelf"]}
    assert [*devices_of(with_a_shelf(**named), [])] == ["pi5", "shelf.a", "shelf.b"]


def test_a_board_serves_what_is_recommended_on_its_group(made: Path) -> None:
    chosen = recommendation([candidate("shelf", "Q8_0")], {"shelf": "shelf/m/Q8_0/default"})
    write(layout.RECOMMENDATION, chosen, study="s")
    cell = {"study": "s", "device": "shelf.b", "model": "m", "quant": "Q8_0", "runtime": "default"}
    write(layout.EXPECTATION, expectation(gguf_sha256="8" * 64), **cell)
    assert release_for(with_a_shelf(), "shelf.b").settings["quant"] == "Q8_0"


def test_a_tuned_runtime_is_served_as_it_was_found(made: Path) -> None:
    config = {**CONFIG, "runtimes": {"default": {}, "tuned": {"tune": True}}}
    asked = parse_study(config, [])
    served = ServedVariant(model="m", quant="Q4_0", runtime="tuned")
    cell = {"study": "s", "device": "pi4", **served.model_dump()}
    path = Path(layout.at(layout.TUNED, **cell))
    with pytest.raises(LlmpiError, match=r"tuned\.json is not there yet"):
        settings(asked, served, "pi4")
    found: Runtime = {**requests.runtime(asked.runtimes["default"]), "threads": 1}
    write_json(path, {**tuned(), "runtime": found})
    assert settings(asked, served, "pi4")["runtime"]["threads"] == 1


def test_it_is_served_as_it_was_measured() -> None:
    served = ServedVariant(model="m", quant="Q4_0", runtime="slim")
    found = settings(study(context_tokens=512), served, "pi4")
    assert found["runtime"]["threads"] == 2
    assert found["runtime"]["kv_cache"] == "q8_0"
    assert found["context_tokens"] == 512
    served = served.model_copy(update={"runtime": "default"})
    assert settings(study(), served, "pi4")["runtime"]["threads"] == 3
    served = served.model_copy(update={"runtime": "raw"})
    found = settings(study(slots=4, prefix_cache="64M"), served, "pi4")
    assert (found["runtime"]["repack"], found["runtime"]["lazy"]) == (False, "on")
    assert (found["slots"], found["prefix_cache_bytes"]) == (4, 64 * 2**20)


def candidate(device: str, quant: str) -> Candidate:
    return {
        "id": f"{device}/m/{quant}/default",
        "variant": f"m {quant}",
        "device": device,
        "model": "m",
        "quant": quant,
        "runtime": "default",
        "computation": "f16",
        "quality": None,
        "f1": None,
        "speed": None,
        "energy": None,
        "memory": None,
        "standing": None,
        "checks": {},
        "killed_by": [],
        "cautions": [],
    }


def recommendation(candidates: list[Candidate], picks: Mapping[str, str | None]) -> Recommendation:
    decisions: list[Decision] = [
        {
            "where": where,
            "candidates": len(candidates),
            "pick": pick,
            "standing": "shown" if pick else "none",
            "provisional_by": [],
            "smaller": None,
            "runner_up": None,
            "able": [],
            "front": [],
            "near_best": [],
            "may_be_best": [],
            "groups": {},
            "steps": [],
            "by_preference": {},
            "would_change": [],
            "nearest": None,
            "killed": {},
        }
        for where, pick in picks.items()
    ]
    return {
        "study": "s",
        "workload": "chat",
        "task": None,
        "prefer": "quality",
        "confidence_pct": 95,
        "resampling": {"draws": 4000, "seeds": {}},
        "supply": {},
        "constraints": {},
        "candidates": candidates,
        "decisions": decisions,
        "money": None,
    }


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Results in which the model is made and the expectation, too."""
    monkeypatch.chdir(tmp_path)
    for quant, sha256 in (("Q4_0", "4" * 64), ("Q8_0", "8" * 64)):
        cell = {"model": "m", "quant": quant}
        write(layout.GGUF_MANIFEST, {**gguf(quant), "sha256": sha256}, **cell)
        Path(layout.at(layout.GGUF, **cell)).touch()
        where = {"study": "s", "device": "pi4", "runtime": "default", **cell}
        write(layout.EXPECTATION, expectation(gguf_sha256=sha256), **where)
    return tmp_path


def test_a_release_is_the_same_for_the_same_content(made: Path) -> None:
    one, two = release_for(study(), "pi4"), release_for(study(), "pi4")
    assert one.id("code") == two.id("code")
    other = release_for(study(context_tokens=512), "pi4")
    quant = release_for(study(variant={"model": "m", "quant": "Q8_0"}), "pi4")
    ids = {one.id("code"), one.id("newer"), other.id("code"), quant.id("code")}
    assert len(ids) == 4


def test_an_expectation_is_made_when_there_is_none_or_it_is_outdated(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple] = []

    def asking(*what: Any, **how: Any) -> Expectation:
        asked.append((what[1:], how["runtime"]))
        return expectation(gguf_sha256="4" * 64)

    monkeypatch.setattr("llmpi.operate.release.expectation", asking)
    there = release_for(study(), "pi4").expectation
    assert asked == []
    bench = Path(
        layout.at(layout.BENCH, study="s", device="pi4", model="m", quant="Q4_0", runtime="default")
    )
    write_json(bench, {})
    os.utime(there, (1, 1))
    release_for(study(), "pi4")
    assert asked == [(("m", "Q4_0", "pi4"), "default")]
    write_json(there, expectation(gguf_sha256="5" * 64))
    release_for(study(), "pi4")
    assert len(asked) == 2
    there.unlink()
    release_for(study(), "pi4")
    assert len(asked) == 3
    release_for(study(), "pi4")
    assert len(asked) == 3


def test_each_device_serves_what_is_recommended_on_it(made: Path) -> None:
    candidates = [candidate("pi4", "Q4_0"), candidate("pi4", "Q8_0")]
    picks = {"overall": "pi4/m/Q8_0/default", "pi4": "pi4/m/Q4_0/default", "pi5": None}
    with pytest.raises(LlmpiError, match=r"recommendation\.json is not there yet; run: snakemake"):
        release_for(study(variant="recommended"), "pi4")
    write(layout.RECOMMENDATION, recommendation(candidates, picks), study="s")
    assert release_for(study(variant="recommended"), "pi4").settings["quant"] == "Q4_0"
    with pytest.raises(LlmpiError, match="recommends nothing for device pi5"):
        release_for(study(variant="recommended"), "pi5")


def test_what_is_recommended_for_the_time_being_is_served_with_a_word(
    made: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = recommendation([candidate("pi4", "Q4_0")], {"pi4": "pi4/m/Q4_0/default"})
    found["decisions"][0] |= {"standing": "provisional", "provisional_by": ["quality", "disturbed"]}
    write(layout.RECOMMENDATION, found, study="s")
    release_for(study(variant="recommended"), "pi4")
    assert "m Q4_0 is recommended for device pi4 for the time being only" in caplog.text
    assert "its quality is not shown yet; other programs ran while it was measured" in caplog.text


def test_a_model_that_could_not_be_made_is_not_served(made: Path) -> None:
    write(layout.GGUF_MANIFEST, failed("no memory"), model="m", quant="Q4_0")
    with pytest.raises(LlmpiError, match="m Q4_0 cannot be served: no memory"):
        release_for(study(), "pi4")


SPLIT = "m-00001-of-00003.gguf"


@pytest.mark.parametrize(
    ("source", "quant"),
    [
        ({"hub": "a/b", "file": SPLIT}, "as-published"),
        ({"hub": "a/b", "files": ["m-F16.gguf", f"q4/{SPLIT}"]}, "as-published.m"),
        ({"path": f"./{SPLIT}"}, "as-published"),
    ],
)
def test_a_file_in_parts_may_be_served(
    source: dict, quant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(SPLIT).touch()
    config = {**CONFIG, "models": {"m": {"source": source, "quants": ["as-published", "Q4_0"]}}}
    served = {"variant": {"model": "m", "quant": quant}}
    assert parse_study({**config, "service": served}, []).service


def test_a_release_of_a_file_in_parts_knows_their_hashes(made: Path) -> None:
    parts = [{"sha256": f"{i}" * 64, "bytes": 1} for i in range(3)]
    whole = {**gguf("Q4_0"), "sha256": "4" * 64, "parts": parts}
    write(layout.GGUF_MANIFEST, whole, model="m", quant="Q4_0")
    found = recommendation([candidate("pi4", "Q4_0")], {"pi4": "pi4/m/Q4_0/default"})
    write(layout.RECOMMENDATION, found, study="s")
    release = release_for(study(variant="recommended"), "pi4")
    assert release.parts == [f"{i}" * 64 for i in range(3)]


@pytest.mark.parametrize(
    "content", [b"", b"short", b"two words of some length", b"line\nanother-line-x", b"\xff" * 20]
)
def test_a_bad_key_is_refused_and_not_shown(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "key"
    file.write_bytes(content)
    with pytest.raises(LlmpiError, match="a key is one line of at least 16") as error:
        read_key(study(key_file=str(file)).service)
    said = str(error.value)
    assert str(file) not in said
    assert not content or content.decode(errors="replace") not in said


def test_a_key(tmp_path: Path) -> None:
    assert read_key(study().service) is None
    (tmp_path / "key").write_text("0123456789abcdef\n")
    assert read_key(study(key_file=str(tmp_path / "key")).service) == "0123456789abcdef"
    (tmp_path / "key").write_text("0123456789abcdef\n0123456789abcdeg  30\r\n")
    found = study(key_file=str(tmp_path / "key")).service
    assert read_key(found) == "0123456789abcdef"
    assert read_keys(found) == [("0123456789abcdef", None), ("0123456789abcdeg", 30)]
    with pytest.raises(LlmpiError, match="openssl rand") as error:
        read_key(study(key_file=str(tmp_path / "none")).service)
    assert str(tmp_path) not in str(error.value)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", "http://127.0.0.1:8080"),
        ("0.0.0.0", "http://127.0.0.1:8080"),
        ("::", "http://[::1]:8080"),
        ("192.168.1.5", "http://192.168.1.5:8080"),
    ],
)
def test_where_the_canary_asks(host: str, expected: str) -> None:
    assert url(study(host=host, key_file="k").service) == expected
