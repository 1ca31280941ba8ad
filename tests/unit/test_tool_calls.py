"""Calls of tools: what is one, in which form, however it arrives; all else is text."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmpi.device.service.refusals import RefusedError
from llmpi.device.service.tool_calls import Call, Calls, offered

LIGHT, TIME = {"name": "light", "arguments": {"on": True}}, {"name": "time", "arguments": {}}
ON, NOW = Call("light", '{"on": true}'), Call("time", "{}")
WRITTEN: dict[str, tuple[str, str, list[Call]]] = {
    "Hermes": (f"<tool_call>\n{json.dumps(LIGHT)}\n</tool_call>", "", [ON]),
    "Qwen, behind words": (
        f"Of course.\n<tool_call>\n{json.dumps(LIGHT)}\n</tool_call>",
        "Of course.",
        [ON],
    ),
    "several": (
        f"<tool_call>{json.dumps(LIGHT)}</tool_call>\n<tool_call>{json.dumps(TIME)}</tool_call>",
        "",
        [ON, NOW],
    ),
    "Llama 3": ('{"name": "light", "parameters": {"on": true}}', "", [ON]),
    "Llama 3, several": (f"{json.dumps(LIGHT)}; {json.dumps(TIME)}", "", [ON, NOW]),
    "Llama 3.1": ('<|python_tag|>{"name": "light", "parameters": {"on": true}}', "", [ON]),
    "Mistral": (f"[TOOL_CALLS] [{json.dumps(LIGHT)}, {json.dumps(TIME)}]", "", [ON, NOW]),
    "Mistral, newer": ('[TOOL_CALLS]light[ARGS]{"on": true}', "", [ON]),
    "a list": (json.dumps([LIGHT]), "", [ON]),
    "its end cut off": (f"<tool_call>{json.dumps(LIGHT)}", "", [ON]),
}
TEXT = {
    "nothing": "",
    "words": "It is on.",
    "no tool of these": '<tool_call>{"name": "rm", "arguments": {}}</tool_call>',
    "half a call": '<tool_call>{"name": "light", "argum',
    "broken": '<tool_call>{"name": "light", "arguments": {on}}</tool_call>',
    "arguments that are none": '{"name": "light", "arguments": [1]}',
    "a number that is none": '{"name": "light", "arguments": {"x": NaN}}',
    "words behind": f"{json.dumps(LIGHT)} and so on",
    "a name that is none": '{"name": ["light"], "arguments": {}}',
    "JSON": '{"on": true}',
    "deep": "<tool_call>" + "[" * 50_000,
    "a mark alone": "<tool_call>",
    "half a mark": "what is <tool_",
    "comparison": "a < b and [x]",
    "too many": json.dumps([TIME] * 65),
    "blank": "  \n",
}


def told(text: str, pieces: list[str] | None = None) -> tuple[str, list[Call]]:
    parser = Calls(["light", "time"])
    said, calls = "", []
    for piece in pieces if pieces is not None else [text]:
        more, now = parser.feed(piece, False)
        said, calls = said + more, calls + now
    more, now = parser.feed("", True)
    return said + more, calls + now


@pytest.mark.parametrize("form", WRITTEN)
@pytest.mark.parametrize("at_once", [1, 3, 1000])
def test_a_call_is_told_in_every_form(form: str, at_once: int) -> None:
    text, words, calls = WRITTEN[form]
    pieces = [text[i : i + at_once] for i in range(0, len(text), at_once)]
    said, found = told(text, pieces)
    assert (said.rstrip(), found) == (words, calls)


@pytest.mark.parametrize("text", TEXT.values(), ids=TEXT)
def test_what_is_no_whole_call_is_text_as_it_was_written(text: str) -> None:
    assert told(text) == (text, [])


PARTS = ["<tool_call>", "</tool_call>", "[TOOL_CALLS]", "[ARGS]", "{", "}", '"', "light", "[", "]"]
PARTS += [json.dumps(LIGHT), json.dumps(TIME), " ", "\n", "words", "<", "<|python_tag|>", "\ud83d"]


@given(st.lists(st.sampled_from(PARTS), max_size=12).map("".join), st.integers(1, 7))
def test_it_is_the_same_however_it_is_cut_and_no_word_is_lost(text: str, at_once: int) -> None:
    whole = told(text)
    said, calls = told(text, [text[i : i + at_once] for i in range(0, len(text), at_once)])
    assert calls == whole[1] and said.rstrip() == whole[0].rstrip()
    assert calls or said == text
    json.dumps([call.record(0, streamed=True) for call in calls]).encode()


def test_words_are_told_while_they_are_written() -> None:
    parser = Calls(["light"])
    assert parser.feed("It is ", False) == ("It is ", [])
    assert parser.feed("on <", False) == ("on ", [])
    assert parser.feed(" off", False) == ("< off", [])


def tool(name: Any, parameters: Any = None) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


def test_a_forced_tool_is_a_schema() -> None:
    where = {"type": "object", "properties": {"room": {"$ref": "#/$defs/r"}}}
    tools = [tool("light", {**where, "$defs": {"r": {"enum": ["kitchen"]}}}), tool("time")]
    asked = {"tools": tools, "tool_choice": {"type": "function", "function": {"name": "light"}}}
    schema = offered(asked).schema
    assert schema["properties"]["name"] == {"const": "light"}
    rooms = schema["properties"]["arguments"]["properties"]["room"]
    assert rooms == {"enum": ["kitchen"]}
    assert len(offered({**asked, "tool_choice": "required"}).schema["anyOf"]) == 2
    assert offered({**asked, "tool_choice": "auto"}) == (tools, ["light", "time"], None)
    assert offered({**asked, "tool_choice": "none"}) == ([], [], None)


FORCED: dict[str, Any] = {
    "no tools": [],
    "no function": [{}],
    "another": [tool("time")],
    "a circle": [tool("light", {"type": "object", "properties": {"a": {"$ref": "#"}}})],
    "no object": [tool("light", {"type": "string"})],
    "no schema": [tool("light", 7)],
    "a pattern": [tool("light", {"type": "object", "properties": {"a": {"pattern": "(a|a)*"}}})],
    "a long name": [tool("light" + "x" * 9000)],
    "many": [tool(f"light{i}", {"type": "object"}) for i in range(129)],
}


@pytest.mark.parametrize("tools", FORCED.values(), ids=FORCED)
def test_a_tool_that_cannot_be_forced_is_refused_in_words(tools: Any) -> None:
    name = "light" if "light" in str(tools)[:200] or not tools else "none"
    long = [t["function"]["name"] for t in tools if len(t.get("function", {}).get("name", "")) > 99]
    choice = {"type": "function", "function": {"name": long[0] if long else name}}
    with pytest.raises(RefusedError, match="tool") as error:
        offered({"tools": tools, "tool_choice": choice})
    assert error.value.status == 400
    assert len(str(error.value)) < 500


@pytest.mark.parametrize(
    "choice", ["any", 7, ["auto"], {"function": 7}, {"function": {"name": []}}]
)
def test_another_choice_is_refused(choice: Any) -> None:
    with pytest.raises(RefusedError, match="tool_choice"):
        offered({"tools": [tool("light")], "tool_choice": choice})
