"""Connections that say nothing. Needs the `serve` extra.

uvicorn waits forever for the head of a request, and opens as many files as the kernel lets it.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_S = 10.0
"""The head of a request must have arrived by then."""
MOST = 256
"""Connections at once; for another one the oldest of those that wait for a head is closed."""


class Connection(H11Protocol):
    """One that is closed when its request does not come."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._deadline = self.loop.call_later(HEAD_S, self._give_up)
        waiting = [c for c in self.connections if isinstance(c, Connection) and c._deadline]
        if len(self.connections) > MOST:
            min(waiting, key=Connection._due)._give_up()

    def handle_events(self) -> None:
        super().handle_events()
        if self.scope is not None:
            self._forget()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        super().connection_lost(exc)

    def _due(self) -> float:
        assert self._deadline is not None
        return self._deadline.when()

    def _give_up(self) -> None:
        self._forget()
        self.transport.abort()

    def _forget(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
