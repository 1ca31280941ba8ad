"""What was measured of a study, found by its name or by its folder, in this clone or another."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from llmpi import layout
from llmpi.engine.records import SessionRecord
from llmpi.errors import LlmpiError
from llmpi.quality.evidence import Requirement, Requirements
from llmpi.records import RecordError, read
from llmpi.study.runs import Session
from llmpi.summary.sound import sound

SESSIONS = Path(layout.BENCH).parents[3]
"""Of a study: its folder holds DEVICE/MODEL/QUANT/RUNTIME.json."""
ALL_STUDIES = SESSIONS.parent


@dataclass(frozen=True)
class Measured:
    """A study's sessions, and what its quality rests on.

    Args:
        folder: where its `results/` lies.
        requirements: of its last report; none where it has none.
    """

    study: str
    folder: Path
    sessions: Mapping[Session, SessionRecord]
    requirements: Sequence[Requirement]


def measured(named: str) -> Measured:
    """
    Args:
        named: a study under `results/bench/` here, or the path of such a folder elsewhere.

    Raises:
        LlmpiError: nothing was measured there.
        RecordError: its requirements do not fit their type.
    """
    folder, study = _place(named)
    at = folder / layout.at(str(SESSIONS), study=study)
    files = sorted(at.glob("*/*/*/*.json"))
    if not files:
        raise LlmpiError(f"{named}: nothing was measured in {at}. {_there(folder / ALL_STUDIES)}")
    sessions = {}
    for file in files:
        device, model, quant, _ = file.relative_to(at).parts
        sessions[Session(device, model, quant, file.stem)] = _session(file)
    asked = folder / layout.at(layout.REQUIREMENTS, study=study)
    found = read(asked, Requirements)["requirements"] if asked.is_file() else []
    return Measured(study, folder, sessions, found)


def _place(named: str) -> tuple[Path, str]:
    """The folder of `results/`, and the study's name."""
    path = Path(named)
    if len(path.parts) == 1 and named not in (".", ".."):
        return Path(), named
    at = path.resolve()
    if at.parent.parts[-len(ALL_STUDIES.parts) :] != ALL_STUDIES.parts:
        raise LlmpiError(
            f"{named}: should be the name of a study, or a folder .../{ALL_STUDIES}/STUDY"
        )
    return at.parents[len(ALL_STUDIES.parts)], at.name


def _there(folder: Path) -> str:
    """What could have been meant."""
    names = sorted(path.name for path in folder.glob("*") if path.is_dir())
    return f"There are: {', '.join(names)}" if names else f"There is no study in {folder}"


def _session(file: Path) -> SessionRecord:
    """One that cannot be read is as good as failed, and the others are compared."""
    try:
        found = read(file, SessionRecord)
    except RecordError as error:
        return {"status": "failed", "stage": "record", "reason": str(error)}
    return sound(found, str(file)) if found["status"] == "ok" else found
