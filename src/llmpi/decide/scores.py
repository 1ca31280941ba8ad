"""The numbers of a row's quality that the choice rests on, by the names of its kinds' columns."""

from llmpi.quality.records import Reason
from llmpi.summary.estimate import Estimate
from llmpi.summary.records import Row


def number(row: Row, task: str, name: str) -> float | None:
    """A number that the kind of a task adds to the row."""
    value = row["quality"][task][name]
    assert value is None or isinstance(value, int | float), f"{task}: {name}"
    return value


def text(row: Row, task: str, name: str) -> str | None:
    """A text that the kind of a task adds to the row, or that every kind has."""
    value = row["quality"][task][name]
    assert value is None or isinstance(value, str), f"{task}: {name}"
    return value


def reason(row: Row, task: str) -> Reason:
    """Why there is no score; the status where nothing says more."""
    value = row["quality"][task]["reason"] or row["quality"][task]["status"]
    assert isinstance(value, str | list), f"{task}: reason"
    return value


def f1(row: Row, task: str, name: str = "f1") -> Estimate | None:
    """F1 of a `squad` task, %, over all questions or over some (`has_ans_f1`)."""
    value = number(row, task, f"{name}_pct")
    low, high = number(row, task, f"{name}_low_pct"), number(row, task, f"{name}_high_pct")
    return None if value is None else Estimate(value, low, high)


def items(row: Row, task: str) -> int:
    """Questions of a `squad` task that were scored."""
    return int(number(row, task, "items") or 0)
