"""What the planner would have said of each cell, beside what was measured.

A prediction knows nothing of the tokens it is held against. Its constants are those of the preset
that the study names for the device: what `llmpi plan` says before the first contact. Where it names
none they are the device's own profile, the bandwidths and the free memory that were read right
before the cell's session; or, of a session that died, those of the device's first that did not.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

from llmpi.engine.records import SessionRecord
from llmpi.errors import LlmpiError
from llmpi.plan.model import Model
from llmpi.plan.model_facts import draft_for, variants_of
from llmpi.plan.plan import seen_by
from llmpi.plan.predict import Prediction, predict
from llmpi.plan.presets import PRESETS, Board, Range, lying_on, measured
from llmpi.plan.profile import profile_of
from llmpi.results import NotRun
from llmpi.study.runs import Run, Session, Variant
from llmpi.study.study import Study
from llmpi.summary.estimate import Z95
from llmpi.summary.records import (
    Measured,
    Predicted,
    PredictedCell,
    PredictionVerdict,
    Quantities,
    Row,
    Spread,
)
from llmpi.summary.row import place

Boards = Mapping[Session, Board | None]
"""What each session's record shows its device to be, in the order of the sweep."""


def boards(study: Study, sessions: Mapping[Session, SessionRecord | NotRun]) -> Boards:
    return {session: _measured_board(study, session, sessions[session]) for session in sessions}


def _measured_board(study: Study, session: Session, found: SessionRecord | NotRun) -> Board | None:
    if found["status"] == "not run" or (profile := profile_of(found)) is None:
        return None
    preset = study.devices[session.device].preset
    return measured(profile, PRESETS[preset] if preset else None, session.device)


class Planned(NamedTuple):
    """What the planner says of a cell: it rests on the model's file, and on no record."""

    basis: Literal["preset", "profile"] | None
    board: str | None
    predicted: Predicted | None
    reason: str | None


Planner = Callable[[Study, Sequence[Run], Boards], Sequence[Planned]]
"""Says it of each of the runs, in their order."""


def planned(study: Study, runs: Sequence[Run], found: Boards) -> Sequence[Planned]:
    """By what is here of the models; no network, and nothing here fails a report."""
    known = variants_of(study, ask_hub=False)
    return [_planned(study, run, known, found) for run in runs]


def predictions(rows: Mapping[Run, Row], said: Sequence[Planned]) -> list[PredictedCell]:
    """What was said of every cell against what was measured, in the rows' order."""
    return [_beside(run, row, one) for (run, row), one in zip(rows.items(), said, strict=True)]


def _planned(
    study: Study, run: Run, known: Mapping[Variant, Model | str], seen_boards: Boards
) -> Planned:
    model = known[run.variant]
    basis, board = _board(study, run.session, seen_boards)
    nothing = Planned(basis, board.name if board else None, None, None)
    if isinstance(model, str):
        return nothing._replace(reason=model)
    if board is None:
        return nothing
    workload = study.singles[run.workload]
    try:
        found = predict(
            model,
            run.quant,
            board,
            study.runtimes[run.runtime],
            context_tokens=workload.needed_tokens,
            prompt_tokens=workload.prompt_tokens,
            seen=seen_by(study, run.device),
            draft=draft_for(study, run.session, known),
        )
    except LlmpiError as error:
        return nothing._replace(reason=str(error))
    return nothing._replace(predicted=_said(found))


def _beside(run: Run, row: Row, said: Planned) -> PredictedCell:
    seen, predicted = _measured(row), said.predicted
    return {
        **place(run),
        "basis": said.basis,
        "board": said.board,
        "measured": seen,
        "predicted": predicted,
        "error_pct": _errors_pct(predicted, seen) if predicted else NO_ERRORS,
        "verdict": _verdict(predicted, seen) if predicted else "not predicted",
        "reason": said.reason,
    }


def _board(
    study: Study, session: Session, found: Boards
) -> tuple[Literal["preset", "profile"] | None, Board | None]:
    if preset := study.devices[session.device].preset:
        return "preset", lying_on(PRESETS[preset], study.devices[session.device].storage)
    others = (board for other, board in found.items() if other.device == session.device)
    board = found[session] or next(filter(None, others), None)
    return ("profile", board) if board else (None, None)


def _said(found: Prediction) -> Predicted:
    return {
        "fit": found.fit,
        "tg_tps": _range(found.tg_tps),
        "pp_tps": _range(found.pp_tps) if found.pp_tps else None,
        "tg_j_per_token": _range(found.tg_j_per_token) if found.tg_j_per_token else None,
        "memory_bytes": _exact(found.needed_bytes),
        "file_bytes": _exact(found.file_bytes),
    }


def _measured(row: Row) -> Measured:
    joules, error = row["tg_j_per_token"], row["tg_uncertainty_j_per_token"]
    return {
        "fit": _fit(row),
        "tg_tps": _spread(row["tg_min_tps"], row["tg_tps"], row["tg_max_tps"]),
        "pp_tps": _spread(row["pp_min_tps"], row["pp_tps"], row["pp_max_tps"]),
        "tg_j_per_token": (
            None
            if joules is None or error is None
            else _spread(joules - Z95 * error, joules, joules + Z95 * error)
        ),
        "memory_bytes": _exact(row["memory_bytes"]),
        "file_bytes": _exact(row["file_bytes"]),
    }


def _fit(row: Row) -> Literal["fits", "overflow", "failed"] | None:
    if row["status"] != "ok":
        return "failed" if row["status"] == "failed" else None
    return "overflow" if "memory-bound: overflow" in row["marks"] else "fits"


def _range(values: Range) -> Spread:
    return {"low": values.low, "value": values.likely, "high": values.high}


def _spread(low: float | None, value: float | None, high: float | None) -> Spread | None:
    if low is None or value is None or high is None:
        return None
    return {"low": low, "value": value, "high": high}


def _exact(value: float | None) -> Spread | None:
    return _spread(value, value, value)


NO_ERRORS: Quantities[float | None] = {
    "tg_tps": None,
    "pp_tps": None,
    "tg_j_per_token": None,
    "memory_bytes": None,
    "file_bytes": None,
}


def _errors_pct(said: Predicted, seen: Measured) -> Quantities[float | None]:
    return {
        "tg_tps": _error_pct(said["tg_tps"], seen["tg_tps"]),
        "pp_tps": _error_pct(said["pp_tps"], seen["pp_tps"]),
        "tg_j_per_token": _error_pct(said["tg_j_per_token"], seen["tg_j_per_token"]),
        "memory_bytes": _error_pct(said["memory_bytes"], seen["memory_bytes"]),
        "file_bytes": _error_pct(said["file_bytes"], seen["file_bytes"]),
    }


def _error_pct(said: Spread | None, seen: Spread | None) -> float | None:
    if not said or not seen or not seen["value"]:
        return None
    return 100 * (said["value"] / seen["value"] - 1)


def _verdict(said: Predicted, seen: Measured) -> PredictionVerdict:
    expected, tg = said["tg_tps"], seen["tg_tps"]
    if tg is None or expected is None:
        died = said["fit"] == "dies" and seen["fit"] == "failed"
        return "failed as predicted" if died else "not measured"
    if tg["value"] > expected["high"]:
        return "above"
    return "below" if tg["value"] < expected["low"] else "in range"
