"""Count what a service does, and show it to Prometheus: a layer around llama-cpp-python's server.

`instrument` wraps its ASGI app. Requests, errors and the time to the first token are seen from
outside, at the app's boundary. What the engine does is seen where it does it: the server offers no
hook and its streams tell no token counts, so `Llama.eval`, which computes every token that it
serves, is timed.
"""

import functools
import hmac
import ipaddress
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import llama_cpp
from prometheus_client import Counter, Gauge, Histogram

from llmpi import __version__
from llmpi.device.monitor.exposition import CONTENT_TYPE, Metrics

Scope = MutableMapping[str, Any]  # of ASGI: what a key holds hangs on the kind of message
Message = Scope
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

GENERATING = ("/v1/completions", "/v1/chat/completions")
# A Raspberry Pi reads 10 to 500 prompt tokens per second and writes 1 to 50.
FIRST_TOKEN_S = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100)
REQUEST_S = (0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500)


class RequestMetrics:
    """What is counted of a service. One engine computes one request at a time, others wait."""

    def __init__(self, *, model: str, quant: str, release: str) -> None:
        self.metrics = metric = Metrics({"model": model, "quant": quant, "release": release})
        built = metric(
            Gauge, "llmpi_build_info", "Versions of llmpi and its engine", ["version", "engine"]
        )
        built(version=__version__, engine=llama_cpp.__version__).set(1)
        self.requests = metric(
            Counter,
            "llmpi_requests_total",
            "Completion requests that ended, by endpoint and HTTP status",
            ["endpoint", "code"],
        )
        self.errors = metric(
            Counter,
            "llmpi_request_errors_total",
            "Completion requests that the service failed: status 5xx, or broken off by it",
            ["endpoint"],
        )
        for endpoint in GENERATING:  # so that a rate is there before the first error
            self.errors(endpoint=endpoint)
        self.in_progress = metric(
            Gauge, "llmpi_requests_in_progress", "Completion requests, those that wait included"
        )
        self.waiting = metric(
            Gauge, "llmpi_requests_waiting", "Completion requests that wait for the engine"
        )
        self.first_token = metric(
            Histogram,
            "llmpi_time_to_first_token_seconds",
            "From a streaming request to the first token sent, waiting included",
            buckets=FIRST_TOKEN_S,
        )
        self.duration = metric(
            Histogram,
            "llmpi_request_duration_seconds",
            "From a completion request to its end, waiting included",
            buckets=REQUEST_S,
        )
        self.engine = {
            "prompt": (
                metric(Counter, "llmpi_prompt_tokens_total", "Prompt tokens computed"),
                metric(
                    Counter,
                    "llmpi_prompt_processing_seconds_total",
                    "Seconds in which the engine computed prompts",
                ),
            ),
            "generation": (
                metric(Counter, "llmpi_generated_tokens_total", "Tokens computed one by one"),
                metric(
                    Counter,
                    "llmpi_token_generation_seconds_total",
                    "Seconds in which the engine computed tokens one by one",
                ),
            ),
        }
        self._running = 0

    def begin(self) -> None:
        self._set_running(self._running + 1)

    def end(self, endpoint: str, code: int, *, failed: bool, seconds: float) -> None:
        self._set_running(self._running - 1)
        self.requests(endpoint=endpoint, code=str(code)).inc()
        self.duration.observe(seconds)
        if failed or code >= 500:
            self.errors(endpoint=endpoint).inc()

    def _set_running(self, requests: int) -> None:
        self._running = requests
        self.in_progress.set(requests)
        self.waiting.set(max(0, requests - 1))

    def evaluated(self, tokens: int, seconds: float) -> None:
        """The engine computed so many tokens at once: several are a prompt, as for llama.cpp."""
        if tokens:
            count, spent_s = self.engine["prompt" if tokens > 1 else "generation"]
            count.inc(tokens)
            spent_s.inc(seconds)


def instrument(app: App, *, model: str, quant: str, release: str, key: str | None = None) -> App:
    """`app`, counted, with its metrics at `/metrics`.

    Args:
        app: of llama_cpp.server.app.create_app, or anything around it.
        model, quant, release: labels of every series.
        key: whoever asks for the metrics from another machine must send it, as
            `Authorization: Bearer KEY`; None: nobody may. On loopback they are free.
    """
    counted = RequestMetrics(model=model, quant=quant, release=release)
    _time_evaluations(counted.evaluated)

    async def instrumented(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
        elif scope["path"] == "/metrics":
            allowed = _from_here(scope) or _has_key(scope, key)
            await _answer(send, 200 if allowed else 403, counted.metrics.page() if allowed else b"")
        elif scope["path"] in GENERATING:
            await _count(app, scope, receive, send, counted)
        else:
            await app(scope, receive, send)

    return instrumented


async def _count(
    app: App, scope: Scope, receive: Receive, send: Send, counted: RequestMetrics
) -> None:
    start, code, streams, first = time.perf_counter(), 500, False, True

    async def watching(message: Message) -> None:
        nonlocal code, streams, first
        if message["type"] == "http.response.start":
            code = message["status"]
            streams = _header(message, b"content-type").startswith(b"text/event-stream")
        # Comments (": ping") keep a stream open while its request waits; data are tokens.
        elif streams and first and message.get("body", b"").startswith(b"data:"):
            first = False
            counted.first_token.observe(time.perf_counter() - start)
        await send(message)

    counted.begin()
    failed = True
    try:
        await app(scope, receive, watching)
        failed = False
    finally:
        counted.end(scope["path"], code, failed=failed, seconds=time.perf_counter() - start)


def _time_evaluations(seen: Callable[[int, float], None]) -> None:
    """Call `seen` with the tokens and seconds of each evaluation of any `Llama` from now on."""
    evaluate: Any = llama_cpp.Llama.eval

    @functools.wraps(evaluate)
    def timed(self: Any, tokens: Any) -> None:
        count, start = len(tokens), time.perf_counter()
        evaluate(self, tokens)
        llama_cpp.llama_synchronize(self.ctx)  # sampling would wait for it next
        seen(count, time.perf_counter() - start)

    llama_cpp.Llama.eval = timed


def _from_here(scope: Scope) -> bool:
    host, *_ = scope.get("client") or ("",)
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _has_key(scope: Scope, key: str | None) -> bool:
    said = _header(scope, b"authorization")
    return key is not None and hmac.compare_digest(said, f"Bearer {key}".encode())


def _header(holder: Scope, name: bytes) -> bytes:
    return next((value for key, value in holder["headers"] if key.lower() == name), b"")


async def _answer(send: Send, status: int, body: bytes) -> None:
    headers = [(b"content-type", CONTENT_TYPE.encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
