"""What is counted of memory: what page faults bring from storage, and when that is overflow."""

import json
import mmap
import os
from pathlib import Path

import made_records as made
import pytest
from support import unavailable

from llmpi.device.measure.conversation import kept_in_memory
from llmpi.device.measure.memory import forget_cached, untouched, watching
from llmpi.device.measure.session import _mark
from llmpi.engine.records import SessionRecord
from llmpi.records import check

SIZE = 16 << 20


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """A file that is in its storage alone."""
    if kept_in_memory(tmp_path):
        unavailable("the temporary folder is memory")
    (path := tmp_path / "weights").write_bytes(os.urandom(SIZE))
    forget_cached(path)
    return path


def test_what_is_read_ahead_counts_as_fetched(stored: Path) -> None:
    memory = untouched(None)
    with stored.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as weights:
        with watching(memory):
            sum(weights[:: mmap.PAGESIZE])
        assert memory["fetched_bytes"] == pytest.approx(SIZE, rel=0.2)
        with watching(memory):
            sum(weights[:: mmap.PAGESIZE])
    assert memory["fetched_bytes"] == pytest.approx(SIZE, rel=0.2), "it is there already"


def test_what_was_asked_for_is_not_fetched(stored: Path) -> None:
    """The saved state of a conversation is read again on purpose."""
    memory = untouched(None)
    with watching(memory):
        stored.read_bytes()
    assert memory["fetched_bytes"] is not None
    assert memory["fetched_bytes"] < SIZE / 10


@pytest.mark.parametrize(
    ("faults", "fetched", "swapped", "overflows"),
    [
        (4, 4 * 131072, 0, False),
        (5, 0, 0, True),
        (1, 4 * 131072 + 4096, 0, True),
        (1, None, 0, False),
        (0, 0, 4096, True),
        (None, None, None, False),
    ],
)
def test_overflow_is_more_from_storage_than_a_fault_for_each_token(
    faults: int | None, fetched: int | None, swapped: int | None, overflows: bool
) -> None:
    cell = made.cell([made.repetition(1.0, [0.5] * 4)])
    cell["memory"] |= {"major_faults": faults, "fetched_bytes": fetched, "swap_bytes": swapped}
    _mark(made.session({"chat": cell}), [], 100.0)
    assert cell["marks"] == (["memory-bound: overflow"] if overflows else [])


def test_what_was_measured_before_it_was_counted_is_still_read() -> None:
    """Two engines, two dates, two firmwares are compared by records of then and now."""
    cell = made.cell([made.repetition(1.0, [0.5] * 4)])
    del cell["memory"]["fetched_bytes"]
    then = made.session({"chat": cell})
    assert check(json.dumps(then), SessionRecord, "then") == then
