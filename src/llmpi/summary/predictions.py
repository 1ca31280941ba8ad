"""What the planner would have said of each cell, beside what was measured.

A prediction knows nothing of the tokens it is held against. Its constants are those of the preset
that the study names for the device: what `llmpi plan` says before the first contact. Where it names
none they are the device's own profile, the bandwidths and the free memory that were read right
before the cell's session; or, of a session that died, those of the device's first that did not.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from llmpi.plan.architectures import Model
from llmpi.plan.model_facts import model_or_reason
from llmpi.plan.predict import Prediction, predict
from llmpi.plan.presets import PRESETS, Board, measured
from llmpi.records import Record
from llmpi.study.runs import Session
from llmpi.study.study import Study
from llmpi.summary.estimate import Z95

Row = dict[str, Any]


def profile(study: Study, session: Session, bench: Record) -> Board | None:
    """The board that a session's record shows its device to be; None if it holds no bandwidths."""
    preset = study.devices[session.device].preset
    return measured(bench, PRESETS[preset] if preset else None, session.device)


def predictions(
    study: Study, rows: Sequence[Row], profiles: Mapping[Session, Board | None]
) -> list[Record]:
    """The prediction of every cell; no network, and nothing here fails a report.

    Args:
        rows: of `llmpi.summary.study.summarize`.
        profiles: of each session (`profile`), in the order of the sweep.

    Returns:
        A record per row, in the rows' order: `device`, `model`, `quant`, `runtime`, `workload`;
        `basis`, `preset` or `profile`, and `board`, whose constants they are; `predicted` and
        `measured`, each by quantity (`QUANTITIES`) `low`, `value`, `high` or None, and the `fit`:
        predicted `fits`, `tight`, `overflow` or `dies` (see `predict.Prediction`), measured `fits`,
        `overflow`, `failed` or None; `error_pct` by quantity, predicted / measured - 1, per cent;
        `verdict` and `reason`.

        The verdict is about tg: `in range`, `above` (measured is faster than the range), `below`,
        `failed as predicted` (it died, and `dies` was said), `not measured`, `not predicted`. The
        last has its `reason`, else None, and then `predicted` is None.
    """
    models = {name: model_or_reason(study, name, ask_hub=False) for name in study.models}
    return [_joined(study, row, models[row["model"]], profiles) for row in rows]


QUANTITIES = {
    "tg_tps": "token generation, tokens/s; measured: median, least, greatest repetition",
    "pp_tps": "prompt processing, tokens/s; the same",
    "tg_j_per_token": "energy of a generated token, J; measured: 95 % interval",
    "memory_bytes": "predicted: memory in which all of it runs at full speed; measured: peak RSS, "
    "which also counts mapped pages of weights that the engine has copied (repacked)",
    "file_bytes": "size of the GGUF file",
}


def _joined(
    study: Study, row: Row, model: Model | str, profiles: Mapping[Session, Board | None]
) -> Record:
    session = Session(*(row[key] for key in Session._fields))
    where = {**session._asdict(), "workload": row["workload"]}
    found = _measured(row)
    basis, board = _board(study, session, profiles)
    reason = (
        model
        if isinstance(model, str)
        else f"the device {session.device} names no preset and has no profile yet"
        if board is None
        else None
    )
    record = {**where, "basis": basis, "board": board and board.name, "measured": found}
    if isinstance(model, str) or board is None:
        return record | {
            "predicted": None,
            "error_pct": dict.fromkeys(QUANTITIES),
            "verdict": "not predicted",
            "reason": reason,
        }
    workload = study.workloads[row["workload"]]
    said = _said(
        predict(
            model,
            session.quant,
            board,
            study.runtimes[session.runtime],
            context_tokens=workload.needed_tokens,
            prompt_tokens=workload.prompt_tokens,
        )
    )
    return record | {
        "predicted": said,
        "error_pct": {name: _error_pct(said[name], found[name]) for name in QUANTITIES},
        "verdict": _verdict(said, found),
        "reason": None,
    }


def _board(
    study: Study, session: Session, profiles: Mapping[Session, Board | None]
) -> tuple[str | None, Board | None]:
    if preset := study.devices[session.device].preset:
        return "preset", PRESETS[preset]
    others = (board for other, board in profiles.items() if other.device == session.device)
    board = profiles[session] or next(filter(None, others), None)
    return ("profile", board) if board else (None, None)


def _said(found: Prediction) -> Record:
    exact = {"memory_bytes": found.needed_bytes, "file_bytes": found.file_bytes}
    ranges = {name: getattr(found, name) for name in ("tg_tps", "pp_tps", "tg_j_per_token")}
    return {
        "fit": found.fit,
        **{name: value and _spread(*value) for name, value in ranges.items()},
        **{name: _spread(value, value, value) for name, value in exact.items()},
    }


def _measured(row: Row) -> Record:
    joules, error = row["tg_j_per_token"], row["tg_uncertainty_j_per_token"]
    found: Record = {"fit": _fit(row), **dict.fromkeys(QUANTITIES)}
    for name in ("tg", "pp"):
        if (tps := row[f"{name}_tps"]) is not None:
            found[f"{name}_tps"] = _spread(row[f"{name}_min_tps"], tps, row[f"{name}_max_tps"])
    if joules is not None:
        found["tg_j_per_token"] = _spread(joules - Z95 * error, joules, joules + Z95 * error)
    for name, key in (("memory_bytes", "peak_rss_bytes"), ("file_bytes", "file_bytes")):
        if (size := row[key]) is not None:
            found[name] = _spread(size, size, size)
    return found


def _fit(row: Row) -> str | None:
    if row["status"] != "ok":
        return "failed" if row["status"] == "failed" else None
    return "overflow" if "overflow" in row["marks"] else "fits"


def _spread(low: float, value: float, high: float) -> Record:
    return {"low": low, "value": value, "high": high}


def _error_pct(said: Record | None, found: Record | None) -> float | None:
    return 100 * (said["value"] / found["value"] - 1) if said and found else None


def _verdict(said: Record, found: Record) -> str:
    tg = found["tg_tps"]
    if tg is None:
        died = said["fit"] == "dies" and found["fit"] == "failed"
        return "failed as predicted" if died else "not measured"
    if tg["value"] > said["tg_tps"]["high"]:
        return "above"
    return "below" if tg["value"] < said["tg_tps"]["low"] else "in range"
