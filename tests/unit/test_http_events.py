"""The messages that bytes hold: events as the WHATWG has them, lines of JSON, or one body of it;
however the bytes come in blocks."""

import json
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmpi.device.measure.http_answer import EndpointError, Json
from llmpi.device.measure.http_events import LINE_BYTES, Messages

A, B = {"a": 1}, {"b": "日"}
ENDINGS = ("\n", "\r", "\r\n")


def read(*blocks: bytes) -> list[Json | None]:
    return [*_read(blocks)]


def _read(blocks: tuple[bytes, ...]) -> Iterator[Json | None]:
    messages = Messages(lambda what, said="": f"{what}: {said}")
    for block in blocks:
        yield from messages.of(block)
    yield from messages.at_end()


def events(*messages: object, ending: str = "\n", name: str = "data: ") -> bytes:
    lines = (f"{name}{json.dumps(one, ensure_ascii=False)}{ending * 2}" for one in messages)
    return "".join([*lines, f"{name}[DONE]{ending * 2}"]).encode()


@given(
    ending=st.sampled_from(ENDINGS),
    name=st.sampled_from(["data: ", "data:", ": ping\ndata: ", "id: 7\nretry: 9\ndata:"]),
    cuts=st.lists(st.integers(0, 120)),
    begin=st.sampled_from([b"", b"\xef\xbb\xbf"]),
)
def test_events_are_the_same_however_they_come(
    ending: str, name: str, cuts: list[int], begin: bytes
) -> None:
    body = begin + events(A, B, ending=ending, name=name.replace("\n", ending))
    places = [0, *sorted(cut for cut in cuts if cut < len(body)), len(body)]
    blocks = [body[at:end] for at, end in pairwise(places)]
    assert read(*blocks) == [A, B, None]


def test_an_event_is_there_when_its_empty_line_is() -> None:
    """A CR ends a line before it is known whether an LF follows: a piece has the time it came."""
    messages = Messages(str)
    assert [*messages.of(b'data: {"a": 1}\r')] == []
    assert [*messages.of(b"\r")] == [A]
    assert [*messages.of(b"\n")] == []


def test_lines_of_one_event_are_one_message() -> None:
    assert read(b'data: {"a":\ndata: 1}\n\n') == [A]


def test_who_ends_in_an_event_has_not_said_it() -> None:
    assert read(events(A)[:-1]) == [A]
    assert read(b'data: {"a": 1}\n\ndata: {"b": 2}\n') == [A]


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b'event: error\ndata: {"code": 400}\n\n', {"code": 400}),
        (b'event: error\ndata: {"error": "gone"}\n\n', "gone"),
        (b"event: error\ndata: no JSON\n\n", "no JSON"),
        (b"event: error\n\n", "it does not say which"),
        (b'error: {"code": 500}\n\n', {"code": 500}),  # ik_llama.cpp (examples/server)
    ],
)
def test_an_event_of_an_error_is_one(body: bytes, error: object) -> None:
    assert read(events(A)[:-14] + body) == [A, {"error": error}]


def test_other_fields_and_events_are_none() -> None:
    assert read(b'event: ping\n\ndata\n\nfoo: {"a"}\n:\n\nevent: x\ndata: {"a": 1}\n\n') == [A]


@pytest.mark.parametrize("ending", ENDINGS)
def test_lines_of_json_are_messages(ending: str) -> None:
    body = "".join(json.dumps(one) + ending for one in (A, B)).encode()
    assert read(body[:5], body[5:]) == read(ending.encode() + body) == [A, B]
    assert read(body.rstrip()) == [A, B]


@pytest.mark.parametrize("begin", [b"", b"\xef\xbb\xbf", b"\n "])
@pytest.mark.parametrize("indent", [None, 2])
def test_a_body_of_json_is_a_message(begin: bytes, indent: int | None) -> None:
    whole = {"choices": [{"text": "yes"}], "usage": {"n": 1}}
    assert read(begin + json.dumps(whole, indent=indent).encode()) == [whole]


def test_bytes_that_are_no_characters_are_one_that_says_so() -> None:
    assert read(b'data: {"a": "\xff\xe6\x97"}\n\n') == [{"a": "\ufffd\ufffd"}]
    assert read(b'{"a": "\xff"}\n') == [{"a": "\ufffd"}]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"data: {nope\n\n", "no JSON"),
        (b'{"a": 1}\n{nope\n{"b": 1}\n', "no JSON"),
        (b"{", "no JSON"),
        (b"data: [1]\n\n", "no object"),
        (b"data: " + b"[" * 100_000 + b"\n\n", "no JSON"),
        (b"data: " + b"9" * 6000 + b"\n\n", "no JSON"),
        (b"data: " + b" " * (LINE_BYTES + 1), "more bytes"),
        (b"{" + b" " * (LINE_BYTES + 1), "more bytes"),
    ],
)
def test_what_is_no_message_is_words(body: bytes, why: str) -> None:
    with pytest.raises(EndpointError, match=why):
        read(body)


@pytest.mark.parametrize("body", [b"", b"\xef\xbb\xbf", b"\r\n\r\n", b"<html>It works!</html>"])
def test_what_is_neither_has_no_message(body: bytes) -> None:
    assert read(body) == []


@given(blocks=st.lists(st.binary(max_size=30)))
def test_whatever_comes_is_messages_or_words(blocks: list[bytes]) -> None:
    try:
        found = read(*blocks)
    except EndpointError:
        return
    assert all(one is None or isinstance(one, dict) for one in found)
