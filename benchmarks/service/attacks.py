"""What hostile clients send: bytes, and what they do with the connection afterwards.

Every kind is a function that draws one request; a request of each kind in turn, by a seed.
"""

import json
import random
import socket
import struct
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from benchmarks.service.servers import KEY

MARK = "pomegranate"
"""In no honest prompt, and in every hostile one."""
CHAT, COMPLETION = "/v1/chat/completions", "/v1/completions"
SAID = [{"role": "user", "content": f"{MARK}?"}]
ANSWER_S = 10.0
"""A hostile client waits so long."""

Json = Any  # what is sent on purpose is of no type


class Attack(NamedTuple):
    """A request, and how long its sender goes on."""

    kind: str
    sent: tuple[bytes, ...]
    """Piece by piece, with a moment between them."""
    cut_after: int | None
    """Reset the connection when so many bytes were read; None: read all."""
    fault: bool
    """Whether it is the client's own, so that no 5xx may come of it."""


class Outcome(NamedTuple):
    """What its sender saw."""

    status: int
    """0 where there was none."""
    closed: bool
    """By the server, within `ANSWER_S`."""


def attacks(count: int, seed: int) -> Iterator[Attack]:
    """The same for the same seed."""
    draw = random.Random(seed)
    for i in range(count):
        kind = KINDS[i % len(KINDS)]
        yield kind(draw)


def send(port: int, attack: Attack) -> Outcome:
    """Send it, read what comes."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=ANSWER_S) as link:
            try:
                for i, piece in enumerate(attack.sent):
                    if i:
                        time.sleep(0.02)
                    link.sendall(piece)
            except OSError:
                pass  # refused before it was all said; the answer may be there all the same
            return _read(link, attack.cut_after)
    except OSError:
        return Outcome(0, closed=True)


def _read(link: socket.socket, cut_after: int | None) -> Outcome:
    said, closed = b"", False
    until = time.monotonic() + ANSWER_S
    while time.monotonic() < until and (cut_after is None or len(said) < cut_after):
        try:
            piece = link.recv(1 if cut_after is not None and cut_after < 64 else 4096)
        except TimeoutError:
            break
        except OSError:
            closed = True
            break
        if not piece:
            closed = True
            break
        said += piece
        if cut_after is None and _is_whole(said):
            closed = True
            break
    if cut_after is not None:
        # Without a farewell: the other side learns of it when it writes.
        link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    head = said.split(b" ", 2)
    status = int(head[1]) if len(head) > 1 and head[1][:3].isdigit() else 0
    return Outcome(status, closed)


def _is_whole(said: bytes) -> bool:
    """Whether a kept connection has nothing more to say."""
    head, end, body = said.partition(b"\r\n\r\n")
    if not end:
        return False
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return len(body) >= int(line.partition(b":")[2])
    return body.endswith(b"0\r\n\r\n")


def request(
    body: bytes | Json,
    path: str = CHAT,
    *heads: str,
    method: str = "POST",
    key: str | None = KEY,
    length: int | None = None,
) -> bytes:
    """A request as bytes, well formed but for what is asked for."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"{method} {path} HTTP/1.1", "Host: x", "Content-Type: application/json", *heads]
    lines += [f"Content-Length: {len(data) if length is None else length}"]
    lines += [f"Authorization: Bearer {key}"] if key is not None else []
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape") + data


def _asked(kind: str, fields: dict[str, Json], path: str = CHAT, *, fault: bool = True) -> Attack:
    prompt: dict[str, Json] = {"messages": SAID} if path == CHAT else {"prompt": f"{MARK} is"}
    body = {"max_tokens": 4, "temperature": 0, **prompt, **fields}
    return Attack(kind, (request(body, path),), None, fault)


def _nested(levels: int, inner: Json, wrap: Callable[[Json], Json]) -> Json:
    for _ in range(levels):
        inner = wrap(inner)
    return inner


# --- kinds ----------------------------------------------------------------------------------------


