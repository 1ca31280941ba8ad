"""A child that dies becomes a reason; real processes, real signals."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from held import state
from support import until

from llmpi.engine.supervise import Death, OwnerGoneError, supervise

READ = "import json, os, signal, sys, time; job = json.load(open(sys.argv[1]));"
CHILDREN = {
    "child_ok": f"{READ} json.dump({{'got': job}}, open(sys.argv[2], 'w'))",
    "child_says": f"{READ} print('first', file=sys.stderr); sys.exit('no such layer')",
    "child_segv": "import ctypes; ctypes.string_at(0)",
    "child_killed": f"{READ} os.kill(os.getpid(), signal.SIGKILL)",
    "child_hangs": f"{READ} open(job['pid'], 'w').write(str(os.getpid())); time.sleep(600)",
}


@pytest.fixture(autouse=True)
def children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, code in CHILDREN.items():
        (tmp_path / f"{name}.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


def is_gone(pid_file: Path) -> bool:
    """Wait until the process that wrote its pid there has ended."""
    until(lambda: state(int(pid_file.read_text())) in (None, "Z"))
    return True


def wait_for(file: Path, writer: subprocess.Popen[bytes] | None = None) -> None:
    def there() -> bool:
        assert writer is None or writer.poll() is None, "the child did not start"
        return file.is_file() and file.read_text() != ""

    until(there)


def test_record_comes_back() -> None:
    job = {"text": "a\nb", "big": "x" * 500_000}  # too long for a command line
    assert supervise("child_ok", job, writes=dict, log=print) == {"got": job}


def test_last_line_is_the_reason_and_all_lines_are_logged() -> None:
    lines: list[str] = []
    death = supervise("child_says", {}, writes=dict, log=lines.append)
    assert isinstance(death, Death)
    assert death.reason == "the engine failed: no such layer"
    assert lines == ["first", "no such layer"]
    assert "no such layer" in death.tail


@pytest.mark.fault("an engine that dies of a signal", by="the reason")
def test_signal_is_named() -> None:
    death = supervise("child_segv", {}, writes=dict, log=lambda _: None)
    assert isinstance(death, Death)
    assert death.reason == "the engine died of SIGSEGV"


def test_sigkill_points_at_memory() -> None:
    death = supervise("child_killed", {}, writes=dict, log=lambda _: None)
    assert isinstance(death, Death)
    assert death.reason == "the engine was killed (SIGKILL): most likely out of memory"


@pytest.mark.fault("an engine that hangs", by="the reason; processes that are left: none")
def test_time_limit(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    death = supervise(
        "child_hangs", {"pid": str(pid)}, writes=dict, log=lambda _: None, timeout_s=2
    )
    assert isinstance(death, Death)
    assert death.reason == "no end after 2 s"
    # On a machine so slow that it had not begun there is none to look for.
    assert not (pid.exists() and pid.read_text()) or is_gone(pid)


@pytest.mark.fault("who waits for an engine goes", by="processes that are left: none")
@pytest.mark.parametrize("goodbye", [b"", b"\x03"], ids=["end of file", "ctrl-c"])
def test_owner_that_goes_takes_the_child_along(tmp_path: Path, goodbye: bytes) -> None:
    pid = tmp_path / "pid"
    reading, writing = os.pipe()

    def say_goodbye_once_it_runs() -> None:
        wait_for(pid)
        os.write(writing, goodbye) if goodbye else os.close(writing)

    import threading

    threading.Thread(target=say_goodbye_once_it_runs).start()
    with os.fdopen(reading) as owner, pytest.raises(OwnerGoneError):
        supervise("child_hangs", {"pid": str(pid)}, writes=dict, log=lambda _: None, owner=owner)
    assert is_gone(pid)


@pytest.mark.fault("the parent of an engine killed", by="processes that are left: none")
def test_child_dies_with_a_killed_parent(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    code = (
        "from llmpi.engine.supervise import supervise\n"
        f"supervise('child_hangs', {json.dumps({'pid': str(pid)})}, writes=dict, log=print)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code])
    wait_for(pid, parent)
    parent.kill()
    parent.wait()
    assert is_gone(pid)
