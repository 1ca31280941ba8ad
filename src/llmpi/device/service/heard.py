"""What is heard of llama-server: the lines of an answer, each as soon as it is there.

No coroutine runs between two lines: where the engine computes on all processors, it waits for
whatever a token costs here.
"""

import asyncio
from collections.abc import Callable

import httptools


class EngineRefusedError(Exception):
    """It does not take a request: its HTTP status."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.status = status


class Heard(asyncio.Protocol):
    """One answer.

    Args:
        line: is told each; when it says so, no more is wanted.

    Attributes:
        ended: done when no more is wanted. Raises EngineRefusedError where the engine does not take
            the request, ConnectionResetError where it ended before, and what `line` raises.
    """

    def __init__(self, line: Callable[[bytes], bool]) -> None:
        self.ended = asyncio.get_running_loop().create_future()
        self._line = line
        self._parts: list[bytes] = []
        self._held = b""
        self._over = False
        self.on_body = self._parts.append  # this and the next two are what the parser calls
        self._parser = httptools.HttpResponseParser(self)

    def on_headers_complete(self) -> None:
        if (status := self._parser.get_status_code()) != 200:
            self._end(EngineRefusedError(status))

    def on_message_complete(self) -> None:
        self._over = True

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
            *lines, self._held = (self._held + b"".join(self._parts)).split(b"\n")
            self._parts.clear()
            for line in [*lines, self._held] if self._over else lines:
                if self.ended.done():
                    return
                if self._line(line):
                    self._end()
        except httptools.HttpParserError as error:
            self._end(ConnectionResetError(str(error)))
        except Exception as error:
            self._end(error)
        if self._over:
            self.connection_lost(None)

    def connection_lost(self, _: Exception | None) -> None:
        self._end(ConnectionResetError("the engine ended in the middle of an answer"))

    def _end(self, error: Exception | None = None) -> None:
        if self.ended.done():
            return
        if error:
            self.ended.set_exception(error)
        else:
            self.ended.set_result(None)
