"""Records are checked against their types where they are read."""

import fcntl
import json
from pathlib import Path
from typing import Literal

import pytest
from typing_extensions import TypedDict

from llmpi import records
from llmpi.engine.records import Failed, record
from llmpi.records import RecordError, check, failed, read, whole_file, write_json


@record
class Part(TypedDict):
    status: Literal["ok"]
    latency_s: float
    tokens: list[int]


@record
class Whole(TypedDict):
    status: Literal["ok"]
    parts: dict[str, Part | Failed]


CHAT = {"status": "ok", "latency_s": 1.5, "tokens": [1]}
GOOD = {"status": "ok", "parts": {"chat": CHAT}}


def broken(text: str) -> str:
    with pytest.raises(RecordError) as caught:
        check(text, Whole | Failed, "results/x.json")
    return str(caught.value)


def test_what_fits_is_read_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps(GOOD))
    assert read(path, Whole | Failed) == GOOD


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"tokens": None}, "tokens: Input should be a valid array"),
        ({"latency_s": "1.5"}, "latency_s: Input should be a valid number"),
        ({"latency_s": float("nan")}, "latency_s: Input should be a finite number"),
        ({"latency_s": float("inf")}, "latency_s: Input should be a finite number"),
        ({"tokens": [1, "a"]}, "tokens.1: Input should be a valid integer"),
        ({"more": 1}, "more: Extra inputs are not permitted"),
    ],
)
def test_a_field_that_does_not_fit_is_named(change: dict, says: str) -> None:
    text = json.dumps({**GOOD, "parts": {"chat": CHAT | change}})
    assert broken(text).startswith(f"results/x.json: parts.chat.{says}")


def test_the_type_that_its_status_says_is_meant() -> None:
    text = json.dumps({**GOOD, "parts": {"chat": {"status": "failed", "stage": "quantize"}}})
    assert broken(text) == "results/x.json: parts.chat.reason: Field required"


def test_thousands_of_faults_are_told_as_one() -> None:
    """A record of an older version: each of its items lacks the new field. Holding every fault
    against every other took minutes."""
    parts = {f"part{at}": {"status": "ok", "tokens": [1]} for at in range(10_000)}
    told = broken(json.dumps({"status": "ok", "parts": parts}))
    assert told == "results/x.json: parts.part0.latency_s: Field required (and 9999 more)"


def test_an_infinity_by_overflow_does_not_pass() -> None:
    assert "latency_s" in broken(json.dumps(GOOD).replace("1.5", "1e999"))


@pytest.mark.parametrize("text", ["", "[]", "null", '{"status": "ok"', '"ok"', "\x00"])
def test_no_record_at_all(text: str) -> None:
    assert broken(text).startswith("results/x.json: ")


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"x\.json: cannot be read"):
        read(tmp_path / "x.json", Whole)


def test_the_record_of_a_failed_cell_is_logged_with_its_reason(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Who watches the run hears of it at once; the job itself ends well."""
    write_json(tmp_path / "ok.json", {"status": "ok"})
    assert not caplog.messages
    write_json(tmp_path / "failed.json", failed("quantize", "no such type"))
    assert caplog.messages == ["failed: no such type"]


def test_a_partial_file_that_is_taken_for_stale_before_its_lock_is_made_again(
    monkeypatch, tmp_path: Path
) -> None:
    """By another process that begins the same file at this moment."""
    lock, others = fcntl.flock, [lambda: records._remove_stale(tmp_path / "x.json")]

    def after_the_other(handle: int, how: int) -> None:
        while others:
            others.pop()()
        lock(handle, how)

    monkeypatch.setattr(records.fcntl, "flock", after_the_other)
    with whole_file(tmp_path / "x.json") as partial:
        assert partial.exists()
        partial.write_text("{}")
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]
