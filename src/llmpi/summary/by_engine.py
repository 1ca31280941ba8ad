"""Engines held against one another: nothing of it is ranked, and no decision rests on it."""

from collections.abc import Mapping

from llmpi.engine.records import Failed
from llmpi.results import NotRun
from llmpi.study.runs import Session
from llmpi.summary.records import EnginesCompared, EnginesNotCompared, SessionKey
from llmpi.tune.records import ComparedEngines


def by_engine(
    comparisons: Mapping[Session, ComparedEngines | Failed | NotRun],
) -> list[EnginesCompared | EnginesNotCompared]:
    """Every comparison of the study, without its blocks."""
    return [_found(session, record) for session, record in comparisons.items()]


def _found(
    session: Session, record: ComparedEngines | Failed | NotRun
) -> EnginesCompared | EnginesNotCompared:
    where: SessionKey = {
        "device": session.device,
        "model": session.model,
        "quant": session.quant,
        "runtime": session.runtime,
    }
    if record["status"] != "ok":
        return {**where, "status": record["status"], "reason": record["reason"]}
    return {
        **where,
        "status": "ok",
        "reason": None,
        "first": record["first"],
        "engines": record["engines"],
        "held": record["held"],
        "confidence_pct": record["confidence_pct"],
        "marks": record["marks"],
        "blocks": len(record["blocks"]),
    }
