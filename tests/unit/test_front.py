"""The front: who is let in, who waits, who is told to come back. A made-up engine is behind it."""

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from made_records import tuned
from prometheus_text import objections, value

from llmpi.device.service import front
from llmpi.device.service.heard import EngineRefusedError
from llmpi.device.service.keys import Given, Keys
from llmpi.device.service.metrics import RequestMetrics
from llmpi.device.service.records import ServiceSettings
from llmpi.device.service.refusals import RefusedError
from llmpi.device.service.requests import Asked

KEY, OTHER = "a-key-of-some-length", "another-key-of-some-length"
COMPLETION, CHAT = "/v1/completions", "/v1/chat/completions"
LABELS = {"model": "m", "quant": "Q4_0", "release": "r7"}
TIMINGS = {"prompt_n": 3, "prompt_ms": 30.0, "predicted_n": 5, "predicted_ms": 400.0}
LAST = {"stop": True, "content": "", "stop_type": "limit", "tokens_predicted": 5}


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    text: str

    @property
    def record(self) -> Any:
        return json.loads(self.text)


class Engine:
    """Says back what it was asked, `slots` requests at a time if the front is right."""

    ready = True

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.go.set()
        self.inside = self.most = self.served = 0
        self.fails: Exception | None = None

    def end_if_silent(self, for_s: float) -> None:
        self.doubted_s = for_s

    async def complete(self, asked: Any, heard: Callable[[Any], None]) -> None:
        self.inside += 1
        self.most = max(self.most, self.inside)
        try:
            await self.go.wait()
            heard({"stop": False, "content": asked["prompt"]})
            if self.fails:
                raise self.fails
            heard({**LAST, "timings": TIMINGS})
            self.served += 1
        finally:
            self.inside -= 1


def read(path: str, body: bytes) -> Asked:
    given = json.loads(body)
    engine = {"prompt": given.get("prompt", "")}
    stream = given.get("stream", False)
    return Asked(engine, 3, path == CHAT, None, stream, given.get("usage", False))


Reading = Callable[[str, bytes], Asked]


def made(
    engine: Engine,
    *,
    reader: Reading = read,
    key: str | None = None,
    a_minute: int | None = None,
    waiting: int = 2,
    slots: int = 1,
    context_tokens: int = 16,
    answer_s: float = 60,
) -> Any:
    settings: ServiceSettings = {
        "model": "m",
        "quant": "Q4_0",
        "port": 0,
        "thinking_tokens": None,
        "context_tokens": context_tokens,
        "slots": slots,
        "prefix_cache_bytes": 0,
        "waiting": waiting,
        "answer_s": answer_s,  # type: ignore[typeddict-item]  # no test waits a second
        "drain_s": 60,
        "runtime": tuned()["runtime"],
    }
    served: Any = engine
    readers: Any = reader
    keys = Keys([Given(key, None), Given(OTHER, a_minute)] if key else [])
    return front.Front(served, readers, settings, RequestMetrics(**LABELS), keys)


class Client:
    """One connection; `leave` closes it."""

    def __init__(self, reads: bool = True) -> None:
        self.gone = asyncio.Event()
        self.sent: list[Any] = []
        self.aborted = False
        self._reads = reads

    async def ask(
        self,
        app: Any,
        method: str = "POST",
        path: str = COMPLETION,
        body: bytes = b"{}",
        headers: tuple[tuple[str, str], ...] = (),
        parts: int = 1,
    ) -> Answer:
        size = -(-len(body) // parts) or 1
        pieces = [body[i : i + size] for i in range(0, len(body), size)] or [b""]

        async def receive() -> Any:
            if pieces:
                return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}
            await self.gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            self.sent.append(message)
            if message["type"] == "http.response.body" and not self._reads:
                await asyncio.sleep(3600)  # its buffers are full

        raw = [(name.encode(), text.encode()) for name, text in headers]
        scope = {"type": "http", "method": method, "path": path, "headers": raw}
        await app({**scope, "abort": self._abort, "part": self._part}, receive, send)
        if not self.sent:
            return Answer(0, {}, "")
        start, *rest = self.sent
        content = b"".join(message.get("body", b"") for message in rest)
        own = {name.decode(): text.decode() for name, text in start["headers"]}
        return Answer(start["status"], own, content.decode())

    def _part(self, data: bytes) -> None:
        self.sent.append({"type": "http.response.body", "body": data, "more_body": True})

    def _abort(self) -> None:
        self.aborted = True


