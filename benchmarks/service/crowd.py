"""Connections that ask for nothing, or for next to nothing, for as long as they are let."""

import contextlib
import resource
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.service.attacks import COMPLETION, MARK, request

BYTE_EVERY_S = 0.5


@contextmanager
def idle(port: int, count: int) -> Iterator[int]:
    """So many connections, every other one with half a head; how many were let in."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, count + 1000), most))
    with contextlib.ExitStack() as held:
        made = 0
        for i in range(count):
            with contextlib.suppress(OSError):
                link = held.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
                made += 1
                if i % 2:
                    link.send(b"POST /v1/completions HTTP/1.1\r\nHost:")
        yield made


@contextmanager
def slow(port: int, readers: int, writers: int) -> Iterator[None]:
    """Some that read nothing of a stream, and some that send a byte at a time."""
    over = threading.Event()
    asked = {"prompt": f"{MARK} is", "max_tokens": 200, "temperature": 0, "stream": True}
    threads = [
        threading.Thread(target=does, args=(port, request(asked, COMPLETION), over), daemon=True)
        for does in [_reads_nothing] * readers + [_writes_slowly] * writers
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def _reads_nothing(port: int, sent: bytes, over: threading.Event) -> None:
    with contextlib.suppress(OSError), socket.socket() as link:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        link.settimeout(5)
        link.connect(("127.0.0.1", port))
        link.sendall(sent)
        over.wait()


def _writes_slowly(port: int, sent: bytes, over: threading.Event) -> None:
    with (
        contextlib.suppress(OSError),
        socket.create_connection(("127.0.0.1", port), timeout=5) as link,
    ):
        for i in range(len(sent)):
            link.send(sent[i : i + 1])
            if over.wait(BYTE_EVERY_S):
                return
