"""The log of a USB meter: rows of time and power, as its program writes them."""

import csv
import math
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from llmpi.device.machine.meters import MOST_W
from llmpi.errors import LlmpiError
from llmpi.study.meters import CsvMeter

SHOWN = 60


def read_log(meter: CsvMeter) -> tuple[list[tuple[float, float]], list[str]]:
    """Its rows (this machine's time in seconds since 1970, power in W) in order of time, and what
    is wrong with each of the others.

    The end of a line that is being written is no row; a header that comes again, as when the
    program was restarted, is none either.

    Raises:
        LlmpiError: the file cannot be read, or lacks a column.
    """
    path = Path(meter.path)
    if path.exists() and not path.is_file():
        raise LlmpiError(f"the meter's log {path} is no file")
    try:
        with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
            return _rows(meter, path, file)
    except OSError as error:
        raise LlmpiError(f"the meter's log {path} cannot be read: {error.strerror}") from error


def _rows(
    meter: CsvMeter, path: Path, lines: Iterator[str]
) -> tuple[list[tuple[float, float]], list[str]]:
    header = _cells(next(lines, ""))
    for column in (meter.time_column, meter.power_column):
        if column not in header:
            raise LlmpiError(
                f"the meter's log {path} has no column {column!r} but {', '.join(header)[:200]!r}"
            )
    time, power = header.index(meter.time_column), header.index(meter.power_column)
    rows, failures = [], []
    for number, line in enumerate(lines, start=2):
        cells = _cells(line)
        if not line.endswith(("\n", "\r")) or not line.strip() or cells == header:
            continue
        try:
            rows.append((_stamp(cells[time]) + meter.offset_s, _watts(cells[power])))
        except (ValueError, IndexError, OverflowError):
            failures.append(f"line {number} of {path} is {line.strip()[:SHOWN]!r}")
    return sorted(rows), failures


def _cells(line: str) -> Sequence[str]:
    """Each line by itself: a quote that is not closed takes no other line with it."""
    try:
        return next(csv.reader([line]), [])
    except csv.Error:
        return []


def _stamp(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = datetime.fromisoformat(text).timestamp()
    if not math.isfinite(found):
        raise ValueError(text)
    return found


def _watts(text: str) -> float:
    found = float(text)
    if not abs(found) <= MOST_W:
        raise ValueError(text)
    return found