async def ask(app: Any, method: str = "POST", key: str | None = None, **how: Any) -> Answer:
    headers = (("authorization", f"Bearer {key}"),) if key is not None else ()
    return await Client().ask(app, method, headers=(*headers, *how.pop("more", ())), **how)


def page(app: Any) -> str:
    return asyncio.run(ask(app, "GET", path="/metrics")).text


def test_only_who_brings_the_key_is_let_in() -> None:
    async def run() -> None:
        app = made(Engine(), key=KEY)
        for key in (None, "", KEY[:-1], KEY + "x", "ä"):
            for path in (COMPLETION, "/v1/models", "/metrics", "/docs", "/slots", "/props"):
                for method in ("GET", "POST"):
                    answer = await ask(app, method, path=path, key=key)
                    assert answer.status == 401
                    assert answer.record["error"]["code"] == "invalid_api_key"
                    assert KEY not in answer.text
        assert (await ask(app, key=KEY)).status == 200
        assert (await ask(app, "GET", path="/health")).record == {"status": "ok"}

    asyncio.run(run())


def test_a_key_that_asks_too_often_waits_and_no_other_does() -> None:
    async def run() -> None:
        app = made(Engine(), key=KEY, a_minute=3)
        statuses = [(await ask(app, key=OTHER)).status for _ in range(4)]
        assert statuses == [200, 200, 200, 429]
        refused = await ask(app, key=OTHER)
        assert 1 <= int(refused.headers["retry-after"]) <= 20
        error = refused.record["error"]
        assert error["code"] == "rate_limit_exceeded"
        assert f"3 times a minute; try again in {refused.headers['retry-after']} s" in str(error)
        assert OTHER not in refused.text
        assert (await ask(app, "GET", path="/v1/models", key=OTHER)).status == 200
        assert {(await ask(app, key=KEY)).status for _ in range(9)} == {200}
        assert (
            value(
                (await ask(app, "GET", path="/metrics", key=KEY)).text,
                "llmpi_requests_total",
                endpoint=COMPLETION,
                code="429",
            )
            == 2
        )

    asyncio.run(run())


def test_no_header_says_where_a_request_comes_from() -> None:
    """Case: `X-Forwarded-For: 127.0.0.1` opened the metrics behind a proxy."""
    forged = (("x-forwarded-for", "127.0.0.1"), ("forwarded", "for=127.0.0.1"), ("x-api-key", KEY))
    app = made(Engine(), key=KEY)
    assert asyncio.run(ask(app, "GET", path="/metrics", more=forged)).status == 401
    assert asyncio.run(ask(app, "GET", path="/metrics", key=KEY)).status == 200


def test_without_a_key_all_are_let_in() -> None:
    assert asyncio.run(ask(made(Engine()))).status == 200


def test_what_is_not_served_is_said_so() -> None:
    app = made(Engine())
    for path in ("/v1/embeddings", "/slots", "/props", "/completion", "/", "/v1/completions/"):
        assert asyncio.run(ask(app, path=path)).status == 404
    assert asyncio.run(ask(app, "GET")).status == 405
    models = asyncio.run(ask(app, "GET", path="/v1/models")).record
    assert [model["id"] for model in models["data"]] == ["m/Q4_0"]


def test_a_service_that_loads_says_so() -> None:
    engine = Engine()
    engine.ready = False
    answer = asyncio.run(ask(made(engine, key=KEY), "GET", path="/health"))
    assert (answer.status, answer.record) == (503, {"status": "loading"})


def test_fifty_at_once_are_served_in_turn_or_told_when_to_come_back() -> None:
    async def run(slots: int) -> None:
        engine = Engine()
        engine.go.clear()
        app = made(engine, waiting=16, slots=slots)
        bodies = [json.dumps({"prompt": str(i)}).encode() for i in range(50)]
        tasks = [asyncio.create_task(ask(app, body=body)) for body in bodies]
        while engine.inside == 0 or sum(task.done() for task in tasks) < 34 - slots:
            await asyncio.sleep(0.001)
        engine.go.set()
        answers = await asyncio.gather(*tasks)
        good = [answer for answer in answers if answer.status == 200]
        assert len(good) == 16 + slots
        assert engine.most == slots
        said = [answer.record["choices"][0]["text"] for answer in good]
        assert said == [str(i) for i in range(16 + slots)], "each its own"
        for answer in answers[16 + slots :]:
            assert answer.status == 503
            assert int(answer.headers["retry-after"]) >= 1
        assert (await ask(app)).status == 200, "and it serves on"

    for slots in (1, 3):
        asyncio.run(run(slots))


