"""The model files in a device's store: taken in by their hash, removed when room is needed.

Beside each file lies its record: hash, size, when it was last used. A file without one is not
llmpi's and is never removed. A file that a release of the service holds by a hard link is not
removed either: that would free nothing.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from typing_extensions import TypedDict

from llmpi.device import durable
from llmpi.device.records import Expected


class NoRoomError(Exception):
    """The disk is too full for the file; the message is for a person."""


class QuotaError(Exception):
    """The file alone is larger than the quota; the message is for a person."""


class Kept(TypedDict):
    """The record beside a file."""

    sha256: str
    bytes: int
    mtime_ns: int
    used: float
    """Seconds since 1970."""


def expect(
    store: Path, name: str, size: int, sha256: str, quota: int | None, fresh: bool = False
) -> Expected:
    """Get ready for a file of `size` bytes: what is there of it, and room for the rest.

    Args:
        name: below the store's models, such as `llama/Q4_0.gguf`.
        quota: bytes that all files of llmpi may take here; None for what the disk has.
        fresh: throw away what an earlier transfer left.

    Raises:
        QuotaError: it will never fit.
        NoRoomError: the disk is too full.
    """
    target = _models(store) / name
    partial = target.with_name(f".{target.name}.{sha256[:12]}.part")
    if target.is_file() and sha256_of(target) == sha256:
        _write_record(target, sha256)
        return _expected(target, partial, size, here=True)
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    for record in _models(store).glob("*/*.gguf.json"):
        if not record.with_suffix("").exists():  # the power went between the two
            record.unlink()
    for stale in target.parent.glob(f".{target.name}.*.part"):
        if fresh or stale != partial or stale.stat().st_size > size:
            stale.unlink()
    there = partial.stat().st_size if partial.exists() else 0
    removed = _make_room(store, size - there, size, quota, target)
    return _expected(target, partial, there, removed=removed)


def _expected(
    target: Path, partial: Path, there: int, *, here: bool = False, removed: Sequence[str] = ()
) -> Expected:
    return {
        "path": str(target),
        "here": here,
        "partial": str(partial),
        "there": there,
        "removed": [*removed],
    }


def accept(store: Path, name: str, sha256: str) -> bool:
    """Give a file that has arrived its name, if its hash is right; else it is removed."""
    target = _models(store) / name
    partial = target.with_name(f".{target.name}.{sha256[:12]}.part")
    if sha256_of(partial) != sha256:
        partial.unlink()
        return False
    _record(target).unlink(missing_ok=True)  # of the file that is replaced
    durable.keep(partial, target)
    _write_record(target, sha256)
    return True


def use(path: Path, sha256: str) -> bool:
    """Whether a file is still the one that was taken in; then it counts as used now."""
    record = _read_record(path)
    sound = record is not None and record["sha256"] == sha256 and _unchanged(path, record)
    if sound:
        _write_record(path, sha256)
    return sound


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _make_room(store: Path, need: int, size: int, quota: int | None, target: Path) -> list[str]:
    if quota is not None and size > quota:
        raise QuotaError(
            f"{target.name} has {_gb(size)}, more than the device's quota of {_gb(quota)}"
        )
    removed: list[str] = []
    own = sorted(_own(store), key=_used)
    while True:
        held = _held(store)
        free = shutil.disk_usage(_models(store)).free
        if free >= need and (quota is None or held + need <= quota):
            return removed
        if not own:
            raise NoRoomError(
                f"{target.name} needs {_gb(need)} more at {store}, where {_gb(free)} are free and "
                f"llmpi's own files take {_gb(held)}"
                + (f" of a quota of {_gb(quota)}" if quota is not None else "")
                + ". Make room there, or name a store on a larger disk."
            )
        oldest = own.pop(0)
        oldest.unlink()
        _record(oldest).unlink()
        removed.append(str(oldest))


def _models(store: Path) -> Path:
    folder = store / "models"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def _own(store: Path) -> list[Path]:
    """Files that may make room."""
    released = {path.stat().st_ino for path in _released(store)}
    return [
        path
        for path in _models(store).glob("*/*.gguf")
        if _read_record(path) and path.stat().st_ino not in released
    ]


def _used(path: Path) -> float:
    record = _read_record(path)
    return record["used"] if record else 0.0


def _held(store: Path) -> int:
    """Bytes that all files of llmpi take, each counted once however many names it has."""
    ours = [path for path in _models(store).glob("*/*") if _is_ours(path)]
    states = [path.stat() for path in (*ours, *_released(store))]
    return sum({state.st_ino: state.st_size for state in states}.values())


def _released(store: Path) -> list[Path]:
    """Model files of the service's releases (`llmpi.device.service.releases`)."""
    return list((store / "service/releases").glob("*/model*.gguf"))


def _is_ours(path: Path) -> bool:
    return path.name.endswith(".part") or _read_record(path) is not None


def _record(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _read_record(path: Path) -> Kept | None:
    try:
        record: Kept = json.loads(_record(path).read_text())
        return record if Kept.__required_keys__ <= record.keys() else None
    except (OSError, ValueError, AttributeError):
        return None


def _write_record(path: Path, sha256: str) -> None:
    state = path.stat()
    record: Kept = {
        "sha256": sha256,
        "bytes": state.st_size,
        "mtime_ns": state.st_mtime_ns,
        "used": time.time(),
    }
    durable.write_whole(_record(path), json.dumps(record))


def _unchanged(path: Path, record: Kept) -> bool:
    try:
        state = path.stat()
    except OSError:
        return False
    return (state.st_size, state.st_mtime_ns) == (record["bytes"], record["mtime_ns"])


def _gb(count: int) -> str:
    return f"{count / 1e9:.2f} GB"
