"""What was measured of a study: of this clone or another one, imported, or in one file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from llmpi import layout
from llmpi.crate.contents import MANIFEST
from llmpi.crate.records import Manifest
from llmpi.crate.verify import opened
from llmpi.engine.records import SessionRecord
from llmpi.errors import LlmpiError
from llmpi.quality.evidence import Requirement, Requirements
from llmpi.records import RecordError, read
from llmpi.study.runs import Session
from llmpi.summary.sound import sound

SESSIONS = Path(layout.BENCH).parents[3]
"""Of a study: its folder holds DEVICE/MODEL/QUANT/RUNTIME.json."""
ALL_STUDIES = SESSIONS.parent
IMPORTED = Path(layout.IMPORTED).parent


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
        named: a study under `results/bench/` here, the name of one that was imported, the path of
            such a folder elsewhere, or a file of `llmpi export`.

    Raises:
        LlmpiError: nothing was measured there.
        RecordError: its requirements do not fit their type.
    """
    file = Path(named)
    if file.is_file() and not (ALL_STUDIES / named).is_dir():
        with opened(file) as found:
            return replace(_measured(named, found.folder, found.study.study), folder=file)
    return _measured(named, *_place(named))


def _measured(named: str, folder: Path, study: str) -> Measured:
    at = folder / layout.at(str(SESSIONS), study=study)
    files = sorted(at.glob("*/*/*/*.json"))
    asked = folder / layout.at(layout.REQUIREMENTS, study=study)
    if not files and not asked.is_file():
        raise LlmpiError(f"{named}: nothing was measured in {at}. {_there(folder)}")
    sessions = {}
    for file in files:
        device, model, quant, _ = file.relative_to(at).parts
        sessions[Session(device, model, quant, file.stem)] = _session(file)
    found = read(asked, Requirements)["requirements"] if asked.is_file() else []
    return Measured(study, folder, sessions, found)


def _place(named: str) -> tuple[Path, str]:
    """The folder of `results/`, and the study's name."""
    path = Path(named)
    if len(path.parts) == 1 and named not in (".", ".."):
        own, imported = ALL_STUDIES / named, Path(layout.at(layout.IMPORTED, name=named))
        return _imported(imported) if imported.is_dir() and not own.is_dir() else (Path(), named)
    at = path.resolve()
    if at.parent.parts[-len(IMPORTED.parts) :] == IMPORTED.parts:
        return _imported(path)
    if at.parent.parts[-len(ALL_STUDIES.parts) :] != ALL_STUDIES.parts:
        raise LlmpiError(
            f"{named}: should be the name of a study, or a folder .../{ALL_STUDIES}/STUDY, or a "
            "file of `llmpi export`"
        )
    return at.parents[len(ALL_STUDIES.parts)], at.name


def _imported(folder: Path) -> tuple[Path, str]:
    """What was laid there holds one study, whatever its folder is called."""
    return folder, read(folder / MANIFEST, Manifest)["study"]


def _there(folder: Path) -> str:
    """What could have been meant."""
    folders = (folder / ALL_STUDIES, folder / IMPORTED)
    names = sorted({path.name for at in folders for path in at.glob("[!.]*") if path.is_dir()})
    return f"There are: {', '.join(names)}" if names else f"There is no study in {folders[0]}"


def _session(file: Path) -> SessionRecord:
    """One that cannot be read is as good as failed, and the others are compared."""
    try:
        found = read(file, SessionRecord)
    except RecordError as error:
        return {"status": "failed", "stage": "record", "reason": str(error)}
    return sound(found, str(file)) if found["status"] == "ok" else found
