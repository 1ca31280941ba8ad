"""The client of endpoints against servers of our own making: what it takes of an answer, and what
it makes of one that is none."""

import html
import json
import socket
import ssl
import struct
import time
from base64 import b64encode
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from certificate import self_signed
from endpoint import END, Endpoint, events, piece, raw, request
from hypothesis import given
from hypothesis import strategies as st
from support import free_port

from llmpi.device.measure.http_answer import EndpointError, Found
from llmpi.device.measure.http_events import LINE_BYTES, Messages
from llmpi.device.measure.http_key import Key
from llmpi.device.measure.http_stream import Answer, BusyError, Client, UnreachableError

KEY = "s3cret-Qv81zz90-kLmn0p"
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


@pytest.mark.parametrize("duration", [True, 1, 1e-300, 0, -5, 1e19, "7", None])
def test_a_rate_that_cannot_be_is_none(duration: object) -> None:
    said = {"response": "a", "done": True, "done_reason": "length"}
    counts = {"prompt_eval_count": 11, "eval_count": 18}
    durations = {"prompt_eval_duration": duration, "eval_duration": duration}
    with Endpoint((json.dumps({**said, **counts, **durations}) + "\n").encode()) as endpoint:
        served = ask(endpoint, "ollama").served
    assert (served["pp_tps"], served["tg_tps"]) == (None, None)
    assert (served["prompt_tokens"], served["output_tokens"]) == (11, 18)


def test_a_chat_is_asked_as_one_and_its_thoughts_count() -> None:
    deltas = [{"role": "assistant"}, {"reasoning_content": "hm"}, {"content": "yes"}]
    messages = [{"choices": [{"delta": delta, "finish_reason": None}]} for delta in deltas]
    with Endpoint(events(*messages, {"choices": [{"delta": {}, "finish_reason": "stop"}]})) as it:
        answer = ask(it, "chat")
        [asked] = it.asked
    assert [text for _, text in answer.pieces] == ["hm", "yes"]
    assert asked["messages"] == [{"role": "user", "content": "Once"}]


@pytest.mark.parametrize(
    ("refuses", "unwell", "tried"),
    [
        ((), (), [True]),
        (("ignore_eos",), (), [True, False, True]),
        (("ignore_eos",), (0, 2), [True, False, True]),
        ((), (0,), [True, False, True]),
    ],
)
def test_what_it_takes_is_found_out_once_and_by_no_chance(
    refuses: tuple[str, ...], unwell: tuple[int, ...], tried: list[bool]
) -> None:
    """With what is beyond OpenAI's API, without, and with it again."""
    with Endpoint(events(piece("a"), END)) as endpoint:
        endpoint.refuses, endpoint.unwell = frozenset(refuses), frozenset(unwell)
        client = Client(request(endpoint.address))
        client.try_out(lambda: client.complete("Once", 8, 5.0))
        assert ["ignore_eos" in asked for asked in endpoint.asked] == tried
        client.complete("Twice", 8, 5.0)
        assert ("ignore_eos" in endpoint.asked[-1]) != bool(refuses)


def test_who_refuses_the_request_itself_is_told() -> None:
    with Endpoint(b"no such model", 422) as endpoint:
        client = Client(request(endpoint.address))
        with pytest.raises(EndpointError, match="422: no such model"):
            client.try_out(lambda: client.complete("Once", 8, 5.0))


