"""TLS around the service: the proxy that the documentation shows, with llmpi's own client."""

import http.client
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import reverse_proxy
from endpoint import END, events, piece, raw, request
from gguf_edit import edited
from reverse_proxy import Proxy
from served_release import released
from support import PATIENCE_S, free_port
from tiny_llama import tiny_llama

from benchmarks.service.servers import KEY, served
from llmpi.device.measure.http_answer import EndpointError
from llmpi.device.measure.http_stream import Client

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
FIRST, REST = events(piece("a")), events(piece("b"), END)
METRICS = ["/metrics", "/v1/../metrics", "/v1/%2e%2e/metrics", "//metrics", "/v1/..//metrics"]


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


@contextmanager
def proxied(talk: Callable[[socket.socket], None], folder: Path) -> Iterator[Proxy]:
    """A stand-in for the service, behind the proxy."""
    with (
        raw(talk) as address,
        reverse_proxy.before(urlsplit(address).port or 0, folder) as proxy,
    ):
        yield proxy


def asked(proxy: Proxy, method: str, path: str, body: bytes = b"") -> http.client.HTTPResponse:
    """By a client that trusts the certificate, and sends the path as it stands."""
    trusted = ssl.create_default_context(cafile=proxy.certificate)
    connection = http.client.HTTPSConnection(
        "127.0.0.1", proxy.port, timeout=PATIENCE_S, context=trusted
    )
    headers = {"Authorization": f"Bearer {KEY}", "X-Forwarded-For": "127.0.0.1"}
    connection.request(method, path, body, {**headers, "X-Original-URL": "/metrics"})
    return connection.getresponse()


def read_head(connection: socket.socket) -> tuple[str, bytes]:
    """Of a request that is sent: its head, and what came of its body with it."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    return head.decode(), body


def test_a_stream_comes_as_it_is_made(tmp_path: Path) -> None:
    """The rest is not sent before the first event has been read."""
    was_read = threading.Event()

    def talk(connection: socket.socket) -> None:
        read_head(connection)
        connection.sendall(HEAD + chunk(FIRST))
        if was_read.wait(PATIENCE_S):
            connection.sendall(chunk(REST) + b"0\r\n\r\n")

    with proxied(talk, tmp_path) as proxy:
        answer = asked(proxy, "POST", "/v1/chat/completions", b"{}")
        assert answer.read(len(FIRST)) == FIRST
        was_read.set()
        assert answer.read() == REST


def test_an_answer_that_breaks_off_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part = b"data: " + json.dumps(piece("a")).encode() + b"\n\n"

    def talk(connection: socket.socket) -> None:
        head, _ = read_head(connection)
        whole_or_not = b"HTTP/1.0 200 OK\r\n\r\n" + part  # all that this version can tell
        connection.sendall(whole_or_not if "HTTP/1.0" in head else HEAD + chunk(part))

    with proxied(talk, tmp_path) as proxy:
        monkeypatch.setenv("SSL_CERT_FILE", str(proxy.certificate))
        with pytest.raises(EndpointError, match=r"breaks off|broke off"):
            Client(request(f"{proxy.url}/v1")).complete("Once", 8, PATIENCE_S)
        with pytest.raises(http.client.IncompleteRead):
            asked(proxy, "POST", "/v1/completions", b"{}").read()


def test_a_long_prompt_reaches_the_service(tmp_path: Path) -> None:
    """Which has a bound of its own: nginx alone refuses more than a megabyte."""
    body = json.dumps({"prompt": "x" * (4 << 20)}).encode()
    lengths = list[int]()

    def talk(connection: socket.socket) -> None:
        _, came = read_head(connection)
        length = len(came)
        while length < len(body):
            length += len(connection.recv(65536))
        lengths.append(length)
        connection.sendall(HEAD + chunk(REST) + b"0\r\n\r\n")

    with proxied(talk, tmp_path) as proxy:
        assert asked(proxy, "POST", "/v1/completions", body).status == 200
    assert lengths == [len(body)]


@pytest.mark.parametrize("path", ["/health", *METRICS])
def test_what_is_not_for_clients_is_not_there(tmp_path: Path, path: str) -> None:
    with proxied(lambda _: pytest.fail("it was asked"), tmp_path) as proxy:
        assert asked(proxy, "GET", path).status == 404


@pytest.mark.long  # it needs llama-server
def test_the_service_behind_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the key only, and to the client that measures endpoints."""
    chat = {"tokenizer.chat_template": "{{ messages[0].content }}", "llama.context_length": 512}
    edited(tiny_llama(tmp_path), tmp_path / "chat.gguf", chat)
    port, front = free_port(), tmp_path / "proxy"
    front.mkdir()
    release = released(tmp_path / "chat.gguf", tmp_path / "store", port=port, context_tokens=512)
    with served(release, port, tmp_path), reverse_proxy.before(port, front) as proxy:
        models = asked(proxy, "GET", "/v1/models")
        assert (models.status, json.loads(models.read())["data"][0]["id"]) == (200, "tiny/F32")
        monkeypatch.setenv("SSL_CERT_FILE", str(proxy.certificate))
        with pytest.raises(EndpointError, match="401"):
            Client(request(f"{proxy.url}/v1")).complete("Once", 8, PATIENCE_S)
        monkeypatch.setenv("ENDPOINT_KEY", KEY)
        client = Client(request(f"{proxy.url}/v1", key="ENDPOINT_KEY"))
        client.try_out(lambda: client.complete("Once", 1, PATIENCE_S))
        assert client.complete("Once", 8, PATIENCE_S).pieces
