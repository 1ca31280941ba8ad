"""What this process needs of memory, as the kernel counts it, and which files it keeps there."""

import contextlib
import os
import re
import resource
from collections.abc import Iterator
from pathlib import Path

from llmpi.engine.records import Memory


def untouched(peak_rss_bytes: int | None) -> Memory:
    """The memory of something that was not measured yet, see `reading` and `watching`.

    Args:
        peak_rss_bytes: what loading the model took, which everything needs.
    """
    return {
        "peak_rss_bytes": peak_rss_bytes,
        "anonymous_bytes": None,
        "file_bytes": None,
        "swap_bytes": status_bytes("VmSwap"),
        "major_faults": 0,
        "fetched_bytes": 0,
    }


UNKNOWN: Memory = {
    "peak_rss_bytes": None,
    "anonymous_bytes": None,
    "file_bytes": None,
    "swap_bytes": None,
    "major_faults": None,
    "fetched_bytes": None,
}
"""Of another program."""


@contextlib.contextmanager
def reading(memory: Memory) -> Iterator[None]:
    """Add to `memory` which pages of files the block reads.

    Of what is mapped, they alone are needed: weights that the engine has copied (repacked) for this
    processor are mapped still, and not read again. Nothing is to be timed meanwhile, since the
    processor notes each page that it touches.
    """
    forgotten = _clear_refs("1")
    yield
    if forgotten:
        memory["file_bytes"] = _larger(memory["file_bytes"], _referenced_file_bytes())


@contextlib.contextmanager
def watching(memory: Memory) -> Iterator[None]:
    """Add to `memory` what the block needs; other measurements ran in the same process."""
    _clear_refs("5")  # sets VmHWM back; where it is not allowed, the peak is all of them's
    faults, fetched = major_faults(), _fetched_bytes()
    yield
    swap_bytes = status_bytes("VmSwap")
    own = [status_bytes("RssAnon"), status_bytes("RssShmem"), swap_bytes]
    anonymous = sum(part or 0 for part in own) if own[0] is not None else None
    memory["major_faults"] = (memory["major_faults"] or 0) + major_faults() - faults
    if fetched is None or (now := _fetched_bytes()) is None:
        memory["fetched_bytes"] = None
    else:
        memory["fetched_bytes"] = (memory.get("fetched_bytes") or 0) + max(0, now - fetched)
    memory["peak_rss_bytes"] = _larger(memory["peak_rss_bytes"], status_bytes("VmHWM"))
    memory["anonymous_bytes"] = _larger(memory["anonymous_bytes"], anonymous)
    memory["swap_bytes"] = _larger(memory["swap_bytes"], swap_bytes)


def major_faults() -> int:
    """Page faults of this process so far that went to storage."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_majflt


def _fetched_bytes() -> int | None:
    """What this process had from storage so far, less what it asked for with read(2), see
    proc_pid_io(5); only a difference of two of them tells something."""
    try:
        kept = Path("/proc/self/io").read_text(encoding="utf-8")
    except OSError:  # of a kernel without CONFIG_TASK_IO_ACCOUNTING
        return None
    found = {key: int(value) for key, value in re.findall(r"^(\w+): (\d+)$", kept, re.MULTILINE)}
    return found["read_bytes"] - found["rchar"]


def status_bytes(key: str) -> int | None:
    """A size out of /proc/self/status.

    Not ru_maxrss: that one survives exec, and would show a larger parent's peak.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
    except OSError:
        return None
    found = re.search(rf"^{key}:\s+(\d+) kB", status, re.MULTILINE)
    return int(found.group(1)) * 1024 if found else None


def _clear_refs(what: str) -> bool:
    """See proc(5); whether it is allowed."""
    try:
        Path("/proc/self/clear_refs").write_text(what, encoding="utf-8")
    except OSError:
        return False
    return True


MAPPING = re.compile(r"^[0-9a-f]+-[0-9a-f]+ \S+ \S+ \S+ (\d+)", re.MULTILINE)
"""The first line of one in /proc/self/smaps, up to its file's inode; 0 where it has none."""
SIZE = re.compile(r"^(\w+):\s+(\d+) kB", re.MULTILINE)


def _referenced_file_bytes() -> int | None:
    """Pages of files that were touched since they were forgotten."""
    try:
        text = Path("/proc/self/smaps").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    _, *parts = MAPPING.split(text)
    total = 0
    for inode, rest in zip(parts[::2], parts[1::2], strict=True):
        sizes = {key: int(kib) * 1024 for key, kib in SIZE.findall(rest)}
        if inode != "0" and "Referenced" in sizes:
            total += min(sizes["Referenced"], sizes["Rss"] - sizes["Anonymous"])
    return total or None


def _larger(a: int | None, b: int | None) -> int | None:
    return max((value for value in (a, b) if value is not None), default=None)


def forget_cached(path: Path) -> None:
    """Drop a file from the page cache; needs no root, but what is mapped elsewhere stays."""
    with path.open("rb") as file:
        os.fsync(file.fileno())  # only clean pages are dropped
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