def test_a_refusal_on_the_way_is_that_requests_alone() -> None:
    with Endpoint(events(piece("a"), END)) as endpoint:
        endpoint.unwell = frozenset({1})
        client = Client(request(endpoint.address))
        client.try_out(lambda: client.complete("Once", 8, 5.0))
        with pytest.raises(EndpointError, match="400"):
            client.complete("Twice", 8, 5.0)
        client.complete("Again", 8, 5.0)
        assert ["ignore_eos" in asked for asked in endpoint.asked] == [True] * 3


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
        assert "its key is in it" in str(refused.value)


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
    "address",
    [
        *("http://[::1", "http://a:99999", "http://a b/", "http://\x01/"),
        *("https://.a/v1", "http://..", f"http://{'a' * 70}.b/", "http://[::1%25nope]:1/"),
    ],
)
def test_an_address_that_is_none_is_told(address: str) -> None:
    with pytest.raises(UnreachableError):
        Client(request(address)).complete("Once", 8, 5.0)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its key would go with it."""
    monkeypatch.setenv("ENDPOINT_KEY", KEY)
    with (
        Endpoint(events(piece("a"), END)) as other,
        Endpoint(b"", status, {"Location": f"{other.address}/completions"}) as endpoint,
    ):
        with pytest.raises(UnreachableError, match="name the address it moved to"):
            ask(endpoint, key="ENDPOINT_KEY")
        assert other.asked == []


@pytest.mark.parametrize("status", [404, 405, 429, 502, 503, 504])
def test_who_is_not_there_by_its_own_account_is_no_result(status: int) -> None:
    with Endpoint(b"loading", status) as endpoint, pytest.raises(UnreachableError, match="loading"):
        ask(endpoint)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("below", ["", "/", "/a/v1", "/a/v1/", "/a%20b/@c/v1"])
def test_all_paths_are_below_that_of_the_address(host: str, below: str) -> None:
    heads = list[bytes]()

    def talk(connection: socket.socket) -> None:
        heads.append(connection.recv(65536))
        connection.sendall(HEAD + b"\r\n" + events(piece("a"), END))

    if host == "::1" and not has_ip6():
        pytest.skip("no IPv6 here")
    with raw(talk, host=host) as address:
        assert Client(request(address + below)).complete("Once", 8, 5.0).text == "a"
    line, named, *_ = heads[0].decode().split("\r\n")
    assert line == f"POST {below.rstrip('/')}/completions HTTP/1.1"
    assert named == f"Host: {address.partition('//')[2]}"


def has_ip6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


def test_a_key_in_the_address_is_told_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records and logs have the address."""
    monkeypatch.setenv("ENDPOINT_KEY", KEY)
    with pytest.raises(UnreachableError, match="is in the endpoint's url") as refused:
        Client(request(f"http://127.0.0.1:1/{KEY}/v1", key="ENDPOINT_KEY"))
    assert KEY not in str(refused.value)


LOADS = b'{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}'


def test_who_still_loads_its_model_is_to_be_asked_again() -> None:
    """As llama-server says it (tools/server/server-http.cpp)."""
    with Endpoint(LOADS, 503) as endpoint, pytest.raises(BusyError, match="Loading") as busy:
        ask(endpoint)
    assert busy.value.again_s > 0
    with Endpoint(b"overloaded", 503) as endpoint, pytest.raises(UnreachableError) as refused:
        ask(endpoint)
    assert not isinstance(refused.value, BusyError)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One that nobody trusts, with its key."""
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = self_signed(folder, "IP:127.0.0.1")
    both = folder / "server.pem"
    both.write_bytes(key.read_bytes() + certificate.read_bytes())
    return both


def over_tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def test_a_certificate_that_nobody_trusts_gets_no_key(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENDPOINT_KEY", KEY)
    heard = list[bytes]()
    with raw(lambda c: heard.append(c.recv(65536)), over_tls(certificate)) as address:
        client = Client(request(address, key="ENDPOINT_KEY"))
        with pytest.raises(UnreachableError, match=r"cannot be reached.*CERTIFICATE_VERIFY_FAILED"):
            client.complete("Once", 8, 5.0)
    assert b"".join(heard) == b""


@pytest.mark.parametrize("cut", [False, True])
def test_an_answer_comes_through_tls(
    certificate: Path, monkeypatch: pytest.MonkeyPatch, cut: bool
) -> None:
    """And one that is cut is none, whether or not the end of the connection is told."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    body = events(piece("a"), END)

    def talk(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(HEAD + b"\r\n" + (body[:80] if cut else body))

    with raw(talk, over_tls(certificate)) as address:
        client = Client(request(address))
        if cut:
            with pytest.raises(EndpointError, match=r"breaks off|broke off"):
                client.complete("Once", 8, 5.0)
        else:
            assert client.complete("Once", 8, 5.0).text == "a"


def test_tls_to_who_has_none_is_words() -> None:
    with Endpoint(events(piece("a"), END)) as endpoint:
        address = endpoint.address.replace("http:", "https:")
        with pytest.raises(UnreachableError, match="cannot be reached"):
            Client(request(address)).complete("Once", 8, 5.0)


def test_half_a_character_costs_no_answer() -> None:
    """A bound on tokens may cut one; who sends its bytes as they are sends half of it."""
    half = json.dumps(piece("日")).encode().replace(b"\\u65e5", "日".encode()[:2])
    body = b"".join(b"data: " + line + b"\n\n" for line in (half, json.dumps(END).encode()))
    with Endpoint(body) as endpoint:
        assert [text for _, text in ask(endpoint).pieces] == ["\ufffd"]


def test_usage_in_every_message_is_that_of_the_last() -> None:
    pieces = [
        {**piece("a"), "usage": {"prompt_tokens": 10, "completion_tokens": i}} for i in range(1, 4)
    ]
    with Endpoint(events(*pieces, {**END, "usage": {"completion_tokens": 0}})) as endpoint:
        served = ask(endpoint).served
    assert (served["prompt_tokens"], served["output_tokens"], served["pieces"]) == (None, None, 3)
    with Endpoint(events(*pieces, END)) as endpoint:
        served = ask(endpoint).served
    assert (served["prompt_tokens"], served["output_tokens"]) == (10, 3)


@pytest.mark.parametrize("why", ["abort", "error", "content_filter", "tool_calls"])
def test_an_answer_that_was_given_up_is_none(why: str) -> None:
    body = events(piece("a"), piece("", finish_reason=why))
    with Endpoint(body) as endpoint, pytest.raises(EndpointError, match=f"gives .* up: {why}"):
        ask(endpoint)


CALL = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]