@pytest.mark.parametrize("parts", [1, 7])
def test_a_body_that_is_too_long_is_refused_and_never_kept(parts: int) -> None:
    async def run() -> None:
        engine = Engine()
        app = made(engine, context_tokens=2)
        assert (await ask(app, body=b"9" * 5000, parts=parts)).status == 413
        assert engine.served == 0
        assert (await ask(app, body=b"{}".ljust(128), parts=parts)).status == 200

    asyncio.run(run())


def test_a_body_that_does_not_arrive_gives_its_place_back(monkeypatch) -> None:
    monkeypatch.setattr(front, "BODY_S", 0.01)

    async def run() -> None:
        app = made(Engine(), waiting=0)
        sent: list[Any] = []

        async def receive() -> Any:
            await asyncio.sleep(3600)
            raise AssertionError

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": COMPLETION, "headers": []}
        await app({**scope, "part": sent.append}, receive, send)
        assert sent[0]["status"] == 408
        assert (await ask(app)).status == 200

    asyncio.run(run())


def test_what_the_reader_refuses_takes_no_slot() -> None:
    def refuse(path: str, body: bytes) -> Asked:
        raise RefusedError(400, "context_length_exceeded", "the prompt has 9 tokens")

    engine = Engine()
    answer = asyncio.run(ask(made(engine, reader=refuse)))
    assert answer.status == 400
    assert answer.record["error"] == {
        "message": "the prompt has 9 tokens",
        "type": "invalid_request_error",
        "param": None,
        "code": "context_length_exceeded",
    }
    assert engine.served == 0


@pytest.mark.parametrize("stream", [b"true", b"false"])
def test_who_goes_away_gives_the_slot_back(stream: bytes) -> None:
    async def run() -> None:
        engine = Engine()
        engine.go.clear()
        app = made(engine, waiting=0)
        client = Client()
        asking = asyncio.create_task(client.ask(app, body=b'{"stream": %s}' % stream))
        while not engine.inside:
            await asyncio.sleep(0.001)
        client.gone.set()
        assert (await asking).status == 0
        assert engine.inside == 0
        engine.go.set()
        assert (await ask(app)).status == 200

    asyncio.run(run())


def test_who_goes_away_while_waiting_leaves_the_queue() -> None:
    async def run() -> None:
        engine = Engine()
        engine.go.clear()
        app = made(engine, waiting=1)
        first = asyncio.create_task(ask(app))
        while not engine.inside:
            await asyncio.sleep(0.001)
        client = Client()
        waits = asyncio.create_task(client.ask(app))
        while app._inside < 2:
            await asyncio.sleep(0.001)
        client.gone.set()
        await waits
        assert app._inside == 1
        engine.go.set()
        assert (await first).status == 200
        assert engine.served == 1

    asyncio.run(run())


def test_who_does_not_read_an_answer_does_not_keep_a_slot() -> None:
    async def run() -> None:
        engine = Engine()
        app = made(engine, waiting=0, answer_s=0.01)
        for _ in range(2):
            client = Client(reads=False)
            await client.ask(app, body=b'{"stream": true, "prompt": "a"}')
            kinds = [message["type"] for message in client.sent]
            assert kinds == ["http.response.start", *["http.response.body"] * 3]
            assert client.aborted, "its connection is not kept either"
            assert engine.inside == 0

    asyncio.run(run())


def test_an_answer_that_does_not_come_is_given_up() -> None:
    async def run() -> None:
        engine = Engine()
        engine.go.clear()
        app = made(engine, answer_s=0.01)
        assert (await ask(app)).status == 504
        assert engine.inside == 0
        assert engine.doubted_s == 0.01

    asyncio.run(run())


@pytest.mark.parametrize(
    ("fails", "status"),
    [(EngineRefusedError(400), 400), (EngineRefusedError(500), 500), (ConnectionResetError(), 500)],
)
def test_an_engine_that_fails_gives_its_place_back(fails: Exception, status: int) -> None:
    async def run() -> None:
        engine = Engine()
        app = made(engine, waiting=0)
        for _ in range(3):
            engine.fails = fails
            answer = await ask(app)
            assert answer.status == status
            assert answer.record["error"]["message"]
            client = Client()
            told = await client.ask(app, body=b'{"stream": true, "prompt": "a"}')
            assert (told.status, client.aborted) == (200, True)
            assert "[DONE]" not in told.text, "an answer that is cut is never taken for a whole one"
        engine.fails = None
        assert (await ask(app)).status == 200

    asyncio.run(run())


