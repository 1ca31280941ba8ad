"""Measurements that outlive the connection over which they were asked for.

Each has a folder: the request, its log as it grows, the record at the end. The workstation starts a
job, polls it, collects its record and forgets it. It names the folder after what is asked for, so
that a workstation that comes back, even another process after a crash, finds the same job.
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

from llmpi.device.records import Polled, State
from llmpi.engine.progress import to_stderr

MEASURING = "llmpi.device.measure."
LOG_BYTES = 100_000
KEEP_S = 7 * 24 * 3600


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
    _clean(folder.parent)
    with _alone(folder):
        now = state(folder)
        if now in ("running", "done"):
            return now
        (folder / "request.json").write_text(json.dumps({"run": run, "job": job}))
        with (folder / "log").open("wb") as log:
            # A session of its own: the end of the connection's session does not reach it.
            runner = subprocess.Popen(
                [sys.executable, "-m", __name__, str(folder)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        (folder / "runner.json").write_text(json.dumps([runner.pid, _born(runner.pid)]))
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
        "record": (folder / "out.json").read_text() if now == "done" else None,
    }


def state(folder: Path) -> State:
    """`none`, `running` (or waiting for its turn), `done`, or `gone`: it died without a record."""
    if (folder / "out.json").exists():
        return "done"
    if not (folder / "runner.json").exists():
        return "none"
    pid, born = json.loads((folder / "runner.json").read_text())
    if born and _born(pid) == born:
        return "running"
    return "done" if (folder / "out.json").exists() else "gone"


def cancel(folder: Path) -> bool:
    """End a job and all its processes, wait for that, and forget it; whether it was running."""
    running = state(folder) == "running"
    if running:
        pid, born = json.loads((folder / "runner.json").read_text())
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        while _born(pid) == born:
            time.sleep(0.05)
    forget(folder)
    return running


def forget(folder: Path) -> None:
    """Remove what is left of a job that is over."""
    shutil.rmtree(folder, ignore_errors=True)


def running(root: Path) -> list[Path]:
    """Folders of the jobs below `root` that have not ended."""
    return [folder for folder in sorted(root.glob("*/")) if state(folder) == "running"]


def _clean(root: Path) -> None:
    """Forget jobs that nobody collected."""
    for folder in root.glob("*/"):
        old = time.time() - folder.stat().st_mtime > KEEP_S
        if old and state(folder) != "running":
            forget(folder)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Two workstations that start the same job get the same one."""
    with (folder / "start.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _born(pid: int) -> str | None:
    """Start time of a living process, in clock ticks since boot: tells it from a later namesake."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] == "Z" else f"{boot} {fields[19]}"


def main(folder: str) -> None:
    """The runner of one job."""
    place = Path(folder)
    request = json.loads((place / "request.json").read_text())
    record = import_module(request["run"]).run(request["job"], log=to_stderr)
    partial = place / "out.json.part"
    partial.write_text(json.dumps(record))
    partial.replace(place / "out.json")


if __name__ == "__main__":
    main(sys.argv[1])
