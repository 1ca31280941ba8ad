"""The calls of functions in an answer, in whatever marks a model writes them."""

import ast
import json
from typing import NamedTuple

from llmpi.quality.records import Json

CALLS = 64
"""More are no answer to anything."""


class Called(NamedTuple):
    """A function and its arguments, as the model wrote them."""

    name: str
    arguments: dict[str, Json]


def calls_in(text: str) -> list[Called]:
    """JSON objects with a name and arguments that are no part of another, in order; without any, a
    list of calls in Python's words, `[name(argument="value")]`."""
    return _of_json(text) or _of_python(text)


def _of_json(text: str) -> list[Called]:
    decoder = json.JSONDecoder()
    calls: list[Called] = []
    at = text.find("{")
    while at >= 0 and len(calls) < CALLS:
        try:
            found, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            end = at + 1
        else:
            if called := _called(found):
                calls.append(called)
        at = text.find("{", end)
    return calls


def _called(found: Json) -> Called | None:
    if not isinstance(found, dict):
        return None
    name = found.get("name")
    arguments = found.get("arguments", found.get("parameters"))
    if isinstance(arguments, str):  # as OpenAI's interface has them
        try:
            arguments = json.loads(arguments)
        except (ValueError, RecursionError):
            return None
    if isinstance(name, str) and isinstance(arguments, dict):
        return Called(name, arguments)
    return None


def _of_python(text: str) -> list[Called]:
    begin, end = text.find("["), text.rfind("]")
    try:
        tree = ast.parse(text[begin : end + 1], mode="eval").body if 0 <= begin < end else None
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return []
    if not isinstance(tree, ast.List):
        return []
    calls = [called for node in tree.elts if (called := _of_node(node))]
    return calls if len(calls) == len(tree.elts) else []  # else some of them cannot be told


def _of_node(node: ast.expr) -> Called | None:
    if not isinstance(node, ast.Call) or node.args or any(w.arg is None for w in node.keywords):
        return None
    if not isinstance(node.func, ast.Name | ast.Attribute):  # a name may have dots
        return None
    try:
        arguments = {word.arg: ast.literal_eval(word.value) for word in node.keywords if word.arg}
        json.dumps(arguments)
    except (ValueError, TypeError, RecursionError, MemoryError):
        return None  # no value that JSON has
    return Called(ast.unparse(node.func), arguments)
