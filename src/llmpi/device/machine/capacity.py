"""How much of this machine a job may use: what others take and control groups withhold is off."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from llmpi.device.machine import environment

CGROUP = Path("/sys/fs/cgroup")
CPUS = environment.SYS / "devices/system/cpu"
MEMORY_FILES = {
    "memory.max": "memory.current",
    "memory.high": "memory.current",  # above it the kernel makes the group wait
    "memory.limit_in_bytes": "memory.usage_in_bytes",
}
"""Limit and use of a control group, by version 2 and 1 of them."""


def memory_bytes() -> int | None:
    """Memory that can be had without swapping; None where the kernel does not say."""
    free = environment.memory_available_bytes()
    found = [left for folder in _groups("memory") if (left := _left(folder)) is not None]
    return min([*found, *([] if free is None else [free])], default=None)


def own_memory_bytes() -> int | None:
    """What this process may come to hold: what is free, and what it holds already, but for files,
    which can be given up."""
    free = memory_bytes()
    held = re.search(r"^RssAnon:\s+(\d+) kB$", _text(environment.PROC / "self/status"), re.M)
    return free if free is None or held is None else free + int(held[1]) * 1024


def processors() -> int:
    """Threads that compute best here: one for each core that this process may use.

    As llama-bench counts (common_cpu_get_num_math): a core is one however many threads it runs at
    the same time, and where there are slower ones beside fast ones, these are all; an engine's
    threads wait for the slowest. Of a control group's share of time, what is whole.
    """
    allowed = os.sched_getaffinity(0)
    fast = allowed & _fast(allowed) or allowed
    cores = {_text(CPUS / f"cpu{i}/topology/thread_siblings_list") or str(i) for i in fast}
    shares = [share for folder in _groups("cpu") if (share := _share(folder))]
    return max(1, min(len(cores), *map(int, shares)) if shares else len(cores))


FAST = 0.75
"""Of the fastest core's capacity; slower ones have half of it or so."""


def _fast(allowed: set[int]) -> set[int]:
    """Intel's kernel driver names them; elsewhere the scheduler knows what each can do."""
    if named := _text(environment.SYS / "devices/cpu_core/cpus"):
        ends = [part.partition("-") for part in named.split(",")]
        return {i for low, _, high in ends for i in range(int(low), int(high or low) + 1)}
    capacity = {i: _number(CPUS / f"cpu{i}/cpu_capacity") or 0 for i in allowed}
    return {i for i, found in capacity.items() if found >= FAST * max(capacity.values())}


def _share(group: Path) -> float | None:
    """Processors' worth of time, by version 2 and 1 of control groups; None for all."""
    quota, _, period = _text(group / "cpu.max").partition(" ")
    quota = quota or _text(group / "cpu.cfs_quota_us")
    period = period or _text(group / "cpu.cfs_period_us")
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() else None


def _left(group: Path) -> int | None:
    """Of a control group's limits; what it holds of files in memory can be given up."""
    found = []
    for limit, use in MEMORY_FILES.items():
        limit_bytes, used_bytes = _number(group / limit), _number(group / use)
        if limit_bytes is not None and used_bytes is not None:
            held = re.findall(r"^(?:in)?active_file (\d+)$", _text(group / "memory.stat"), re.M)
            found.append(max(0, limit_bytes - used_bytes + sum(map(int, held))))
    return min(found, default=None)


def _groups(controller: str) -> Iterator[Path]:
    """The control groups that this process is in, innermost first, up to the root.

    In a container that does not see its own names, the root stands for all.
    """
    for line in _text(environment.PROC / "self/cgroup").splitlines():
        _, controllers, name = line.split(":", 2)
        if controller in controllers.split(","):
            root = CGROUP / controllers
        elif not controllers:
            root = CGROUP
        else:
            continue
        path = Path(name.lstrip("/"))
        yield from (root / part for part in (path, *path.parents) if (root / part).is_dir())


def _number(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text.isdigit() else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
