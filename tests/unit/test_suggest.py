"""What of the catalogue suits a board, and a config out of one of its lines."""

import json
import re
from pathlib import Path
from typing import get_args

import pytest

from llmpi import cli
from llmpi.plan.catalogue import CATALOGUE, DATED
from llmpi.plan.config_json import of_config
from llmpi.plan.known import CONFIGS
from llmpi.plan.plan import plan
from llmpi.plan.plan_text import range_text
from llmpi.plan.presets import Range
from llmpi.plan.suggest import NEEDS, QUANTS, NeedName, suggest
from llmpi.start import suggest_cli
from llmpi.study.devices import Preset, SshDevice
from llmpi.study.file import load_study

PUBLIC = re.compile(r"[\w.-]+/[\w.-]+, [\w./-]+")
WEIGHTS = {  # as the names of the models say it, and more digits where their makers do
    "smollm2-135m": 134_515_008,
    "qwen2.5-0.5b": 0.49e9,
    "qwen2.5-1.5b": 1.54e9,
    "qwen2.5-3b": 3.09e9,
    "qwen2.5-7b": 7.61e9,
    "llama-3.2-1b": 1.23e9,
    "llama-3.2-3b": 3.21e9,
    "llama-3.1-8b": 8.03e9,
    "phi-3.5-mini": 3.8e9,
    "qwen3-0.6b": 0.6e9,
    "qwen3-1.7b": 1.7e9,
    "qwen3-4b": 4.0e9,
    "qwen3-8b": 8.2e9,
    "gemma-3-1b": 1.0e9,
    "smollm3-3b": 3.08e9,
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_catalogue_is_dated_and_names_where_each_shape_was_read() -> None:
    assert len(CATALOGUE) >= 10
    assert re.fullmatch(r"20\d\d-\d\d-\d\d", DATED)
    for listed in CATALOGUE.values():
        assert PUBLIC.match(listed.read_in), listed.hub


def test_what_is_listed_has_the_weights_that_its_maker_says() -> None:
    assert CATALOGUE.keys() == WEIGHTS.keys()
    for name, listed in CATALOGUE.items():
        assert of_config(listed.config, name).parameters == pytest.approx(WEIGHTS[name], rel=0.03)


def test_the_planner_knows_what_is_listed() -> None:
    for listed in CATALOGUE.values():
        assert CONFIGS[listed.hub] == listed.config


def test_the_command_knows_the_needs() -> None:
    assert suggest_cli.NEEDS == tuple(NEEDS) == get_args(NeedName)


@pytest.mark.parametrize("preset", get_args(Preset))
def test_every_line_is_in_one_part_and_the_largest_come_first(preset: Preset) -> None:
    found = suggest(preset, "chat")
    names = [one.name for ones in found for one in ones]
    assert sorted(names) == sorted(f"{model}/{quant}" for model in CATALOGUE for quant in QUANTS)
    for ones in found:
        assert [o.parameters for o in ones] == sorted((o.parameters for o in ones), reverse=True)
    assert all(one.prediction.fit in ("fits", "tight") for one in found.suits)
    assert all(one.prediction.tg_tps.likely >= 3 for one in found.suits)


def test_an_answer_that_takes_too_long_is_too_slow() -> None:
    found = suggest("pi5-8gb", "extraction", answer_s_at_most=30)
    assert found.suits
    assert all(one.answer_s and one.answer_s.likely <= 30 for one in found.suits)
    assert any(one.answer_s and one.answer_s.likely > 30 for one in found.too_slow)


def test_an_answer_is_its_prompt_and_its_tokens() -> None:
    one = suggest("pi5-8gb", "chat").suits[0]
    tg, pp, need = one.prediction.tg_tps, one.prediction.pp_tps, NEEDS["chat"]
    assert pp and one.answer_s and one.answer_j and one.prediction.tg_j_per_token
    likely = need.prompt_tokens / pp.likely + need.output_tokens / tg.likely
    assert one.answer_s.likely == pytest.approx(likely)
    assert one.answer_s.low < likely < one.answer_s.high
    assert one.answer_j.likely == need.output_tokens * one.prediction.tg_j_per_token.likely


def test_the_table_and_its_command(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    assert cli.main(["suggest", "--board", "pi5-8gb"]) == 0
    out = capsys.readouterr().out
    assert "how well they answer" in out
    command = out.splitlines()[-1].partition(": ")[2]
    assert cli.main(command.split()[1:]) == 0
    taken = suggest("pi5-8gb", "chat").suits[0]
    study = load_study(folder / "config/my.yaml")
    assert list(study.models) == [taken.model]
    assert taken.quant in study.quants_of(taken.model)
    [planned] = [p for p in plan(study, ask_hub=False) if p.session.quant == taken.quant]
    assert planned.prediction
    assert planned.prediction.tg_tps.likely == pytest.approx(taken.prediction.tg_tps.likely)


def test_the_command_keeps_what_was_asked(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    asked = ["suggest", "--board", "pi5-8gb", "--storage", "nvme", "--answer-s-at-most", "60"]
    assert cli.main(asked) == 0
    command = capsys.readouterr().out.splitlines()[-1].partition(": ")[2]
    assert cli.main(command.split()[1:]) == 0
    [device] = load_study(folder / "config/my.yaml").devices.values()
    assert isinstance(device, SshDevice) and device.storage == "nvme"
    capsys.readouterr()
    assert cli.main([*asked, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["asked"]
    assert (found["storage"], found["answer_s_at_most"]) == ("nvme", 60)


@pytest.mark.parametrize("seconds", ["nan", "inf", "-1", "0"])
def test_a_limit_that_is_none_is_refused(seconds: str) -> None:
    with pytest.raises(SystemExit):
        cli.main(["suggest", "--board", "pi5-8gb", f"--answer-s-at-most={seconds}"])


def test_a_config_is_never_written_over(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    (folder / "mine.yaml").write_text("study: mine\n")
    take = ["suggest", "--board", "pi5-8gb", "--take", "qwen3-1.7b/Q4_0", "--out", "mine.yaml"]
    assert cli.main(take) == 1
    assert "mine.yaml: is there already, and stays as it is" in capsys.readouterr().err
    assert (folder / "mine.yaml").read_text() == "study: mine\n"


@pytest.mark.parametrize(
    ("name", "why"),
    [("llama-3.1-8b/Q8_0", "is too large for this board"), ("gpt-2/Q4_0", "is no line")],
)
def test_what_cannot_be_taken_is_told(
    name: str, why: str, capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    assert cli.main(["suggest", "--board", "pi4-4gb", "--take", name]) == 1
    assert f"--take: {name} {why}" in capsys.readouterr().err
    assert not (folder / "config").exists()


def test_a_config_that_is_no_study_is_not_left(folder: Path) -> None:
    take = ["suggest", "--board", "pi5-8gb", "--take", "qwen3-1.7b/Q4_0", "--out", "a b.yaml"]
    assert cli.main(take) == 1
    assert not (folder / "a b.yaml").exists()


def test_nothing_that_suits_is_a_status(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["suggest", "--board", "pi-zero2w", "--answer-s-at-most", "0.1"]
    assert cli.main(asked) == 1
    assert "Nothing of the catalogue suits" in capsys.readouterr().out


def test_for_machines_with_every_source(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["suggest", "--board", "pi5-8gb", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["catalogue"] == DATED
    assert all(PUBLIC.match(one["shape_read_in"]) for one in found["suits"])


def test_a_number_just_below_100_is_no_power_of_ten() -> None:
    assert range_text(Range(99.6, 99.97, 100.4)) == "100 (100-100)"
    assert range_text(Range(9.94, 99.4, 123)) == "99 (9.9-123)"
