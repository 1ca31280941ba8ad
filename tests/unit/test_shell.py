"""What a shell prints is told from what a command prints, in whatever pieces it comes."""

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmpi.remote import shell
from llmpi.remote.shell import Call, FloodError, Lines, Said

MARK = "0123456789abcdef" * 2
texts = st.text(st.sampled_from("ab 0123f\n;\x00é{}"), max_size=60)


@st.composite
def pieces(draw: st.DrawFn, text: str) -> list[str]:
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=8)))
    return [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]


@given(st.data(), texts, texts, st.integers(0, 255), texts)
def test_in_any_pieces(
    data: st.DataObject, before: str, answer: str, status: int, after: str
) -> None:
    said = Said(MARK)
    for piece in data.draw(pieces(f"{before}{MARK}{answer}{MARK}{status};{after}")):
        said.write(piece)
    assert (said.before, said.answer, said.status, said.after) == (before, answer, status, after)


@given(st.data(), texts, texts)
def test_lines_in_any_pieces(data: st.DataObject, text: str, after: str) -> None:
    heard: list[str] = []
    lines = Lines(MARK, heard.append)
    for piece in data.draw(pieces(f"{text}{MARK}{after}\n")):
        lines.write(piece)
    assert lines.is_over
    split = data.draw(st.just((text + after).split("\n")))
    assert "".join(heard) == "".join(split)


@pytest.mark.parametrize("begun", ["", MARK])
def test_a_flood_has_an_end(monkeypatch: pytest.MonkeyPatch, begun: str) -> None:
    monkeypatch.setattr(shell, "MOST_CHARACTERS", 10_000)
    monkeypatch.setattr(shell, "MOST_OF_THE_SHELL", 10_000)
    said = Said(MARK)
    said.write(begun)
    with pytest.raises(FloodError):
        for _ in range(11):
            said.write("y\n" * 500)


def test_a_flood_of_one_line_of_the_log_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shell, "MOST_OF_THE_LOG", 1_000_000)
    lines = Lines(MARK, None)
    with pytest.raises(FloodError):
        for _ in range(11):
            lines.write("x" * 100_000)
    assert lines.tail


@given(st.lists(st.text(st.characters(blacklist_characters="\x00", codec="utf-8")), max_size=3))
def test_arguments_arrive(arguments: list[str]) -> None:
    call = Call(["printf", "<%s>", *arguments], None)
    done = subprocess.run(call.argv, capture_output=True, check=True)
    call.said.write(done.stdout.decode())
    assert call.said.answer == ("".join(f"<{one}>" for one in arguments) or "<>")
    assert call.said.status == 0
