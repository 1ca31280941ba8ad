"""A stand-in for an endpoint: a server on loopback that answers as a test wants it."""

import contextlib
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import Any

from llmpi.device.records import EndpointRequest

HERE = "127.0.0.1"


class Endpoint:
    """A server that answers every POST, and keeps what it was asked.

    Args:
        body: of each answer, or what makes it of what was asked.
        pace_s: between its lines, as of an engine that decodes; else all comes at once.
    """

    def __init__(
        self,
        body: bytes | Callable[[dict[str, Any]], bytes],
        status: int = 200,
        headers: Mapping[str, str] = MappingProxyType({}),
        pace_s: float = 0.0,
    ) -> None:
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.refuses: frozenset[str] = frozenset()
        """Fields of a request, and"""
        self.unwell: frozenset[int] = frozenset()
        """requests, by their numbers from 0, whatever is in them."""
        outer = self

        class Handler(BaseHTTPRequestHandler):
            server_version, sys_version = "stand-in", ""

            def do_POST(self) -> None:
                sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.asked.append({"path": self.path, **sent})
                outer.keys.append(self.headers["Authorization"])
                unwell = len(outer.asked) - 1 in outer.unwell
                refused = outer.refuses & sent.keys() or unwell
                self.send_response(400 if refused else status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                with contextlib.suppress(OSError):
                    said = body if isinstance(body, bytes) else body(sent)
                    said = b"unknown field" if refused else said
                    for line in said.splitlines(keepends=True) if pace_s else [said]:
                        self.wfile.write(line)
                        time.sleep(pace_s if line.strip() else 0.0)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def __enter__(self) -> "Endpoint":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"


@contextlib.contextmanager
def raw(
    talk: Callable[[socket.socket], None], tls: ssl.SSLContext | None = None, host: str = HERE
) -> Iterator[str]:
    """A server that does with every connection what a test wants: its address."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with contextlib.ExitStack() as ends, contextlib.suppress(OSError):
                    ends.enter_context(connection)
                    if tls:
                        connection = tls.wrap_socket(connection, server_side=True)
                        ends.enter_context(connection)
                    talk(connection)
                    # What came and was not read would reset the connection, the answer with it.
                    connection.settimeout(5)
                    connection.shutdown(socket.SHUT_WR)
                    while connection.recv(65536):
                        pass

        threading.Thread(target=serve, daemon=True).start()
        there = f"[{host}]" if ":" in host else host
        yield f"http{'s' if tls else ''}://{there}:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)


def request(address: str, api: str = "completions", key: str | None = None) -> EndpointRequest:
    claimed = {"file": None, "type": None, "template": None}
    return {  # type: ignore[typeddict-item]  # the API is one of three
        "url": address,
        "api": api,
        "key_variable": key,
        "model": "m",
        "claimed": claimed,
    }


def events(*messages: object) -> bytes:
    """As OpenAI streams them."""
    lines = [f"data: {json.dumps(message)}\n\n" for message in messages]
    return "".join([": ping\n\n", *lines, "data: [DONE]\n\n"]).encode()


def piece(text: str, **more: object) -> dict[str, object]:
    return {"choices": [{"text": text, "finish_reason": None, **more}]}


END = {"choices": [{"text": "", "finish_reason": "length"}]}
