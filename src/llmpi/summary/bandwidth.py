"""What a device's memory delivers: one figure for all its sessions, so that shares compare."""

from collections.abc import Mapping

from llmpi.engine.records import MeasuredSession, SessionRecord
from llmpi.results import NotRun
from llmpi.study.runs import Session

MemoryRates = Mapping[Session, float]
"""Bytes per second."""


def memory_rates(sessions: Mapping[Session, SessionRecord | NotRun]) -> MemoryRates:
    """The best that was read on a device before any of its sessions, by session.

    What else runs on a machine slows a read down, and nothing makes it faster. Another kernel,
    processor or limit is another machine, with a best of its own.
    """
    found = {s: one for s, one in sessions.items() if one["status"] == "ok" and one["bandwidth"]}
    best: dict[object, float] = {}
    for session, record in found.items():
        assert record["bandwidth"]
        rate, machine = record["bandwidth"]["memory_read_bytes_per_s"], _machine(session, record)
        best[machine] = max(rate, best.get(machine, 0.0))
    return {session: best[_machine(session, record)] for session, record in found.items()}


def _machine(session: Session, record: MeasuredSession) -> object:
    known, limits = record["environment"]["machine"], record["limits"]
    smaller = limits and (limits["memory"], limits["cpus"])
    return session.device, known["board"], known["cpu"], known["kernel"], smaller
