"""Cells as a device measured them: each with the circumstances it was measured in, or why not."""

from dataclasses import dataclass

from llmpi.engine.records import (
    AnswersCell,
    Circumstances,
    ConcurrentCell,
    ConversationCell,
    Failed,
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
        return _another(workload, f"it was measured as {found['kind']}")
    return Single(found, session)


def concurrent(session: SessionRecord | NotRun, workload: str) -> ConcurrentCell | Failed | NotRun:
    """The cell of a workload of conversations side by side."""
    found = _cell(session, workload)
    if found["status"] == "ok" and found["kind"] != "concurrent":
        return _another(workload, f"it was measured as {found['kind']}")
    return found


def conversation(
    session: SessionRecord | NotRun, workload: str
) -> ConversationCell | Failed | NotRun:
    """The cell of a workload of several turns."""
    found = _cell(session, workload)
    if found["status"] == "ok" and found["kind"] != "conversation":
        return _another(workload, f"it was measured as {found['kind']}")
    return found


def answers(session: SessionRecord | NotRun, workload: str) -> AnswersCell | Failed | NotRun:
    """The cell of a workload of a task's questions."""
    found = _cell(session, workload)
    if found["status"] == "ok" and found["kind"] != "answers":
        return _another(workload, f"it was measured as {found['kind']}")
    return found


def _cell(
    session: SessionRecord | NotRun, workload: str
) -> SingleCell | ConcurrentCell | ConversationCell | AnswersCell | Failed | NotRun:
    if session["status"] == "not run":
        return session
    if session["status"] == "failed":
        return session.get("workloads", {}).get(workload, session)
    return session["workloads"].get(workload) or _another(workload, "its session has no such cell")


def _another(workload: str, why: str) -> Failed:
    """The record is of another study than the one that is summarized."""
    return {"status": "failed", "stage": "record", "reason": f"workloads.{workload}: {why}"}
