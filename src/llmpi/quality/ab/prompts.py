"""The user's own prompts for an A/B test, and what is expected of an answer.

The file is JSONL, a prompt per line:

    {"id": "torque", "tags": ["units"], "prompt": "...", "expect": {"contains": "35 Nm"}}

`id` is the number of the line ("line-7") by default; `messages` (a conversation that ends with the
user) may stand in place of `prompt`; `system`, `tags` and `tools` are optional. A tool is a
function that the model may call, `{"name": ..., "description": ..., "parameters": JSON schema}`;
the model's own chat template puts it into words, or a system turn does. What `expect` can say:

- `reference`: one of these texts, compared as SQuAD does (exact match after normalising, which
  drops case, punctuation and articles: "-5" equals "5", so write signs as a `regex`). F1 against
  the nearest reference is reported beside it and decides nothing.
- `contains`, `not_contains`: all of these texts, or none of them; case is ignored.
- `regex`: matches somewhere (Python's `re`; begin with `(?i)` to ignore case).
- `json_schema`: the whole answer, or what stands in a ```json fence that is the whole answer, is
  JSON (RFC 8259: no NaN, no name twice) and valid. References must stay within the schema.
- `call`: calls this one of the tools, once, with these arguments, `{"name": ..., "arguments":
  {...}}`. A call is a JSON object with `name` and `arguments` (or `parameters`), whatever stands
  around it, or `[name(argument="value")]`; arguments are equal as JSON (1 equals 1.0).
- `max_words`: so many words at most, split at white space.

`not_contains` alone is met by silence; put what a good answer says beside it.

File and answers are untrusted: a check that takes longer than `ab_checks.CHECK_CPU_S` (a `regex`,
or a `pattern` in a schema, that backtracks without end) is stopped and counts as not met.
"""

import json
import re
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveInt,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails

from llmpi.engine.answers import normalize
from llmpi.engine.records import Message as ChatTurn
from llmpi.errors import LlmpiError
from llmpi.quality.records import Conversation, Json

if TYPE_CHECKING:  # slow, and for those prompts alone that have a schema
    from jsonschema.protocols import Validator

SHOWN_PROBLEMS = 10


Schema = dict[str, Json]
"""Of JSON Schema."""


def _text(text: str) -> str:
    if not text.strip():
        raise ValueError("is blank")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("holds half of a surrogate pair, which is no character") from None
    return text


def _words(text: str) -> str:
    if not normalize(text):
        raise ValueError(f"{text!r} has no word left once normalised; write it as a regex")
    return text


def _pattern(pattern: str) -> str:
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"no regular expression: {error}") from None
    return pattern


def _schema(schema: Schema) -> Schema:
    if not isinstance(schema.get("$schema", ""), str):
        raise ValueError("no JSON schema: $schema should be a text")
    from jsonschema import SchemaError
    from jsonschema.validators import Draft202012Validator, validator_for

    check = validator_for(schema, default=Draft202012Validator).check_schema
    try:
        check(schema)
        for reference in _references(schema):
            if not reference.startswith("#"):
                raise ValueError(f"{reference!r} leaves the schema; put it under $defs")
            check(_target(schema, reference))
    except SchemaError as error:
        raise ValueError(f"no JSON schema: at {error.json_path}: {error.message}") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return schema


def validator(schema: Schema) -> "Validator":
    """Of what is to be of this schema. With an empty registry, not jsonschema's own, which fetches
    references it does not know."""
    from jsonschema.validators import Draft202012Validator, validator_for
    from referencing import Registry

    return validator_for(schema, default=Draft202012Validator)(schema, registry=Registry())


def _target(schema: Schema, reference: str) -> object:
    from referencing import Registry
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import DRAFT202012

    resolver = Registry().resolver_with_root(DRAFT202012.create_resource(schema))
    try:
        return resolver.lookup(reference).contents
    except (Unresolvable, TypeError, ValueError):
        # The latter two from a path that goes through a number or a text.
        raise ValueError(f"{reference!r} is not in the schema") from None


def _references(schema: Json) -> Iterator[str]:
    if isinstance(schema, dict):
        for key, value in schema.items():
            if key in ("$ref", "$dynamicRef", "$recursiveRef") and isinstance(value, str):
                yield value
            yield from _references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _references(value)


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


