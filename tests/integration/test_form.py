"""Answers of the real model held to a form while they are written."""

import json
from pathlib import Path

import pytest
from jsonschema import validate

from llmpi.quality.ab.calls import calls_in
from llmpi.quality.batching.asking import Asking, Refused
from llmpi.quality.batching.engine import BatchEngine
from llmpi.quality.batching.schedule import Outcome, Request, shape_of
from llmpi.quality.records import Decoding, Json

SETTINGS: Decoding = {
    "computation": {"kv_cache": "f16", "flash_attention": "auto"},
    "max_new_tokens": 64,
    "context_tokens": 4096,
    "thinking_tokens": None,
}
PLACE: Json = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 20}, "year": {"type": "integer"}},
    "required": ["city", "year"],
    "additionalProperties": False,
}
LIGHT: Json = {
    "type": "function",
    "function": {
        "name": "set_light",
        "parameters": {
            "type": "object",
            "properties": {"room": {"enum": ["kitchen", "hall"]}},
            "required": ["room"],
            "additionalProperties": False,
        },
    },
}
CALL: Json = {
    "type": "object",
    "properties": {"name": {"const": "set_light"}, "arguments": LIGHT["function"]["parameters"]},
    "required": ["name", "arguments"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def gguf(finished) -> Path:
    return finished.folder / "results/gguf/smollm2-135m/Q4_0.gguf"


def said(gguf: Path, asked: list[dict], **settings: int) -> list[str]:
    with BatchEngine(gguf, threads=2, shape=shape_of(4096)) as engine:
        asking = Asking(engine, {**SETTINGS, **settings})
        requests = [asking.request(one) for one in asked]
        whole = [one for one in requests if isinstance(one, Request)]
        engine.share([whole])
        found = iter(engine.run([whole])[0])
        answers = [
            asking.answer(one, next(found) if isinstance(one, Request) else Outcome())
            for one in requests
        ]
    return [answer["error"] or answer["text"] for answer in answers]


def conversation(text: str, **more: Json) -> dict:
    return {"messages": [{"role": "user", "content": text}], "continuation": None, **more}


def test_an_answer_is_json_of_its_schema_beside_free_ones(gguf: Path) -> None:
    question = "Where were the Olympic games of 1936?"
    free = [conversation(question), conversation("What is the capital of France?")]
    held = conversation(question, form=PLACE)
    answers = said(gguf, [free[0], held, free[1]])
    validate(json.loads(answers[1]), PLACE)
    assert not answers[0].startswith("{")
    assert "Paris" in answers[2]


def test_a_call_is_one_of_the_tools(gguf: Path) -> None:
    asked = conversation("Light in the hall, please.", tools=[LIGHT], form=CALL)
    [call] = calls_in(said(gguf, [asked])[0])
    assert call.name == "set_light"
    assert call.arguments["room"] in ("kitchen", "hall")


@pytest.mark.parametrize(
    ("schema", "refused"),
    [
        ({"$ref": "#/nowhere"}, True),
        ({"type": "string", "pattern": "^(a"}, True),
        ({"type": "object", "properties": {"a": {"$ref": "https://example.org/x.json"}}}, True),
        ({"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}, True),
        ({"anyOf": []}, False),
        ({"enum": []}, False),
        ({"type": "array", "minItems": 10**9}, False),
        ({"type": "string", "minLength": 5, "maxLength": 2}, False),
    ],
)
def test_a_schema_that_makes_no_grammar_costs_itself(
    gguf: Path, schema: Json, refused: bool
) -> None:
    """The others are answered, whatever this one makes; nothing kills the process."""
    capital = conversation("What is the capital of France?")
    answers = said(gguf, [conversation("Hi", form=schema), capital])
    assert "Paris" in answers[1]
    assert answers[0].startswith("the schema makes no grammar") == refused


def test_a_form_needs_no_more_tokens_than_there_are(gguf: Path) -> None:
    """One that is cut is no JSON, and stands there as it is."""
    [text] = said(gguf, [conversation("Go on", form=PLACE)], max_new_tokens=3)
    with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
        json.loads(text)


def test_an_engine_that_takes_no_grammar_is_told(gguf: Path, monkeypatch) -> None:
    monkeypatch.setattr("llmpi.quality.batching.asking.grammar_of", lambda _: "root ::= root")
    with BatchEngine(gguf, threads=2, shape=shape_of(4096)) as engine:
        found = Asking(engine, SETTINGS).request(conversation("Hi", form=PLACE))
    assert isinstance(found, Refused)
    assert "does not take the grammar" in found.why
