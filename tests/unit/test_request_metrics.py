"""The counting layer around apps that behave in every way a server can."""

import asyncio
from typing import Any

import llama_cpp
import pytest
from prometheus_text import objections, value

from llmpi.device.service.request_metrics import RequestMetrics, _time_evaluations, instrument

LABELS = {"model": "m", "quant": "Q4_0", "release": "r7"}
CHAT = "/v1/chat/completions"


@pytest.fixture(autouse=True)
def untimed_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test's wrapping of the engine's class ends with it."""
    monkeypatch.setattr(llama_cpp.Llama, "eval", llama_cpp.Llama.eval)


def scope_of(path: str, client: Any = ("127.0.0.1", 5), key: str = "") -> dict[str, Any]:
    headers = [(b"Authorization", f"Bearer {key}".encode())] if key else []
    return {"type": "http", "path": path, "client": client, "headers": headers}


async def ask(app: Any, scope: dict[str, Any]) -> list[Any]:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request"}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent


def page(app: Any, **how: Any) -> str:
    start, body = asyncio.run(ask(app, scope_of("/metrics", **how)))
    assert start["status"] == 200
    return body["body"].decode()


def answering(status: int, *bodies: bytes, kind: bytes = b"application/json") -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-type", kind)]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        for body in bodies:
            await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body"})

    return app


def test_requests_and_errors_are_counted_by_status() -> None:
    app = instrument(answering(200, b"{}"), **LABELS)
    for _ in range(3):
        asyncio.run(ask(app, scope_of(CHAT)))
    text = page(app)
    assert value(text, "llmpi_requests_total", endpoint=CHAT, code="200", **LABELS) == 3
    assert value(text, "llmpi_request_errors_total", endpoint=CHAT) == 0
    assert value(text, "llmpi_request_duration_seconds_count") == 3
    assert value(text, "llmpi_time_to_first_token_seconds_count") == 0, "nothing was streamed"
    failing = instrument(answering(503), **LABELS)
    asyncio.run(ask(failing, scope_of(CHAT)))
    assert value(page(failing), "llmpi_request_errors_total", endpoint=CHAT) == 1
    refusing = instrument(answering(401), **LABELS)
    asyncio.run(ask(refusing, scope_of(CHAT)))
    assert value(page(refusing), "llmpi_request_errors_total", endpoint=CHAT) == 0


def test_a_broken_answer_is_an_error_and_nobody_is_left_in_progress() -> None:
    async def breaking(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError("llama_decode returned -1")

    app = instrument(breaking, **LABELS)
    with pytest.raises(RuntimeError):
        asyncio.run(ask(app, scope_of(CHAT)))
    text = page(app)
    assert value(text, "llmpi_request_errors_total", endpoint=CHAT) == 1
    assert value(text, "llmpi_requests_in_progress") == 0


def test_the_first_token_is_no_ping() -> None:
    waits: list[bytes] = []
    app = instrument(
        answering(200, b": ping\n\n", b"data: {}\n\n", b"data: {}\n\n", kind=b"text/event-stream"),
        **LABELS,
    )
    for message in asyncio.run(ask(app, scope_of(CHAT))):
        waits.append(message.get("body", b""))
    assert waits[1].startswith(b": ping"), "what is sent stays as it is"
    assert value(page(app), "llmpi_time_to_first_token_seconds_count") == 1


def test_all_but_one_wait() -> None:
    async def main() -> tuple[str, str]:
        gate = asyncio.Event()

        async def slow(scope: Any, receive: Any, send: Any) -> None:
            await gate.wait()
            await answering(200)(scope, receive, send)

        app = instrument(slow, **LABELS)
        asked = [asyncio.create_task(ask(app, scope_of(CHAT))) for _ in range(3)]
        await asyncio.sleep(0)
        [_, during] = await ask(app, scope_of("/metrics"))
        gate.set()
        await asyncio.gather(*asked)
        [_, after] = await ask(app, scope_of("/metrics"))
        return during["body"].decode(), after["body"].decode()

    during, after = asyncio.run(main())
    assert value(during, "llmpi_requests_in_progress") == 3
    assert value(during, "llmpi_requests_waiting") == 2
    assert value(after, "llmpi_requests_waiting") == 0


def test_other_paths_are_left_alone() -> None:
    app = instrument(answering(200, b"[]"), **LABELS)
    assert asyncio.run(ask(app, scope_of("/v1/models")))[1]["body"] == b"[]"
    assert 'endpoint="/v1/models"' not in page(app)


@pytest.mark.parametrize("client", [("127.0.0.1", 1), ("127.8.0.1", 1), ("::1", 1)])
def test_metrics_are_free_on_loopback(client: Any) -> None:
    assert "llmpi_build_info" in page(instrument(answering(200), **LABELS), client=client)


@pytest.mark.parametrize("client", [("192.168.1.7", 1), ("8.8.8.8", 1), None, ("socket", 1)])
def test_elsewhere_they_need_the_key(client: Any) -> None:
    closed = instrument(answering(200), **LABELS)
    [start, body] = asyncio.run(ask(closed, scope_of("/metrics", client, "None")))
    assert (start["status"], body["body"]) == (403, b"")
    app = instrument(answering(200), **LABELS, key="right")
    assert asyncio.run(ask(app, scope_of("/metrics", client)))[0]["status"] == 403
    assert asyncio.run(ask(app, scope_of("/metrics", client, "wrong")))[0]["status"] == 403
    assert "llmpi_build_info" in page(app, client=client, key="right")


def test_what_the_engine_computes_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several tokens at once are a prompt, one by one they are generated; cached ones are none."""
    done: list[int] = []
    monkeypatch.setattr(llama_cpp.Llama, "eval", lambda self, tokens: done.append(len(tokens)))
    monkeypatch.setattr(llama_cpp, "llama_synchronize", lambda ctx: None)
    counted = RequestMetrics(**LABELS)
    _time_evaluations(counted.evaluated)

    class Model:
        ctx = None

    for tokens in ([1, 2, 3], [4], [5], []):
        llama_cpp.Llama.eval(Model(), tokens)
    assert done == [3, 1, 1, 0]
    text = counted.metrics.page().decode()
    assert value(text, "llmpi_prompt_tokens_total", **LABELS) == 3
    assert value(text, "llmpi_generated_tokens_total", **LABELS) == 2
    assert value(text, "llmpi_token_generation_seconds_total") > 0


def test_names_follow_prometheus_conventions() -> None:
    assert objections(page(instrument(answering(200), **LABELS))) == []
