"""What stands between the network and the engine: the key, sizes, and the queue. Plain ASGI.

The server behind it computes one request at a time and has no limit of its own; here a request that
cannot be served is refused early, in the form of an OpenAI error, and none is written to a log.
"""

import asyncio
import hmac
import json
import logging
import math
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol

log = logging.getLogger(__name__)

Message = MutableMapping[str, Any]  # of ASGI: what a key holds hangs on the kind of message
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


class Stop(Protocol):
    """As `llmpi.device.service.abort.Abort`."""

    def __call__(self) -> None: ...

    def reset(self) -> None: ...


OPEN = ("/health",)
"""Paths that answer without a key; they say nothing but that the service is up."""

BODY_S = 30
"""A request must have arrived by then; until it has, it takes no place from one that has."""
LONGEST_BODY_BYTES = 1 << 26
"""Of a body that is too long so much is read, and thrown away."""


class RefusedError(Exception):
    """A request that will not be served: HTTP status, OpenAI's error code, words for a person."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


class KeyGate:
    """Lets a request in that brings the key; without a key of its own it lets in every one."""

    def __init__(self, app: App, key: str | None) -> None:
        self._app, self._key = app, key

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            if scope["path"] in OPEN:
                await _answer(send, 200, {"status": "ok"})
                return
            if not self._may(dict(scope["headers"])):
                error = RefusedError(401, "invalid_api_key", "the API key is missing or wrong")
                await _refuse(send, error, [(b"www-authenticate", b"Bearer")])
                return
        await self._app(scope, receive, send)

    def _may(self, headers: dict[bytes, bytes]) -> bool:
        if self._key is None:
            return True
        given = headers.get(b"authorization", b"")
        # Takes as long for a key that is nearly right as for any other.
        return hmac.compare_digest(given, b"Bearer " + self._key.encode())


class Queue:
    """One request at a time, at most `waiting` behind it; more are told when to come back.

    Args:
        check: called with path and body in a thread of its own before a request takes its turn; it
            raises RefusedError, or returns the body that the server is to get.
        body_bytes: a longer body is not kept.
        answer_s: an answer that takes longer is broken off; a client that does not read its stream
            would keep the engine forever.
        stop: has the engine leave off, until it is reset. The turn is over when it has.
    """

    def __init__(
        self,
        app: App,
        *,
        waiting: int,
        body_bytes: int,
        answer_s: float,
        check: Callable[[str, bytes], bytes],
        stop: Stop,
    ) -> None:
        self._app, self._check, self._stop = app, check, stop
        self._waiting, self._body_bytes, self._answer_s = waiting, body_bytes, answer_s
        self._turn = asyncio.Lock()
        self._inside = 0
        self._took_s = 1.0
        """How long a request takes, the recent ones counting most."""

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        try:
            body = await _body(receive, self._body_bytes)
        except RefusedError as error:
            await _refuse(send, error)
            return
        if self._inside > self._waiting:
            wait_s = max(1, math.ceil(self._took_s * self._inside))
            busy = RefusedError(503, "server_busy", f"busy; try again in {wait_s} s")
            await _refuse(send, busy, [(b"retry-after", str(wait_s).encode())])
            return
        self._inside += 1
        try:
            body = await asyncio.to_thread(self._check, scope["path"], body)
            async with self._turn:
                start = time.monotonic()
                await self._limited(scope, _again(body, receive), send)
                self._took_s += (time.monotonic() - start - self._took_s) / 4
        except RefusedError as error:
            await _refuse(send, error)
        finally:
            self._inside -= 1

    async def _limited(self, scope: Message, receive: Receive, send: Send) -> None:
        """Have a request answered. Whoever is not answered in time is told so at once; the turn
        goes on until the thread that computes for it has left off, or the next request would enter
        the same context."""
        sending: asyncio.Future[None] | None = None
        started = late = False

        async def noted(message: Message) -> None:
            nonlocal sending, started
            if late:
                raise ConnectionAbortedError
            if not started:
                started = True
                await send(message)  # a head; only what follows may have to wait for its reader
                return
            sending = asyncio.ensure_future(send(message))
            try:
                await sending
            except asyncio.CancelledError:
                if late:
                    raise ConnectionAbortedError from None
                raise

        answering = asyncio.ensure_future(self._app(scope, receive, noted))
        try:
            await asyncio.wait({answering}, timeout=self._answer_s)
            if not answering.done():
                late = True
                log.warning("an answer took longer than %g s and was broken off", self._answer_s)
                self._stop()
                if not started:
                    message = f"the answer took longer than {self._answer_s:g} s"
                    await _refuse(send, RefusedError(504, "timeout", message))
                elif sending:
                    sending.cancel()  # its client may not read
                await asyncio.wait({answering})
        finally:
            answering.cancel()  # of one that is left when the server itself gives up
            self._stop.reset()
        if (failed := answering.exception()) and not late:
            raise failed


class AccessLog:
    """A line per request: what, how it ended, how long it took; no query, no header, no body."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = time.monotonic(), 0

        async def note(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self._app(scope, receive, note)
        finally:
            path = "".join(c if c.isprintable() else "?" for c in scope["path"])[:100]
            log.info("%s %s %d %.2f s", scope["method"], path, status, time.monotonic() - start)


async def _body(receive: Receive, limit: int) -> bytes:
    """The body of a request.

    Raises:
        RefusedError: it is longer than `limit` bytes, or its client too slow or gone.
    """
    parts: list[bytes] = []
    length, more = 0, True
    try:
        async with asyncio.timeout(BODY_S):
            # Read to its end even if it is too long: a client that is still sending when the
            # connection closes never sees the answer.
            while more and length < LONGEST_BODY_BYTES:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise RefusedError(400, "client_closed_request", "the client went away")
                length += len(message.get("body", b""))
                if length <= limit:
                    parts.append(message.get("body", b""))
                more = message.get("more_body", False)
    except TimeoutError:
        raise RefusedError(408, "timeout", f"the request took longer than {BODY_S} s") from None
    if length > limit:
        raise RefusedError(413, "request_too_large", f"a request has at most {limit} bytes")
    return b"".join(parts)


def _again(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body that was read, then what comes behind it."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


async def _refuse(
    send: Send, error: RefusedError, headers: list[tuple[bytes, bytes]] | None = None
) -> None:
    kind = "invalid_request_error" if error.status < 500 else "server_error"
    record = {"message": str(error), "type": kind, "param": None, "code": error.code}
    await _answer(send, error.status, {"error": record}, headers)


async def _answer(
    send: Send,
    status: int,
    record: object,
    headers: list[tuple[bytes, bytes]] | None = None,
) -> None:
    content = json.dumps(record).encode()
    own = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(content)).encode()),
        *(headers or []),
    ]
    await send({"type": "http.response.start", "status": status, "headers": own})
    await send({"type": "http.response.body", "body": content})
