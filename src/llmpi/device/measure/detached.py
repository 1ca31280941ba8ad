"""Measurements that outlive the connection over which they were asked for.

Each has a folder: the request, its log as it grows, the record at the end. The workstation starts a
job, polls it, collects its record and forgets it. It names the folder after what is asked for, so
that a workstation that comes back, even another process after a crash, finds the same job. A record
stays until it is forgotten, whatever the clock says. What a power cut left unreadable is not there.
"""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path

from llmpi.device import durable
from llmpi.device.machine.rights import NotPermittedError
from llmpi.device.records import Polled, State
from llmpi.engine.progress import to_stderr

MEASURING = "llmpi.device.measure."
LOG_BYTES = 100_000
NO_ROOM_S = 10.0
"""Between attempts to write a record to a disk that is full."""


def start(folder: Path, run: str, job: Mapping[str, object]) -> State:  # handed on unread
    """Start a job, unless it runs already or has ended and was not forgotten; returns its state.

    Args:
        run: name of the module of `llmpi.device.measure` whose `run` does it, loaded by name: what
            measures one thing does not depend on what measures another.
        job: what that takes.
    """
    if not run.startswith(MEASURING):
        raise ValueError(f"{run} measures nothing")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _alone(folder):
        now = state(folder)
        if now in ("running", "done"):
            return now
        durable.write_whole(folder / "request.json", json.dumps({"run": run, "job": job}))
        with (folder / "log").open("wb") as log:
            # A session of its own: the end of the connection's session does not reach it.
            runner = subprocess.Popen(
                [sys.executable, "-m", __name__, str(folder)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        me = json.dumps([runner.pid, _born(runner.pid)])
        durable.write_whole(folder / "runner.json", me)
        return "running"


def poll(folder: Path, offset: int) -> Polled:
    """Its state, what the log says behind `offset`, and the record when it is done."""
    now, time_s, said = state(folder), time.time(), b""
    with contextlib.suppress(FileNotFoundError), (folder / "log").open("rb") as log:
        log.seek(offset)
        said = log.read(LOG_BYTES)
    return {
        "state": now,
        "log": said.decode("utf-8", "replace"),
        "offset": offset + len(said),
        "time_s": time_s,
        "record": _record(folder) if now == "done" else None,
    }


def state(folder: Path) -> State:
    """`none`, `running` (or waiting for its turn), `done`, or `gone`: it died without a record."""
    if _record(folder) is not None:
        return "done"
    runner = _runner(folder)
    if runner is None:
        return "none"
    pid, born = runner
    if born and _born(pid) == born:
        return "running"
    return "gone" if _record(folder) is None else "done"


def cancel(folder: Path) -> bool:
    """End a job and all its processes and wait for that; whether it was running.

    What is left of it is forgotten, but for a record that waits to be collected.
    """
    with _alone(folder):
        now, runner = state(folder), _runner(folder)
        if runner and now == "running":
            pid, born = runner
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
            while _born(pid) == born:
                time.sleep(0.05)
        if now != "done":
            forget(folder)
        return now == "running"


def forget(folder: Path) -> None:
    """Remove what is left of a job that is over."""
    shutil.rmtree(folder, ignore_errors=True)


def all_of(root: Path) -> list[Path]:
    """Folders of the jobs below `root`."""
    return sorted(root.glob("*/"))


def _record(folder: Path) -> str | None:
    """What was measured, as JSON."""
    try:
        text = (folder / "out.json").read_text(encoding="utf-8")
        return text if isinstance(json.loads(text), dict) else None
    except (OSError, ValueError):
        return None


def _runner(folder: Path) -> tuple[int, str | None] | None:
    """The process that does it, and when it was born."""
    try:
        pid, born = json.loads((folder / "runner.json").read_text(encoding="utf-8"))
        return int(pid), born
    except (OSError, ValueError, TypeError):
        return None


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Two workstations that start the same job get the same one."""
    with (folder / "start.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _born(pid: int) -> str | None:
    """Start time of a living process, in clock ticks since boot: tells it from a later namesake."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] == "Z" else f"{boot} {fields[19]}"


def main(folder: str) -> None:
    """The runner of one job."""
    place = Path(folder)
    request = json.loads((place / "request.json").read_text())
    try:
        record = json.dumps(import_module(request["run"]).run(request["job"], log=to_stderr))
    except NotPermittedError as error:
        sys.exit(f"llmpi: {error}")
    while True:
        try:
            durable.write_whole(place / "out.json", record)
            return
        except OSError as error:
            to_stderr(f"llmpi: the record cannot be written: {error.strerror}; trying again")
            time.sleep(NO_ROOM_S)


if __name__ == "__main__":
    main(sys.argv[1])
