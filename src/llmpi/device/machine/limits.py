"""A child process inside a control group of its own, as if the machine were smaller."""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from llmpi.device.machine.rights import NotPermittedError
from llmpi.engine.records import Limits

CGROUP = Path("/sys/fs/cgroup")
PERIOD_US = 100_000


@contextlib.contextmanager
def limited(limits: Limits | None) -> Iterator[list[Path]]:
    """Files to which a process writes its id to be limited; the groups go with the block.

    Args:
        limits: None for none.

    Raises:
        NotPermittedError: the kernel's control groups are not ours to use.
    """
    made: list[Path] = []
    try:
        try:
            for folder, files in _groups(limits or {"memory": None, "cpus": None}):
                _forget_left(folder.parent)
                folder.mkdir()
                made.append(folder)
                for name, value in files.items():
                    (folder / name).write_text(value)
        except OSError as error:
            raise NotPermittedError(
                f"limits need a control group, and {error.filename} says: {error.strerror}. Run as "
                "root, or as root in a container with its own cgroup, or leave the limits out."
            ) from None
        yield [folder / "cgroup.procs" for folder in made]
    finally:
        for folder in made:
            _remove(folder)


def _groups(limits: Limits) -> list[tuple[Path, dict[str, str]]]:
    """Folders to make, and what to write into them: one for version 2, one each for version 1."""
    memory, cpus = limits["memory"], limits["cpus"]
    if memory is None and cpus is None:
        return []
    name, quota = f"llmpi-{os.getpid()}", f"{(cpus or 0) * PERIOD_US:.0f}"
    if (CGROUP / "cgroup.controllers").exists():
        files: dict[str, str] = {}
        if memory is not None:
            files |= {"memory.max": str(memory), "memory.swap.max": "0"}
        if cpus is not None:
            files["cpu.max"] = f"{quota} {PERIOD_US}"
        return [(CGROUP / name, files)]
    groups = []
    if memory is not None:
        limit = {"memory.limit_in_bytes": str(memory)}
        groups.append((CGROUP / "memory" / name, limit))
    if cpus is not None:
        limit = {"cpu.cfs_period_us": str(PERIOD_US), "cpu.cfs_quota_us": quota}
        groups.append((CGROUP / "cpu" / name, limit))
    return groups


def _forget_left(parent: Path) -> None:
    """Remove the groups of processes that were killed; the kernel keeps one that is in use."""
    for folder in parent.glob("llmpi-*"):
        pid = folder.name.removeprefix("llmpi-")
        if pid == str(os.getpid()) or not Path("/proc", pid).exists():
            with contextlib.suppress(OSError):
                folder.rmdir()


def _remove(folder: Path) -> None:
    for _ in range(100):  # the kernel takes a moment to let the last process go
        with contextlib.suppress(OSError):
            folder.rmdir()
            return
        time.sleep(0.05)
