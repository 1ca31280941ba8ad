"""What a client is told, by ASGI; the parts of a stream without it."""

import json
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any

from llmpi.device.monitor.exposition import CONTENT_TYPE
from llmpi.device.service.refusals import RefusedError

Message = MutableMapping[str, Any]  # of ASGI: what a key holds hangs on the kind of message
Send = Callable[[Message], Awaitable[None]]
Json = Any  # of OpenAI's interface


class Answer:
    """What was told of an answer.

    Args:
        part: writes a part of a body at once, as `connections.Connection` has it.
    """

    def __init__(self, send: Send, part: Callable[[bytes], None]) -> None:
        self._send, self._part = send, part
        self.status, self.over = 0, False

    async def whole(self, status: int, content: bytes | Json, *headers: tuple[str, str]) -> None:
        kind = CONTENT_TYPE if isinstance(content, bytes) else "application/json"
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        await self._head(
            status, ("content-type", kind), ("content-length", str(len(data))), *headers
        )
        await self._body(data, over=True)

    def event(self, data: str) -> None:
        """A part of a stream."""
        if not self.status:
            with suppress(StopIteration):  # nothing was written yet, and so it waits for nothing
                self._head(200, ("content-type", "text/event-stream")).send(None)
        self._part(_event(data))

    async def end(self) -> None:
        """Of a stream; a client that does not read is waited for."""
        await self._body(_event("[DONE]"), over=True)

    async def refuse(self, error: RefusedError) -> None:
        kind = "invalid_request_error" if error.status < 500 else "server_error"
        record = {"message": str(error), "type": kind, "param": None, "code": error.code}
        await self.whole(error.status, {"error": record}, *error.headers)

    async def _head(self, status: int, *headers: tuple[str, str]) -> None:
        self.status = status
        raw = [(name.encode(), value.encode()) for name, value in headers]
        await self._send({"type": "http.response.start", "status": status, "headers": raw})

    async def _body(self, data: bytes, over: bool) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": not over})
        self.over = over


def _event(data: str) -> bytes:
    return f"data: {data}\n\n".encode()
