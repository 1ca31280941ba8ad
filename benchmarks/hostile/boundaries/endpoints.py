"""What an endpoint answers over HTTP, to who measures it: heads, streams, what it counts."""

import contextlib
import json
import random
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, get_args

from benchmarks.hostile import spoiled
from benchmarks.hostile.boundaries.meters import HEADS
from llmpi.device.measure.http_answer import EndpointError
from llmpi.device.measure.http_stream import Client
from llmpi.engine.shown import shown
from llmpi.study.endpoint import Api

PATIENCE_S = 60.0
ANSWER_S = 1.0
"""In place of a workload's own patience, to be done today."""
REFUSALS = (EndpointError,)
LAST = {
    "usage": {"prompt_tokens": 9, "completion_tokens": 3, "prompt_tokens_details": {}},
    "timings": {"cache_n": 1, "prompt_per_second": 90.5, "predicted_per_second": 10.5},
}
COUNTED = {"prompt_eval_count": 9, "prompt_eval_duration": 10**8, "eval_count": 3}


class Given(NamedTuple):
    api: Api
    chats: bool
    said: bytes
    behind: bytes
    """Said for ever behind its answer."""


def inputs(draw: random.Random) -> Iterator[Given]:
    while True:
        api: Api = draw.choice(get_args(Api))
        chats = draw.random() < 0.5
        lines = [_line(draw, api, message) for message in _messages(api, chats)]
        for _ in range(draw.randint(0, 3)):
            lines.insert(draw.randrange(len(lines) + 1), draw.choice(lines))
        body = b"".join(lines)
        if draw.random() < 0.3:
            body = spoiled.bytes_(draw, body)
        head = draw.choice((HEADS[0],) * 12 + HEADS)
        behind = draw.choice((b"",) * 9 + (b"data: {}\n", b"x" * 65536))
        yield Given(api, chats, head + b"Connection: close\r\n\r\n" + body, behind)


def _messages(api: Api, chats: bool) -> list[dict[str, Any]]:
    """A sound answer."""
    if api == "ollama":
        told = _message if chats else _response
        pieces: list[dict[str, Any]] = [{**told(text), "done": False} for text in "abc"]
        return [*pieces, {**told(""), "done": True, **COUNTED, "eval_duration": 10**9}]
    told = _delta if chats or api == "chat" else _text
    choices = [{**told(text), "finish_reason": None} for text in "abc"]
    ends: list[dict[str, Any]] = [{**told(""), "finish_reason": "length"}]
    return [*({"choices": [choice]} for choice in choices + ends), {"choices": [], **LAST}]


def _text(text: str) -> dict[str, Any]:
    return {"text": text}


def _response(text: str) -> dict[str, Any]:
    return {"response": text}


def _message(text: str) -> dict[str, Any]:
    return {"message": {"content": text, "thinking": text}}


def _delta(text: str) -> dict[str, Any]:
    return {"delta": {"content": text}}


def _line(draw: random.Random, api: Api, message: dict[str, Any]) -> bytes:
    told = spoiled.data(draw, message) if draw.random() < 0.4 else message
    said = spoiled.dumped(draw, told) if draw.random() < 0.3 else json.dumps(told).encode()
    return said + b"\n" if api == "ollama" else b"data: " + said + b"\n\n"


@contextmanager
def receiver(folder: Path) -> Iterator[Callable[[Given], None]]:  # noqa: ARG001 - nothing is kept
    server = socket.create_server(("127.0.0.1", 0))
    now: list[Given] = []
    thread = threading.Thread(target=_serve, args=(server, now), daemon=True)
    thread.start()

    def receive(given: Given) -> None:
        now[:] = [given]
        client = Client(
            {
                "url": f"http://127.0.0.1:{server.getsockname()[1]}",
                "api": given.api,
                "key_variable": None,
                "model": "m",
                "claimed": {"file": None, "type": None, "template": None},
            }
        )
        if given.chats:
            answer = client.chat([{"role": "user", "content": "?"}], 3, ANSWER_S, thinks=True)
            assert len(answer.text.encode()) < 10**7, "no half of a character, and no end of it"
        else:
            answer = client.complete("Once", 3, ANSWER_S)
            assert answer.pieces
        numbers = (value for value in answer.served.values() if value is not None)
        assert all(isinstance(value, int | float) and 0 <= value < 1e9 for value in numbers)
        assert answer.server is None or answer.server == shown(answer.server)

    try:
        yield receive
    finally:
        server.close()


def _serve(server: socket.socket, now: list[Given]) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        with connection, contextlib.suppress(OSError):
            connection.settimeout(5)
            connection.recv(65536)
            connection.sendall(now[0].said)
            while now[0].behind:
                connection.sendall(now[0].behind)
