"""What outlives a power cut on a device: files written whole, and an installation that is verified.

Whatever says that something is done is written whole, and after what it speaks of was synced. A
seal says that a part of a venv is installed: it holds the hash of each of its files, which are
looked at again, not believed.

Stdlib only and alone in its file: the workstation sends this text to any Python there
(`python -c TEXT DO ...`): `keep PARTIAL TARGET`, `look VENV`, `has VENV FILES`,
`seal VENV PART KEY`, `unseal VENV PART`.
"""

import base64
import csv
import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from llmpi.device.records import Installed, Sealed

PARTS = ("engine", "llmpi")
"""Of a venv: what llmpi's wheel brings, and all else."""
PACKAGES = ("llmpi", "snakemake_logger_plugin_llmpi")
"""Those of the wheel; the second is of no use on a device."""
OF_LLMPI = re.compile(
    rf"lib/python[\d.]+/site-packages/(({'|'.join(PACKAGES)})/|llmpi-[^/]*\.dist-info/)|bin/llmpi"
)
LIST = re.compile(r"lib/python[\d.]+/site-packages/[^/]+\.dist-info/RECORD")
"""A package's own list of files; those that it carries of others speak of other places."""
SEALED = ".sealed"
TOLD = 5
"""So many damaged files are named."""


# --- files ----------------------------------------------------------------------------------------


def write_whole(path: Path, text: str) -> None:
    """Write a file that is there as a whole or not at all, whenever the power goes."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with partial.open("w", encoding="utf-8") as file:
            file.write(text)
        keep(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def keep(partial: Path, target: Path) -> None:
    """Give a file that is complete its name, to stay."""
    sync(partial)
    partial.replace(target)
    sync(target.parent)


def sync(path: Path) -> None:
    """Have a file's content, or a folder's names, on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# --- an installation ------------------------------------------------------------------------------


def look(venv: Path) -> "Installed":
    """What is installed of each part, and which files of it are not what they were.

    Bytecode that no seal vouches for is removed: Python writes it anew, and would die of half a
    file.
    """
    seals = {part: _read(venv, part) for part in PARTS}
    now = {path: _state(venv / path) for path in _files(venv)} if any(seals.values()) else {}
    sealed = {path for seal in seals.values() if seal for path in seal.files}
    for stray in now.keys() - sealed:
        if stray.endswith(".pyc"):
            (venv / stray).unlink(missing_ok=True)
    return {
        "engine": _held(seals["engine"], now),
        "llmpi": _held(seals["llmpi"], now),
    }


def _held(seal: "Seal | None", now: dict[str, str]) -> "Sealed | None":
    if seal is None:
        return None
    damaged = sorted(path for path, state in seal.files.items() if now.get(path) != state)
    return {"key": seal.key, "damaged": len(damaged), "such_as": damaged[:TOLD]}


def is_whole(found: "Installed") -> bool:
    """Whether all is there, as it was installed."""
    return all(held and not held["damaged"] for held in (found["engine"], found["llmpi"]))


def has(venv: Path, files: dict[str, str]) -> bool:
    """Whether what is installed of llmpi has these files: path below `site-packages`, and hash."""
    found = _read(venv, "llmpi")
    there = found.files.items() if found else ()
    return files.items() <= {path.partition("site-packages/")[2]: h for path, h in there}.items()


def seal(venv: Path, part: str, key: str) -> None:
    """Say that a part is installed, once all of it is on the disk.

    Raises:
        SystemExit: a file is not what its wheel says.
    """
    files = {path: _state(venv / path) for path in _files(venv) if _part_of(path) == part}
    for record in filter(LIST.fullmatch, files):
        packages = record.rpartition("/")[0].rpartition("/")[0]
        recorded = _recorded(venv / record)
        wrong = [path for path, sha256 in recorded if files.get(f"{packages}/{path}") != sha256]
        if wrong or not recorded:
            place = venv / (f"{packages}/{wrong[0]}" if wrong else record)
            raise SystemExit(f"{place} is not what its wheel says: the disk may be bad")
    os.sync()
    write_whole(_place(venv, part), json.dumps({"key": key, "files": files}))


def unseal(venv: Path, part: str) -> None:
    """Before a part is replaced: it counts as not installed. Of llmpi, all is removed."""
    _place(venv, part).unlink(missing_ok=True)
    if venv.is_dir():
        sync(venv)
    if part == "llmpi":
        for path in [path for path in _files(venv) if _part_of(path) == part]:
            (venv / path).unlink()
        for packages in venv.glob("lib/python*/site-packages"):
            own = (packages / name for name in PACKAGES)
            for folder in (*own, *packages.glob("llmpi-*.dist-info")):
                shutil.rmtree(folder, ignore_errors=True)


class Seal(NamedTuple):
    """What says that a part is installed."""

    key: str
    files: dict[str, str]
    """What `_state` said of each."""


def _read(venv: Path, part: str) -> Seal | None:
    """What cannot be read is not there; nor is a venv of another Python than this one."""
    major, minor = sys.version_info[:2]
    if not (venv / f"lib/python{major}.{minor}").is_dir():
        return None
    try:
        found = json.loads(_place(venv, part).read_text(encoding="utf-8"))
        return Seal(str(found["key"]), dict(found["files"]))
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


def _place(venv: Path, part: str) -> Path:
    return venv / f"llmpi-{part}{SEALED}"


def _part_of(path: str) -> str:
    return "llmpi" if OF_LLMPI.match(path) else "engine"


def _files(venv: Path) -> Iterator[str]:
    """All files and links of a venv, relative to it."""
    for path in venv.rglob("*"):
        if (path.is_symlink() or path.is_file()) and path.suffix != SEALED:
            yield str(path.relative_to(venv))


def _state(path: Path) -> str:
    """What a file must be to count as the same; of a link where it leads, of a folder nothing."""
    try:
        if path.is_symlink():
            return f"-> {path.readlink()}"
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return f"unreadable: {error.strerror}"


def _recorded(record: Path) -> list[tuple[str, str]]:
    """Files beside a package's list and their hashes (PEP 376, PEP 427); what pip made has none."""
    with record.open(newline="", encoding="utf-8") as file:
        rows = [(path, given.partition("=")) for path, given, *_ in csv.reader(file)]
    return [
        (path, base64.urlsafe_b64decode(f"{digest}==").hex())
        for path, (kind, _, digest) in rows
        if kind == "sha256" and not path.startswith("../")
    ]


DO: dict[str, Callable[..., object]] = {
    "keep": lambda partial, target: keep(Path(partial), Path(target)),
    "look": lambda venv: print(json.dumps(look(Path(venv)))),
    "has": lambda venv, files: print(json.dumps(has(Path(venv), json.loads(files)))),
    "seal": lambda venv, part, key: seal(Path(venv), part, key),
    "unseal": lambda venv, part: unseal(Path(venv), part),
}

if __name__ == "__main__":
    DO[sys.argv[1]](*sys.argv[2:])
