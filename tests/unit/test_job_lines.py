"""What jobs say to who watches, and how it is heard."""

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmpi.engine.progress import Bytes, Progress, Step, step_in
from llmpi.job_lines import JobFormatter, JobLine, heard, job_line, job_name

NAMES = st.lists(st.from_regex(r"[a-zA-Z0-9_.+-]+", fullmatch=True), min_size=2, max_size=5).map(
    "/".join
)
TEXTS = st.text(st.characters(exclude_categories=["C", "Z"]) | st.just(" "), min_size=1)


@given(NAMES)
def test_a_job_is_named_by_its_log(name: str) -> None:
    assert job_name(f"logs/{name}.log") == name


@given(NAMES, TEXTS)
def test_what_a_job_says_is_heard(name: str, text: str) -> None:
    assert heard(job_line(name, text)) == JobLine(name, text)


@given(NAMES, st.lists(TEXTS, min_size=1))
def test_every_line_has_its_job(name: str, lines: list[str]) -> None:
    found = [heard(line) for line in job_line(name, "\n".join(lines)).split("\n")]
    assert found == [JobLine(name, line) for line in lines]


@pytest.mark.parametrize("line", ["", "chat: 12", "12:00:00", "12:00:00 Building DAG", "a b/c d"])
def test_what_others_say_is_no_jobs(line: str) -> None:
    assert heard(line) is None


def test_a_warning_is_called_one() -> None:
    record = logging.makeLogRecord({"msg": "hot", "levelno": logging.WARNING})
    assert JobFormatter("a/b").format(record).endswith(" a/b warning: hot")


@given(st.integers(1, 10**9), st.data())
def test_how_far_it_is_can_be_read_from_what_progress_says(total: int, data: st.DataObject) -> None:
    done = data.draw(st.integers(0, total))
    said: list[str] = []
    progress = Progress(total, "questions", say=said.append)
    progress.EVERY_S = 0.0
    progress.at(done, "loss 2.1")
    found = step_in(said[0])
    assert found is not None
    assert (found.done, found.total) == (done, total)
    assert found.more.startswith("questions, ")
    assert found.more.endswith(", loss 2.1")


def test_what_was_done_before_is_no_rate() -> None:
    said: list[str] = []
    Progress(100, "steps", done=100, say=said.append).at(0)
    assert said == ["100/100 steps, 0/s"]


def test_repetitions_say_how_far_they_are() -> None:
    assert step_in("[3/10] chat: pp 12.1 t/s") == Step(3, 10, "chat: pp 12.1 t/s")
    assert step_in("loaded in 0.3 s") is None
    assert step_in("1/0 items") is None


@given(st.integers(0, 10**11), st.data())
def test_of_a_file_that_is_soon_through_nothing_is_said(size: int, data: st.DataObject) -> None:
    said: list[str] = []
    progress = Bytes(size, "of m.gguf hashed", say=said.append)
    progress.EVERY_S = 1e9
    for done in sorted(data.draw(st.lists(st.integers(0, size)))):
        progress.at(done)
    assert not said


def test_of_a_file_that_takes_long_every_line_says_how_far() -> None:
    said: list[str] = []
    progress = Bytes(3_000_000_000, "of m.gguf sent", done=1_000_000_000, say=said.append)
    progress.EVERY_S = 0.0
    progress.at(2_000_000_000)
    found = step_in(said[0])
    assert found is not None
    assert (found.done, found.total) == (2000, 3000)
    assert found.more.startswith("MB of m.gguf sent, ")
