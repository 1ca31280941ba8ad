"""`llmpi-device serve` as a process of its own, its socket held by somebody else, as by systemd."""

import contextlib
import http.client
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from gguf_edit import edited
from gguf_split import split
from held import state
from served_release import SETTINGS, released
from support import PATIENCE_S, until
from tiny_llama import tiny_llama

from llmpi.device.service import releases
from llmpi.engine.chat.format import ChatFormat
from llmpi.engine.llama import Engine, Settings

pytestmark = pytest.mark.long
"""They need llama-server, which takes minutes to build where it was not built before."""

KEY = "0123456789abcdef-only-for-this-test"
SECRET = "pomegranate"
CONTEXT_TOKENS, WAITING = SETTINGS["context_tokens"], SETTINGS["waiting"]

TEMPLATE = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('no system turn') }}{% endif %}"
    "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:"
    "{% if think_aloud is defined and not think_aloud %}<a>\n</a>{% endif %}"
)


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release of a tiny random model that wants an end behind every text."""
    tiny = tmp_path_factory.mktemp("tiny")
    fields = {"tokenizer.chat_template": TEMPLATE, "tokenizer.ggml.add_eos_token": True}
    edited(tiny_llama(tiny), tiny / "chat.gguf", fields)
    return released(tiny / "chat.gguf", tmp_path_factory.mktemp("store"))


@dataclass
class Served:
    """A listening socket, and processes that serve on it one after the other."""

    release: Path
    folder: Path
    listening: socket.socket
    notified: socket.socket

    @property
    def _log(self) -> Path:
        return self.folder / f"log-{self.release.name}"

    def start(self) -> subprocess.Popen[bytes]:
        """A process that is ready."""
        # As many open files as systemd allows a service by default.
        files = f"ulimit -n 1024; exec 3<&{self.listening.fileno()}"
        take = f'{files}; export LISTEN_PID=$$ LISTEN_FDS=1; exec "$@"'
        serve = [sys.executable, "-m", "llmpi.device.cli", "serve", "--release", self.release]
        environment = {
            **os.environ,
            "NOTIFY_SOCKET": str(self.folder / "notify"),
            "CREDENTIALS_DIRECTORY": str(self.folder),
        }
        with self._log.open("w") as log:  # a pipe that nobody reads would stop it
            process = subprocess.Popen(
                ["bash", "-c", take, "bash", *serve],
                env=environment,
                pass_fds=[self.listening.fileno()],
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.notified.settimeout(0.2)
        while process.poll() is None:
            with contextlib.suppress(TimeoutError):
                assert self.notified.recv(100) == b"READY=1"
                return process
        pytest.fail(self._log.read_text())

    def stop(self, process: subprocess.Popen[bytes]) -> str:
        """What it wrote."""
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE_S)
        said = self._log.read_text()
        assert process.returncode == -signal.SIGTERM, said  # which systemd calls a clean end
        assert self.notified.recv(100) == b"STOPPING=1"
        return said

    def ask(
        self,
        body: Any,
        path: str = "/v1/completions",
        key: str | None = KEY,
    ) -> tuple[int, Message, str]:
        """Status, headers, body."""
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        headers |= {"Authorization": f"Bearer {key}"} if key else {}
        address = f"http://127.0.0.1:{self.listening.getsockname()[1]}{path}"
        request = urllib.request.Request(address, data, headers)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
                return answer.status, answer.headers, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read().decode()


@pytest.fixture
def served(release: Path, tmp_path: Path) -> Iterator[Served]:
    (tmp_path / "key").write_text(KEY)
    with (
        socket.create_server(("127.0.0.1", 0), backlog=128) as listening,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified,
    ):
        notified.bind(str(tmp_path / "notify"))
        yield Served(release, tmp_path, listening, notified)


def asked(tokens: int = 4, prompt: str = "in the", **more: Any) -> dict[str, Any]:
    return {"prompt": prompt, "max_tokens": tokens, "temperature": 0, **more}


@contextlib.contextmanager
def running(served: Served) -> Iterator[list[str]]:
    """A served socket; the list has what the process wrote, behind the block."""
    process, said = served.start(), []
    try:
        yield said
    finally:
        said.append(served.stop(process))


CHAT = "/v1/chat/completions"
HELLO = [{"role": "user", "content": "in the"}]
MANY = [{"role": "user", "content": SECRET * 30}]


def test_it_refuses_what_it_cannot_answer_and_writes_none_of_it_down(served: Served) -> None:
    with running(served) as said:
        status, headers, body = served.ask(asked())
        assert (status, headers["connection"]) == (200, "close")
        assert json.loads(body)["usage"]["completion_tokens"] == 4
        assert json.loads(body)["model"] == "tiny/F32"
        for key in (None, KEY[:-1]):
            assert served.ask(asked(), key=key)[0] == 401
        assert served.ask(None, "/health", key=None)[0] == 200
        for stream in (False, True):
            oversized = [
                served.ask(asked(prompt=SECRET * 30, stream=stream)),
                served.ask({"messages": MANY, "stream": stream}, CHAT),
            ]
            for status, _, body in oversized:
                assert status == 400
                assert json.loads(body)["error"]["code"] == "context_length_exceeded"
            assert served.ask(asked(prompt=SECRET * 10_000, stream=stream))[0] == 413
        for wrong in (b"{", b"[" * 3000, {"prompt": [SECRET] * 2}, {"max_tokens": SECRET}):
            status, _, body = served.ask(wrong)
            assert (status, SECRET in body) == (400, False)
        assert served.ask({"messages": SECRET}, CHAT)[0] == 400
        half = b'{"prompt": "a\\ud83d", "max_tokens": 1}'
        assert served.ask(half)[0] == 400
        assert served.ask(asked(logprobs=3))[0] == 400
        assert served.ask({"input": SECRET}, "/v1/embeddings")[0] == 404
        # The engine would die of this one.
        assert served.ask(asked(grammar=f"root ::= {SECRET}"))[0] == 400
        # It cannot read what it makes of this one, and says so.
        named = {name: {"type": "boolean"} for name in ("\\", SECRET)}
        schema = {"type": "object", "properties": named, "additionalProperties": True}
        form = {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}
        assert served.ask({"messages": HELLO, "response_format": form}, CHAT)[0] == 400
        assert served.ask(asked())[0] == 200
    assert "POST /v1/completions 200" in said[0]
    assert SECRET not in said[0]
    assert KEY not in said[0]


def test_each_key_asks_at_its_own_rate(served: Served) -> None:
    other = f"other-{KEY}"
    (served.folder / "keys").write_text(f"{KEY}\n{other} 2\n")
    with running(served) as said:
        answers = [served.ask(asked(), key=other) for _ in range(3)]
        assert [status for status, _, _ in answers] == [200, 200, 429]
        _, headers, body = answers[2]
        assert 1 <= int(headers["retry-after"]) <= 30
        assert "2 times a minute" in json.loads(body)["error"]["message"]
        assert {served.ask(asked())[0] for _ in range(5)} == {200}
        assert served.ask(asked(), key=f"{other} 2")[0] == 401
    assert "POST /v1/completions 429" in said[0]
    assert KEY not in said[0]


USAGE = {"stream": True, "stream_options": {"include_usage": True}}
SAMPLED = {"temperature": 0.5, "top_p": 1}
NO_TOOLS = {"tools": [], "tool_choice": "auto"}
CLIENTS: dict[str, dict[str, Any]] = {
    "Open WebUI 0.12.4": {"model": "tiny/F32", "stream": True, "max_tokens": 8},
    "its titles and tags": {"model": "tiny/F32", "stream": False, "max_tokens": 8},
    "its count of tokens": {"max_tokens": 8, **USAGE},
    "Extended OpenAI Conversation": {"max_tokens": 8, **USAGE, **SAMPLED, **NO_TOOLS},
    "of a newer model": {"max_completion_tokens": 8, **USAGE},
}
"""What each sends beside its messages, by its source; of few tokens."""


@pytest.mark.parametrize("client", CLIENTS)
def test_clients_are_answered(served: Served, client: str) -> None:
    with running(served):
        assert json.loads(served.ask(None, "/v1/models")[2])["data"][0]["id"] == "tiny/F32"
        asked = {**CLIENTS[client], "messages": [SYSTEM, *HELLO]}
        status, headers, body = served.ask(asked, CHAT)
        streamed = headers["content-type"].startswith("text/event-stream")
        assert (status, streamed) == (200, asked.get("stream", False)), body
        assert body.rstrip().endswith("data: [DONE]") == streamed


def test_the_newer_name_of_a_limit_is_the_limit(served: Served) -> None:
    with running(served):
        asked = {"messages": HELLO, "max_completion_tokens": 3, "temperature": 0}
        assert json.loads(served.ask(asked, CHAT)[2])["usage"]["completion_tokens"] == 3
        assert served.ask({"messages": HELLO, "max_completion_tokens": "x"}, CHAT)[0] == 400


SYSTEM = {"role": "system", "content": "be brief"}


def test_a_chat_is_asked_as_it_was_scored(served: Served, release: Path) -> None:
    """Switch, folded system turn, no end behind it: the prompt is the one of the scoring code."""
    [gguf] = release.parents[2].rglob("F32.gguf")
    with Engine(gguf, Settings(threads=1), context_tokens=CONTEXT_TOKENS) as engine:
        bos, eos = engine.special_texts()
        chat = ChatFormat(engine.chat_template(), bos_token=bos, eos_token=eos)
        prompt = chat.render([SYSTEM, *HELLO])  # type: ignore[list-item]
        assert prompt.folded
        assert prompt.text == "user: be brief\nin the\nassistant:<a>\n</a>"
        tokens = engine.tokenize(prompt.text)
        engine.decode(tokens)
        greedy = [engine.greedy()]
        for _ in range(3):
            engine.decode(greedy[-1:])
            greedy.append(engine.greedy())
        said = engine.text(greedy)
    with running(served):
        asked_ = {"messages": [SYSTEM, *HELLO], "max_tokens": 4, "temperature": 0}
        answer = json.loads(served.ask({**asked_, "repeat_penalty": 1.0}, CHAT)[2])
        plain = {"prompt": prompt.text, "repeat_penalty": 1.0}
        completion = json.loads(served.ask(asked(**plain))[2])
    assert answer["usage"]["prompt_tokens"] == completion["usage"]["prompt_tokens"] == len(tokens)
    assert answer["choices"][0]["message"]["content"].strip() == said.strip()
    assert completion["choices"][0]["text"].strip() == said.strip()


MARKED = (
    "{% for m in messages %}{{ m.role }}: "
    "{% if m.reasoning_content %}{{ OPENS ~ m.reasoning_content ~ CLOSES }}{% endif %}"
    "{{ m.content }}\n{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}"
)
THINKS = 16
LETTERS = range(1 + ord("a"), 2 + ord("z"))
"""Tokens of the tiny model, which begins with one for each byte behind its end."""
DRAWN = {
    "temperature": 1.5,
    "seed": 3,
    "repeat_penalty": 1.0,
    "logit_bias": {str(token): -100 for token in range(260) if token not in LETTERS},
}


def test_a_thought_is_parted_from_its_answer(
    served: Served, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Of letters that a model of random weights draws some are taken for its marks."""
    folder, stores = tmp_path_factory.mktemp("thinks"), tmp_path_factory.mktemp("stores")
    tiny = tiny_llama(folder, whole=True)
    prompt = {"prompt": "user: in the\nassistant:", "max_tokens": 4 + THINKS, **DRAWN}
    served.release = released(tiny, stores / "plain")
    with running(served):
        said = json.loads(served.ask(prompt)[2])["choices"][0]["text"]
    opens, closes = said[:2], said[10:12]
    assert len(said) == 4 + THINKS and said.find(closes) == 10, "draw with another seed"
    marked = MARKED.replace("OPENS", json.dumps(opens)).replace("CLOSES", json.dumps(closes))
    file = edited(tiny, folder / "thinks.gguf", {"tokenizer.chat_template": marked})
    served.release = released(file, stores / "thinks", thinking_tokens=THINKS)
    asked_ = {"messages": HELLO, "max_tokens": 4, **DRAWN}
    with running(served):
        whole = json.loads(served.ask(asked_, CHAT)[2])
        stream = served.ask({**asked_, "stream": True}, CHAT)[2]
        plain = json.loads(served.ask(prompt)[2])
    assert whole["choices"][0]["message"]["content"] == said[12:]
    assert whole["usage"]["completion_tokens"] == 4 + THINKS
    lines = [line.removeprefix("data: ") for line in stream.splitlines() if "data: {" in line]
    choices = [json.loads(line)["choices"][0] for line in lines]
    told = {
        key: "".join(choice["delta"].get(key, "") for choice in choices)
        for key in ("reasoning_content", "content")
    }
    assert told == {"reasoning_content": said[2:10], "content": said[12:]}
    assert [c["finish_reason"] for c in choices if c["finish_reason"]] == ["length"]
    assert plain["choices"][0]["text"] == said, "a completion is what it was"


