"""Results as they are found: a record of its type, or why there is none."""

from pathlib import Path
from typing import Literal, TypeVar

from typing_extensions import TypedDict, TypeForm

from llmpi import layout
from llmpi.engine.records import Failed, record
from llmpi.records import RecordError, read

Kind = TypeVar("Kind")


@record
class NotRun(TypedDict):
    """What has no record; it was not run yet."""

    status: Literal["not run"]
    stage: None
    reason: str


def result(kind: TypeForm[Kind], pattern: str, **wildcards: str) -> Kind | Failed | NotRun:
    """The file of a pattern of the layout.

    One that does not fit its type is as good as a cell that failed: the reason names the file and
    the field, and the others are still reported.
    """
    path = Path(layout.at(pattern, **wildcards))
    if not path.is_file():
        return {"status": "not run", "stage": None, "reason": "no record; it was not run yet"}
    either: TypeForm[Kind | Failed] = kind | Failed  # type: ignore[assignment]  # types can be or-ed
    try:
        return read(path, either)
    except RecordError as error:
        return {"status": "failed", "stage": "record", "reason": str(error)}
