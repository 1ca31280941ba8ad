"""What this process needs of memory, as the kernel counts it."""

import contextlib
import re
import resource
from collections.abc import Iterator
from pathlib import Path

from llmpi.engine.records import Memory


def untouched(peak_rss_bytes: int | None) -> Memory:
    """The memory of something that was not measured yet, see `watching`.

    Args:
        peak_rss_bytes: what loading the model took, which everything needs.
    """
    return {
        "peak_rss_bytes": peak_rss_bytes,
        "swap_bytes": status_bytes("VmSwap"),
        "major_faults": 0,
    }


@contextlib.contextmanager
def watching(memory: Memory) -> Iterator[None]:
    """Add to `memory` what the block needs; other measurements ran in the same process."""
    with contextlib.suppress(OSError):  # where it is not allowed, the peak is all of them's
        Path("/proc/self/clear_refs").write_text(
            "5", encoding="utf-8"
        )  # sets VmHWM back, see proc(5)
    faults = major_faults()
    yield
    memory["major_faults"] = memory["major_faults"] + major_faults() - faults
    memory["peak_rss_bytes"] = _larger(memory["peak_rss_bytes"], status_bytes("VmHWM"))
    memory["swap_bytes"] = _larger(memory["swap_bytes"], status_bytes("VmSwap"))


def major_faults() -> int:
    """Page faults of this process so far that went to storage."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_majflt


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


def _larger(a: int | None, b: int | None) -> int | None:
    return max((value for value in (a, b) if value is not None), default=None)
