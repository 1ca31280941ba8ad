"""Calls of tools in what a model writes, in the forms of Hermes and Qwen, Llama 3 and Mistral.

Told while an answer is written: what may become a call is held back until it is one, or the answer
is over. What is no whole call of a tool that was offered is text, as the model wrote it.
"""

import json
import re
import uuid
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from llmpi.device.service.refusals import must_be, wrong
from llmpi.device.service.schemas import LONGEST_SCHEMA, bounded

Json = Any  # what a client sent, or a model wrote

MARKS = ("<tool_call>", "[TOOL_CALLS]", "<|python_tag|>")
"""What a call may begin with, wherever it stands."""
SHOWN = (*MARKS, "</tool_call>", "[ARGS]")
"""Where these are tokens of their own the engine is told to write them."""
BARE = ("{", "[")
"""What an answer begins with that is nothing but a call."""
BEGIN = re.compile(rf"\s*(?:{'|'.join(map(re.escape, MARKS))})?\s*")
NAMED = re.compile(r"([\w.-]{1,64})\[ARGS\]")
BEHIND = re.compile(r"(?:\s|</tool_call>|;)*")
MOST_CALLS = 64
MOST_TOOLS = 128


class Call(NamedTuple):
    name: str
    arguments: str
    """JSON."""

    def record(self, index: int, *, streamed: bool) -> Json:
        """As OpenAI's interface has it."""
        function = {"name": self.name, "arguments": self.arguments}
        made = {"id": f"call_{uuid.uuid4().hex[:24]}", "type": "function", "function": function}
        return {"index": index, **made} if streamed else made


class Calls:
    """Of one answer.

    Args:
        names: of the tools that were offered.
    """

    def __init__(self, names: Collection[str]) -> None:
        self._names = names
        self._held, self._told = "", False

    def feed(self, text: str, over: bool) -> tuple[str, list[Call]]:
        """What can be told now: text, and calls, which are all told at the end.

        Args:
            over: no more will come.
        """
        self._held += text
        if over:
            at = self._begins()
            said, self._held = self._held, ""
            calls = self._whole(said[at:])
            return (said[:at].rstrip(), calls) if calls else (said, [])
        at = self._begins()
        if not self._told and not self._held.strip():
            return "", []
        said, self._held = self._held[:at], self._held[at:]
        self._told = self._told or bool(said)
        return said, []

    def _begins(self) -> int:
        """Where in what is held a call may begin; its end if nowhere."""
        held = self._held
        blank = len(held) - len(held.lstrip())
        if not self._told and held[blank : blank + 1] in BARE:
            return blank
        found = [at for mark in MARKS if (at := held.find(mark)) >= 0]
        begun = [
            len(held) - size
            for mark in MARKS
            for size in range(1, min(len(mark), len(held) + 1))
            if held.endswith(mark[:size])
        ]
        return min([*found, *begun, len(held)])

    def _whole(self, text: str) -> list[Call]:
        """The calls that a text is made of; none where anything else stands in it."""
        decoder = json.JSONDecoder(parse_constant=_refuse)
        calls: list[Call] = []
        at = 0
        while at < len(text):
            begin = BEGIN.match(text, at)
            at = begin.end() if begin else at
            named = NAMED.match(text, at)
            try:
                value, at = decoder.raw_decode(text, named.end() if named else at)
            except (ValueError, RecursionError):
                return []
            if named:
                value = {"name": named[1], "arguments": value}
            for one in value if isinstance(value, list) else [value]:
                call = self._call(one)
                if call is None or len(calls) == MOST_CALLS:
                    return []
                calls.append(call)
            behind = BEHIND.match(text, at)
            at = behind.end() if behind else at
        return calls

    def _call(self, value: Json) -> Call | None:
        if not isinstance(value, dict) or value.get("name") not in [*self._names]:
            return None
        arguments = value.get("arguments", value.get("parameters", {}))
        if not isinstance(arguments, dict):
            return None
        return Call(value["name"], json.dumps(arguments, ensure_ascii=False))


def _refuse(constant: str) -> None:
    raise ValueError(constant)


class Offered(NamedTuple):
    """What a client offers a model, and what it is held to."""

    tools: list[Json]
    names: list[str]
    schema: Json
    """That forces a call; None where the model chooses."""


def offered(given: Mapping[str, Json]) -> Offered:
    """
    Raises:
        RefusedError: a tool or the choice is malformed, or the engine cannot stand a tool's schema.
    """
    choice = given.get("tool_choice") or "auto"
    tools = must_be(list, "tools", given.get("tools") or [])
    if len(tools) > MOST_TOOLS:
        raise wrong(f"tools: at most {MOST_TOOLS}")
    if choice == "none":
        return Offered([], [], None)
    functions = {f["name"]: f for tool in tools if (f := _function(tool))}
    if choice == "auto":
        return Offered(tools, [*functions], None)
    forced = [*functions]
    if choice != "required":
        name = (_function(choice) or {}).get("name")
        forced = [name] if name in functions else []
    if not forced:
        raise wrong("tool_choice: auto, none, required, or a function that stands under tools")
    schemas = [_called(functions[name]) for name in forced]
    schema = schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
    if len(json.dumps(schema)) > LONGEST_SCHEMA:
        raise wrong(
            f"tools: to force one of these takes more than {LONGEST_SCHEMA} letters of schema"
        )
    return Offered(tools, [*functions], schema)


def _function(tool: Json) -> Json:
    """The function of a tool; None where it has none with a name."""
    function = tool.get("function") if isinstance(tool, dict) else None
    is_named = isinstance(function, dict) and isinstance(function.get("name"), str)
    return function if is_named else None


def _called(function: Json) -> Json:
    """The schema of its call."""
    where = "tools: the parameters of a forced function"
    parameters = bounded(function.get("parameters") or {"type": "object"}, where)
    if parameters.get("type") != "object":
        raise wrong(f"{where} are of `type: object`")
    properties = {"name": {"const": function["name"]}, "arguments": parameters}
    rest = {"required": [*properties], "additionalProperties": False}
    return {"type": "object", "properties": properties, **rest}
