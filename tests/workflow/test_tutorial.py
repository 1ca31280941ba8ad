"""The tutorial's study is one that runs, at every step that it takes."""

from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
import yaml
from markdown_it import MarkdownIt
from support import ROOT, planned_jobs

from llmpi import cli

TEXT = (ROOT / "docs/tutorial.md").read_text(encoding="utf-8")
STUDY, *EDITS = [
    yaml.safe_load(token.content)
    for token in MarkdownIt("commonmark").parse(TEXT)
    if token.type == "fence" and token.info == "yaml"
]


def edited(study: dict[str, Any], edit: dict[str, Any]) -> dict[str, Any]:
    """As one who edits the file does it: what is new stands beside what was there."""
    return study | {key: {**study.get(key, {}), **value} for key, value in edit.items()}


def test_it_begins_with_a_copy_of_the_file_that_it_names() -> None:
    """Only the study's name is another, and what the comments tell to put in."""
    ours = yaml.safe_load((ROOT / "config/pi.yaml").read_text(encoding="utf-8"))
    assert ours | {"study": "my"} == STUDY


def test_what_it_says_of_the_check_is_what_is_said(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(workdir)
    Path("config/my.yaml").write_text(yaml.safe_dump(STUDY))
    assert cli.main(["check", "--configfile", "config/my.yaml"]) == 0
    assert f"```text\n{capsys.readouterr().out}```" in TEXT


@pytest.mark.parametrize("step", range(len(EDITS) + 1))
def test_every_step_is_a_study(step: int, workdir: Path) -> None:
    [*_, study] = accumulate(EDITS[:step], edited, initial=STUDY)
    (workdir / "config/my.yaml").write_text(yaml.safe_dump(study))
    jobs = planned_jobs("--configfile", "config/my.yaml", cwd=workdir)
    variants = sum(len(m.get("quants", study["quants"])) for m in study["models"].values())
    published = sum(len(m["source"].get("files", [0])) - 1 for m in study["models"].values())
    assert jobs["benchmark_device"] == variants + published
