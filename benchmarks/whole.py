"""Records of benchmarks: a failure ends one."""

from typing import TypeVar

from typing_extensions import TypeIs

from llmpi.engine.records import Failed

Kind = TypeVar("Kind")


def whole(record: Kind | Failed) -> Kind:
    """The record, unless it tells of a failure: that ends the benchmark."""
    if _has_failed(record):
        raise SystemExit(f"{record['stage']} failed: {record['reason']}")
    return record


def _has_failed(record: object) -> TypeIs[Failed]:
    return isinstance(record, dict) and record["status"] == "failed"