def schema(draw: random.Random) -> Attack:
    """A JSON schema that a compiler of grammars may choke on."""
    big = draw.choice([300, 10_000, 2**31, 2**63, -1])
    text = {"type": "string"}
    schemas: list[Json] = [
        {"anyOf": []},
        {"oneOf": [], "allOf": []},
        {"enum": []},
        {"enum": ["x" * 1000] * 500},
        {"const": "\x00\ud800"},
        {"type": MARK},
        {"type": []},
        {"type": ["string"] * 1000},
        {"$ref": "#/$defs/none"},
        {"$ref": f"http://127.0.0.1:1/{MARK}.json"},
        {"$ref": "#"},
        {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
        {"type": "string", "pattern": draw.choice(["^(", "^[", "^a{99999}$", "^((a+)+)+$", "\\"])},
        {"type": "string", "pattern": f"^{'(' * 3000}a{')' * 3000}$"},
        {"type": "string", "minLength": big, "maxLength": big},
        {"type": "array", "items": text, "minItems": big},
        {"type": "array", "items": text, "maxItems": big},
        {"type": "array", "items": []},
        {"type": "array", "prefixItems": [text] * 2000},
        {"type": "integer", "minimum": -big, "maximum": big},
        {"type": "integer", "minimum": 1e308, "exclusiveMaximum": -1e308},
        {"type": "number", "multipleOf": 0},
        {"type": "object", "properties": {f"p{i}": text for i in range(2000)}},
        {"type": "object", "properties": [1, 2], "required": "all"},
        {"type": "object", "properties": {'"\n::= root': text}},
        {"type": "object", "additionalProperties": {"$ref": "#"}},
        {"format": draw.choice(["date", "uuid", MARK, 7])},
        _nested(draw.choice([30, 500]), text, lambda s: {"type": "array", "items": s}),
        _nested(draw.choice([10, 300]), text, lambda s: {"anyOf": [s, {"type": "null"}]}),
        {"allOf": [{"type": "object", "properties": {"a": {"enum": [1]}}}] * 300},
        None,
        MARK,
        [],
        7,
    ]
    asked = draw.choice(schemas)
    form = draw.choice(
        [
            {"response_format": {"type": "json_schema", "json_schema": {"schema": asked}}},
            {"response_format": {"type": "json_object", "schema": asked}},
            {"json_schema": asked},
            {"response_format": {"type": MARK, "schema": asked}},
        ]
    )
    return _asked("schema", form)


def grammar(draw: random.Random) -> Attack:
    """A grammar that is none, or never ends."""
    rules = [
        "root ::= missing",
        "root ::= root",
        'root ::= root "a" | root',
        "a ::= b\nb ::= a\nroot ::= a",
        'root ::= ("a"*)*',
        'root ::= "a"{999999}',
        'root ::= "a"{1,99999999999999999999}',
        'root ::= "a"{5,2}',
        "root ::= " + "(" * 5000 + '"a"' + ")" * 5000,
        "root ::= [",
        "root ::= [z-a]",
        'root ::= "\\x',
        "root ::= [\\U0011FFFF]",
        "",
        "\x00",
        MARK,
        "root ::= " + " | ".join(f'"{i}"' for i in range(5000)),
        "root ::= <[99999999]>",
        "root ::= !<[1]>",
    ]
    asked: Json = draw.choice([*rules, 7, [], {"a": 1}, True])
    more: dict[str, Json] = draw.choice(
        [
            {},
            {"grammar_lazy": True, "grammar_triggers": [{"type": 99, "value": "("}]},
            {"grammar_lazy": True, "grammar_triggers": [{"type": 2, "value": "((((" * 100}]},
            {"json_schema": {"type": "string"}},
        ]
    )
    return _asked("grammar", {"grammar": asked, **more}, draw.choice([CHAT, COMPLETION]))


def sampling(draw: random.Random) -> Attack:
    """Numbers that no sampler was made for."""
    odd: list[Json] = [
        *(float("nan"), float("inf"), float("-inf"), 1e308, -1e308, 5e-324, 2**31, 2**63, 2**64),
        *(-1, -(2**31), -(2**63), 10**400, "1", "", [], {}, True, 0.5, "NaN"),
    ]
    names = [
        *("temperature", "top_p", "min_p", "top_k", "seed", "max_tokens", "n", "typical_p"),
        *("presence_penalty", "frequency_penalty", "repeat_penalty", "repeat_last_n", "mirostat"),
        *("dry_multiplier", "dry_base", "dry_allowed_length", "dry_penalty_last_n", "n_keep"),
        *("xtc_probability", "xtc_threshold", "n_probs", "min_keep", "logprobs", "top_logprobs"),
        *("dynatemp_range", "n_predict", "n_indent", "t_max_predict_ms", "id_slot", "best_of"),
        *("n_discard", "top_n_sigma", "mirostat_tau", "adaptive_target", "max_completion_tokens"),
    ]
    fields = {draw.choice(names): draw.choice(odd) for _ in range(draw.choice([1, 1, 3]))}
    fields |= draw.choice(
        [
            {},
            {},
            {"logit_bias": {str(draw.choice([-1, 0, 2**31, 10**9, "x"])): draw.choice(odd)}},
            {"logit_bias": [[draw.choice([-5, 49151, 49152, 10**9]), draw.choice(odd)]]},
            {"logit_bias": {str(i): -100 for i in range(20_000)}},
            {"stop": [""]},
            {"stop": ["x" * 10_000] * 50},
            {"stop": draw.choice([7, {"a": 1}, [None], [[["a"]]]])},
            {"samplers": draw.choice([["none"], [], "kpt", [7], ["infill"] * 100])},
            {"lora": [{"id": 99, "scale": 1e38}]},
            {"speculative.n_max": 10**9},
        ]
    )
    # Some of it is harmless; but none of it is the server's fault.
    return _asked("sampling", fields, draw.choice([CHAT, COMPLETION]))


def tools(draw: random.Random) -> Attack:
    """Tools with names, parameters and calls that nobody meant."""
    parameters: Json = draw.choice(
        [
            {"anyOf": []},
            {"type": MARK},
            {"$ref": "#/none"},
            None,
            [],
            7,
            {"type": "object", "properties": {"a": {"pattern": "^(", "type": "string"}}},
            _nested(300, {"type": "string"}, lambda s: {"type": "object", "properties": {"a": s}}),
        ]
    )
    called: Json = draw.choice(["f", "", "a" * 5000, 'f"\n::= root', "{{ x }}", None, 7])
    function = {"name": called, "description": MARK, "parameters": parameters}
    forced: Json = {"type": "function", "function": {"name": called}}
    call = {"id": 7, "type": "function", "function": {"name": called, "arguments": "{"}}
    return _asked(
        "tools",
        draw.choice(
            [
                {"functions": [function], "function_call": {"name": called}},
                {"functions": [function], "function_call": "auto"},
                {"tools": [{"type": "function", "function": function}], "tool_choice": forced},
                {"tools": [{"type": "function", "function": function}], "tool_choice": "required"},
                {"tools": [{"type": "function", "function": function}]},
                {"tools": [{"type": MARK}], "tool_choice": draw.choice([7, [], "any", forced])},
                {"tools": [{"type": "function", "function": function}] * 300},
                {"tools": draw.choice([7, "x", {"a": 1}, [None], [[]]])},
                {"messages": [*SAID, {"role": "assistant", "tool_calls": [call]}]},
                {"messages": [*SAID, {"role": "tool", "content": MARK, "tool_call_id": None}]},
                {"parallel_tool_calls": "yes", "tool_choice": forced, "tools": []},
                {"chat_template_kwargs": draw.choice([{"a": {}}, 7, {"enable_thinking": "x"}])},
                {"chat_template": "{% for i in range(10**9) %}{{ i }}{% endfor %}"},
                {"chat_template": "{{ " + "(" * 3000 + " }}"},
            ]
        ),
    )


def body(draw: random.Random) -> Attack:
    """A body that is no request."""
    deep = draw.choice([100, 3000, 60_000])
    image = {"url": draw.choice(["file:///etc/passwd", "http://127.0.0.1:1/", "data:image/png,x"])}
    jinja = "{{ 7 * 7 }}{% raw %}<|im_end|>"
    bodies: list[bytes | Json] = [
        b"",
        b"{",
        b"\x00" * 100,
        b"\xff\xfe{}",
        b"[" * deep,
        b'{"messages":' * deep,
        b'{"a":' + b"9" * 50_000 + b"}",
        b'{"prompt": "\\ud83d", "max_tokens": 1}',
        b'{"prompt": "\xc3\x28", "max_tokens": 1}',
        b'{"prompt": "a", "prompt": 7}',
        [],
        7,
        None,
        {"messages": []},
        {"messages": {}},
        {"messages": [None]},
        {"messages": [{}]},
        {"messages": [{"role": MARK, "content": MARK}]},
        {"messages": [{"role": "user", "content": None}]},
        {"messages": [{"role": "user", "content": {"text": MARK}}]},
        {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": image}]}]},
        {"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": 7}]}]},
        {"messages": [{"role": "user", "content": jinja}], "max_tokens": 2},
        {"messages": SAID * 2000},
        {"messages": [{"role": "user", "content": MARK * draw.choice([300, 20_000])}]},
        {"prompt": None},
        {"prompt": []},
        {"prompt": [[]]},
        {"prompt": [-1, 2**31, 10**12]},
        {"prompt": [49_151, 49_152, 1_000_000], "max_tokens": 2},
        {"prompt": [1, "a", [2]], "max_tokens": 2},
        {"prompt": ["a"] * 300, "max_tokens": 1},
        {"prompt": {"prompt_string": MARK, "multimodal_data": ["!"]}},
        {"prompt": "a" * draw.choice([5_000, 500_000])},
        {"prompt": "\x00\x01", "max_tokens": 1},
        {"prompt": "", "max_tokens": draw.choice([0, 1])},
        {"input_prefix": MARK, "input_suffix": 7},
        {"prompt": MARK, "stream": "yes", "stream_options": 7},
        {"prompt": MARK, "max_tokens": 1, "echo": True, "suffix": MARK, "logprobs": 5},
    ]
    asked = draw.choice(bodies)
    path = COMPLETION if b"prompt" in json.dumps(asked, default=str).encode() else CHAT
    # A prompt of odd tokens or letters may be answered; but it is not the server's fault either.
    return Attack("body", (request(asked, path),), None, fault=True)


