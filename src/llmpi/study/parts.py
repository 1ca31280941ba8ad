"""What every section of a config is built of: ids, sizes, paths, and the base of all parts."""

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from llmpi.quant_types import ALIASES, FTYPES, NEEDS_IMATRIX

SLUG = r"[a-z0-9]+(?:[._-][a-z0-9]+)*"


def _slug(value: str) -> str:
    if not re.fullmatch(SLUG, value):
        suggestion = re.sub(r"[^a-z0-9.]+", "-", value.lower()).strip("-.")
        raise PydanticCustomError(
            "slug",
            "an id is lower-case letters and digits joined by '.', '_' or '-' (it names files); "
            "try '{suggestion}'",
            {"suggestion": suggestion or "my-id"},
        )
    return value


def _quant(value: str) -> str:
    if value in ALIASES:
        raise PydanticCustomError(
            "unknown_name",
            "'{value}' is spelled '{name}'",
            {"value": value, "name": ALIASES[value]},
        )
    if value not in FTYPES:
        raise PydanticCustomError(
            "unknown_name",
            "'{value}' is no quantization type of llama.cpp",
            {"value": value, "allowed": list(FTYPES)},
        )
    if value in NEEDS_IMATRIX:
        raise PydanticCustomError(
            "needs_imatrix",
            "'{value}' needs an importance matrix, which llmpi cannot make yet; "
            "leave it out or take a type that needs none",
            {"value": value},
        )
    return value


def unique(values: list[str]) -> list[str]:
    twice = [value for value, count in Counter(values).items() if count > 1]
    if twice:
        raise PydanticCustomError("duplicate", "'{value}' stands here twice", {"value": twice[0]})
    return values


def _inside(value: str) -> str:
    """A path inside an archive or a repository: relative, and never upwards."""
    path = PurePosixPath(value)
    if path.is_absolute() or ".." in path.parts or "\\" in value:
        raise PydanticCustomError("inside", "the path must be relative and must not hold '..'", {})
    return value


Id = Annotated[str, AfterValidator(_slug)]
Quant = Annotated[str, AfterValidator(_quant)]
Quants = Annotated[list[Quant], Field(min_length=1), AfterValidator(unique)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
InsidePath = Annotated[str, Field(min_length=1), AfterValidator(_inside)]
RepoId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$")]
Revision = Annotated[str, Field(pattern=r"^[\w][\w./-]*$")]


def _bytes(value: object) -> object:
    """'16G' -> bytes; powers of 1024, as systemd and Docker read it."""
    if not isinstance(value, str):
        return value
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGT])", value)
    if not found:
        raise PydanticCustomError("size", "should be a size, such as 16G", {})
    return int(float(found[1]) * 1024 ** ("KMGT".index(found[2]) + 1))


SIZE = {
    "anyOf": [
        {"type": "integer", "minimum": 1},
        {"type": "string", "pattern": r"^\d+(\.\d+)?[KMGT]$"},
    ]
}
Bytes = Annotated[int, Field(ge=1), BeforeValidator(_bytes), WithJsonSchema(SIZE)]


class Part(BaseModel):
    """Every part of a config refuses keys it does not know, so that a typo never passes."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


def which(*keys: str) -> Discriminator:
    """Choose a union's member by the key that only this member has."""

    def choose(value: Any) -> str | None:
        held = value if isinstance(value, dict) else getattr(value, "__dict__", {})
        return next((key for key in keys if key in held), None)

    return Discriminator(
        choose,
        custom_error_type="which_source",
        custom_error_message="one of these keys is needed: " + ", ".join(keys),
    )


def check_name(name: str, known: Iterable[str], what: str, key: str, loc: tuple) -> None:
    if name not in known:
        raise PydanticCustomError(
            "unknown_name",
            "no {what} '{value}' under '{key}'",
            {"what": what, "value": name, "key": key, "allowed": list(known), "loc": loc},
        )
