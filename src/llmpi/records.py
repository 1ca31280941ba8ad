"""Records: the JSON files that rules hand to one another, written whole or not at all.

What a file holds is a type of the room that writes it (`docs/records.md`). A file that comes from
elsewhere (a device, a judge, an older run) is checked against it where it is read.
"""

import errno
import fcntl
import glob
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails
from typing_extensions import TypeForm

from llmpi.device.durable import keep
from llmpi.engine.records import Failed
from llmpi.engine.shown import visible
from llmpi.errors import LlmpiError

Kind = TypeVar("Kind")


NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
"""What the kernel calls a full disk, and a quota that is used up."""


class RecordError(LlmpiError):
    """A file does not hold what its type says; the message names the file and the field."""


def read(path: Path, kind: TypeForm[Kind]) -> Kind:
    """The record in a file, checked against its type, such as `Session | Failed`.

    Raises:
        RecordError: it cannot be read, is no JSON, or does not fit.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RecordError(f"{path}: cannot be read ({error.strerror})") from error
    return check(content, kind, str(path))


def check(content: bytes | str, kind: TypeForm[Kind], where: str) -> Kind:
    """JSON text as the record it should be; `where` it is from, for the error.

    Raises:
        RecordError: it is no JSON, or does not fit.
    """
    try:
        return _adapter(kind).validate_json(content)  # type: ignore[arg-type]  # types are hashable
    except ValidationError as error:
        raise RecordError(f"{where}: {_explained(error)}") from error


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _explained(error: ValidationError) -> str:
    """The first thing that is wrong, with its place."""
    details = error.errors(include_url=False)
    meant = [detail for detail in details if not _other_alternative(detail, details)]
    first = (meant or details)[0]
    place = ".".join(str(part) for part in first["loc"] if not _is_type(part))
    more = f" (and {len(meant) - 1} more)" if len(meant) > 1 else ""
    return f"{place or 'as a whole'}: {first['msg']}{more}"


TAGS = ("status", "kind", "task")
"""Fields that tell which of several types a record is of."""


def _other_alternative(detail: ErrorDetails, details: list[ErrorDetails]) -> bool:
    """Whether it is about a type that the record, by its tags, is not of."""
    return any(
        other["type"] == "literal_error"
        and other["loc"][-1] in TAGS
        and detail["loc"][: len(other["loc"]) - 1] == other["loc"][:-1]
        for other in details
        if len(other["loc"]) > 1
    )


def _is_type(part: int | str) -> bool:
    """Whether a part of a place is the name of a type, not of a field."""
    return isinstance(part, str) and part[:1].isupper()


def now() -> str:
    """The time, UTC, to the second, as ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def failed(stage: str, reason: str, *, log_tail: str | None = None) -> Failed:
    """The record of a cell that cannot work: at which stage, and why."""
    found: Failed = {"status": "failed", "stage": stage, "reason": reason}
    return found if log_tail is None else {**found, "log_tail": log_tail}


def is_ok(record: Mapping[str, object]) -> bool:  # of any kind
    return record["status"] == "ok"


def write_json(path: Path, record: Mapping[str, object]) -> None:  # of any kind
    """Write `record` atomically."""
    with whole_file(path) as partial:
        text = json.dumps(record, indent=1, ensure_ascii=False)
        # In a text of JSON an escape is the same character.
        partial.write_text(visible(text) + "\n", "utf-8")


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place, to stay, only if the block ends well.

    What a process that was killed left of the same is removed: nobody holds it any more.

    Raises:
        OSError: as the block; it names `path` where there is no room, as a failed write does not.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{glob.escape(path.name)}.????????.part"):
        with suppress(OSError), left.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            left.unlink()
    handle, partial = _held(path)
    try:
        yield partial
        mask = os.umask(0)
        os.umask(mask)
        partial.chmod(0o666 & ~mask)  # mkstemp makes 0600; a result is an ordinary file
        keep(partial, path)
    except OSError as error:
        if error.errno in NO_ROOM:
            error.filename = error.filename or str(path)
        raise
    finally:
        partial.unlink(missing_ok=True)
        os.close(handle)


def _held(path: Path) -> tuple[int, Path]:
    """A new temporary file beside `path`, locked as long as its handle is open."""
    while True:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        with suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:
            return handle, Path(name)
        os.close(handle)  # taken for one that was left, before it was locked


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def sha256_of_json(content: Any) -> str:
    return sha256_of_text(json.dumps(content, sort_keys=True))
