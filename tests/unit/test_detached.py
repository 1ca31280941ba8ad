"""What a detached job's folder says of it."""

import json
import os
from pathlib import Path

import pytest

from llmpi.device.measure import detached


def runner(folder: Path, pid: int, born: str | None) -> None:
    (folder / "runner.json").write_text(json.dumps([pid, born]))


def test_no_job(tmp_path: Path) -> None:
    assert detached.state(tmp_path / "none") == "none"


def test_running(tmp_path: Path) -> None:
    runner(tmp_path, os.getpid(), detached._born(os.getpid()))
    assert detached.state(tmp_path) == "running"


@pytest.mark.parametrize("born", ["another boot 12", None], ids=["namesake", "died at once"])
def test_died_without_a_record(tmp_path: Path, born: str | None) -> None:
    for pid in (os.getpid(), 2**22 + 1):  # of another process by now, and of none
        runner(tmp_path, pid, born)
        assert detached.state(tmp_path) == "gone"


def test_done_outlives_its_runner(tmp_path: Path) -> None:
    runner(tmp_path, 2**22 + 1, "12")
    (tmp_path / "out.json").write_text('{"status": "ok"}')
    (tmp_path / "log").write_text("one\ntwo\n")
    answer = detached.poll(tmp_path, offset=4)
    assert (answer["state"], answer["log"], answer["offset"]) == ("done", "two\n", 8)
    assert answer["record"] == '{"status": "ok"}'
