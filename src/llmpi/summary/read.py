"""A study's records, each read once. What cannot be read has failed, and says why."""

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

from llmpi import layout
from llmpi.engine.records import Failed, FailedSession, SessionRecord
from llmpi.gguf.records import Gguf
from llmpi.models.records import ModelRecord
from llmpi.quality.records import Parity
from llmpi.remote.records import Provisioned
from llmpi.results import NotRun, result
from llmpi.study.runs import Session as SessionId
from llmpi.study.runs import Variant, compared_by_engine, sessions, stands_for, variants
from llmpi.study.study import Study
from llmpi.summary.sound import sound
from llmpi.tune.records import ComparedEngines, Tuned


@dataclass(frozen=True)
class Records:
    """What the rules left of a study; the kinds of quality tasks read their own."""

    models: Mapping[str, ModelRecord | Failed | NotRun]
    files: Mapping[Variant, Gguf | Failed | NotRun]
    machines: Mapping[str, Provisioned | Failed | NotRun]
    sessions: Mapping[SessionId, SessionRecord | NotRun]
    searches: Mapping[SessionId, Tuned | Failed | NotRun]
    """Of the runtimes that are tuned."""
    comparisons: Mapping[SessionId, ComparedEngines | Failed | NotRun]
    """Of engines."""
    parities: Mapping[SessionId, Parity | Failed | NotRun]
    """Where scores are to be transferred; of a group's boards the one that speaks for them."""


@contextmanager
def trees() -> Iterator[None]:
    """Around work on thousands of records. They hold no cycles, and looking for some again and
    again while they become more takes a third of the time (`python -m benchmarks.page`). Around a
    function, as its decorator: what it made has gone by then, and is not looked through once more.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def read_records(study: Study) -> Records:
    asked = list(sessions(study))
    return Records(
        models={m: result(ModelRecord, layout.MODEL_MANIFEST, model=m) for m in study.models},
        files={v: result(Gguf, layout.GGUF_MANIFEST, **v._asdict()) for v in variants(study)},
        machines={d: result(Provisioned, layout.PROVISIONED, device=d) for d in study.devices},
        sessions={s: _session(study, s) for s in asked},
        searches={
            s: result(Tuned, layout.TUNED, **_of(study, s))
            for s in asked
            if study.runtimes[s.runtime].tune
        },
        comparisons={
            s: result(ComparedEngines, layout.BY_ENGINE, **_of(study, s))
            for s in compared_by_engine(study)
        },
        parities={
            s: result(Parity, layout.PARITY, **_of(study, _checked(study, s)))
            for s in asked
            if _transfers(study, s)
        },
    )


def _transfers(study: Study, session: SessionId) -> bool:
    """Whether what was scored here is to be shown to hold there: of llmpi's own engine alone."""
    ours = not study.runtimes[session.runtime].endpoint
    return bool(study.quality) and ours and not study.devices[session.device].is_here


def _session(study: Study, session: SessionId) -> SessionRecord | NotRun:
    found = result(SessionRecord, layout.BENCH, **_of(study, session))
    if found["status"] == "ok":
        return sound(found, layout.at(layout.BENCH, **_of(study, session)))
    return cast(FailedSession | NotRun, found)  # `FailedSession` is `Failed` with what may be more


def _of(study: Study, session: SessionId) -> dict[str, str]:
    return {"study": study.study, **session._asdict()}


def _checked(study: Study, session: SessionId) -> SessionId:
    """The session whose parity was checked: one board of a group speaks for those like it."""
    return session._replace(device=stands_for(study, session.device, session.variant))
