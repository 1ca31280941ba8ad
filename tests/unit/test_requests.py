"""What a client may ask a service for: held against a real vocabulary and a real template."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gguf_edit import edited
from tiny_llama import tiny_llama

from llmpi.device.service.chat import Chat
from llmpi.device.service.refusals import RefusedError
from llmpi.device.service.requests import Asked, Reader
from llmpi.engine.llama import Model, Settings

COMPLETION, CHAT = "/v1/completions", "/v1/chat/completions"
CONTEXT_TOKENS, THINKS = 64, 8
HELLO = [{"role": "user", "content": "in the"}]
TEMPLATE = (
    "{% for m in messages %}{{ m.role }}: "
    "{% if m.reasoning_content %}<think>{{ m.reasoning_content }}</think>{% endif %}"
    "{{ m.content }}\n{% endfor %}assistant:"
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    folder = tmp_path_factory.mktemp("tiny")
    fields = {"tokenizer.chat_template": TEMPLATE, "tokenizer.ggml.add_eos_token": True}
    edited(tiny_llama(folder), folder / "chat.gguf", fields)
    with Model(folder / "chat.gguf", Settings(threads=1), vocabulary_alone=True) as model:
        yield model


@pytest.fixture(scope="module")
def reader(model: Model) -> Reader:
    return Reader(model, Chat(model, None), CONTEXT_TOKENS)


def said(reader: Reader, path: str = COMPLETION, **given: Any) -> Asked:
    return reader(path, json.dumps(given).encode())


def refused(reader: Reader, path: str = COMPLETION, **given: Any) -> str:
    with pytest.raises(RefusedError) as error:
        said(reader, path, **given)
    assert error.value.status == 400
    return str(error.value)


def test_a_prompt_is_tokens_and_no_end_stands_behind_it(reader: Reader, model: Model) -> None:
    asked = said(reader, prompt="in the", max_tokens=4)
    assert asked.engine == {"prompt": model.tokenize("in the"), "n_predict": 4}
    assert asked.prompt_tokens == len(model.tokenize("in the"))
    assert not asked.stream and not asked.chat


def test_a_limit_is_what_was_asked_for_within_the_context(reader: Reader, model: Model) -> None:
    for limit, wanted in (({}, 16), ({"max_tokens": 0}, 0), ({"max_tokens": 9}, 9)):
        assert said(reader, prompt="in", **limit).engine["n_predict"] == wanted
    room = CONTEXT_TOKENS - len(model.tokenize("in"))
    assert said(reader, prompt="in", max_tokens=2**31).engine["n_predict"] == room
    chat = said(reader, CHAT, messages=HELLO)
    assert chat.engine["n_predict"] == CONTEXT_TOKENS - chat.prompt_tokens
    newer = said(reader, CHAT, messages=HELLO, max_completion_tokens=3, max_tokens=9)
    assert newer.engine["n_predict"] == 3


def test_a_prompt_that_leaves_no_room_is_refused(reader: Reader) -> None:
    with pytest.raises(RefusedError, match="have room for 64 together") as error:
        said(reader, prompt="pomegranate" * 30)
    assert (error.value.status, error.value.code) == (400, "context_length_exceeded")
    with pytest.raises(RefusedError, match="have room for"):
        said(reader, CHAT, messages=[{"role": "user", "content": "pomegranate" * 30}])


def test_a_thought_has_its_bound_beside_the_answers(model: Model) -> None:
    thinks = Reader(model, Chat(model, THINKS), CONTEXT_TOKENS)
    asked = said(thinks, CHAT, messages=HELLO, max_tokens=4)
    assert asked.engine["n_predict"] == 4 + THINKS
    assert asked.parting is not None
    assert asked.engine["preserved_tokens"] == [], "its marks are text"
    form = {"type": "json_object"}
    assert (
        said(thinks, CHAT, messages=HELLO, max_tokens=4, response_format=form).engine["n_predict"]
        == 4
    ), "JSON is asked for from the first token on"


MALFORMED: dict[str, Any] = {
    "no JSON": b"{",
    "a list": b"[]",
    "deep": b"[" * 100_000,
    "deep and whole": b'{"prompt": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "half a character": b'{"prompt": "a\\ud83d"}',
    "half a character of a stop": b'{"prompt": "a", "stop": "\\ud83d"}',
    "bytes that are no text": b'{"prompt": "\xff"}',
    "infinity": b'{"prompt": "a", "temperature": 1e999}',
    "NaN": b'{"prompt": "a", "temperature": NaN}',
    "a number without end": b'{"seed": ' + b"9" * 100_000 + b"}",
    "nothing": b"",
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
@pytest.mark.parametrize("path", [COMPLETION, CHAT])
def test_what_is_malformed_is_refused(reader: Reader, path: str, body: bytes) -> None:
    with pytest.raises(RefusedError) as error:
        reader(path, body)
    assert error.value.status == 400


WRONG: list[dict[str, Any]] = [
    {"prompt": 7},
    {"prompt": ["a", "b"]},
    {"prompt": [1, 2]},
    {"prompt": []},
    {"stream": "yes"},
    {"temperature": "hot"},
    {"temperature": -1},
    {"temperature": True},
    {"top_p": 1.5},
    {"top_k": 0.5},
    {"seed": 1.5},
    {"seed": 2**64},
    {"max_tokens": -1},
    {"max_tokens": 2**40},
    {"n": 2},
    {"n": 2**31},
    {"best_of": 10**6},
    {"logprobs": 5},
    {"echo": True},
    {"suffix": "x"},
    {"grammar": 'root ::= "a" root | root'},
    {"json_schema": {"type": "object"}},
    {"stop": ["x"] * 17},
    {"stop": "x" * 257},
    {"stop": [7]},
    {"stop": {"a": 1}},
    {"logit_bias": {"a": 1}},
    {"logit_bias": {"1": 1e9}},
    {"logit_bias": [1]},
    {"stream_options": 7},
    {"cache_prompt": True},
    {"id_slot": 1},
    {"n_probs": 10**9},
    {"samplers": ["x"]},
    {"lora": [{"id": 0, "scale": 1}]},
    {"response_fields": ["x"]},
]


@pytest.mark.parametrize("fields", WRONG, ids=lambda fields: next(iter(fields)))
def test_what_is_wrong_or_not_served_is_refused_in_words(
    reader: Reader, fields: dict[str, Any]
) -> None:
    assert next(iter(fields)) in refused(reader, **{"prompt": "in the", **fields})


def test_nothing_of_what_is_not_served_is_nothing(reader: Reader) -> None:
    nothing = {"logprobs": None, "echo": False, "suffix": "", "best_of": 1, "n": 1, "stop": None}
    asked = said(reader, prompt="in the", user="u", model="any", **nothing)
    assert [*asked.engine] == ["prompt", "n_predict"]
    nothing = {"functions": None, "logprobs": False, "tools": [], "tool_choice": "none"}
    assert said(reader, CHAT, messages=HELLO, **nothing).chat


def test_what_is_served_reaches_the_engine(reader: Reader) -> None:
    sampling = {"temperature": 0.5, "top_p": 1, "top_k": 3, "min_p": 0, "seed": -1}
    asked = said(reader, prompt="in", stop="x", logit_bias={"5": -100}, **sampling)
    wanted = {**sampling, "seed": 2**32 - 1, "stop": ["x"], "logit_bias": {"5": -100}}
    assert {key: asked.engine[key] for key in wanted} == wanted
    assert "stop" not in said(reader, prompt="in", stop=["", ""]).engine
    usage = said(reader, prompt="in", stream=True, stream_options={"include_usage": True})
    assert usage.stream and usage.tells_usage


WRONG_CHATS: dict[str, dict[str, Any]] = {
    "no turns": {"messages": []},
    "a text": {"messages": "hello"},
    "no object": {"messages": ["hello"]},
    "no role": {"messages": [{"content": "a"}]},
    "a number": {"messages": [{"role": "user", "content": 7}]},
    "an image": {
        "messages": [
            {
                "role": "user",
                "content": [{"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}],
            }
        ]
    },
    "a file": {"messages": [{"role": "user", "content": [{"type": "file", "file": {}}]}]},
    "forced": {"tool_choice": {"type": "function", "function": {"name": "f"}}, "tools": [{}]},
    "required": {"tool_choice": "required", "tools": [{}]},
    "legacy": {"functions": [{"name": "f"}], "function_call": {"name": "f"}},
    "template's variables": {"chat_template_kwargs": {"enable_thinking": True}},
    "a template": {"chat_template": "{{ 1 }}"},
    "a budget": {"reasoning_budget_tokens": 9},
    "another form": {"response_format": {"type": "grammar"}},
    "a form with a schema of its own": {
        "response_format": {"type": "json_object", "schema": {"anyOf": []}}
    },
}


@pytest.mark.parametrize("fields", WRONG_CHATS.values(), ids=WRONG_CHATS)
def test_a_chat_that_is_not_served_is_refused(reader: Reader, fields: dict[str, Any]) -> None:
    refused(reader, CHAT, **{"messages": HELLO, **fields})


def test_parts_of_a_turn_are_its_text(reader: Reader, model: Model) -> None:
    parts = [{"type": "text", "text": "in"}, {"type": "text", "text": "the"}]
    whole = said(reader, CHAT, messages=[{"role": "user", "content": "in\nthe"}])
    asked = said(reader, CHAT, messages=[{"role": "user", "content": parts}])
    assert asked.engine["prompt"] == whole.engine["prompt"]


def test_a_model_without_a_template_is_not_chatted_with(tmp_path: Path) -> None:
    """Case 25: nor asked in another model's words."""
    with Model(tiny_llama(tmp_path), Settings(threads=1), vocabulary_alone=True) as model:
        bare = Reader(model, Chat(model, None), CONTEXT_TOKENS)
        assert "no chat template" in refused(bare, CHAT, messages=HELLO)
        assert said(bare, prompt="in").engine["prompt"]