def test_the_log_has_neither_prompt_nor_key_nor_query(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    app = made(Engine(), key=KEY)
    asyncio.run(ask(app, body=b'{"prompt": "my secret"}', key=KEY))
    asyncio.run(ask(app, path="/v1/\n\x1b[31mfaked line", key=KEY))
    assert "POST /v1/completions 200" in caplog.text
    assert "my secret" not in caplog.text
    assert KEY not in caplog.text
    assert "\x1b" not in caplog.text
    assert len([r for r in caplog.records if r.name.startswith("llmpi")]) == 2


def test_answers_have_openais_form() -> None:
    app = made(Engine())
    whole = asyncio.run(ask(app, body=b'{"prompt": "a"}')).record
    assert whole["object"] == "text_completion"
    assert whole["usage"] == {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}
    assert whole["choices"][0]["finish_reason"] == "length"
    chat = asyncio.run(ask(app, path=CHAT, body=b'{"prompt": "a"}')).record
    assert chat["object"] == "chat.completion"
    assert chat["choices"][0]["message"] == {"role": "assistant", "content": "a"}
    streamed = asyncio.run(
        ask(app, path=CHAT, body=b'{"prompt": "a", "stream": true, "usage": true}')
    )
    assert streamed.headers["content-type"] == "text/event-stream"
    *lines, done = [line for line in streamed.text.split("\n\n") if line]
    assert done == "data: [DONE]"
    chunks = [json.loads(line.removeprefix("data: ")) for line in lines]
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": "a"}
    assert chunks[1]["choices"][0]["finish_reason"] == "length"
    assert chunks[2]["choices"] == []
    assert chunks[2]["usage"]["total_tokens"] == 8


def test_requests_and_errors_are_counted_by_status() -> None:
    engine = Engine()
    app = made(engine)
    for _ in range(3):
        asyncio.run(ask(app, path=CHAT))
    text = page(app)
    assert value(text, "llmpi_requests_total", endpoint=CHAT, code="200", **LABELS) == 3
    assert value(text, "llmpi_request_errors_total", endpoint=CHAT) == 0
    assert value(text, "llmpi_request_duration_seconds_count") == 3
    assert value(text, "llmpi_time_to_first_token_seconds_count") == 0, "nothing was streamed"
    assert value(text, "llmpi_requests_in_progress") == 0
    asyncio.run(ask(app, path=CHAT, body=b'{"prompt": "a", "stream": true}'))
    assert value(page(app), "llmpi_time_to_first_token_seconds_count") == 1
    for fails, failed in ((EngineRefusedError(400), 0), (EngineRefusedError(500), 1)):
        engine.fails = fails
        asyncio.run(ask(app))
        assert value(page(app), "llmpi_request_errors_total", endpoint=COMPLETION) == failed
    asyncio.run(ask(app, body=b'{"prompt": "a", "stream": true}'))
    assert value(page(app), "llmpi_request_errors_total", endpoint=COMPLETION) == 2, "it was cut"
    asyncio.run(ask(app, "GET", path="/v1/models"))
    assert 'endpoint="/v1/models"' not in page(app)


def test_what_the_engine_computes_is_told_as_it_says() -> None:
    """The first token of an answer is the prompt's."""
    app = made(Engine())
    asyncio.run(ask(app))
    text = page(app)
    assert value(text, "llmpi_prompt_tokens_total", **LABELS) == 3
    assert value(text, "llmpi_prompt_processing_seconds_total") == pytest.approx(0.03)
    assert value(text, "llmpi_generated_tokens_total", **LABELS) == 4
    assert value(text, "llmpi_token_generation_seconds_total") == pytest.approx(0.4)


def test_all_but_those_in_slots_wait() -> None:
    async def run() -> str:
        engine = Engine()
        engine.go.clear()
        app = made(engine)
        asked = [asyncio.create_task(ask(app)) for _ in range(3)]
        while app._inside < 3:
            await asyncio.sleep(0.001)
        during = (await ask(app, "GET", path="/metrics")).text
        engine.go.set()
        await asyncio.gather(*asked)
        return during

    during = asyncio.run(run())
    assert value(during, "llmpi_requests_in_progress") == 3
    assert value(during, "llmpi_requests_waiting") == 2


def test_names_follow_prometheus_conventions() -> None:
    assert objections(page(made(Engine()))) == []
