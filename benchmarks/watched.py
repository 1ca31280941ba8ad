"""What the processes take that a command starts: time, memory, disk."""

import resource
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil

from llmpi.engine.supervise import die_with_parent

EVERY_S = 0.1
DISK_EVERY = 5
"""Samples of memory to one of the disk."""


class Watched(NamedTuple):
    """A command that ended. What its own process takes is not counted, but for the disk."""

    returncode: int
    out: str
    seconds: float
    """With a process that it had started."""
    processor_s: float
    resident_bytes: int
    """Peak of all together."""
    anonymous_bytes: int
    disk_bytes: int
    """By how much the folder grew, at most."""


def watched(
    command: Sequence[str], folder: Path, grows: Path, environment: Mapping[str, str]
) -> Watched:
    """Run a command in `folder` and look at what it starts, ten times a second.

    Args:
        grows: folder whose growth is its disk.
    """
    before, disk, resident, anonymous, began, ended = held(grows), 0, 0, 0, 0.0, 0.0
    own_s, used_s = 0.0, _used_s()
    out = folder / "watched.log"
    with out.open("w") as log:
        process = psutil.Popen(
            command,
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            preexec_fn=die_with_parent(),
        )
        samples = 0
        while process.poll() is None:
            time.sleep(EVERY_S)
            sizes = [size for child in _children(process) if (size := _sizes(child))]
            if sizes:
                ended = time.monotonic()
                began = began or ended
                resident = max(resident, sum(size for size, _ in sizes))
                anonymous = max(anonymous, sum(own for _, own in sizes))
            own_s = _own_s(process) or own_s
            if samples % DISK_EVERY == 0:
                disk = max(disk, held(grows) - before)
            samples += 1
    disk = max(disk, held(grows) - before)
    used_s = _used_s() - used_s - own_s
    return Watched(
        process.returncode, out.read_text(), ended - began, used_s, resident, anonymous, disk
    )


def _used_s() -> float:
    """By all that was started from here and ended."""
    return sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])


def _own_s(process: psutil.Process) -> float:
    with suppress(psutil.Error):
        return float(sum(process.cpu_times()[:2]))
    return 0.0


def _children(process: psutil.Process) -> list[psutil.Process]:
    with suppress(psutil.Error):
        found: list[psutil.Process] = process.children(recursive=True)
        return found
    return []


def _sizes(process: psutil.Process) -> tuple[int, int] | None:
    """Resident and anonymous bytes; None where it has ended."""
    with suppress(psutil.Error):
        found = process.memory_info()
        return found.rss, found.rss - found.shared
    return None


def held(folder: Path) -> int:
    """Bytes that the files in a folder take on the disk; what has several names counts once."""
    found = {}
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):
            about = path.lstat()
            if not path.is_dir():
                found[about.st_ino] = 512 * about.st_blocks
    return sum(found.values())