def head(draw: random.Random) -> Attack:
    """A head that is none, or one too many."""
    good = {"messages": SAID, "max_tokens": 1}
    data = json.dumps(good).encode()
    big = "x" * draw.choice([9_000, 200_000])
    heads: list[bytes] = [
        request(good, CHAT, f"X-Big: {big}"),
        request(good, CHAT, *(f"X-{i}: {MARK}" for i in range(draw.choice([150, 5000])))),
        request(good, f"/{big}"),
        request(good, CHAT, length=-1),
        request(good, CHAT, length=10**20),
        request(good, CHAT, "Content-Length: 3"),
        request(good, CHAT, "Transfer-Encoding: chunked"),
        request(good, CHAT, "Transfer-Encoding: gzip, chunked"),
        request(good, CHAT, "Content-Encoding: gzip"),
        request(good, CHAT, "Expect: 100-continue"),
        request(good, CHAT, "Connection: Upgrade", "Upgrade: websocket"),
        request(good, CHAT, "Range: bytes=0-,0-,0-"),
        request(good, CHAT, "X\x00: y"),
        request(good, CHAT, "no colon in it"),
        request(good, CHAT, " folded: line", "\tmore"),
        request(good, CHAT, key=None),
        request(good, CHAT, key=KEY[:-1]),
        request(good, CHAT, key=f"{KEY}\x00"),
        request(good, CHAT, key="\udcff" * 50),
        request(good, CHAT, f"Authorization: Bearer {MARK}"),
        request(good, f"{CHAT}?{MARK}=1#x"),
        request(good, "/v1/../v1/chat/completions"),
        request(good, "//v1//chat//completions"),
        request(good, "/%2e%2e/%2e%2e/etc/passwd", method="GET"),
        request(good, f"http://evil/{MARK}"),
        request(good, "*", method="OPTIONS"),
        request(good, CHAT, method=draw.choice(["GET", "PUT", "DELETE", "TRACE", "BREW", "post"])),
        request(good, draw.choice(ENDPOINTS)),
        request(b"", draw.choice(ENDPOINTS), method="GET"),
        request({"action": "erase", "filename": "../../x"}, "/slots/0?action=save"),
        b"GET /\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + draw.randbytes(200),
        b"\r\n" * 500 + request(good),
        b"\x00" * 2000,
        draw.randbytes(3000),
        b"POST " + CHAT.encode() + b" HTTP/1.1\nHost: x\nContent-Length: 2\n\n{}",
        request(good) + request(good, "/metrics", method="GET"),
        request(data, CHAT, "Host: y"),
    ]
    return Attack("head", (draw.choice(heads),), None, fault=True)