@pytest.mark.parametrize(
    "message",
    [
        {"choices": [{"delta": {"tool_calls": CALL}, "finish_reason": None}]},
        {"choices": [{"message": {"content": "", "tool_calls": CALL}, "finish_reason": "stop"}]},
        {"choices": [{"delta": {"function_call": {"name": "f"}}, "finish_reason": "stop"}]},
        {"message": {"content": "", "tool_calls": CALL}, "done": True, "done_reason": "stop"},
    ],
)
def test_a_call_of_a_tool_is_no_answer(message: dict[str, object]) -> None:
    body = events(message)
    with Endpoint(body) as endpoint, pytest.raises(EndpointError, match=r"gives .* up: tool_calls"):
        ask(endpoint, "chat")


@pytest.mark.parametrize("content", [[{"type": "text", "text": "yes"}], {"a": 1}, 7, True])
def test_content_that_is_no_text_is_no_answer(content: object) -> None:
    """It would pass for a model that says nothing."""
    said = {"choices": [{"delta": {"content": content}, "finish_reason": "stop"}]}
    with Endpoint(events(said)) as endpoint, pytest.raises(EndpointError, match="no text"):
        ask(endpoint, "chat")


@pytest.mark.parametrize("error", [{"error": "gone"}, {"object": "error", "message": "gone"}])
@pytest.mark.parametrize("indent", [None, 2])
def test_an_error_in_an_answer_of_status_200_is_words(error: object, indent: int | None) -> None:
    body = json.dumps(error, indent=indent).encode()
    with Endpoint(body) as endpoint, pytest.raises(EndpointError, match=r"an error: .*gone"):
        ask(endpoint)


def test_an_end_that_is_said_twice_is_one() -> None:
    with Endpoint(events(piece("a"), END, END, {"choices": [], "usage": USAGE})) as endpoint:
        assert ask(endpoint).text == "a"


@pytest.mark.parametrize(
    ("behind", "why"),
    [
        (piece("", finish_reason="stop"), "ends its answer twice"),
        (piece("b"), "goes on behind the end"),
    ],
)
def test_who_contradicts_himself_has_no_answer(behind: dict[str, object], why: str) -> None:
    body = events(piece("a"), END, behind)
    with Endpoint(body) as endpoint, pytest.raises(EndpointError, match=why):
        ask(endpoint)


def test_of_several_choices_the_one_that_was_asked_for_counts() -> None:
    other = {"index": 1, "text": "b", "finish_reason": "stop"}
    mine = {"index": 0, "text": "a", "finish_reason": "length"}
    with Endpoint(events({"choices": [other]}, {"choices": [other, mine]})) as endpoint:
        answer = ask(endpoint)
    assert (answer.text, answer.stopped) == ("a", False)


def test_numbers_that_are_none_cost_no_answer() -> None:
    """Python's servers write NaN, which JSON does not have."""
    odd = {"token_logprobs": [float("nan"), float("-inf")]}
    timings = dict.fromkeys(TIMINGS, float("nan"))
    usage = {"prompt_tokens": -7, "completion_tokens": float("inf")}
    last = {"choices": [], "usage": usage, "timings": timings}
    with Endpoint(events(piece("a", logprobs=odd), END, last)) as endpoint:
        answer = ask(endpoint)
    assert answer.text == "a"
    assert answer.served.items() >= NOTHING_TOLD.items()


