"""What a detached job's folder says of it."""

import errno
import json
import os
import time
from pathlib import Path

import pytest
from support import until

from llmpi.device import durable
from llmpi.device.commands.detached import cancel
from llmpi.device.measure import detached
from llmpi.device.records import CancelRequest


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


# --- what a power cut leaves ----------------------------------------------------------------------

FILES = ("request.json", "runner.json", "log", "out.json", "start.lock")
NO_TURNS = {
    "what": "a test",
    "gguf": "none",
    "threads": 1,
    "workloads": {},
    "repetitions": 1,
    "turns": [],
    "meter": None,
    "seed": "",
    "rest": {"cool_below_c": None, "cool_limit_s": 0.0},
    "limits": None,
    "timeout_s": 1.0,
}
"""A block that is measured at once: it has no turn."""


def measured(folder: Path) -> str:
    """The record, once there is one."""
    detached.start(folder, "llmpi.device.measure.turns", NO_TURNS)
    until(lambda: detached.state(folder) != "running", (folder / "log").read_text)
    if runner := detached._runner(folder):
        until(lambda: detached._born(runner[0]) != runner[1])
    answer = detached.poll(folder, 0)
    assert answer["state"] == "done", answer["log"]
    assert answer["record"]
    return answer["record"]


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """One that was measured and not collected."""
    measured(tmp_path / "jobs/one")
    return tmp_path / "jobs/one"


@pytest.mark.fault(
    "files of a job lost or torn", by="the record: measured again only where it was lost"
)
@pytest.mark.parametrize("left", ["nothing", "half", "zeros"])
@pytest.mark.parametrize("lost", [*([one] for one in FILES), FILES], ids=str)
def test_what_a_power_cut_left_is_measured_again(job: Path, lost: list[str], left: str) -> None:
    before = (job / "out.json").read_text()
    for name in lost:
        whole = (job / name).read_bytes()
        kept = {"nothing": b"", "half": whole[: len(whole) // 2], "zeros": bytes(len(whole))}
        (job / name).write_bytes(kept[left])
    again = json.loads(measured(job))
    assert again["status"] == "ok"
    assert (again == json.loads(before)) == ("out.json" not in lost)


@pytest.mark.parametrize("pid", ["", "[", "[1]", "null", '[true, {"a": 1}]', "[-1, null]", "\0\0"])
def test_a_runner_that_cannot_be_read_is_none(tmp_path: Path, pid: str) -> None:
    (tmp_path / "runner.json").write_text(pid)
    assert detached.state(tmp_path) in ("none", "gone")


def test_cancel_forgets_what_died_and_keeps_what_was_measured(job: Path) -> None:
    for name in ("empty", "torn"):
        (job.parent / name).mkdir()
        (job.parent / name / "runner.json").write_text("" if name == "empty" else "[12, ")
        (job.parent / name / "out.json").write_text("")
    asked: CancelRequest = {"jobs": str(job.parent)}
    assert cancel(asked) == {"ended": 0}
    assert [one.name for one in job.parent.iterdir()] == ["one"]
    assert detached.state(job) == "done"


@pytest.mark.fault("a clock a year off while a record waits", by="the record, as before")
@pytest.mark.parametrize("years", [-1, 1])
def test_a_clock_that_jumps_deletes_nothing(job: Path, years: int) -> None:
    then = time.time() + years * 365 * 24 * 3600
    for path in (*job.iterdir(), job):
        os.utime(path, (then, then))
    record = (job / "out.json").read_text()
    measured(job.parent / "another")
    assert measured(job) == record


@pytest.mark.fault("disk full on the device at a record", by="the record, once there is room")
def test_a_record_that_finds_no_room_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[Path] = []
    write = durable.write_whole

    def full_twice(path: Path, text: str) -> None:
        tried.append(path)
        if len(tried) < 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(path, text)

    (tmp_path / "request.json").write_text(
        json.dumps({"run": "llmpi.device.measure.turns", "job": NO_TURNS})
    )
    monkeypatch.setattr(durable, "write_whole", full_twice)
    monkeypatch.setattr(detached, "NO_ROOM_S", 0.0)
    detached.main(str(tmp_path))
    assert [path.name for path in tried] == ["out.json"] * 3
    assert detached.state(tmp_path) == "done"
