"""Who has the processors: whether a measurement had them to itself.

The kernel counts for how long each processor was at work (/proc/stat; what a hypervisor took away
is in it). Less what the measurement's own processes took, that is others' time.
"""

import os
import resource
import time
from collections.abc import Collection, Sequence
from typing import NamedTuple

from llmpi.device.machine import environment
from llmpi.engine.records import AnyRepetition, Contention

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
AT_WORK = (0, 1, 2, 5, 6, 7)
"""Columns of /proc/stat, see proc(5): user, nice, system, irq, softirq, steal."""
TAKEN = (11, 12, 13, 14)
"""Columns of /proc/PID/stat behind the name: user and system, its own and its ended children's."""
POOL_S = 1.0
"""A share is told of so many seconds at least: a tick is 10 ms."""


class Moment(NamedTuple):
    """Seconds so far, of the clock and of processors."""

    clock_s: float
    busy_s: float
    own_s: float
    sensors_s: float
    switches: int


class Processors:
    """Those that this process may use, and who has them.

    Args:
        threads: that compute: so many of the processors are in use.
        sensors: ids of the processes that sample beside the measurement.
    """

    def __init__(self, threads: int, sensors: Collection[int] = ()) -> None:
        self._allowed = os.sched_getaffinity(0)
        self._used = min(threads, len(self._allowed))
        self._sensors = sensors

    def now(self) -> Moment | None:
        """A moment to look back to; None where the kernel does not tell."""
        busy_s = _busy_s(self._allowed)
        if busy_s is None:
            return None
        own = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return Moment(
            clock_s=time.monotonic(),
            busy_s=busy_s,
            own_s=sum(one.ru_utime + one.ru_stime for one in own),
            sensors_s=sum(map(_taken_s, self._sensors)),
            switches=sum(one.ru_nivcsw for one in own),
        )

    def since(self, before: Moment | None) -> Contention | None:
        """Who had them from then until now."""
        now = self.now()
        if before is None or now is None:
            return None
        own_s, sensors_s = now.own_s - before.own_s, now.sensors_s - before.sensors_s
        return {
            "seconds": now.clock_s - before.clock_s,
            "processors": self._used,
            "own_s": own_s,
            "sensors_s": sensors_s,
            "others_s": now.busy_s - before.busy_s - own_s - sensors_s,
            "others_pct": None,
            "involuntary_switches": now.switches - before.switches,
            "load_1min": os.getloadavg()[0],
        }


def together(parts: Sequence[Contention | None]) -> Contention | None:
    """Of several stretches of time, without what is between them; None where one does not tell."""
    found = [one for one in parts if one]
    if not found or len(found) < len(parts):
        return None
    return {
        "seconds": sum(one["seconds"] for one in found),
        "processors": found[0]["processors"],
        "own_s": sum(one["own_s"] for one in found),
        "sensors_s": sum(one["sensors_s"] for one in found),
        "others_s": sum(one["others_s"] for one in found),
        "others_pct": None,
        "involuntary_switches": sum(one["involuntary_switches"] for one in found),
        "load_1min": found[-1]["load_1min"],
    }


def judge(repetitions: Sequence[AnyRepetition]) -> None:
    """Say of each what share of the processors in use others had.

    Args:
        repetitions: in the order of time; short ones are pooled with their neighbours.
    """
    found = [one for r in repetitions if (one := r.get("contention"))]
    for pool in _pools(found):
        say_share(pool)


def say_share(pool: Sequence[Contention]) -> None:
    """Say of stretches of time what share others had of all of them."""
    others_s = sum(one["others_s"] for one in pool)
    share = others_s / sum(one["seconds"] * one["processors"] for one in pool)
    for one in pool:
        one["others_pct"] = 100 * min(1.0, max(0.0, share))


def disturbed(repetition: AnyRepetition, most_pct: float) -> bool:
    """Whether others had more than that."""
    found = repetition.get("contention")
    return found is not None and (found["others_pct"] or 0.0) > most_pct


def _pools(found: Sequence[Contention]) -> list[list[Contention]]:
    """Neighbours that took `POOL_S` together; what is left at the end goes with those before it."""
    pools: list[list[Contention]] = []
    for one in found:
        if pools and _seconds(pools[-1]) < POOL_S:
            pools[-1].append(one)
        else:
            pools.append([one])
    if len(pools) > 1 and _seconds(pools[-1]) < POOL_S:
        rest = pools.pop()
        pools[-1] += rest
    return pools


def _seconds(pool: Sequence[Contention]) -> float:
    return sum(one["seconds"] for one in pool)


def _busy_s(processors: Collection[int]) -> float | None:
    """Seconds since boot that these were at work, all together."""
    try:
        lines = (environment.PROC / "stat").read_text(encoding="utf-8").splitlines()
        fields = {name: rest for name, *rest in map(str.split, lines) if name.startswith("cpu")}
        columns = [fields[f"cpu{i}"] for i in processors]
        ticks = sum(int(one[column]) for one in columns for column in AT_WORK)
    except (OSError, ValueError, LookupError):
        return None
    return ticks / TICKS_PER_S if ticks else None  # some sandboxes count nothing


def _taken_s(pid: int) -> float:
    """Processor seconds of a process so far; none where it is gone."""
    try:
        stat = (environment.PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0.0
    fields = stat.rpartition(")")[2].split()
    return sum(int(fields[column]) for column in TAKEN) / TICKS_PER_S
