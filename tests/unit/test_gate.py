"""The gate in front of the engine: who is let in, who waits, who is told to come back."""

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from llmpi.device.service import gate

KEY = "a-key-of-some-length"


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    record: Any


async def ask(
    app: gate.App,
    method: str = "POST",
    path: str = "/v1/completions",
    body: bytes = b"{}",
    key: str | None = None,
    parts: int = 1,
) -> Answer:
    size = -(-len(body) // parts) or 1
    pieces = [body[i : i + size] for i in range(0, len(body), size)] or [b""]
    sent: list[gate.Message] = []

    async def receive() -> gate.Message:
        if pieces:
            return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}
        await asyncio.sleep(3600)
        raise AssertionError

    async def send(message: gate.Message) -> None:
        sent.append(message)

    headers = [(b"authorization", f"Bearer {key}".encode())] if key else []
    scope = {"type": "http", "method": method, "path": path, "headers": headers}
    await app(scope, receive, send)
    start, *rest = sent
    content = b"".join(message.get("body", b"") for message in rest)
    own = {name.decode(): value.decode() for name, value in start["headers"]}
    return Answer(start["status"], own, json.loads(content))


class Engine:
    """Behind the gate: says back what it was asked, one request at a time if the gate is right."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.go.set()
        self.inside = self.most = self.served = 0

    async def __call__(self, scope: Any, receive: gate.Receive, send: gate.Send) -> None:
        self.inside += 1
        self.most = max(self.most, self.inside)
        body = (await receive())["body"] if scope["method"] == "POST" else b"null"
        await self.go.wait()
        await asyncio.sleep(0)
        self.inside -= 1
        self.served += 1
        await gate._answer(send, 200, json.loads(body))


def accept(_: str, body: bytes) -> bytes:
    return body


class Stop:
    """Lets the engine go, as if its computation had been broken off."""

    def __init__(self, app: gate.App) -> None:
        self._app, self.stopped = app, 0

    def __call__(self) -> None:
        self.stopped += 1
        if isinstance(self._app, Engine):
            self._app.go.set()

    def reset(self) -> None:
        return


def queue(
    app: gate.App,
    waiting: int = 2,
    check: Callable[[str, bytes], bytes] = accept,
    body_bytes: int = 1000,
    answer_s: float = 60,
) -> gate.Queue:
    return gate.Queue(
        app,
        waiting=waiting,
        body_bytes=body_bytes,
        answer_s=answer_s,
        check=check,
        stop=Stop(app),
    )


def test_only_who_brings_the_key_is_let_in() -> None:
    async def run() -> None:
        app = gate.KeyGate(Engine(), KEY)
        for key in (None, "", KEY[:-1], KEY + "x", "ä"):
            for path in ("/v1/completions", "/v1/models", "/metrics", "/docs", "/openapi.json"):
                answer = await ask(app, path=path, key=key)
                assert answer.status == 401
                assert answer.record["error"]["code"] == "invalid_api_key"
                assert KEY not in json.dumps(answer)
        assert (await ask(app, key=KEY)).status == 200
        assert (await ask(app, "GET", "/health")).record == {"status": "ok"}

    asyncio.run(run())


def test_without_a_key_all_are_let_in() -> None:
    assert asyncio.run(ask(gate.KeyGate(Engine(), None))).status == 200


def test_fifty_at_once_are_served_in_turn_or_told_when_to_come_back() -> None:
    async def run() -> None:
        engine = Engine()
        engine.go.clear()
        app = queue(engine, waiting=16)
        tasks = [asyncio.create_task(ask(app, body=b"%d" % i)) for i in range(50)]
        while engine.inside == 0 or sum(task.done() for task in tasks) < 33:
            await asyncio.sleep(0.001)
        engine.go.set()
        answers = await asyncio.gather(*tasks)
        good = [answer for answer in answers if answer.status == 200]
        assert len(good) == 17  # one in the engine, 16 behind it
        assert engine.most == 1
        assert [answer.record for answer in good] == list(range(17)), "in turn, each its own"
        for answer in answers[17:]:
            assert answer.status == 503
            assert int(answer.headers["retry-after"]) >= 1
        assert (await ask(app)).status == 200, "and it serves on"

    asyncio.run(run())


def test_looking_at_it_needs_no_turn() -> None:
    async def run() -> None:
        engine = Engine()
        app = queue(engine, waiting=0)
        await app._turn.acquire()
        app._inside = 1
        assert (await ask(app, "GET", "/v1/models")).status == 200
        assert (await ask(app)).status == 503

    asyncio.run(run())


@pytest.mark.parametrize("parts", [1, 7])
def test_a_body_that_is_too_long_is_refused_and_never_kept(parts: int) -> None:
    async def run() -> None:
        engine = Engine()
        app = queue(engine, body_bytes=100)
        answer = await ask(app, body=b"9" * 5000, parts=parts)
        assert answer.status == 413
        assert engine.served == 0
        assert (await ask(app, body=b"9" * 100, parts=parts)).status == 200

    asyncio.run(run())


def test_a_body_that_does_not_arrive_gives_its_place_back(monkeypatch) -> None:
    monkeypatch.setattr(gate, "BODY_S", 0.01)

    async def run() -> None:
        app = queue(Engine(), waiting=0)
        sent: list[gate.Message] = []

        async def receive() -> gate.Message:
            await asyncio.sleep(3600)
            raise AssertionError

        async def send(message: gate.Message) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": "/v1/completions", "headers": []}
        await app(scope, receive, send)
        assert sent[0]["status"] == 408
        assert (await ask(app)).status == 200

    asyncio.run(run())


def test_the_server_gets_what_the_check_makes_of_it() -> None:
    async def run() -> None:
        served = queue(Engine(), check=lambda _, body: body.replace(b"new", b"old"))
        assert (await ask(served, body=b'{"new": 1}')).record == {"old": 1}

    asyncio.run(run())


def test_what_the_check_refuses_takes_no_turn() -> None:
    def check(path: str, body: bytes) -> bytes:
        raise gate.RefusedError(400, "context_length_exceeded", "the prompt has 9 tokens")

    async def run() -> None:
        engine = Engine()
        answer = await ask(queue(engine, check=check))
        assert answer.status == 400
        assert answer.record["error"] == {
            "message": "the prompt has 9 tokens",
            "type": "invalid_request_error",
            "param": None,
            "code": "context_length_exceeded",
        }
        assert engine.served == 0

    asyncio.run(run())


def test_who_does_not_read_an_answer_does_not_keep_the_engine() -> None:
    async def streaming(scope: Any, receive: gate.Receive, send: gate.Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"data", "more_body": True})

    async def run() -> None:
        app = queue(streaming, waiting=0, answer_s=0.01)
        sent: list[gate.Message] = []

        async def receive() -> gate.Message:
            return {"type": "http.request", "body": b"{}", "more_body": False}

        async def stalled(message: gate.Message) -> None:
            sent.append(message)
            if message["type"] == "http.response.body":
                await asyncio.sleep(3600)  # its buffers are full

        scope = {"type": "http", "method": "POST", "path": "/v1/completions", "headers": []}
        await app(scope, receive, stalled)
        assert [message["type"] for message in sent] == [
            "http.response.start",
            "http.response.body",
        ]
        await app(scope, receive, stalled)
        assert len(sent) == 4, "the next one had its turn"

    asyncio.run(run())


def test_an_answer_that_does_not_come_is_given_up() -> None:
    async def run() -> None:
        engine = Engine()
        engine.go.clear()
        assert (await ask(queue(engine, answer_s=0.01))).status == 504

    asyncio.run(run())


def test_the_turn_lasts_until_the_engine_has_left_off() -> None:
    """It answers nobody any more, and computes still: the next one does not enter its context."""

    async def run() -> None:
        engine = Engine()
        engine.go.clear()
        app = queue(engine, answer_s=0.01)
        app._stop = Stop(accept)  # the engine is slow to hear
        late = asyncio.ensure_future(ask(app))
        await asyncio.sleep(0.1)
        next_one = asyncio.ensure_future(ask(app))
        await asyncio.sleep(0.1)
        assert (engine.inside, late.done(), next_one.done()) == (1, False, False)
        engine.go.set()
        assert (await late).status == 504
        assert (await next_one).status == 200
        assert engine.most == 1

    asyncio.run(run())


def test_an_app_that_fails_gives_its_place_back() -> None:
    async def broken(*_: Any) -> None:
        raise RuntimeError("engine")

    async def run() -> None:
        app = queue(broken, waiting=0)
        for _ in range(3):
            with pytest.raises(RuntimeError, match="engine"):
                await ask(app)

    asyncio.run(run())


def test_the_log_has_neither_prompt_nor_key_nor_query(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    app = gate.AccessLog(gate.KeyGate(queue(Engine()), KEY))
    asyncio.run(ask(app, body=b'"my secret"', key=KEY))
    asyncio.run(ask(app, path="/v1/\n\x1b[31mfaked line", key=KEY))
    assert "POST /v1/completions 200" in caplog.text
    assert "my secret" not in caplog.text
    assert KEY not in caplog.text
    assert "\x1b" not in caplog.text
    assert len([r for r in caplog.records if r.name.startswith("llmpi")]) == 2