def form(schema: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "s", "strict": True, "schema": schema}}


def test_a_schema_reaches_the_engine_without_its_prose(reader: Reader) -> None:
    schema = {
        "type": "object",
        "title": "Light",
        "properties": {
            "name": {"type": ["string", "null"], "description": "whose", "maxLength": 20},
            "states": {"type": "array", "items": {"enum": ["on", "off"]}, "maxItems": 3},
            "level": {"anyOf": [{"type": "integer"}, {"const": "full"}]},
        },
        "required": ["name"],
        "additionalProperties": False,
    }
    asked = said(reader, CHAT, messages=HELLO, response_format=form(schema))
    del schema["title"], schema["properties"]["name"]["description"]  # type: ignore[attr-defined]
    assert asked.engine["json_schema"] == schema
    anything = said(reader, CHAT, messages=HELLO, response_format={"type": "json_object"})
    assert anything.engine["json_schema"] == {"type": "object"}


def test_references_are_put_in_place(reader: Reader) -> None:
    room = {"type": "string", "pattern": "^[a-z]{2,9}\\d?$", "title": "where"}
    lamp = {"type": "object", "properties": {"room": {"$ref": "#/definitions/room"}}}
    lamps = {"type": "array", "items": {"$ref": "#/$defs/lamp", "description": "one"}}
    schema = {
        "properties": {"lamps": lamps, "of": {"$ref": "#/definitions/room"}},
        "$defs": {"lamp": lamp, "unused": {"not": {}}},
        "definitions": {"room": room},
    }
    asked = said(reader, CHAT, messages=HELLO, response_format=form(schema))
    where = {"type": "string", "pattern": "^[a-z]{2,9}[0-9]{0,1}$"}
    items = {"type": "object", "properties": {"room": where}}
    lamps = {"type": "array", "items": items}
    assert asked.engine["json_schema"] == {"properties": {"lamps": lamps, "of": where}}


