"""The schema that an answer is to keep to, where the engine can stand it.

It makes a grammar of a schema and holds every token against that. A few letters can keep it busy
for ever or end it: patterns, references to itself, more at least than at most.
"""

import json
from typing import Any

from llmpi.device.service.refusals import must_be, printable, wrong

KEYWORDS = {"type", "properties", "required", "items", "enum", "const", "anyOf"}
KEYWORDS |= {"additionalProperties", "minItems", "maxItems", "minLength", "maxLength"}
ABOUT = {"title", "description", "default", "$schema"}
TYPES = {"object", "array", "string", "number", "integer", "boolean", "null"}
LONGEST_SCHEMA, DEEPEST_SCHEMA, MOST_REPEATED = 8192, 8, 256

Json = Any  # what a client sent
WHERE = "response_format: a schema"


def schema_of(form: Json) -> Json:
    """The schema that an answer is to keep to, as the engine can stand it; None for any text."""
    kind = must_be(dict, "response_format", form or {"type": "text"}).get("type")
    if kind == "json_schema":
        schema = must_be(dict, "response_format.json_schema", form.get("json_schema")).get("schema")
        if len(json.dumps(schema)) > LONGEST_SCHEMA:
            raise wrong(f"response_format: a schema has at most {LONGEST_SCHEMA} letters")
        return _bounded(schema, DEEPEST_SCHEMA)
    if kind not in ("text", "json_object") or (form and {*form} - {"type"}):
        raise wrong("response_format: this form is not served; json_schema is")
    return {"type": "object"} if kind == "json_object" else None


def _bounded(schema: Json, depth: int) -> Json:
    if not isinstance(schema, dict) or not depth:
        raise wrong(f"{WHERE} is an object of objects, at most {DEEPEST_SCHEMA} within one another")
    found: dict[str, Json] = {key: schema[key] for key in schema if key not in ABOUT}
    for key, value in found.items():
        kinds = value if isinstance(value, list) else [value]
        if key not in KEYWORDS:
            raise wrong(f"{WHERE} with {printable(key)} is not served")
        if key.startswith(("min", "max")):
            if type(value) is not int or not 0 <= value <= MOST_REPEATED:
                raise wrong(f"{WHERE}: {key} is from 0 to {MOST_REPEATED}")
        elif key == "properties":
            properties = must_be(dict, WHERE, value)
            found[key] = {name: _bounded(each, depth - 1) for name, each in properties.items()}
        elif key == "items" or (key == "additionalProperties" and value not in (True, False)):
            found[key] = _bounded(value, depth - 1)
        elif key == "anyOf":
            found[key] = [_bounded(each, depth - 1) for each in kinds]
        elif key == "type" and not all(isinstance(k, str) and k in TYPES for k in kinds):
            raise wrong(f"{WHERE}: a type is one of {', '.join(sorted(TYPES))}")
        if key in ("anyOf", "enum") and not isinstance(value, list):
            raise wrong(f"{WHERE}: {key} must be a list")
        if key in ("anyOf", "enum", "type") and not kinds:
            raise wrong(f"{WHERE}: {key} is empty")
        if key == "required" and not all(isinstance(k, str) for k in must_be(list, WHERE, value)):
            raise wrong(f"{WHERE}: required is a list of names")
    for least, most in (("minItems", "maxItems"), ("minLength", "maxLength")):
        if least in found and most in found and found[least] > found[most]:
            raise wrong(f"{WHERE}: {least} is above {most}")
    return found
