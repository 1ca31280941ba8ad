"""What stands on a terminal is broken between words."""

import sys

import pytest

from llmpi.aligned import aligned, in_width

SENTENCE = "! answers, no_ans: 42 questions show that no more than 5 points are lost hardly"


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "40")


@pytest.mark.usefixtures("terminal")
def test_a_sentence_is_broken_between_words() -> None:
    lines = in_width(f"{SENTENCE}\n\nshort").split("\n")
    assert lines[-2:] == ["", "short"]
    assert len(lines) == 5
    assert max(map(len, lines)) <= 40
    assert " ".join(line.strip() for line in lines[:-2]) == SENTENCE
    assert all(line.startswith("  ") for line in lines[1:-2])


@pytest.mark.usefixtures("terminal")
def test_a_table_stays_as_it_is() -> None:
    rows = "\n".join(aligned([["model", "a" * 30, "1"], ["another", "b" * 30, "22"]]))
    assert in_width(rows) == rows
    path = f"config/{'x' * 60}.yaml"
    assert in_width(path) == path, "not to be copied otherwise"


def test_a_pipe_gets_it_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False, raising=False)
    monkeypatch.setenv("COLUMNS", "40")
    assert in_width(SENTENCE) == SENTENCE
