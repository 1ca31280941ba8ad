"""A link that can be cut: a TCP proxy on loopback that counts what goes up."""

import contextlib
import socket
import threading
from typing import Self


class CutProxy:
    """Forwards to a port on loopback.

    Set `cut_after` to break every connection once that many bytes went up in all, or `stall_after`
    to let no more up until `go_on`; `down` refuses new ones.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.up_bytes = 0
        self.cut_after: int | None = None
        self.stall_after: int | None = None
        self.stalled = threading.Event()
        self._released = threading.Event()
        self.down = False
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self.go_on()
        self.cut()

    def go_on(self) -> None:
        """What is stalled moves again."""
        self.stall_after = None
        self._released.set()

    def cut(self) -> None:
        """Break every open connection, as a pulled cable ends in a reset."""
        pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for end in pair:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.down:
                client.close()
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self.target))
            except OSError:  # nobody is there now; somebody may be later
                client.close()
                continue
            self._pairs.append((client, server))
            threading.Thread(target=self._pump, args=(client, server, True), daemon=True).start()
            threading.Thread(target=self._pump, args=(server, client, False), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, up: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
                if up:
                    self.up_bytes += len(data)
                    if self.stall_after is not None and self.up_bytes >= self.stall_after:
                        self.stalled.set()
                        self._released.wait()
                    if self.cut_after is not None and self.up_bytes >= self.cut_after:
                        self.cut()
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
