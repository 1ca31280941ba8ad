"""What was measured of a study: of this clone or another one, imported, or in one file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from llmpi import layout
from llmpi.crate.contents import HASHES, MANIFEST
from llmpi.crate.records import Manifest
from llmpi.crate.verify import opened
from llmpi.engine.records import SessionRecord
from llmpi.errors import LlmpiError
from llmpi.quality.evidence import Requirement, Requirements
from llmpi.quality.records import Json
from llmpi.records import RecordError, read
from llmpi.study.runs import Session
from llmpi.summary.sound import sound

SESSIONS = Path(layout.BENCH).parents[3]
"""Of a study: its folder holds DEVICE/MODEL/QUANT/RUNTIME.json."""
ALL_STUDIES = SESSIONS.parent
SCORES = Path(layout.QUALITY).parents[3]
"""Of a study: its folder holds MODEL/QUANT/COMPUTATION/TASK.json."""
IMPORTED = Path(layout.IMPORTED).parent


@dataclass(frozen=True)
class Measured:
    """A study's sessions, and what its quality rests on.

    Args:
        folder: where its `results/` lies.
        requirements: of its last report; none where it has none.
        asked: by task, the hash of its questions, where a score says it.
    """

    study: str
    folder: Path
    sessions: Mapping[Session, SessionRecord]
    requirements: Sequence[Requirement]
    asked: Mapping[str, str] = field(default_factory=dict)


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
    report = folder / layout.at(layout.REQUIREMENTS, study=study)
    if not files and not report.is_file():
        raise LlmpiError(f"{named}: nothing was measured in {at}. {_there(folder)}")
    sessions = {}
    for file in files:
        device, model, quant, _ = file.relative_to(at).parts
        sessions[Session(device, model, quant, file.stem)] = _session(file)
    found = read(report, Requirements)["requirements"] if report.is_file() else []
    return Measured(study, folder, sessions, found, _asked(folder, study))


def _asked(folder: Path, study: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for file in sorted((folder / layout.at(str(SCORES), study=study)).glob("*/*/*/*.json")):
        if file.stem not in found and (told := _questions(file)):
            found[file.stem] = told
    return found


def _questions(score: Path) -> str | None:
    """The hash of what was asked; of a harness's tasks, of each."""
    try:
        found = read(score, dict[str, Json])
    except RecordError:
        return None
    tasks = found.get("tasks")
    told = [found.get(key) for key in HASHES]
    for name, one in sorted(tasks.items()) if isinstance(tasks, dict) else ():
        told.append(f"{name} {one.get('items_sha256')}" if isinstance(one, dict) else None)
    return ", ".join(one for one in told if isinstance(one, str)) or None


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
