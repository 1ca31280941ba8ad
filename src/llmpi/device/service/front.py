"""What stands between the network and the engine: the key, deadlines, limits. Plain ASGI.

The engine schedules, samples and keeps prefixes. But it takes all that is asked, and waits an hour
for who says nothing: here a request is read, refused early and in words, and let to a slot or told
when to come back. Who goes away, or is not answered in time, has its connection to the engine
closed, and that gives the slot back.
"""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from llmpi.device.service.answer import Answer, Message, Send
from llmpi.device.service.engine import Engine
from llmpi.device.service.form import Form
from llmpi.device.service.heard import EngineRefusedError
from llmpi.device.service.keys import Key, Keys
from llmpi.device.service.metrics import GENERATING, RequestMetrics
from llmpi.device.service.records import ServiceSettings
from llmpi.device.service.refusals import RefusedError, wrong
from llmpi.device.service.requests import Asked, Reader
from llmpi.device.service.tool_calls import Call

log = logging.getLogger(__name__)

Receive = Callable[[], Awaitable[Message]]
Json = Any  # of OpenAI's interface

BODY_S = 30.0
"""A request must have arrived by then; until it has, it takes no place from one that has."""
BYTES_PER_TOKEN = 64
"""No vocabulary of today needs more bytes of JSON for a token, but for long runs of spaces."""
LONGEST_BODY_BYTES = 1 << 26
"""Of a body that is too long so much is read, and thrown away."""
GONE = 499
"""What a client that went away is counted as; nginx's."""


class Front:
    def __init__(
        self,
        engine: Engine,
        reader: Reader,
        settings: ServiceSettings,
        metrics: RequestMetrics,
        keys: Keys,
    ) -> None:
        self._engine, self._reader, self._metrics, self._keys = engine, reader, metrics, keys
        self._model = f"{settings['model']}/{settings['quant']}"
        self._slots, self._answer_s = settings["slots"], settings["answer_s"]
        self._most = settings["slots"] + settings["waiting"]
        self._body_bytes = BYTES_PER_TOKEN * settings["context_tokens"]
        self._slot = asyncio.Semaphore(self._slots)
        self._inside = 0
        self._took_s = 1.0
        """How long a request takes, the recent ones counting most."""

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """A line of the log per request: no query, no header, no body."""
        begun, path, answer = time.monotonic(), scope["path"], Answer(send, scope["part"])
        refused: RefusedError | None = None
        try:
            await self._serve(scope, receive, answer)
        except RefusedError as error:
            refused = error
        except (OSError, EngineRefusedError) as error:
            log.error("a request failed: %s", type(error).__name__)
            refused = RefusedError(500, "server_error", "the engine failed; ask again")
        if refused and not answer.status:
            await answer.refuse(refused)
        seconds, code = time.monotonic() - begun, answer.status or GONE
        if path in GENERATING:
            broken = refused is not None and not answer.over
            self._metrics.ended(path, code, failed=broken, seconds=seconds)
        shown = "".join(c if c.isprintable() else "?" for c in path)[:100]
        log.info("%s %s %d %.2f s", scope["method"], shown, code, seconds)
        if not answer.over:
            scope["abort"]()  # its client may not read
            await asyncio.sleep(0)  # uvicorn hears of it

    async def _serve(self, scope: Message, receive: Receive, answer: Answer) -> None:
        path, what = scope["path"], (scope["method"], scope["path"])
        if path == "/health":
            ready = self._engine.ready
            await answer.whole(200 if ready else 503, {"status": "ok" if ready else "loading"})
            return
        key = self._keys.brought(dict(scope["headers"]))
        if what == ("GET", "/v1/models"):
            one = {"id": self._model, "object": "model", "created": 0, "owned_by": "llmpi"}
            await answer.whole(200, {"object": "list", "data": [one]})
        elif what == ("GET", "/metrics"):
            self._metrics.inside(self._inside, self._slots)
            await answer.whole(200, self._metrics.page())
        elif path not in GENERATING:
            raise RefusedError(404, "not_found", f"served are: {', '.join(GENERATING)}")
        elif scope["method"] != "POST":
            raise RefusedError(405, "not_allowed", "this is asked by POST")
        else:
            await self._generate(path, key, receive, answer)

    async def _generate(self, path: str, key: Key, receive: Receive, answer: Answer) -> None:
        begun, body = time.monotonic(), await _body(receive, self._body_bytes)
        key.take()
        if self._inside >= self._most:
            wait = str(max(1, math.ceil(self._took_s * self._inside / self._slots)))
            words = f"busy; try again in {wait} s"
            raise RefusedError(503, "server_busy", words, ("retry-after", wait))
        self._inside += 1
        try:
            asked = await asyncio.to_thread(self._reader, path, body)
            await _unless_gone(receive, self._in_turn(asked, answer, begun))
        finally:
            self._inside -= 1

    async def _in_turn(self, asked: Asked, answer: Answer, begun: float) -> None:
        async with self._slot:
            start = time.monotonic()
            try:
                async with asyncio.timeout(self._answer_s):
                    await self._relay(asked, answer, begun)
            except TimeoutError:
                log.warning("an answer took longer than %g s: broken off", self._answer_s)
                self._engine.end_if_silent(self._answer_s)
                late = f"the answer took longer than {self._answer_s:g} s"
                raise RefusedError(504, "timeout", late) from None
            except EngineRefusedError as error:
                if error.status < 500:
                    raise wrong("the engine does not take this request") from None
                raise
            finally:
                self._took_s += (time.monotonic() - start - self._took_s) / 4

    async def _relay(self, asked: Asked, answer: Answer, begun: float) -> None:
        """Put the engine's pieces as they were asked for."""
        form = Form(asked, self._model)
        said: list[str] = []
        calls: list[Call] = []
        last: Json = {}

        def heard(piece: Json) -> None:
            thought, text, over = "", piece["content"], piece["stop"]
            if asked.parting:
                thought, text = asked.parting.feed(text, over)
            now: list[Call] = []
            if asked.calls:
                text, now = asked.calls.feed(text, over)
            said.append(text)
            calls.extend(now)
            if asked.stream and (text or thought or now):
                if not answer.status:
                    self._metrics.first_token.observe(time.monotonic() - begun)
                answer.event(form.part(text, thought, now))
            if over:
                last.update(piece)

        await self._engine.complete(asked.engine, heard)
        self._metrics.computed(last["timings"])
        ended = "length" if last["stop_type"] == "limit" else "stop"
        ended = "tool_calls" if calls else ended
        if not asked.stream:
            await answer.whole(
                200, form.whole("".join(said), calls, ended, last["tokens_predicted"])
            )
            return
        for part in form.last(ended, last["tokens_predicted"]):
            answer.event(part)
        await answer.end()


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


async def _unless_gone(receive: Receive, work: Coroutine[Any, Any, None]) -> None:
    """Do it as long as the client is there."""

    async def gone() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    working, going = asyncio.ensure_future(work), asyncio.ensure_future(gone())
    try:
        await asyncio.wait({working, going}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        going.cancel()
        working.cancel()
        await asyncio.wait({working})
    if not working.cancelled():
        working.result()
