"""The paper's 27 points beside ours: what corresponds, in which ratio, and what differs."""

from pathlib import Path
from typing import Any

import made_records as made
import made_study
import pytest
from made_records import write

from llmpi import layout
from llmpi.report.words import english
from llmpi.study.models import Model
from llmpi.study.study import Study
from llmpi.summary.paper import MODELS, papers_model, points
from llmpi.summary.records import PaperPair

LLAMA_1B = ("Llama-3.2-1B", "Q4_0")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for results, and no way to the hub."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path


def beside(study: Study) -> dict[tuple[str, str], list[PaperPair]]:
    found: dict[tuple[str, str], list[PaperPair]] = {}
    for pair in made_study.summarized(study)[0]["paper"]:
        found.setdefault((pair["model"], pair["quant"]), []).append(pair)
    return found


def test_the_table() -> None:
    found = points()
    assert len(found) == 27
    assert {point["model"] for point in found} == set(MODELS.values())
    assert sum(point["overflow"] for point in found) == 3
    assert [p["quant"] for p in found if p["broken"]] == ["Q2_K"] * 5


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ({"hub": "meta-llama/Llama-3.2-1B-Instruct"}, "Llama-3.2-1B"),
        ({"hub": "unsloth/Llama-3.2-1B-Instruct-GGUF", "file": "x.gguf"}, "Llama-3.2-1B"),
        ({"path": "/models/Meta-Llama-3.1-8B-Instruct-Q4_K_M.gguf"}, "Llama-8B"),
        ({"path": "gemma-2-2b-it"}, "Gemma-2-2B"),
        ({"path": "bitnet_b1_58-large.f16.gguf"}, "BitNet-0.7B"),
        ({"hub": "meta-llama/Llama-3.2-1B"}, None),
        ({"hub": "someone/Llama-3.2-1B-Instruct-abliterated"}, None),
        ({"scratch": "llama", "vocabulary_of": "m"}, None),
    ],
)
def test_models_are_told_by_their_name(source: dict[str, Any], name: str | None) -> None:
    assert papers_model(Model.model_validate({"source": source})) == name


def test_ratios_and_scores() -> None:
    study = made_study.study()
    made_study.write_records(study)
    found = beside(study)
    assert sum(map(len, found.values())) == 27 + 5, "two boards for five of them"
    ours = {pair["device"]: pair for pair in found[LLAMA_1B]}["nvme"]
    assert ours["paper"]["tg_tps"] == 11.68
    assert ours["ours"]["tg_tps"] == pytest.approx(12.4 / 1.02)
    assert ours["ratios"]["tg_tps"] == pytest.approx(12.4 / 1.02 / 11.68)
    tpj = 12.4 / 1.02 / (6.4 - 3.2)
    assert ours["ratios"]["tpj_above_idle"] == pytest.approx(tpj / 4.21)
    words = 12.4 / 1.02 / 1.5 * 18_000 / 6.4
    assert ours["ratios"]["words_per_battery"] == pytest.approx(words / 23007)
    assert ours["kept"]["paper"]["nubia"] == pytest.approx(0.239 / 0.231)
    assert ours["kept"]["ours"]["qa"]["has_ans_f1_pct"] == pytest.approx(0.95, abs=0.02)
    assert [d["key"] for d in ours["differs"]] == [
        "engine",
        "protocol",
        "sampling",
        "energy",
        "quality",
    ]
    said = {d["key"]: english.difference(d)[2] for d in ours["differs"]}
    assert said["energy"] == "pmic, above 3.20 W measured at rest"
    assert "median of 5" in said["protocol"] and "32 prompt tokens" in said["protocol"]
    assert "1,500 questions" in said["quality"]
    broken = found["Llama-3.2-1B", "Q2_K"][0]
    assert broken["differs"][-1]["key"] == "broken"


def test_another_battery_has_no_ratio_of_words() -> None:
    study = made_study.study(quality={}, battery={"wh": 10})
    made_study.write_records(study)
    ratios = beside(study)[LLAMA_1B][0]["ratios"]
    assert ratios["words_per_battery"] is None
    assert ratios["tg_tps"]


def test_what_does_not_correspond_says_why() -> None:
    text = {"text": {"python_topics": True}}
    quants = ["F16", "Q4_K_M", "Q4_0+imatrix"]
    study = made_study.study(quality={}, quants=quants, calibration=text)
    made_study.write_records(study)
    found = beside(study)
    [four_bits] = found[LLAMA_1B]
    assert four_bits["ours"] is None and four_bits["device"] is None
    assert four_bits["reason"] == "the study does not have this type"
    assert found["Gemma-2-2B", "Q4_0"][0]["reason"] == "the study does not have this model"
    sd = found["Llama-3.2-1B", "FP16"][1]
    assert sd["reason"] == "the engine died" and sd["ratios"] and sd["ratios"]["tg_tps"] is None
    for device in ("nvme", "sd"):
        other = made.provisioned(device, made.machine(board=None))
        write(layout.PROVISIONED, other, device=device)
    assert beside(study)[LLAMA_1B][0]["reason"] == "no device is known as a Raspberry Pi 5"


def test_overflow_and_another_board_are_named() -> None:
    big = {"llama-1b": {"source": {"hub": "meta-llama/Llama-3.1-8B-Instruct"}}}
    study = made_study.study(quality={}, models=big)
    made_study.write_records(study)
    larger = made.provisioned("nvme", made.machine(memory_bytes=16_900_000_000))
    write(layout.PROVISIONED, larger, device="nvme")
    pair = beside(study)["Llama-8B", "Q8_0"][0]
    said = {d["key"]: english.difference(d)[1:] for d in pair["differs"]}
    assert said["memory"] == ("the 8 GB board", "16.9 GB")
    assert said["overflow"][1] == "fits"
