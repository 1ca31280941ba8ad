"""A child process inside a control group of its own, as if the machine were smaller."""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CGROUP = Path("/sys/fs/cgroup")
PERIOD_US = 100_000


class NotPermittedError(Exception):
    """No control group can be made here; the message is for a person."""


@contextlib.contextmanager
def limited(limits: dict[str, Any] | None) -> Iterator[list[Path]]:
    """Files to which a process writes its id to be limited; the groups go with the block.

    Args:
        limits: `memory` in bytes and `cpus`, either may be None; None for no limits.

    Raises:
        NotPermittedError: the kernel's control groups are not ours to use.
    """
    settings = {key: value for key, value in (limits or {}).items() if value is not None}
    made: list[Path] = []
    try:
        try:
            for folder, files in _groups(settings):
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


def _groups(settings: dict[str, Any]) -> list[tuple[Path, dict[str, str]]]:
    """Folders to make, and what to write into them: one for version 2, one each for version 1."""
    if not settings:
        return []
    name = f"llmpi-{os.getpid()}"
    quota = f"{settings.get('cpus', 0) * PERIOD_US:.0f}"
    if (CGROUP / "cgroup.controllers").exists():
        files: dict[str, str] = {}
        if "memory" in settings:
            files |= {"memory.max": str(settings["memory"]), "memory.swap.max": "0"}
        if "cpus" in settings:
            files["cpu.max"] = f"{quota} {PERIOD_US}"
        return [(CGROUP / name, files)]
    groups = []
    if "memory" in settings:
        limit = {"memory.limit_in_bytes": str(settings["memory"])}
        groups.append((CGROUP / "memory" / name, limit))
    if "cpus" in settings:
        limit = {"cpu.cfs_period_us": str(PERIOD_US), "cpu.cfs_quota_us": quota}
        groups.append((CGROUP / "cpu" / name, limit))
    return groups


def _remove(folder: Path) -> None:
    for _ in range(100):  # the kernel takes a moment to let the last process go
        with contextlib.suppress(OSError):
            folder.rmdir()
            return
        time.sleep(0.05)
