"""Records: the JSON files that rules hand to one another, written whole or not at all."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

Record = dict[str, Any]


def now() -> str:
    """The time, UTC, to the second, as ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def failed(stage: str, reason: str, **more: Any) -> Record:
    """The record of a cell that cannot work: at which stage, and why."""
    return {"status": "failed", "stage": stage, "reason": reason, **more}


def is_ok(record: Record) -> bool:
    return record["status"] == "ok"


def read_json(path: Path) -> Record:
    return json.loads(path.read_text(encoding="utf-8"))


def write_json(path: Path, record: Record) -> None:
    """Write `record` atomically."""
    with whole_file(path) as partial:
        partial.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", "utf-8")


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place only if the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    os.close(handle)
    partial = Path(name)
    try:
        yield partial
        mask = os.umask(0)
        os.umask(mask)
        partial.chmod(0o666 & ~mask)  # mkstemp makes 0600; a result is an ordinary file
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def sha256_of_json(content: Any) -> str:
    return sha256_of_text(json.dumps(content, sort_keys=True))
