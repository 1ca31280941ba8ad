"""Fetch a model into its folder and say in a manifest what it is."""

import errno
import shutil
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from typing_extensions import TypedDict

from llmpi.errors import CellError, LlmpiError
from llmpi.models import records
from llmpi.models.fetched import SCRATCH_PREFIX, Fetched
from llmpi.models.first_look import check_of_one_model, check_widest_first, first_look
from llmpi.records import failed, now
from llmpi.study.models import (
    HubCheckpoint,
    HubSource,
    PathCheckpoint,
    PathSource,
    PypiSource,
    checkpoint_of,
)

Source = PypiSource | HubSource | PathSource


class Asked(TypedDict):
    """What the rule asks for."""

    source: Source
    lock: str
    moves: int
    """How often the lock was moved: another time is another source."""


def fetch(
    source: Source, folder: Path, lock: Path, fetched_by: Sequence[records.FetchedBy]
) -> records.ModelRecord:
    """Fetch `source` into `folder` and return its manifest; the caller writes it.

    Args:
        folder: of this model, below `results/models`; whatever else lies there is removed.
        lock: the lock file for branches and tags of the hub.
        fetched_by: the modules for this kind of source and for its checkpoint's, if it has one.

    Returns:
        The manifest; one of status `failed` if the source delivered what it promised, but that is
        damaged: fetching again would not mend it.

    Raises:
        LlmpiError: each failure with its own message. No file that was not checked is left under
            its final name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        fetched: Fetched = import_module(fetched_by[0]).fetch(source, folder, lock)
        beside = _checkpoint(source, folder, lock, fetched_by[1:])
        held = {**fetched.files, **(beside.files if beside else {})}
        _clear(folder, keep={*held, "manifest.json"})
    except OSError as error:
        raise _disk_error(error, folder) from error
    return _manifest(source, folder, fetched, beside)


def _checkpoint(
    source: Source, folder: Path, lock: Path, fetched_by: Sequence[records.FetchedBy]
) -> Fetched | None:
    """That which stands beside published files: in their folder, since no name is of both.

    Raises:
        LlmpiError: what is named is none.
    """
    asked = checkpoint_of(source)
    if asked is None:
        return None
    beside: Fetched = import_module(*fetched_by).fetch_checkpoint(asked, folder, lock)
    return beside


def _clear(folder: Path, keep: set[str]) -> None:
    """Remove what an earlier source or a killed job left: a converter would read stray weights."""
    for entry in folder.iterdir():
        if entry.name.startswith(SCRATCH_PREFIX):
            shutil.rmtree(entry)
        elif entry.name not in keep and (entry.is_symlink() or entry.is_file()):
            entry.unlink()


def _manifest(
    source: Source, folder: Path, fetched: Fetched, beside: Fetched | None
) -> records.ModelRecord:
    held = {**fetched.files, **(beside.files if beside else {})}
    facts: records.Fetched = {
        "source": _said(source),
        "origin": fetched.origin,
        "checkpoint": beside.origin if beside else None,
        "licence": fetched.licence or (beside.licence if beside else None),
        "format": "gguf" if fetched.ggufs else "safetensors",
        "files": {
            name: {"sha256": digest, "bytes": (folder / name).stat().st_size}
            for name, digest in held.items()
        },
        "fetched": now(),
    }
    try:
        ggufs = [first_look(folder, parts) for parts in fetched.ggufs]
    except CellError as error:
        return {**facts, **failed("fetch", str(error))}
    check_of_one_model(ggufs)
    if not beside:
        check_widest_first(ggufs)
    return {"status": "ok", **facts, "ggufs": ggufs}


def _said(source: Source) -> records.PypiSource | records.HubSource | records.PathSource:
    """As the config has it."""
    if isinstance(source, PypiSource):
        return {
            "pypi": source.pypi,
            "version": source.version,
            "file": source.file,
            "parts": [{"pypi": p.pypi, "version": p.version, "file": p.file} for p in source.parts],
            "licence": source.licence,
            "sha256": source.sha256,
        }
    if isinstance(source, HubSource):
        return {
            "hub": source.hub,
            "revision": source.revision,
            "file": source.file,
            "files": source.files,
            "checkpoint": _said_of(source.checkpoint),
            "sha256": source.sha256,
        }
    return {
        "path": source.path,
        "files": source.files,
        "checkpoint": _said_of(source.checkpoint),
        "sha256": source.sha256,
    }


def _said_of(
    checkpoint: HubCheckpoint | PathCheckpoint | None,
) -> records.HubCheckpoint | records.PathCheckpoint | None:
    if isinstance(checkpoint, HubCheckpoint):
        return {"hub": checkpoint.hub, "revision": checkpoint.revision}
    return {"path": checkpoint.path} if checkpoint else None


def _disk_error(error: OSError, folder: Path) -> LlmpiError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return LlmpiError(
            f"the disk is full: {error.filename or folder}. Make room there and run again; "
            "a download from the hub goes on where it stopped."
        )
    return LlmpiError(f"{error.filename or folder}: {error.strerror or error}")
