"""Records: the JSON files that rules hand to one another, written whole or not at all.

What a file holds is a type of the room that writes it (`docs/records.md`). A file that comes from
elsewhere (a device, a judge, an older run) is checked against it where it is read.
"""

import fcntl
import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import cache
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from typing_extensions import TypeForm

from llmpi.device.durable import keep
from llmpi.engine.progress import Bytes
from llmpi.engine.records import Failed
from llmpi.engine.shown import visible
from llmpi.errors import LlmpiError
from llmpi.job_lines import FAILED

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails, SchemaValidator

log = logging.getLogger(__name__)

Kind = TypeVar("Kind")


HASHED_AT_ONCE = 1 << 20


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
    from pydantic import ValidationError  # slow, and an engine's child process only writes

    try:
        found: Kind = _validator(kind).validate_json(content)  # type: ignore[arg-type]  # hashable
        return found
    except ValidationError as error:
        raise RecordError(f"{where}: {_explained(error)}") from error


@cache
def _validator(kind: Any) -> "SchemaValidator":
    from pydantic import TypeAdapter
    from pydantic_core import SchemaValidator

    schema = TypeAdapter(kind).core_schema
    return SchemaValidator(_first_fits(schema, _types_of_names(schema)))


def _first_fits(schema: Any, types: Mapping[str, str]) -> Any:
    """Of several records the first that fits, as their tags tell which it is: the others need not
    be tried, which takes most of a large record's time."""
    if isinstance(schema, dict):
        found = {key: _first_fits(part, types) for key, part in schema.items()}
        if found.get("type") == "union":
            choices = [one[0] if isinstance(one, tuple) else one for one in found["choices"]]
            if all(types.get(one.get("schema_ref"), one["type"]) == RECORD for one in choices):
                found["mode"] = "left_to_right"
        return found
    if isinstance(schema, list | tuple):
        return type(schema)(_first_fits(part, types) for part in schema)
    return schema


RECORD = "typed-dict"
"""As pydantic calls it."""


def _types_of_names(schema: Any) -> dict[str, str]:
    """Of what a schema defines once and then names."""
    return {one["ref"]: one["type"] for one in schema.get("definitions", ())}


def _explained(error: "ValidationError") -> str:
    """The first thing that is wrong, with its place."""
    details = error.errors(include_url=False, include_input=False)
    others = _other_alternatives(details)
    meant = [detail for detail in details if others.isdisjoint(_within(detail["loc"]))]
    first = (meant or details)[0]
    place = ".".join(str(part) for part in first["loc"] if not _is_type(part))
    more = f" (and {len(meant) - 1} more)" if len(meant) > 1 else ""
    return f"{place or 'as a whole'}: {first['msg']}{more}"


TAGS = ("status", "kind", "task")
"""Fields that tell which of several types a record is of."""

Place = tuple[int | str, ...]


def _other_alternatives(details: "list[ErrorDetails]") -> set[Place]:
    """Where a type was tried that the record, by its tags, is not of."""
    return {
        detail["loc"][:-1]
        for detail in details
        if detail["type"] == "literal_error"
        and len(detail["loc"]) > 1
        and detail["loc"][-1] in TAGS
    }


def _within(place: Place) -> list[Place]:
    """A place and all that it lies in."""
    return [place[:end] for end in range(len(place) + 1)]


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


def write_json(
    path: Path,
    record: Mapping[str, object],  # of any kind
    *,
    indent: int | None = 1,
) -> None:
    """Write `record` atomically; of a failed one its reason is logged.

    Args:
        indent: blanks a level; None for what is too long to be read: all in one line, in a quarter
            of the time.
    """
    with whole_file(path) as partial:
        # A record is a tree: to look for circles in a long one takes a fifth of the time.
        text = json.dumps(record, indent=indent, ensure_ascii=False, check_circular=False)
        partial.write_text(visible_json(text) + "\n", "utf-8")
    if record.get("status") == "failed":
        log.error("%s%s", FAILED, record.get("reason"))


def visible_json(text: str) -> str:
    """A text of JSON with what `visible` escapes: there an escape is the same character.

    The controls of ASCII JSON has escaped itself, but for the last: a long text without others need
    not be looked through one by one.
    """
    return text.replace("\x7f", "\\u007f") if text.isascii() else visible(text)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place, to stay, only if the block ends well.

    What a killed process left of the same file is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_stale(path)
    handle, partial = _locked_partial(path)
    try:
        yield partial
        mask = os.umask(0)
        os.umask(mask)
        partial.chmod(0o666 & ~mask)  # mkstemp makes 0600; a result is an ordinary file
        keep(partial, path)
    finally:
        partial.unlink(missing_ok=True)
        os.close(handle)


def _locked_partial(path: Path) -> tuple[int, Path]:
    """Before its lock another process may have taken it for stale: then one more is made."""
    while True:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        with suppress(OSError):  # where the file system has no locks, nothing is taken for stale
            fcntl.flock(handle, fcntl.LOCK_EX)
        if (partial := Path(name)).exists():
            return handle, partial
        os.close(handle)


def _remove_stale(path: Path) -> None:
    """A lock goes with its process, wherever that ran; an age would tell nothing of it."""
    for other in path.parent.glob(f".{escape(path.name)}.????????.part"):
        with suppress(OSError), other.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            other.unlink()


def sha256_of(path: Path) -> str:
    digest, done = hashlib.sha256(), 0
    with path.open("rb") as file:
        progress = Bytes(os.fstat(file.fileno()).st_size, f"of {path.name} hashed", say=log.info)
        while piece := file.read(HASHED_AT_ONCE):
            digest.update(piece)
            done += len(piece)
            progress.at(done)
    return digest.hexdigest()


def sha256_of_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def sha256_of_json(content: Any) -> str:
    return sha256_of_text(json.dumps(content, sort_keys=True))