def test_a_prompt_is_what_was_computed_and_what_was_in_the_cache() -> None:
    """As llama-server's timings have it, where usage is missing."""
    with Endpoint(events(piece("a"), END, {"choices": [], "timings": TIMINGS})) as endpoint:
        assert ask(endpoint).served["prompt_tokens"] == 10


@pytest.mark.parametrize("kind", ["text/html", "application/json", "application/octet-stream"])
def test_what_an_answer_is_said_to_be_is_not_believed(kind: str) -> None:
    with Endpoint(events(piece("a"), END), headers={"Content-Type": kind}) as endpoint:
        assert ask(endpoint).text == "a"


def test_what_is_no_answer_is_told_as_what_it_is_said_to_be() -> None:
    page = b"<!doctype html>\n\n<p>It works!</p>\n"
    with (
        Endpoint(page, headers={"Content-Type": "text/html"}) as endpoint,
        pytest.raises(EndpointError, match="nothing of its API: text/html"),
    ):
        ask(endpoint)


def test_an_answer_that_is_packed_is_told() -> None:
    body, packed = events(piece("a"), END), {"Content-Encoding": "gzip"}
    with Endpoint(body, headers=packed) as it, pytest.raises(EndpointError, match=r"packed.*gzip"):
        ask(it)


def test_who_says_that_all_is_over_before_the_end_is_not_waited_for() -> None:
    def talk(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(HEAD + b"\r\n" + events(piece("a")))
        connection.recv(1)

    with raw(talk) as address, pytest.raises(EndpointError, match="in the middle of an answer"):
        Client(request(address)).complete("Once", 8, 30.0)


def test_who_ends_its_answer_and_says_no_more_has_ended_it() -> None:
    """Nothing of the answer is missing behind why it ends."""
    with Endpoint(events(piece("a"), END)[: -len("data: [DONE]\n\n")]) as endpoint:
        assert ask(endpoint).text == "a"


@pytest.mark.parametrize("how", ["length", "chunks"])
def test_what_is_cut_is_no_short_answer(how: str) -> None:
    body = events(piece("a"), piece("b"), END)

    def talk(connection: socket.socket) -> None:
        connection.recv(65536)
        length = f"Content-Length: {len(body)}\r\n\r\n".encode()
        chunks = b"Transfer-Encoding: chunked\r\n\r\n" + f"{len(body):x}\r\n".encode()
        head = HEAD + (length if how == "length" else chunks)
        connection.sendall(head + body[: body.index(b"finish_reason") + 90])

    with raw(talk) as address, pytest.raises(EndpointError, match=r"broke off|breaks off"):
        Client(request(address)).complete("Once", 8, 5.0)


def test_a_refusal_beside_the_text_is_no_answer() -> None:
    """As OpenAI has it: a field of its own, and an end like any other's."""
    refused = {"choices": [{"delta": {"refusal": "I cannot"}, "finish_reason": None}]}
    end = {"choices": [{"delta": {}, "finish_reason": "stop"}]}
    with Endpoint(events(refused, end)) as endpoint, pytest.raises(EndpointError, match="refusal"):
        ask(endpoint, "chat")


def test_an_answer_that_comes_all_at_once_is_one_piece() -> None:
    """As of a server that knows no streams."""
    whole = {"choices": [{"message": {"content": "yes"}, "finish_reason": "stop"}], "usage": USAGE}
    with Endpoint(json.dumps(whole).encode()) as endpoint:
        answer = ask(endpoint, "chat")
    assert (answer.text, answer.stopped, answer.served["output_tokens"]) == ("yes", True, 3)


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("ending", ["close", "keep-alive"])
def test_a_connection_that_stays_open_is_not_waited_for(version: str, ending: str) -> None:
    def talk(connection: socket.socket) -> None:
        connection.recv(65536)
        head = f"HTTP/{version} 200 OK\r\nConnection: {ending}\r\n\r\n"
        connection.sendall(head.encode() + events(piece("a"), END))
        connection.recv(1)

    with raw(talk) as address:
        answer = Client(request(address)).complete("Once", 8, 5.0)
    assert answer.text == "a"


@pytest.mark.parametrize("size", [b"-5", b"5g", b"fffffffffffffffff", b""])
def test_a_chunk_of_no_size_is_words(size: bytes) -> None:
    def talk(connection: socket.socket) -> None:
        connection.recv(65536)
        chunk = b"\r\n" + events(piece("a"), END) + b"\r\n"
        connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + size + chunk)

    with raw(talk) as address, pytest.raises(EndpointError, match="the endpoint "):
        Client(request(address)).complete("Once", 8, 5.0)