def nested(depth: int) -> Any:
    return {"type": "array", "items": nested(depth - 1)} if depth else {"type": "string"}


LETHAL: dict[str, Any] = {
    "none": None,
    "a text": "x",
    "true": True,
    "no alternative": {"anyOf": []},
    "no type": {"type": []},
    "no value": {"enum": []},
    "a value that is no list": {"enum": 5},
    "an alternative that is no list": {"anyOf": {"type": "string"}},
    "a type that is none": {"type": "pomegranate"},
    "a type of types": {"type": [["string"]]},
    "a pattern": {"type": "string", "pattern": "^(a|a)*$" * 3000},
    "a short pattern": {"type": "string", "pattern": "^("},
    "itself": {"$ref": "#"},
    "itself within": {"type": "object", "properties": {"a": {"$ref": "#"}}},
    "itself by another": {
        "$ref": "#/$defs/a",
        "$defs": {
            "a": {"type": "array", "items": {"$ref": "#/$defs/b"}},
            "b": {"$ref": "#/$defs/a"},
        },
    },
    "itself at once": {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}},
    "a definition that is not there": {"$ref": "#/$defs/b", "$defs": {"a": {}}},
    "a file": {"$ref": "file:///etc/passwd"},
    "elsewhere": {"$ref": "https://example.org/schema.json"},
    "a part of itself": {"$ref": "#/properties/a", "properties": {"a": {"type": "string"}}},
    "a number": {"$ref": 7},
    "more beside a reference": {"$ref": "#/$defs/a", "type": "string", "$defs": {"a": {}}},
    "a pattern of numbers": {"type": "number", "pattern": "^a$"},
    "a pattern and a length": {"type": "string", "pattern": "^a$", "maxLength": 3},
    "a pattern of anything": {"pattern": "^a$"},
    "a pattern that is none": {"type": "string", "pattern": 7},
    "definitions that are none": {"$defs": 7, "type": "object"},
    "definitions within": {"type": "array", "items": {"$defs": {"a": {}}}},
    "a laugh": {
        "$ref": "#/$defs/a9",
        "$defs": {"a0": {"type": "string"}}
        | {f"a{i + 1}": {"anyOf": [{"$ref": f"#/$defs/a{i}"}] * 9} for i in range(9)},
    },
    "a wide laugh": {
        "anyOf": [{"$ref": "#/$defs/a"}] * 200,
        "$defs": {"a": {"enum": ["x" * 99]}},
    },
    "a deep reference": {
        "$ref": "#/$defs/a9",
        "$defs": {"a0": {"type": "string"}}
        | {f"a{i + 1}": {"type": "array", "items": {"$ref": f"#/$defs/a{i}"}} for i in range(9)},
    },
    "a format": {"type": "string", "format": "date-time"},
    "all of many": {"allOf": [{"type": "object"}] * 9},
    "not": {"not": {}},
    "many letters": {"type": "string", "maxLength": 10**9},
    "less than none": {"type": "string", "minLength": -1},
    "more letters than at most": {"type": "string", "minLength": 2, "maxLength": 1},
    "more things than at most": {"type": "array", "minItems": 256, "maxItems": 0},
    "letters without a number": {"type": "string", "minLength": "2", "maxLength": 1},
    "half a letter": {"type": "string", "maxLength": 1.5},
    "many things": {"type": "array", "items": {}, "minItems": 10**6},
    "a wide one": {"properties": {f"p{i}": {"type": "string"} for i in range(2000)}},
    "a deep one": nested(9),
    "items that are none": {"type": "array", "items": 7},
    "properties that are none": {"type": "object", "properties": [1]},
    "names that are none": {"type": "object", "required": [1]},
    "a list": [],
}


