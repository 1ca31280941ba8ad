"""`llmpi service`, as far as it goes without a device."""

from pathlib import Path

import pytest
import yaml
from support import ROOT

from llmpi import cli
from llmpi.operate import actions

STUDY = {
    "study": "s",
    "models": {"m": {"source": {"path": "."}}},
    "quants": ["Q4_0"],
    "devices": {"pi5": {"transport": "ssh", "host": "127.0.0.1", "port": 1}},
    "workloads": {"chat": {"prompt_tokens": 8, "output_tokens": 8}},
}
SERVICE = {"service": {"variant": {"model": "m", "quant": "Q4_0"}}}


def said(tmp_path: Path, study: dict, capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    config = tmp_path / "study.yaml"
    config.write_text(yaml.safe_dump(study))
    assert cli.main(["service", *argv, "--configfile", str(config)]) == 1
    return capsys.readouterr().err


def test_a_study_without_the_section(tmp_path, capsys) -> None:
    assert "study s has no section 'service'" in said(tmp_path, STUDY, capsys, "status")


def test_a_model_that_is_not_made_yet(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    message = said(tmp_path, STUDY | SERVICE, capsys, "install")
    assert "results/gguf/m/Q4_0.json is not there yet; run: snakemake results/gguf" in message


def test_a_device_that_cannot_be_reached(tmp_path, capsys) -> None:
    for action in ("status", "logs", "rollback", "remove"):
        message = said(tmp_path, STUDY | SERVICE, capsys, action, "--device", "pi5")
        assert "device pi5" in message
        assert "cannot be reached" in message


def test_elsewhere_than_in_the_project(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(actions.LlmpiError, match="run llmpi service in the project's own folder"):
        actions._parts()
    assert (ROOT / actions.SERVER_LOCK).is_file()
