"""Cells as a device measured them: each with the circumstances it was measured in, or why not."""

from dataclasses import dataclass

from llmpi.engine.records import (
    Circumstances,
    ConcurrentCell,
    Failed,
    Repetition,
    Session,
    SessionRecord,
    SingleCell,
)
from llmpi.results import NotRun


@dataclass(frozen=True)
class Single:
    """A cell of one conversation, and the session that it was measured in."""

    cell: SingleCell
    session: Session

    @property
    def how(self) -> Circumstances:
        """Its own, where another cell killed the engine; else the session's."""
        return self.cell["apart"] or self.session


def single(session: SessionRecord | NotRun, workload: str) -> Single | Failed | NotRun:
    """The cell of a workload of one conversation."""
    found = _cell(session, workload)
    if found["status"] != "ok":
        return found
    if session["status"] != "ok" or found["kind"] != "single":
        return _unfit(workload, "kind", "it is of conversations side by side, not of one")
    if not found["repetitions"]:
        return _unfit(workload, "repetitions", "there is none")
    for timed in [found["repetitions"], *(depth["repetitions"] for depth in found["depths"])]:
        if not all(map(_took_time, timed)):
            return _unfit(workload, "repetitions", "one of them took no time")
    return Single(found, session)


def concurrent(session: SessionRecord | NotRun, workload: str) -> ConcurrentCell | Failed | NotRun:
    """The cell of a workload of conversations side by side."""
    found = _cell(session, workload)
    if found["status"] == "ok" and found["kind"] != "concurrent":
        return _unfit(workload, "kind", "it is of one conversation, not of several")
    return found


def unfit(where: str, why: str) -> Failed:
    """A record that its type does not show to be wrong."""
    return {"status": "failed", "stage": "record", "reason": f"{where}: {why}"}


def _cell(
    session: SessionRecord | NotRun, workload: str
) -> SingleCell | ConcurrentCell | Failed | NotRun:
    if session["status"] == "not run":
        return session
    if session["status"] == "failed":
        return session.get("workloads", {}).get(workload, session)
    return session["workloads"].get(workload) or _unfit(
        workload, "", "the session has no such cell"
    )


def _unfit(workload: str, field: str, why: str) -> Failed:
    return unfit(f"workloads.{workload}.{field}".removesuffix("."), why)


def _took_time(repetition: Repetition) -> bool:
    return repetition["pp_s"] > 0 and sum(repetition["itl_s"]) > 0