Text = Annotated[str, AfterValidator(_text)]
Texts = Annotated[list[Text], BeforeValidator(_listed), Field(min_length=1)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Tool(_Part):
    """A function the model may call."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]{0,63}$")]
    description: Text | None = None
    parameters: Annotated[Schema, AfterValidator(_schema)] = {"type": "object", "properties": {}}

    def told(self) -> Json:
        """As OpenAI's interface has it, and chat templates take it."""
        described = {"description": self.description} if self.description else {}
        return {
            "type": "function",
            "function": {"name": self.name, **described, "parameters": self.parameters},
        }

    def form(self) -> Json:
        """JSON schema of a call."""
        return {
            "type": "object",
            "properties": {"name": {"const": self.name}, "arguments": self.parameters},
            "required": ["name", "arguments"],
            "additionalProperties": False,
        }


class Call(_Part):
    """A call of a tool."""

    name: str
    arguments: dict[str, Json] = {}


class Expect(_Part):
    """What an answer must fulfil, see the module; None is not asked for."""

    reference: (
        Annotated[
            list[Annotated[Text, AfterValidator(_words)]],
            BeforeValidator(_listed),
            Field(min_length=1),
        ]
        | None
    ) = None
    contains: Texts | None = None
    not_contains: Texts | None = None
    regex: Annotated[Text, AfterValidator(_pattern)] | None = None
    json_schema: Annotated[Schema, AfterValidator(_schema)] | None = None
    call: Call | None = None
    max_words: PositiveInt | None = None


class Message(_Part):
    """A turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: Text


class Prompt(_Part):
    """A line of the file."""

    id: Text
    prompt: Text | None = None
    messages: Annotated[list[Message], Field(min_length=1)] | None = None
    system: Text | None = None
    tags: list[Text] = []
    tools: list[Tool] = []
    expect: Expect = Expect()

    @model_validator(mode="after")
    def _ends_with_the_user(self) -> "Prompt":
        if (self.prompt is None) == (self.messages is None):
            raise ValueError("give either 'prompt' or 'messages'")
        roles = [turn["role"] for turn in self.chat()]
        if roles[-1] != "user":
            raise ValueError(f"the last message must be the user's, not the {roles[-1]}'s")
        if "system" in roles[1:]:
            raise ValueError("a system message can only come first, and only once")
        return self

    @model_validator(mode="after")
    def _calls_a_tool(self) -> "Prompt":
        names = [tool.name for tool in self.tools]
        if len(set(names)) < len(names):
            raise ValueError("two tools have one name")
        call = self.expect.call
        if call is None:
            return self
        tool = next((tool for tool in self.tools if tool.name == call.name), None)
        if tool is None:
            listed = ", ".join(names) or "none"
            raise ValueError(f"expect.call: {call.name!r} is none of the prompt's tools: {listed}")
        fault = next(validator(tool.parameters).iter_errors(call.arguments), None)
        if fault:
            raise ValueError(f"expect.call.arguments: at {fault.json_path}: {fault.message}")
        return self

    @property
    def form(self) -> Json:
        """JSON schema of the answer that is expected; None where any text may come."""
        if self.expect.json_schema is not None:
            return self.expect.json_schema
        calls = [tool.form() for tool in self.tools]
        return {"anyOf": calls} if len(calls) > 1 else next(iter(calls), None)

    def conversation(self, held: bool) -> Conversation:
        """What is asked; `held`: the answer is held to its form while it is written."""
        asked: Conversation = {"messages": self.chat(), "continuation": None}
        if self.tools:
            asked["tools"] = [tool.told() for tool in self.tools]
        if held and self.form is not None:
            asked["form"] = self.form
        return asked

    def chat(self) -> list[ChatTurn]:
        """What to ask, in the form chat templates take."""
        system = [Message(role="system", content=self.system)] if self.system else []
        turns = self.messages or [Message(role="user", content=self.prompt or "")]
        return [{"role": turn.role, "content": turn.content} for turn in [*system, *turns]]


def load_prompts(path: Path) -> list[Prompt]:
    """Read a file of prompts, see the module; blank lines are skipped.

    Raises:
        LlmpiError: the file cannot be read, holds no prompt, or says what is not possible; names
            each `file:line`.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except OSError as error:
        raise LlmpiError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise LlmpiError(f"{path}: not UTF-8 ({error.reason} at byte {error.start})") from None
    prompts: list[Prompt] = []
    problems: list[str] = []
    line_of: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            prompt = _parse(line, f"line-{number}")
            first = line_of.setdefault(prompt.id, number)
            if first != number:
                raise ValueError(f"id {prompt.id!r} stands in line {first} already")
            prompts.append(prompt)
        except ValidationError as error:
            problems += [f"{path}:{number}: {_complaint(problem)}" for problem in error.errors()]
        except ValueError as error:
            problems.append(f"{path}:{number}: {error}")
    if len(problems) > SHOWN_PROBLEMS:
        problems[SHOWN_PROBLEMS:] = [f"... and {len(problems) - SHOWN_PROBLEMS} more"]
    if problems:
        raise LlmpiError("\n".join(problems))
    if not prompts:
        raise LlmpiError(f"{path}: holds no prompt")
    return prompts


def _parse(line: str, default_id: str) -> Prompt:
    try:
        content = strict_json(line)
    except (ValueError, RecursionError) as error:
        reason = str(error).replace("line 1 ", "")
        raise ValueError(f"no valid JSON: {reason}; each line is one object") from None
    if not isinstance(content, dict):
        raise ValueError('each line is one object, such as {"prompt": "..."}')
    return Prompt.model_validate({"id": default_id, **content})


def _complaint(problem: ErrorDetails) -> str:
    loc = [str(part) for part in problem["loc"]]
    if problem["type"] != "extra_forbidden":
        reason = problem["msg"].removeprefix("Value error, ")
        return f"{'.'.join(loc)}: {reason}" if loc else reason
    owners: dict[str, type[_Part]] = {"expect": Expect, "messages": Message}
    allowed = list((owners[loc[0]] if len(loc) > 1 else Prompt).model_fields)
    close = get_close_matches(loc[-1], allowed, n=1, cutoff=0.5)
    hint = f"did you mean '{close[0]}'? " if close else ""
    return f"{'.'.join(loc)}: unknown key; {hint}Allowed: {', '.join(allowed)}"


def strict_json(text: str) -> Json:
    """JSON as RFC 8259 wants it.

    Raises:
        ValueError: it is something else, or holds NaN, an infinity or a name twice.
        RecursionError: it is nested too deeply.
    """

    def once(pairs: list[tuple[str, Json]]) -> Json:
        content = dict(pairs)
        if len(content) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"{twice!r} stands there twice")
        return content

    def number(name: str) -> NoReturn:
        raise ValueError(f"{name} is no number of JSON")

    return json.loads(text, object_pairs_hook=once, parse_constant=number)