ENDPOINTS = (
    *("/completion", "/infill", "/embedding", "/embeddings", "/v1/embeddings", "/rerank", "/props"),
    *("/tokenize", "/detokenize", "/apply-template", "/slots", "/lora-adapters", "/v1/responses"),
    *("/v1/messages", "/v1/messages/count_tokens", "/api/show", "/api/tags", "/models/load", "/"),
    *("/v1/audio/transcriptions", "/tools", "/cors-proxy?url=http://127.0.0.1:1/", "/docs"),
)


def chunking(draw: random.Random) -> Attack:
    """A body in chunks that do not add up."""
    data = json.dumps({"messages": SAID, "max_tokens": 1}).encode()
    lines = [f"POST {CHAT} HTTP/1.1", "Host: x", "Transfer-Encoding: chunked"]
    begun = "\r\n".join([*lines, f"Authorization: Bearer {KEY}", "", ""]).encode()
    whole = b"%x\r\n%b\r\n" % (len(data), data)
    chunks: list[tuple[bytes, ...]] = [
        (b"-5\r\nhello\r\n0\r\n\r\n",),
        (b"zz\r\nhello\r\n",),
        (b"ffffffffffffffffff\r\n",),
        (b"7fffffffffffffff\r\n" + data,),
        (b"0x10\r\n" + data,),
        (b" 5 \r\nhello\r\n0\r\n\r\n",),
        (b"5;" + b"x" * 100_000 + b"\r\nhello\r\n0\r\n\r\n",),
        (b"5\nhello\n0\n\n",),
        (b"3\r\nhello\r\n0\r\n\r\n",),
        (whole, b"0\r\n", b"Trailer: " + b"x" * 50_000 + b"\r\n\r\n"),
        (whole, b"0\r\nContent-Length: 3\r\nAuthorization: x\r\n\r\n"),
        tuple(b"1\r\n%c\r\n" % byte for byte in data[:40]),
        (whole, b"0\r\n\r\n", b"0\r\n\r\n" * 50),
        (b"\r\n" * 1000,),
        (draw.randbytes(500),),
    ]
    # Of those that never say their end the sender goes away: the server must not mind.
    return Attack("chunking", (begun, *draw.choice(chunks)), draw.choice([None, 0]), fault=True)


def cut(draw: random.Random) -> Attack:
    """A good request for a stream, and a client that goes away in the middle of it."""
    asked: Json = {"max_tokens": draw.choice([1, 16, 200]), "temperature": 0, "stream": True}
    path = draw.choice([CHAT, COMPLETION])
    asked |= {"messages": SAID} if path == CHAT else {"prompt": f"{MARK} is"}
    sent = request(asked, path)
    at = draw.choice([len(sent), len(sent), draw.randrange(1, len(sent))])
    read = draw.choice([0, 1, 20, draw.randrange(1, 400), draw.randrange(400, 8000)])
    return Attack("cut", (sent[:at],), read if at == len(sent) else 0, fault=False)


KINDS = (schema, grammar, sampling, tools, body, head, chunking, cut)