def test_who_hangs_up_at_once_is_words() -> None:
    """Maybe before it is asked who it is."""

    def hang_up(connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with raw(hang_up) as address:
        for _ in range(50):
            with pytest.raises(EndpointError, match=r"broke off|cannot be reached"):
                Client(request(address)).complete("Once", 8, 5.0)


def test_an_address_of_ip6_needs_no_port() -> None:
    """Its end is none."""
    for address in ("http://[::beef]/v1", "https://[::8080]"):
        with pytest.raises(UnreachableError, match="cannot be reached"):
            Client(request(address)).complete("Once", 8, 0.2)


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
    "a page": b"<html><body>It works!</body></html>",
    "no text of text": events({"choices": [{"text": {"a": 1}, "finish_reason": "stop"}]}),
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE.keys())
def test_what_is_no_answer_is_words(body: bytes) -> None:
    with Endpoint(body) as endpoint, pytest.raises(EndpointError) as refused:
        ask(endpoint)
    said = str(refused.value)
    assert said.startswith("the endpoint ")
    assert endpoint.address not in said  # a result has it, and how it is reached is private
    assert said.isprintable()
    assert len(said) < 3000


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
ONCE = b"HTTP/1.1 100 Continue\r\n\r\n"


def slowly(first: bytes, again: bytes) -> Callable[[socket.socket], None]:
    """Says something, and then something else for ever, a little at a time."""

    def talk(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(first)
        while True:
            connection.sendall(again)
            time.sleep(0.01)

    return talk


def says_nothing(connection: socket.socket) -> None:
    while connection.recv(65536):
        pass


def does_not_read(connection: socket.socket) -> None:
    connection.settimeout(60)
    connection.recv(1)
    time.sleep(2)


ENDLESS = {
    "no answer": says_nothing,
    "nobody reads": does_not_read,
    "a head in drops": slowly(b"", b"H"),
    "a header in drops": slowly(HEAD + b"X: ", b"x"),
    "headers without end": slowly(HEAD, b"X-Again: 1\r\n"),
    "continue without end": slowly(b"", ONCE),
    "a body in drops": slowly(HEAD + b"\r\ndata: ", b" "),
    "a body of pings": slowly(HEAD + b"\r\n", b": ping\n\n"),
    "an answer without end": slowly(HEAD + b"\r\n", events(piece("a"))[9:-14]),
    "a chunk in drops": slowly(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"0"),
    "a refusal in drops": slowly(b"HTTP/1.1 400 No\r\n\r\n", b"n"),
}


@pytest.mark.parametrize("talk", ENDLESS.values(), ids=ENDLESS.keys())
def test_who_never_comes_to_an_end_is_left(talk: Callable[[socket.socket], None]) -> None:
    """A socket's own timeout begins anew with every byte."""
    with raw(talk) as address, pytest.raises(EndpointError) as refused:
        Client(request(address)).complete("Once", 8, 0.5)
    said = str(refused.value)
    ends = ("does not come to an end in 0.5 s", "answers 400", "headers", "broke off")
    assert any(why in said for why in ends), said


def test_headers_without_end_are_words() -> None:
    def talk(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(HEAD + b"X-Again: 1\r\n" * 10_000)

    with raw(talk) as address, pytest.raises(EndpointError, match="headers"):
        Client(request(address)).complete("Once", 8, 5.0)


ECHOES = {
    "the server's name": lambda key: f"HTTP/1.1 200 OK\r\nServer: {key}\r\n\r\n",
    "the status": lambda key: f"HTTP/1.1 500 {key}\r\n\r\n{key}",
    "what is no status": lambda key: f"{key} {key}\r\n\r\n",
    "a header": lambda key: f"HTTP/1.1 401 No\r\nX: {key}\r\n\r\n",
    "the place it moved to": lambda key: f"HTTP/1.1 302 No\r\nLocation: /?{key}\r\n\r\n",
    "a refusal": lambda key: f"HTTP/1.1 400 No\r\n\r\nwrong: {key}",
    "a part of it": lambda key: f"HTTP/1.1 400 No\r\n\r\n{' ' * 1990}{key[:12]}",
    "its end": lambda key: f"HTTP/1.1 400 No\r\n\r\n...{key[-10:]}",
    "where it is cut": lambda key: f"HTTP/1.1 400 No\r\n\r\n{'=' * 1990}{key}",
    "lines": lambda key: "HTTP/1.1 400 No\r\n\r\n" + "\n".join(key),
    "an address": lambda key: f"HTTP/1.1 400 No\r\n\r\n?key={quote(key, safe='')}",
    "every byte escaped": lambda key: (
        "HTTP/1.1 400 No\r\n\r\n" + "".join(f"%{ord(c):02x}" for c in key)
    ),
    "a page": lambda key: f"HTTP/1.1 400 No\r\n\r\n<p>{html.escape(key)}</p>",
    "JSON": lambda key: f"HTTP/1.1 400 No\r\n\r\n{json.dumps({'error': key})}",
    "JSON in escapes": lambda key: (
        "HTTP/1.1 400 No\r\n\r\n" + "".join(f"\\u{ord(c):04x}" for c in key)
    ),
    "a login": lambda key: (
        f"HTTP/1.1 400 No\r\n\r\nBasic {b64encode(f'user:{key}'.encode()).decode()}"
    ),
    "bytes": lambda key: f"HTTP/1.1 400 No\r\n\r\n{key.encode().hex()}",
    "a stream": lambda key: (
        f"HTTP/1.1 200 OK\r\n\r\ndata: {json.dumps({'error': {'message': key}})}\n\n"
    ),
}


@pytest.mark.parametrize("echo", ECHOES.values(), ids=ECHOES.keys())
@pytest.mark.parametrize("key", [KEY, 'sk-Zx8/q+12=="<&>\\Yt7u'])
def test_a_key_that_is_echoed_is_told_nowhere(
    echo: Callable[[str], str], key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENDPOINT_KEY", key)

    def talk(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(echo(key).encode())

    with raw(talk) as address, pytest.raises(EndpointError) as refused:
        Client(request(address, key="ENDPOINT_KEY")).complete("Once", 8, 5.0)
    said = "".join(filter(str.isalnum, str(refused.value))).casefold()
    plain = "".join(filter(str.isalnum, key)).casefold()
    assert not any(plain[i : i + 6] in said for i in range(len(plain) - 6))
    assert len(str(refused.value)) < 3000


def test_a_server_whose_name_is_the_key_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENDPOINT_KEY", KEY)
    with Endpoint(events(piece("a"), END), headers={"Server": f"it/1 {KEY}"}) as endpoint:
        answer = ask(endpoint, key="ENDPOINT_KEY")
    assert KEY not in str(answer.server)


printable = st.characters(min_codepoint=33, max_codepoint=126)


@given(key=st.text(printable, min_size=1, max_size=80), around=st.text(max_size=20))
def test_a_text_with_the_key_in_it_is_known(key: str, around: str) -> None:
    for said in (key, quote(key, safe=""), html.escape(key), json.dumps(key), key.encode().hex()):
        assert Key(key).is_in(f"{around}{said}{around}")


@pytest.mark.parametrize("key", ["sk-no-key-required", "EMPTY", "ollama"])
def test_words_of_an_answer_are_no_key(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys that are none stand in many examples."""
    monkeypatch.setenv("ENDPOINT_KEY", key)
    said = "A key is required; Ollama's may be empty."
    delta = {"choices": [{"delta": {"content": said}, "finish_reason": "stop"}]}
    with Endpoint(events(delta)) as endpoint:
        client = Client(request(endpoint.address, key="ENDPOINT_KEY"))
        answer = client.chat([{"role": "user", "content": "?"}], 8, 5.0, thinks=False)
    assert answer.text == said


@given(key=st.text(printable, min_size=8, max_size=80), around=st.text(max_size=20))
def test_an_answer_that_is_the_key_is_known(key: str, around: str) -> None:
    plain = sum(map(str.isalnum, key))
    for said in (key, quote(key, safe=""), html.escape(key), json.dumps(key), key.encode().hex()):
        assert plain < 8 or Key(key).is_whole_in(f"{around}{said}{around}")


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

    found = Found()
    for message in Messages(str).of(events(*messages)):
        found.add(message, 1, str)
    return found.served()
