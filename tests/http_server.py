"""Real HTTP servers on this machine whose connections fail on request, for tests of downloads."""

import contextlib
import json
import re
import socket
import struct
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote, urlsplit

from support import PATIENCE_S, until


@dataclass
class Faults:
    """What goes wrong, by file name."""

    serve: dict[str, bytes] = field(default_factory=dict)
    """Other bytes than those that the hub states the hash of."""
    short: dict[str, int] = field(default_factory=dict)
    """The body ends after so many bytes, each time; Content-Length promises all."""
    drop: dict[str, list[int]] = field(default_factory=dict)
    """The connection is cut after so many bytes of the body: once for each number."""
    reset: bool = False
    """`drop` resets the connection, in place of closing it."""
    sizes: dict[str, int] = field(default_factory=dict)
    """Another size than the file has is stated."""
    down: bool = False
    """Every request of the hub is answered by 503."""
    headers: dict[str, dict[str, str]] = field(default_factory=dict)
    """Other headers than the server's, by the last part of the path, with _ for -."""
    answers: dict[str, bytes] = field(default_factory=dict)
    """Other JSON than the server's, by the end of the path."""
    endless: tuple[str, ...] = ()
    """The JSON of paths that end so goes on for ever."""
    stall: dict[str, threading.Event] = field(default_factory=dict)
    """After half of the body, wait for the event."""


@dataclass(frozen=True)
class Request:
    host: str
    """Which of a world's servers was asked."""
    method: str
    path: str
    range: str | None
    token: str | None


class World:
    """Servers that share their faults and the list of requests; a context manager."""

    def __init__(self, **hosts: type["Handler"]) -> None:
        self.faults = Faults()
        self.requests: list[Request] = []
        self._servers = {host: self._server(host, handler) for host, handler in hosts.items()}

    def __enter__(self) -> Self:
        for server in self._servers.values():
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._servers.values():
            server.shutdown()
            server.server_close()

    def address(self, host: str) -> str:
        return f"http://127.0.0.1:{self._servers[host].server_address[1]}"

    def asked(self, method: str, ending: str, host: str | None = None) -> list[Request]:
        """The requests so far for paths that end so."""
        return [
            request
            for request in self.requests
            if request.method == method
            and request.path.endswith(ending)
            and host in (None, request.host)
        ]

    def _server(self, host: str, handler: type["Handler"]) -> ThreadingHTTPServer:
        made = type(handler.__name__, (handler,), {"world": self, "host": host})
        server = ThreadingHTTPServer(("127.0.0.1", 0), made)
        server.daemon_threads = True
        return server


class Handler(BaseHTTPRequestHandler):
    """Note the request, answer, serve a file by ranges."""

    world: Any
    host: str
    protocol_version = "HTTP/1.1"
    # Else an answer waits 40 ms for word of its head.
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self.note()
        self.route()

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        self.do_GET()

    def route(self) -> None:
        raise NotImplementedError

    def log_message(self, *_: Any) -> None:
        pass

    def note(self) -> None:
        bearer = self.headers.get("Authorization", "")
        self.token = bearer.removeprefix("Bearer ") or None
        self.path = unquote(self.path)
        self.world.requests.append(
            Request(self.host, self.command, self.path, self.headers.get("Range"), self.token)
        )

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        headers |= self.lies()
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def lies(self) -> dict[str, str]:
        return self.world.faults.headers.get(urlsplit(self.path).path.rpartition("/")[2], {})

    def answer_json(self, content: Any) -> None:
        body = json.dumps(content).encode()
        for ending, lie in self.world.faults.answers.items():
            if urlsplit(self.path).path.endswith(ending):
                body = lie
        if urlsplit(self.path).path.endswith(self.world.faults.endless or ("no such path",)):
            self.flood()
        else:
            self.answer(200, body, Content_Type="application/json")

    def flood(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.close_connection = True
        with contextlib.suppress(OSError):
            while True:
                self.wfile.write(b"100000\r\n" + b"[" * 0x100000 + b"\r\n")

    def refuse(self, status: int, code: str, message: str) -> None:
        body = json.dumps({"error": message}).encode()
        self.answer(status, body, X_Error_Code=code, X_Error_Message=message)

    def serve(self, name: str, data: bytes, **headers: str) -> None:
        """The file, or the range that is asked for, with the faults of its name."""
        faults = self.world.faults
        data = faults.serve.get(name, data)
        start = int(re.sub(r"bytes=(\d+)-.*", r"\1", self.headers.get("Range") or "bytes=0-"))
        if start >= len(data) > 0:
            self.answer(416, Content_Range=f"bytes */{len(data)}")
            return
        headers |= self.lies()
        self.send_response(206 if "Range" in self.headers else 200)
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        if "Range" in self.headers:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Accept-Ranges", "bytes")
        size = faults.sizes.get(name, len(data)) if self.command == "HEAD" else len(data)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(size - start))
        self.end_headers()
        if self.command == "HEAD":
            return
        if drops := faults.drop.get(name):
            self.wfile.write(data[start : start + drops.pop(0)])
            self.hang_up()
        elif name in faults.short:
            self.wfile.write(data[start : faults.short[name]])
            self.hang_up()
        elif name in faults.stall:
            self.wfile.write(data[start : len(data) // 2])
            self.wfile.flush()
            faults.stall[name].wait(PATIENCE_S)
            self.hang_up()
        else:
            self.wfile.write(data[start:])

    def hang_up(self) -> None:
        self.wfile.flush()
        if self.world.faults.reset:
            until(self.is_read)  # a reset throws away what the other side has not read yet
            # Closing with a linger of zero sends RST.
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.rfile.close()
            self.connection.close()
        self.close_connection = True

    def is_read(self) -> bool:
        """Whether the other side has taken all that was sent."""
        ends = (self.connection.getsockname(), self.connection.getpeername())
        ours, theirs = (f"{port:04X}" for _, port in ends)
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            local, remote, _, queues = line.split()[1:5]
            sent, received = (int(queue, 16) for queue in queues.split(":"))
            ports = (local.partition(":")[2], remote.partition(":")[2])
            if (ports == (ours, theirs) and sent) or (ports == (theirs, ours) and received):
                return False
        return True
