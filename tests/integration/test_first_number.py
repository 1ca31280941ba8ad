"""From nothing to a number: `llmpi init --demo-on`, and what became of it later."""

import re
import shutil
from pathlib import Path

import pytest
from conftest import Work

from llmpi import cli
from llmpi.plan.suggest import NEEDS
from llmpi.study.file import load_study


def test_the_first_number_and_the_same_again(
    copy: Work, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """One command measures the demo's model and says how fast it is; held against itself, nothing
    is worse, or where other programs disturbed it, as other tests may, nothing could be judged."""
    monkeypatch.chdir(copy.folder)
    monkeypatch.setitem(NEEDS, "chat", NEEDS["chat"]._replace(prompt_tokens=16, output_tokens=8))
    assert cli.main(["init", "--demo-on", "here", "--out", "config/first.yaml"]) == 0
    last = capfd.readouterr().out.splitlines()[-1]
    assert re.fullmatch(
        r"smollm2-135m Q4_0 on here: [\d.]+ tokens/s \([\d.]+ to [\d.]+ of \d(; disturbed)?\)", last
    )
    study = load_study(Path("config/first.yaml"))
    assert (study.study, list(study.quality)) == ("first", [])
    shutil.copytree("results/bench/first", "results/bench/before")
    status = cli.main(["compare", "before", "first"])
    said = capfd.readouterr().out
    assert status == int("disturbed" in last), said
    assert "1 cell in both" in said
    assert "the same are generated" in said