@pytest.mark.parametrize("schema", LETHAL.values(), ids=LETHAL)
def test_a_schema_that_the_engine_may_not_stand_is_refused(reader: Reader, schema: Any) -> None:
    words = refused(reader, CHAT, messages=HELLO, response_format=form(schema))
    assert "response_format" in words


def test_no_prompt_is_longer_than_what_the_model_was_trained_on(model: Model) -> None:
    """The engine would refuse it without a word of why."""
    reader = Reader(model, Chat(model, None), 4096)
    assert "room for 64 together" in refused(reader, prompt="in " * 40)
    assert said(reader, prompt="in", max_tokens=4000).engine["n_predict"] < 64


def test_a_call_that_was_made_before_has_an_object_of_arguments(model: Model) -> None:
    """Clients send them as text; a template that writes JSON would write a text of it."""
    written: list[Any] = []

    class Noting(Chat):
        def prompt(self, turns: Any, *others: Any, **more: Any) -> Any:
            written.extend(turns)
            return super().prompt(turns, *others, **more)

    reader = Reader(model, Noting(model, None), CONTEXT_TOKENS)
    for arguments in ('{"city": "Kyoto"}', {"city": "Kyoto"}):
        call = {"id": "call_1", "type": "function"}
        call["function"] = {"name": "weather", "arguments": arguments}
        turn = {"role": "assistant", "content": None, "tool_calls": [call]}
        said(reader, CHAT, messages=[*HELLO, turn])
        [kept] = written.pop()["tool_calls"]
        assert kept["function"] == {"name": "weather", "arguments": {"city": "Kyoto"}}


@pytest.mark.parametrize(
    "call",
    [
        *(5, {}, {"function": 5}),
        *({"function": {"arguments": a}} for a in (None, "{", "[1]", [1])),
        *({"function": {"arguments": a}} for a in ("[" * 20_000, '{"a": NaN}', '{"a": "\\ud800"}')),
    ],
)
def test_a_call_that_was_none_is_refused(reader: Reader, call: Any) -> None:
    turn = {"role": "assistant", "content": None, "tool_calls": [call]}
    assert "messages[].tool_calls[]" in refused(reader, CHAT, messages=[*HELLO, turn])
