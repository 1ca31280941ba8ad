"""Predictions beside measurements: joined cell by cell, from what was known before."""

from pathlib import Path

import made_study
import pytest

from llmpi.plan.predict import predict
from llmpi.plan.presets import PRESETS
from llmpi.study.study import Study
from llmpi.summary.records import PredictedCell


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for results, and no way to the hub."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path


def by_cell(study: Study) -> dict[tuple[str, str], PredictedCell]:
    summary, _ = made_study.summarized(study)
    assert len(summary["predictions"]) == len(summary["rows"])
    return {(p["device"], p["quant"]): p for p in summary["predictions"]}


@pytest.mark.usefixtures("folder")
def test_a_preset_knows_nothing_of_the_measurement() -> None:
    """The very numbers of `llmpi plan` before the first contact, beside those of the record."""
    study = made_study.study(quality={})
    before = by_cell(study)
    made_study.write_records(study)
    after = by_cell(study)
    for cell, found in after.items():
        assert (found["basis"], found["board"]) == ("preset", "pi5-8gb")
        assert found["predicted"] == before[cell]["predicted"]
        assert before[cell]["verdict"] == "not measured"
    chat = study.workloads["chat"]
    assert chat.needed_tokens == 4096
    said = predict(
        made_study.model_of(study, "llama-1b"),
        "Q4_0",
        PRESETS["pi5-8gb"],
        study.runtimes["default"],
        context_tokens=4096,
        prompt_tokens=32,
    )
    found = after["nvme", "Q4_0"]
    assert found["predicted"]["tg_tps"]["value"] == said.tg_tps.likely
    assert found["predicted"]["memory_bytes"]["value"] == said.needed_bytes
    assert found["predicted"]["fit"] == found["measured"]["fit"] == "fits"
    tg = found["measured"]["tg_tps"]
    assert (tg["low"], tg["value"], tg["high"]) == pytest.approx((12.4 / 1.04, 12.4 / 1.02, 12.4))
    assert found["error_pct"]["tg_tps"] == pytest.approx(
        100 * (said.tg_tps.likely / tg["value"] - 1)
    )
    assert found["error_pct"]["file_bytes"] == 0
    joules = found["measured"]["tg_j_per_token"]
    assert joules["value"] == pytest.approx(6.4 / tg["value"])
    assert joules["low"] < joules["value"] < joules["high"]
    assert found["verdict"] == "in range"


@pytest.mark.usefixtures("folder")
def test_without_a_preset_the_profile_is_read_before_the_cell() -> None:
    """At 14.6 GB/s, of which 0.55 to 0.95 reach a decoded token."""
    devices = {d: {"transport": "ssh", "host": f"{d}.local"} for d in ("nvme", "sd")}
    study = made_study.study(quality={}, devices=devices)
    assert {p["verdict"] for p in by_cell(study).values()} == {"not predicted"}
    made_study.write_records(study, metered=False)
    found = by_cell(study)
    q8 = found["nvme", "Q8_0"]
    assert (q8["basis"], q8["board"], q8["verdict"]) == ("profile", "nvme", "in range")
    assert q8["predicted"]["tg_j_per_token"] is None, "nothing is known of its power"
    dead = found["sd", "F16"]
    assert (dead["basis"], dead["board"]) == ("profile", "sd"), "as the board's others showed it"
    assert (dead["verdict"], dead["measured"]["fit"]) == ("not measured", "failed")
    assert dead["measured"]["tg_tps"] is None
    errors = dead["error_pct"]
    assert [name for name, error in errors.items() if error is not None] == ["file_bytes"]


@pytest.mark.usefixtures("folder")
def test_what_died_of_memory_as_predicted() -> None:
    """Weights that are not mapped cannot be dropped: F16 of 8B dies on 8 GB."""
    big = {"source": {"hub": "meta-llama/Llama-3.1-8B-Instruct"}}
    study = made_study.study(
        quality={}, models={"llama-1b": big}, runtimes={"default": {"mmap": False}}
    )
    made_study.write_records(study)
    found = by_cell(study)
    assert found["sd", "F16"]["verdict"] == "failed as predicted"
    survived = found["nvme", "F16"]
    assert (survived["predicted"]["fit"], survived["measured"]["fit"]) == ("dies", "fits")
    assert survived["verdict"] == "above", "a prediction that was wrong says so"


@pytest.mark.usefixtures("folder")
def test_a_model_nothing_is_known_of_does_not_fail_the_report() -> None:
    study = made_study.study(quality={}, models={"m": {"source": {"path": "nowhere.gguf"}}})
    for found in by_cell(study).values():
        assert (found["verdict"], found["predicted"]) == ("not predicted", None)
        assert "nowhere.gguf/config.json" in found["reason"]
    unknown = {"m": {"source": {"hub": "someone/something"}}}
    for found in by_cell(made_study.study(quality={}, models=unknown)).values():
        assert found["verdict"] == "not predicted" and "someone/something" in found["reason"]
