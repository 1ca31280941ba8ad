"""The schema that an answer is to keep to, where the engine can stand it.

It makes a grammar of a schema and holds every token against that. A few letters can keep it busy
for ever or end it: patterns, references to itself, more at least than at most. So references are
put in place here, and patterns are read here.
"""

import json
from typing import Any

from llmpi.device.service.patterns import safe
from llmpi.device.service.refusals import must_be, printable, wrong

KEYWORDS = {"type", "properties", "required", "items", "enum", "const", "anyOf", "pattern"}
KEYWORDS |= {"additionalProperties", "minItems", "maxItems", "minLength", "maxLength"}
DEFINED = ("$defs", "definitions")
ABOUT = {"title", "description", "default", "$schema"}
TYPES = {"object", "array", "string", "number", "integer", "boolean", "null"}
LONGEST_SCHEMA, DEEPEST_SCHEMA, MOST_REPEATED = 8192, 8, 256
MOST_PARTS = 512
"""Schemas in a schema, its references in place."""

Json = Any  # what a client sent
WHERE = "response_format: a schema"


def schema_of(form: Json) -> Json:
    """The schema that an answer is to keep to, as the engine can stand it; None for any text."""
    kind = must_be(dict, "response_format", form or {"type": "text"}).get("type")
    if kind == "json_schema":
        schema = must_be(dict, "response_format.json_schema", form.get("json_schema")).get("schema")
        return bounded(schema, WHERE)
    if kind not in ("text", "json_object") or (form and {*form} - {"type"}):
        raise wrong("response_format: this form is not served; json_schema is")
    return {"type": "object"} if kind == "json_object" else None


def bounded(schema: Json, where: str) -> Json:
    """A schema as the engine can stand it, its references in place.

    Args:
        where: it stands, for words.

    Raises:
        RefusedError: it is of another kind, or too large.
    """
    if len(json.dumps(schema)) <= LONGEST_SCHEMA:
        found = _Reading(where, _definitions(schema, where)).part(schema, DEEPEST_SCHEMA, ())
        if len(json.dumps(found)) <= LONGEST_SCHEMA:
            return found
    raise wrong(f"{where} has at most {LONGEST_SCHEMA} letters, its references in place")


def _definitions(schema: Json, where: str) -> dict[str, Json]:
    """By how they are referred to."""
    if not isinstance(schema, dict):
        return {}
    return {
        f"#/{key}/{name}": each
        for key in DEFINED
        for name, each in must_be(dict, f"{where}: {key}", schema.get(key, {})).items()
    }


class _Reading:
    """Of one schema."""

    def __init__(self, where: str, definitions: dict[str, Json]) -> None:
        self._where, self._definitions = where, definitions
        self._left = MOST_PARTS

    def part(self, schema: Json, depth: int, within: tuple[str, ...]) -> Json:
        """
        Args:
            depth: so many may stand within one another yet.
            within: references that this one is in the place of.
        """
        self._left -= 1
        where = self._where
        if not isinstance(schema, dict) or not depth or self._left < 0:
            raise wrong(
                f"{where} is an object of objects, at most {DEEPEST_SCHEMA} within one another and "
                f"{MOST_PARTS} in all"
            )
        known = ABOUT | {*DEFINED} if depth == DEEPEST_SCHEMA and not within else ABOUT
        found: dict[str, Json] = {key: schema[key] for key in schema if key not in known}
        if "$ref" in found:
            return self._referred(found, depth, within)
        for key, value in found.items():
            kinds = value if isinstance(value, list) else [value]
            if key not in KEYWORDS:
                raise wrong(f"{where} with {printable(key)} is not served")
            if key.startswith(("min", "max")):
                if type(value) is not int or not 0 <= value <= MOST_REPEATED:
                    raise wrong(f"{where}: {key} is from 0 to {MOST_REPEATED}")
            elif key == "pattern":
                found[key] = safe(value, where)
            elif key == "properties":
                properties = must_be(dict, where, value)
                found[key] = {n: self.part(p, depth - 1, within) for n, p in properties.items()}
            elif key == "items" or (key == "additionalProperties" and value not in (True, False)):
                found[key] = self.part(value, depth - 1, within)
            elif key == "anyOf":
                found[key] = [self.part(each, depth - 1, within) for each in kinds]
            elif key == "type" and not all(isinstance(k, str) and k in TYPES for k in kinds):
                raise wrong(f"{where}: a type is one of {', '.join(sorted(TYPES))}")
            if key in ("anyOf", "enum") and not isinstance(value, list):
                raise wrong(f"{where}: {key} must be a list")
            if key in ("anyOf", "enum", "type") and not kinds:
                raise wrong(f"{where}: {key} is empty")
            if key == "required" and not all(
                isinstance(k, str) for k in must_be(list, where, value)
            ):
                raise wrong(f"{where}: required is a list of names")
        for least, most in (("minItems", "maxItems"), ("minLength", "maxLength")):
            if least in found and most in found and found[least] > found[most]:
                raise wrong(f"{where}: {least} is above {most}")
        if "pattern" in found and (found.get("type") != "string" or {*found} - {"type", "pattern"}):
            raise wrong(f"{where}: a pattern stands beside `type: string` alone")
        return found

    def _referred(self, found: dict[str, Json], depth: int, within: tuple[str, ...]) -> Json:
        """What a reference means; nothing may refer to what it stands in."""
        where = self._where
        name = found["$ref"]
        if not isinstance(name, str) or name not in self._definitions:
            raise wrong(f"{where}: a $ref is '#/$defs/NAME', and the schema has that definition")
        if len(found) > 1:
            raise wrong(f"{where}: beside a $ref stands nothing else")
        if name in within:
            raise wrong(f"{where}: a definition that refers to itself is not served")
        return self.part(self._definitions[name], depth, (*within, name))
