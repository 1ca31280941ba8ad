"""The client of endpoints against servers of our own making: what it takes of an answer, and what
it makes of one that is none."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from endpoint import END, Endpoint, events, piece, request
from hypothesis import given
from hypothesis import strategies as st
from support import free_port

from llmpi.device.measure.http_stream import (
    LINE_BYTES,
    Answer,
    Client,
    EndpointError,
    UnreachableError,
    _Found,
)

KEY = "s3cret-of-the-endpoint"
NOTHING_TOLD = {
    "prompt_tokens": None,
    "cached_tokens": None,
    "output_tokens": None,
    "pp_tps": None,
    "tg_tps": None,
}


def ask(endpoint: Endpoint, api: str = "completions", key: str | None = None) -> Answer:
    return Client(request(endpoint.address, api, key)).complete("Once", 8, 5.0)


# As llama-server ends a stream (tools/server, to_json_oaicompat of the pinned sources).
TIMINGS = {
    "cache_n": 1,
    "prompt_n": 9,
    "prompt_ms": 100.0,
    "prompt_per_second": 90.0,
    "predicted_n": 3,
    "predicted_ms": 300.0,
    "predicted_per_second": 10.0,
}
USAGE = {"prompt_tokens": 10, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 1}}


def test_a_server_without_counters_is_clocked_alone() -> None:
    """As llama-cpp-python's streams: text and an end, nothing of what it counted."""
    with Endpoint(events(piece(" upon"), piece(" a"), piece(" time"), END)) as endpoint:
        answer = ask(endpoint)
        [asked] = endpoint.asked
    assert [text for _, text in answer.pieces] == [" upon", " a", " time"]
    stamps = [answer.start_ns, *(at for at, _ in answer.pieces)]
    assert stamps == sorted(stamps)
    assert answer.served.items() >= NOTHING_TOLD.items()
    assert answer.served["pieces"] == 3
    assert answer.served["connect_s"] > 0
    assert answer.server == "stand-in "
    assert (
        asked.items()
        >= {
            "path": "/completions",
            "prompt": "Once",
            "max_tokens": 8,
            "temperature": 0,
        }.items()
    )


def test_what_a_server_counts_stands_beside_what_is_clocked() -> None:
    """As llama-server's: usage and timings in a message without a choice."""
    last = {"choices": [], "usage": USAGE, "timings": TIMINGS}
    with Endpoint(events(piece("a"), piece("b"), END, last)) as endpoint:
        served = ask(endpoint).served
    assert (
        served.items()
        >= {
            "prompt_tokens": 10,
            "cached_tokens": 1,
            "output_tokens": 3,
            "pp_tps": 90.0,
            "tg_tps": 10.0,
            "pieces": 2,
        }.items()
    )


def test_ollama_counts_in_nanoseconds() -> None:
    """https://docs.ollama.com/api/usage: the last line of a stream has them."""
    lines = [
        {"response": "a", "done": False},
        {"response": "b", "done": False},
        {
            "response": "",
            "done": True,
            "done_reason": "length",
            "prompt_eval_count": 11,
            "prompt_eval_duration": 13_074_791,
            "eval_count": 18,
            "eval_duration": 52_479_709,
        },
    ]
    body = "".join(json.dumps(line) + "\n" for line in lines).encode()
    with Endpoint(body) as endpoint:
        served = ask(endpoint, "ollama").served
        [asked] = endpoint.asked
    assert (served["prompt_tokens"], served["output_tokens"]) == (11, 18)
    assert served["pp_tps"] == pytest.approx(841.3, abs=0.1)
    assert served["tg_tps"] == pytest.approx(343.0, abs=0.1)
    assert (asked["path"], asked["raw"], asked["options"]["num_predict"]) == (
        *("/api/generate", True),
        8,
    )


def test_a_chat_is_asked_as_one_and_its_thoughts_count() -> None:
    deltas = [{"role": "assistant"}, {"reasoning_content": "hm"}, {"content": "yes"}]
    messages = [{"choices": [{"delta": delta, "finish_reason": None}]} for delta in deltas]
    with Endpoint(events(*messages, {"choices": [{"delta": {}, "finish_reason": "stop"}]})) as it:
        answer = ask(it, "chat")
        [asked] = it.asked
    assert [text for _, text in answer.pieces] == ["hm", "yes"]
    assert asked["messages"] == [{"role": "user", "content": "Once"}]


