"""Connections that do not say what they want, and those whose client does not read.

uvicorn waits forever for the head of a request, and opens as many files as the kernel lets it.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_S = 10.0
"""The head of a request must have arrived by then."""
IDLE = 256
"""Connections whose request has not arrived; for another one the oldest is closed."""


class Connection(H11Protocol):
    """One that is closed when its request does not come. The scope has `abort`, which ends it at
    once, and `part`, which writes a part of an answer that has begun at once: behind h11, whose
    turn it is again with the last one. What a client does not read of it waits here.
    """

    _begun = 0.0
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._begun = self.loop.time()
        self._deadline = self.loop.call_later(HEAD_S, self._give_up)
        idle = [c for c in self.connections if isinstance(c, Connection) and not c._has_arrived]
        if len(idle) > IDLE:
            min(idle, key=lambda c: c._begun)._give_up()

    def handle_events(self) -> None:
        super().handle_events()
        if self.scope is not None:
            self.scope["abort"] = self.transport.abort  # type: ignore[typeddict-unknown-key]
            self.scope["part"] = self._part  # type: ignore[typeddict-unknown-key]
            self._forget()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        super().connection_lost(exc)

    def _part(self, data: bytes) -> None:
        if not self.cycle.disconnected:
            chunked = self.scope["http_version"] != "1.0"  # whose answers end with the connection
            self.transport.write(b"%x\r\n%b\r\n" % (len(data), data) if chunked else data)

    @property
    def _has_arrived(self) -> bool:
        """Whether the whole request is here, its body too."""
        return self.cycle is not None and not self.cycle.more_body

    def _give_up(self) -> None:
        self._forget()
        self.connections.discard(self)  # now: it is lost a turn of the loop later
        self.transport.abort()

    def _forget(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
