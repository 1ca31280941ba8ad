"""Calls of functions in an answer, and what a prompt may say of tools."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmpi.engine.chat.turns import Turns, turns_of
from llmpi.errors import LlmpiError
from llmpi.quality.ab.calls import Called, calls_in
from llmpi.quality.ab.checks import judge
from llmpi.quality.ab.prompts import load_prompts

LIGHT = {
    "name": "set_light",
    "parameters": {
        "type": "object",
        "properties": {"room": {"type": "string"}, "level": {"type": "number"}},
        "required": ["room"],
    },
}
WANTED = {"name": "set_light", "arguments": {"room": "kitchen", "level": 1}}


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "f", "arguments": {"x": 1}}',
        '<tool_call>\n{"name": "f", "arguments": {"x": 1}}\n</tool_call>',
        'Sure! {here} ```json\n{"name": "f", "parameters": {"x": 1}}\n```',
        '{"type": "function", "name": "f", "arguments": "{\\"x\\": 1}"}',
        "<|tool_call_start|>[f(x=1)]<|tool_call_end|>",
    ],
)
def test_a_call_is_found_whatever_stands_around_it(text: str) -> None:
    assert calls_in(text) == [Called("f", {"x": 1})]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I would call f with x = 1.",
        '{"name": "f"}',
        '{"name": 3, "arguments": {}}',
        '{"name": "f", "arguments": [1]}',
        '{"name": "f", "arguments": "not JSON"}',
        "[f(1)]",
        "[f(x=g())]",
        "[f(x={1, 2})]",
        "[1, 2]",
        "[f(x=1",
        "{" * 5000,
        "[" * 5000 + "]" * 5000,
    ],
)
def test_what_is_no_call_is_none(text: str) -> None:
    assert calls_in(text) == []


def test_a_call_within_anothers_arguments_is_no_call() -> None:
    inner = {"name": "g", "arguments": {}}
    assert len(calls_in(json.dumps({"name": "f", "arguments": {"x": inner}}))) == 1
    assert [call.name for call in calls_in("[f(x=1), g(y='b')]")] == ["f", "g"]


def test_of_calls_some_of_which_cannot_be_told_there_is_none() -> None:
    """Else of two calls one would pass for the only one."""
    assert calls_in('[f("kitchen"), f(x="hall")]') == []
    assert calls_in('[f(a=1, **{"b": 2})]') == []
    assert calls_in("[math.sqrt(x=4)]") == [Called("math.sqrt", {"x": 4})]


@given(st.text(alphabet='{}[]():,"=nameargutsf01 \\', max_size=200))
def test_no_text_breaks_it(text: str) -> None:
    calls_in(text)


def prompts_of(tmp_path: Path, **more: object) -> Path:
    path = tmp_path / "prompts.jsonl"
    path.write_text(json.dumps({"prompt": "Light in the kitchen, please", **more}))
    return path


@pytest.mark.parametrize(
    ("said", "met"),
    [
        (WANTED, True),
        ({**WANTED, "arguments": {"level": 1.0, "room": "kitchen"}}, True),
        ({**WANTED, "arguments": {"level": True, "room": "kitchen"}}, False),
        ({**WANTED, "arguments": {"room": "kitchen"}}, False),
        ({**WANTED, "name": "other"}, False),
    ],
)
def test_arguments_are_equal_as_json(tmp_path: Path, said: dict, met: bool) -> None:
    [prompt] = load_prompts(prompts_of(tmp_path, tools=[LIGHT], expect={"call": WANTED}))
    assert judge(prompt, answer(json.dumps(said)))["passed"] is met


def test_one_call_is_one(tmp_path: Path) -> None:
    [prompt] = load_prompts(prompts_of(tmp_path, tools=[LIGHT], expect={"call": WANTED}))
    found = judge(prompt, answer(json.dumps(WANTED) * 2))
    assert found["checks"][0]["reason"] == "2 calls of a function in it, one is wanted"


def answer(text: str) -> dict:
    return {"text": text, "error": None, "stopped": True}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"expect": {"call": WANTED}}, "'set_light' is none of the prompt's tools: none"),
        (
            {"tools": [LIGHT], "expect": {"call": {**WANTED, "arguments": {"level": "1"}}}},
            r"expect.call.arguments: at \$",
        ),
        ({"tools": [LIGHT, LIGHT]}, "two tools have one name"),
        ({"tools": [{"name": "a b"}]}, "tools.0.name"),
        ({"tools": [{**LIGHT, "parameters": {"type": 3}}]}, "no JSON schema"),
    ],
)
def test_what_cannot_be_called_is_named(tmp_path: Path, more: dict, said: str) -> None:
    with pytest.raises(LlmpiError, match=said):
        load_prompts(prompts_of(tmp_path, **more))


def test_an_answer_is_held_to_what_is_expected_of_it(tmp_path: Path) -> None:
    [prompt] = load_prompts(prompts_of(tmp_path, tools=[LIGHT]))
    assert "form" not in prompt.conversation(held=False)
    form = prompt.conversation(held=True)["form"]
    assert form["properties"]["name"] == {"const": "set_light"}
    schema = {"type": "object"}
    [prompt] = load_prompts(prompts_of(tmp_path, expect={"json_schema": schema}))
    assert prompt.conversation(held=True)["form"] == schema
    [prompt] = load_prompts(prompts_of(tmp_path))
    assert "form" not in prompt.conversation(held=True)


def probed(template: str) -> Turns:
    turns = turns_of(template, bos_token="", eos_token="")
    turns.probe()
    return turns


ASKED = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
TURNS = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{% endfor %}<assistant>"


def test_tools_are_the_templates_own_words_or_a_system_turns() -> None:
    tools = [{"type": "function", "function": LIGHT}]
    knows = probed("{% if tools %}<tools>{{ tools | tojson }}{% endif %}" + TURNS)
    assert knows.prompt(ASKED, thinking=False, tools=tools).text.startswith("<tools>[{")
    told = probed(TURNS).prompt(ASKED, thinking=False, tools=tools).text
    assert told.startswith("<system>You can call these functions.")
    assert '"name": "set_light"' in told
    assert told.endswith("\n\nBe brief.<user>Hi<assistant>")
    assert probed(TURNS).prompt(ASKED, thinking=False).text.startswith("<system>Be brief.")