def test_who_refuses_more_than_openais_fields_is_asked_without() -> None:
    with Endpoint(events(piece("a"), END)) as endpoint:
        endpoint.refuses = frozenset({"ignore_eos"})
        client = Client(request(endpoint.address))
        client.complete("Once", 8, 5.0)
        client.complete("Twice", 8, 5.0)
        assert ["ignore_eos" in asked for asked in endpoint.asked] == [True, False, False]


def test_the_key_comes_from_the_environment_and_is_told_nowhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ENDPOINT_KEY", f"{KEY}\n")
    echo = json.dumps({"error": f"wrong key {KEY}"}).encode()
    with Endpoint(events(piece("a"), END)) as endpoint:
        ask(endpoint, key="ENDPOINT_KEY")
        assert endpoint.keys == [f"Bearer {KEY}"]
    for status in (200, 400, 401, 500):
        with Endpoint(echo, status) as endpoint, pytest.raises(EndpointError) as refused:
            ask(endpoint, key="ENDPOINT_KEY")
        assert KEY not in str(refused.value)
        assert "wrong key (key)" in str(refused.value)


@pytest.mark.parametrize("value", ["", " \n", "a\x1bb", "ключ"])
def test_a_key_that_is_none_is_told_by_its_variable(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("ENDPOINT_KEY", value)
    with pytest.raises(UnreachableError, match="ENDPOINT_KEY"):
        Client(request("http://127.0.0.1:1/v1", key="ENDPOINT_KEY"))


def test_who_wants_a_key_is_told_how() -> None:
    with Endpoint(b"Unauthorized", 401) as endpoint, pytest.raises(UnreachableError) as refused:
        ask(endpoint)
    assert "key_variable" in str(refused.value)


def test_nobody_there_is_no_result() -> None:
    with pytest.raises(UnreachableError, match="cannot be reached"):
        Client(request(f"http://127.0.0.1:{free_port()}/v1")).complete("Once", 8, 5.0)


@pytest.mark.parametrize(
    "address", ["http://[::1", "http://a:99999", "http://a b/", "http://\x01/"]
)
def test_an_address_that_is_none_is_told(address: str) -> None:
    with pytest.raises(UnreachableError):
        Client(request(address)).complete("Once", 8, 5.0)


def test_a_redirect_is_not_followed() -> None:
    with (
        Endpoint(events(piece("a"), END)) as other,
        Endpoint(b"", 307, {"Location": f"{other.address}/completions"}) as endpoint,
    ):
        with pytest.raises(EndpointError, match="307"):
            ask(endpoint)
        assert other.asked == []


HOSTILE = {
    "nothing": b"",
    "no end": events(piece("a"))[: -len("data: [DONE]\n\n")],
    "an end that is none": events(piece("a")),
    "no text": events(END),
    "no JSON": b"data: {nope\n\n",
    "no object": b"data: [1]\n\n",
    "a deep one": b"data: " + b"[" * 100_000 + b"\n\n",
    "a line without end": b"data: " + b" " * (LINE_BYTES + 10),
    "an error": b'data: {"error": {"message": "\\u001b[2Jgone"}}\n\n',
    "a number of 6,000 digits": b"data: " + b"9" * 6000 + b"\n\n",
    "lines without end": b": ping\n\n" * 300_000,
    "no text of text": events({"choices": [{"text": {"a": 1}, "finish_reason": "stop"}]}),
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE.keys())
def test_what_is_no_answer_is_words(body: bytes) -> None:
    with Endpoint(body) as endpoint, pytest.raises(EndpointError) as refused:
        ask(endpoint)
    said = str(refused.value)
    assert said.startswith(endpoint.address)
    assert said.isprintable()
    assert len(said) < 3000


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
counters = st.dictionaries(st.sampled_from([*TIMINGS, *USAGE]), values)


@given(usage=counters | values, timings=counters | values, rest=values)
def test_what_is_told_is_a_number_that_can_be_one_or_nothing(
    usage: object, timings: object, rest: object
) -> None:
    last = {"choices": rest, "usage": usage, "timings": timings, "eval_count": rest}
    served = _told([piece("a"), END, last])
    for key in NOTHING_TOLD:
        value = served[key]  # type: ignore[literal-required]  # one of its keys
        assert value is None or 0 <= value < 1e9


def _told(messages: Sequence[object]) -> Any:
    """What a stream of these says of itself, without a server."""

    found = _Found()
    for line in _lines(messages):
        found.add(line, 1, str)
    return found.served()


def _lines(messages: Sequence[object]) -> Iterator[bytes]:
    yield from events(*messages).splitlines(keepends=True)
