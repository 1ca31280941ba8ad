"""Connections of the service, by a real uvicorn on a real socket and the service's own loop."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import uvicorn
import uvloop
from support import until

from llmpi.device.service.connections import Connection

PARTS = [b"one", b"two" * 9, b"three"]


async def in_parts(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for part in PARTS[:-1]:
        scope["part"](part)
    await send({"type": "http.response.body", "body": PARTS[-1]})


async def to_nobody(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    while (await receive())["type"] != "http.disconnect":
        pass
    scope["part"](b"nobody reads this")
    HEARD.set()


HEARD = threading.Event()


@contextmanager
def served(app: Any) -> Iterator[int]:
    """Its port."""
    listening = socket.create_server(("127.0.0.1", 0))
    headers = [("connection", "close")]
    config = uvicorn.Config(app, http=Connection, lifespan="off", headers=headers, log_config=None)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=uvloop.run, args=(server.serve(sockets=[listening]),))
    thread.start()
    try:
        until(lambda: server.started)
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


@pytest.mark.parametrize(
    ("version", "body"),
    [
        ("1.1", b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in PARTS) + b"0\r\n\r\n"),
        ("1.0", b"".join(PARTS)),
    ],
    ids=["1.1", "1.0"],
)
def test_an_answer_in_parts_is_framed_as_its_client_reads_it(version: str, body: bytes) -> None:
    with served(in_parts) as port, socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(f"POST / HTTP/{version}\r\nHost: h\r\n\r\n".encode())
        said = b"".join(iter(lambda: client.recv(65536), b""))
    head, _, rest = said.partition(b"\r\n\r\n")
    assert rest == body
    assert (b"transfer-encoding: chunked" in head.lower()) == (version == "1.1")


def test_a_part_for_somebody_who_has_gone_is_nothing() -> None:
    with served(to_nobody) as port:
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"POST / HTTP/1.1\r\nHost: h\r\n\r\n")
            client.recv(1)
        assert HEARD.wait(60)