def test_a_model_without_a_template_is_not_chatted_with(
    served: Served, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Case 25: nor asked in another model's words."""
    tiny = tiny_llama(tmp_path_factory.mktemp("bare"))
    served.release = released(tiny, tmp_path_factory.mktemp("bare-store"))
    with running(served):
        status, _, body = served.ask({"messages": HELLO}, CHAT)
        assert (status, "no chat template" in body) == (400, True)
        assert served.ask(asked())[0] == 200


@pytest.mark.fault("an answer past its time", by="the next answer; the process lives")
def test_an_answer_that_takes_too_long_leaves_the_engine_whole(
    served: Served, release: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Its slot is free before the next one is let in."""
    [gguf] = release.parents[2].rglob("F32.gguf")
    served.release = released(gguf, tmp_path_factory.mktemp("hasty"), answer_s=0.003)
    statuses = []
    with running(served):
        for _ in range(20):
            for stream in (False, True):
                with contextlib.suppress(http.client.HTTPException, ConnectionError):
                    statuses.append(served.ask(asked(tokens=50, stream=stream))[0])
        assert served.ask(None, "/health", key=None)[0] == 200
    assert {504} <= {*statuses} <= {200, 504}


@pytest.mark.fault("clients that say half a request", by="another client's answer")
@pytest.mark.parametrize("said", ["half a head", "half a body"])
def test_connections_that_say_nothing_keep_nobody_out(served: Served, said: str) -> None:
    address = served.listening.getsockname()
    begun = "POST /v1/completions HTTP/1.1\r\n"
    if said == "half a body":
        begun += f"Host: x\r\nAuthorization: Bearer {KEY}\r\nContent-Length: 99\r\n\r\n{{"
    with running(served) as wrote, contextlib.ExitStack() as stack:
        for _ in range(2_000):
            link = stack.enter_context(socket.create_connection(address, timeout=PATIENCE_S))
            with contextlib.suppress(ConnectionError):
                link.send(begun.encode())
        assert served.ask(asked())[0] == 200
    assert len(wrote[0]) < 200 * 2_000


EXTREMES: list[dict[str, Any]] = [
    {"seed": 2**40},
    {"seed": -1},
    {"top_k": -5},
    {"top_k": 10**9},
    {"temperature": 1e30},
    {"top_p": 0.0, "temperature": 1.0},
    {"min_p": 1.0, "temperature": 1.0},
    {"logit_bias": {"999999999": 5.0}},
    {"logit_bias": {"-7": 5.0}},
    {"stop": [""]},
    {"stop": [SECRET] * 100},
    {"suffix": SECRET},
    {"max_tokens": 10**9},
    {"max_tokens": 0},
    {"max_tokens": -1},
    {"min_tokens": 10**9},
    {"repeat_penalty": 1e30},
    {"mirostat_mode": 2, "mirostat_tau": 0.0, "mirostat_eta": 0.001},
    {"prompt": ""},
    {"prompt": "\ud800"},
    {"prompt": "\0" * 20},
    {"echo": True, "best_of": 9},
]


def test_no_setting_of_a_request_kills_it(served: Served) -> None:
    process = served.start()
    engine = engine_of(process)
    try:
        for extreme in EXTREMES:
            for stream in (False, True):
                status, _, _ = served.ask({**asked(), **extreme, "stream": stream})
                assert status in (200, 400), extreme
                assert served.ask(asked())[0] == 200, extreme
        assert engine_of(process) == engine
    finally:
        said = served.stop(process)
    assert SECRET not in said


NAMES = ["a", "b", "", "x y", "\\", '"', "\U0001f600", "0" * 50, *(f"p{i}" for i in range(20))]
VALUES: list[Any] = [1, 1.5, True, None, "a", '"\\\n', "\u00e9\U0001f600", {"a": [1]}, [[2]]]


def any_schema(draw: random.Random, depth: int) -> dict[str, Any]:
    """A schema such as the front lets through."""
    kind = draw.choice(
        ["text", "enum", "const", "any", "list", "object", "number"][: 3 + 4 * depth]
    )
    least = draw.choice([0, 1, 2, 256])
    most = draw.choice([least, 256])
    if kind == "text":
        return {"type": "string", "minLength": least, "maxLength": most}
    if kind == "enum":
        return {"enum": draw.choices(VALUES, k=draw.randint(1, 9))}
    if kind == "const":
        return {"const": draw.choice(VALUES)}
    if kind == "any":
        return {"anyOf": [any_schema(draw, depth - 1) for _ in range(draw.randint(1, 4))]}
    if kind == "list":
        items = any_schema(draw, depth - 1)
        return {"type": "array", "items": items, "minItems": least, "maxItems": most}
    if kind == "object":
        names = draw.sample(NAMES, draw.randint(0, 20))
        properties = {name: any_schema(draw, depth - 1) for name in names}
        needed = draw.sample([*names, "missing"], draw.randint(0, len(names)))
        others = draw.choice([True, False, any_schema(draw, depth - 1)])
        rest = {"required": needed, "additionalProperties": others}
        return {"type": "object", "properties": properties, **rest}
    return {"type": draw.choice(["number", "integer", "boolean", "null", ["string", "null"]])}


class Stood(NamedTuple):
    """What came of hostile questions."""

    answered: int
    said: str
    """In its log."""


def stood(served: Served, gguf: Path, store: Path, questions: Iterable[dict[str, Any]]) -> Stood:
    """Ask a model: each question is answered or refused, by one engine, which then serves on."""
    served.release = released(gguf, store, context_tokens=8192, slots=2)
    process = served.start()
    engine, answered = engine_of(process), 0
    try:
        for question in questions:
            hot = {"messages": HELLO, "temperature": 1.5, **question}
            status = served.ask(hot, CHAT)[0]
            assert status in (200, 400), question
            answered += status == 200
        assert engine_of(process) == engine
        assert served.ask(asked())[0] == 200
    finally:
        said = served.stop(process)
    return Stood(answered, said)


def kept_to(schema: Any) -> dict[str, Any]:
    """A question whose answer keeps to a schema."""
    form = {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}
    return {"response_format": form, "max_tokens": 20}


def test_no_schema_kills_it_or_keeps_it_busy(served: Served, release: Path, tmp_path: Path) -> None:
    draw = random.Random(3)
    schemas = [any_schema(draw, draw.choice([1, 2, 4, 6])) for _ in range(150)]
    assert stood(served, release / "model.gguf", tmp_path, map(kept_to, schemas)).answered > 75


PARTS = ["a", "[a-z]", "\\d", "\\w", "[+\\-]", "\\.", "[0-9a-f]", "-", " ", "[a-zA-Z_.]"]
OFTEN = ["", "", "?", "*", "+", "{3}", "{0,64}", "{1,200}", "{2,}", "{0,1}"]
HOSTILE = [*PARTS, *"^$()|[]{}.*+?\\", "(a|a)*", "(?:x)", "[^a]", ".*", "{999999}", "\\s", "é", '"']


def any_pattern(draw: random.Random) -> str:
    parts, often = (PARTS, OFTEN) if draw.random() < 0.75 else (HOSTILE, [*OFTEN, "{9,1}"])
    many = draw.choice([1, 2, 5, 20, 60])
    return f"^{''.join(draw.choice(parts) + draw.choice(often) for _ in range(many))}$"


AMBIGUOUS = ["a?" * 60, "\\w?" * 40, "[a-z]{0,128}" * 2, "a*" * 9, "[a-z]{0,13}" * 9, "\\w*\\d*"]
"""Each kept the engine busy for a minute, or could."""


def any_referring(draw: random.Random) -> dict[str, Any]:
    """A schema with definitions, references to them, and patterns; some in circles."""
    names = [f"d{i}" for i in range(draw.choice([1, 2, 4, 8]))]

    def part(depth: int, names: list[str] = names) -> dict[str, Any]:
        kind = draw.choice(["ref", "pattern", "const", "any", "list", "object"][: 3 + 3 * depth])
        if kind == "ref":
            return {"$ref": draw.choice(["#/$defs/", "#/definitions/"]) + draw.choice(names)}
        if kind == "pattern":
            return {"type": "string", "pattern": any_pattern(draw)}
        if kind == "const":
            return {"const": draw.choice([*VALUES, {"$ref": "#"}, {"pattern": "^(a*)*$"}])}
        if kind == "any":
            return {"anyOf": [part(depth - 1, names) for _ in range(draw.randint(1, 4))]}
        if kind == "list":
            items = part(depth - 1, names)
            return {"type": "array", "items": items, "maxItems": draw.choice([1, 256])}
        properties = {
            name: part(depth - 1, names) for name in draw.sample(NAMES, draw.randint(0, 6))
        }
        return {"type": "object", "properties": properties, "required": [*properties]}

    defined: dict[str, Any] = {}
    for name in names:  # mostly of what stands before it, so that there is no circle
        before = [*defined] if defined and draw.random() < 0.9 else names
        defined[name] = part(1, before)
    return {**part(1), "$defs": defined, "definitions": defined}


def test_no_reference_and_no_pattern_kills_it_or_keeps_it_busy(
    served: Served, release: Path, tmp_path: Path
) -> None:
    draw = random.Random(5)
    schemas: list[Any] = []
    for i in range(400):
        schema: Any = any_referring(draw)
        if i % 2:
            pattern = f"^{AMBIGUOUS[i % 6]}$" if i % 8 == 1 else any_pattern(draw)
            schema = {"type": "string", "pattern": pattern}
        schemas.append(schema)
    assert stood(served, release / "model.gguf", tmp_path, map(kept_to, schemas)).answered > 150


def long_context(release: Path, folder: Path) -> Path:
    """The release's model with room for tools."""
    fields = {"llama.context_length": 8192}
    return edited(release / "model.gguf", folder / "long.gguf", fields)


def function(name: Any, parameters: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


LIGHT = function(
    "light",
    {
        "type": "object",
        "properties": {"on": {"type": "boolean"}, "room": {"$ref": "#/$defs/room"}},
        "required": ["on", "room"],
        "additionalProperties": False,
        "$defs": {"room": {"enum": ["hall", "attic"]}},
    },
)
TIME = function("time", {"type": "object", "properties": {}, "additionalProperties": False})


def test_a_tool_that_is_forced_is_called(
    served: Served, release: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A model of random weights would never call one by itself."""
    folder = tmp_path_factory.mktemp("tools")
    served.release = released(long_context(release, folder), folder / "store", context_tokens=4096)
    question = {"messages": HELLO, "tools": [LIGHT, TIME], "temperature": 1.5, "max_tokens": 400}
    called = 0
    with running(served):
        for seed in range(6):
            one = {"type": "function", "function": {"name": "light"}}
            asked_ = {**question, "tool_choice": one, "seed": seed}
            status, _, body = served.ask(asked_, CHAT)
            assert status == 200, body
            [choice] = json.loads(body)["choices"]
            streamed = served.ask({**asked_, "stream": True}, CHAT)[2]
            if choice["finish_reason"] == "length":  # white space without end
                continue
            called += 1
            assert choice["finish_reason"] == "tool_calls"
            [call] = choice["message"]["tool_calls"]
            assert call["type"] == "function" and call["function"]["name"] == "light"
            arguments = json.loads(call["function"]["arguments"])
            assert {*arguments} == {"on", "room"} and arguments["room"] in ("hall", "attic")
            lines = [x.removeprefix("data: ") for x in streamed.splitlines() if "data: {" in x]
            choices = [json.loads(line)["choices"][0] for line in lines]
            [told] = [c["delta"]["tool_calls"] for c in choices if "tool_calls" in c["delta"]]
            assert told[0]["index"] == 0 and told[0]["function"] == call["function"]
            assert choices[-1]["finish_reason"] == "tool_calls"
            assert "content" not in str(choices[0]["delta"])
        any_of = served.ask({**question, "tool_choice": "required"}, CHAT)
        assert any_of[0] == 200
        free = served.ask({**question, "max_tokens": 20}, CHAT)
        assert json.loads(free[2])["choices"][0]["message"]["content"], "no call is text"
    assert called >= 3


def test_no_tool_kills_it_or_keeps_it_busy(served: Served, release: Path, tmp_path: Path) -> None:
    draw = random.Random(7)
    names: list[Any] = [*NAMES[:7], "light", SECRET * 20, 7, None, ["a"]]

    def question() -> dict[str, Any]:
        tools: list[Any] = []
        for name in draw.choices(names, k=draw.randint(0, 4)):
            schemas = [any_schema(draw, 2), any_referring(draw), None, 7, {"type": "object"}]
            tools.append(function(name, draw.choice(schemas)))
        choices = ["auto", "none", "required", function(draw.choice(names), None), 7]
        asked = {"tools": tools, "tool_choice": draw.choice(choices), "max_tokens": 12}
        return {**asked, "stream": draw.random() < 0.5}

    gguf = long_context(release, tmp_path)
    found = stood(served, gguf, tmp_path / "store", [question() for _ in range(200)])
    assert found.answered > 60
    assert SECRET not in found.said


def test_streams_end_whole(served: Served) -> None:
    with running(served):
        status, _, body = served.ask(asked(tokens=8, stream=True))
        assert status == 200
        assert body.rstrip().endswith("data: [DONE]")


def test_fifty_clients_at_once(served: Served) -> None:
    with running(served), ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: served.ask(asked(tokens=40)), range(50)))
        assert {status for status, _, _ in answers} <= {200, 503}
        assert sum(status == 200 for status, _, _ in answers) >= WAITING + 1
        for status, headers, _ in answers:
            assert status == 200 or int(headers["retry-after"]) >= 1
        assert served.ask(asked())[0] == 200


def test_no_request_is_lost_between_two_processes(served: Served) -> None:
    end = threading.Event()
    lost: list[str] = []
    statuses: list[int] = []

    def client() -> None:
        while not end.is_set():
            try:
                statuses.append(served.ask(asked(tokens=20))[0])
            except OSError as error:
                lost.append(repr(error))

    clients = [threading.Thread(target=client) for _ in range(WAITING)]
    process = served.start()
    for thread in clients:
        thread.start()
    for _ in range(3):
        answered = len(statuses)
        while len(statuses) < answered + 10:
            assert not lost
            time.sleep(0.01)
        served.stop(process)
        process = served.start()
    end.set()
    for thread in clients:
        thread.join()
    served.stop(process)
    assert lost == []
    assert set(statuses) == {200}


def engine_of(process: subprocess.Popen[bytes]) -> int:
    """Id of its llama-server."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    [engine] = [c for c in children if "llama-server" in Path(f"/proc/{c}/cmdline").read_text()]
    return int(engine)


def alone(release: Path, prompts: list[str], tokens: int) -> list[str]:
    """What the project's own engine says, one prompt at a time, greedily."""
    said = []
    for prompt in prompts:
        gguf = release / "model.gguf"
        with Engine(gguf, Settings(threads=1), context_tokens=CONTEXT_TOKENS) as engine:
            engine.decode(engine.tokenize(prompt))
            greedy = [engine.greedy()]
            while len(greedy) < tokens and not engine.is_end(greedy[-1]):
                engine.decode(greedy[-1:])
                greedy.append(engine.greedy())
            said.append(engine.text(greedy))
    return said


def test_each_of_several_at_once_is_answered_as_alone(
    served: Served, release: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    prompts = [f"{word} in the {word}" for word in ("hat", "inn", "then", "tin", "net", "hint")]
    wanted = alone(release, prompts, 12)
    assert len({*wanted}) > 2
    served.release = released(release / "model.gguf", tmp_path_factory.mktemp("wide"), slots=3)
    with running(served), ThreadPoolExecutor(5) as pool:
        answers = list(pool.map(lambda prompt: served.ask(asked(12, prompt)), prompts * 5))
    assert {status for status, _, _ in answers} == {200}
    said = [json.loads(body)["choices"][0]["text"] for _, _, body in answers]
    assert said == wanted * 5


@pytest.mark.fault("the engine killed", by="the answers of who waits; the front lives")
def test_an_engine_that_dies_is_started_again(served: Served) -> None:
    process = served.start()
    try:
        for _ in range(3):
            os.kill(engine_of(process), signal.SIGKILL)
            # One may be asked before the death is seen; who waits for the new one is answered.
            assert {served.ask(asked())[0] for _ in range(4)} <= {200, 500}
            assert served.ask(asked())[0] == 200
    finally:
        said = served.stop(process)
    assert said.count("the engine was killed (SIGKILL)") == 3


@pytest.mark.fault("an engine that hangs", by="the next answer; the front lives")
def test_an_engine_that_hangs_is_started_again(
    served: Served, release: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("hangs")
    served.release = released(release / "model.gguf", folder, answer_s=1)
    process = served.start()
    try:
        os.kill(engine_of(process), signal.SIGSTOP)
        assert served.ask(asked())[0] == 504
        until(lambda: served.ask(asked())[0] == 200)
    finally:
        said = served.stop(process)
    assert said.count("the engine says nothing") == 1


def test_the_engine_ends_with_the_front(served: Served) -> None:
    process = served.start()
    engine = engine_of(process)
    process.kill()
    process.wait(PATIENCE_S)
    until(lambda: state(engine) in (None, "Z"))


SCHEMAS: dict[str, tuple[Any, str]] = {
    "true or false": ({"type": "boolean"}, "true|false"),
    "one of two": ({"enum": ["a", "b"]}, '"[ab]"'),
    "few letters": ({"type": "string", "minLength": 2, "maxLength": 3}, '"(?s:.){2,12}"'),
    "a pattern": ({"type": "string", "pattern": "^[ab]{2}-\\d+$"}, '"[ab]{2}-[0-9]+"'),
    "a reference": ({"$ref": "#/$defs/a", "$defs": {"a": {"const": 7}}}, "7"),
    "few things": (
        {"type": "array", "items": {"const": 7}, "minItems": 2, "maxItems": 2},
        r"\[\s*7\s*,\s*7\s*\]",
    ),
}


def test_an_answer_keeps_to_its_schema(served: Served) -> None:
    with running(served):
        for schema, wanted in SCHEMAS.values():
            form = {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}
            for seed in range(3):
                question = {"messages": HELLO, "response_format": form, "seed": seed}
                status, _, body = served.ask({**question, "temperature": 1.5}, CHAT)
                assert status == 200, body
                [choice] = json.loads(body)["choices"]
                whole = re.fullmatch(rf"\s*({wanted})\s*", choice["message"]["content"])
                assert whole or choice["finish_reason"] == "length", choice


def test_a_release_without_an_engine_says_what_to_do(release: Path, tmp_path: Path) -> None:
    lacking = released(release / "model.gguf", tmp_path)
    (lacking / releases.RUNTIME / "bin/llama-server").unlink()
    command = [sys.executable, "-m", "llmpi.device.cli", "serve", "--release", str(lacking)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "install the service again" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.fault("a release changed on the board", by="its hashes; it does not start")
def test_a_model_in_parts_answers_as_the_whole(
    served: Served, release: Path, tmp_path: Path
) -> None:
    question = asked(8)
    with running(served):
        whole = served.ask(question)
    (tmp_path / "parts").mkdir()
    first, *_ = split(release / "model.gguf", tmp_path / "parts", "tiny", 3)
    served.release = released(first, tmp_path / "store")
    with running(served):
        in_parts = served.ask(question)
    assert (whole[0], in_parts[0]) == (200, 200)
    text, other = (json.loads(body)["choices"][0]["text"] for _, _, body in (whole, in_parts))
    assert text and text == other


def test_a_release_that_was_changed_does_not_start(release: Path, tmp_path: Path) -> None:
    settings = release / "settings.json"
    before = settings.read_text()
    settings.write_text(before.replace("64", "65"))
    try:
        command = [sys.executable, "-m", "llmpi.device.cli", "serve", "--release", str(release)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    finally:
        settings.write_text(before)
    assert done.returncode == 1
    assert "settings.json was changed since the release was made" in done.stderr
