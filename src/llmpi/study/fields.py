"""What every section of a config is built of: ids, sizes, paths, and the base of all parts."""

import re
from collections import Counter
from collections.abc import Collection
from os.path import expanduser, realpath
from pathlib import PurePosixPath
from typing import Annotated, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainSerializer,
    SerializationInfo,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from llmpi.quant_types import (
    ALIASES,
    FLOATS,
    FTYPES,
    IGNORES_IMATRIX,
    IMATRIX,
    NEEDS_IMATRIX,
    PUBLISHED,
    ROUND,
    ROUNDABLE,
    budget_of,
    is_mix,
    is_published,
    is_rounded,
    is_trained,
    type_of,
    wants_imatrix,
)

Loc = tuple[str | int, ...]
"""A place in a config: the keys that lead to it."""

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
    if is_published(value):
        return value
    kind = type_of(value)
    if is_mix(value):
        return _mix(value)
    if kind in ALIASES:
        raise PydanticCustomError(
            "unknown_name",
            "'{value}' is spelled '{name}'",
            {"value": value, "name": value.replace(kind, ALIASES[kind], 1)},
        )
    if kind not in FTYPES:
        raise PydanticCustomError(
            "unknown_name",
            "'{value}' is no quantization type of llama.cpp",
            {"value": value, "allowed": [*FTYPES, PUBLISHED]},
        )
    if is_rounded(value):
        return _rounded(value, kind)
    if wants_imatrix(value) and is_trained(value.removesuffix(IMATRIX)):
        raise PydanticCustomError(
            "imatrix",
            "training for a type looks at no importance matrix: write '{value}'",
            {"value": value.removesuffix(IMATRIX)},
        )
    if wants_imatrix(value) and kind in IGNORES_IMATRIX:
        raise PydanticCustomError(
            "imatrix", "{kind} is the same with and without an importance matrix", {"kind": kind}
        )
    if kind in NEEDS_IMATRIX and not wants_imatrix(value):
        raise PydanticCustomError(
            "imatrix",
            "'{value}' needs an importance matrix: write '{kind}+imatrix'",
            {"value": value, "kind": kind},
        )
    if is_trained(value) and kind in FLOATS:
        raise PydanticCustomError("qat", "{kind} has nothing to be trained for", {"kind": kind})
    return value


WIDEST_MIX = 16
"""Bits per weight: those of the F16 that it is made of."""


def _mix(value: str) -> str:
    budget = budget_of(value)
    if budget is None:
        raise PydanticCustomError(
            "mix",
            "'{value}' is no budget: write MIX-4.5bpw (bits per weight), MIX-700M (bytes; M and G),"
            " MIX-12tps-DEVICE (tokens per second on it), MIX-0.02nats or MIX-0.02nats-DEVICE "
            "(divergence), without zeros that say nothing",
            {"value": value},
        )
    if budget.bits_per_weight and budget.bits_per_weight >= WIDEST_MIX:
        raise PydanticCustomError(
            "mix",
            "'{value}' is no narrower than the F16 it would be made of: ask for less than "
            "{widest} bits per weight",
            {"value": value, "widest": WIDEST_MIX},
        )
    if is_trained(value):
        raise PydanticCustomError(
            "qat", "a mix is not trained for: write '{kind}'", {"kind": type_of(value)}
        )
    if is_rounded(value):
        raise PydanticCustomError(
            "rounding",
            "the rounding of a mix is not learned: write '{mix}'",
            {"mix": value.replace(ROUND, "", 1)},
        )
    return value


def _rounded(value: str, kind: str) -> str:
    if kind not in ROUNDABLE:
        raise PydanticCustomError(
            "rounding",
            "the rounding of {kind} cannot be learned; it can of {roundable}",
            {"kind": kind, "roundable": ", ".join(ROUNDABLE)},
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
LocalPath = Annotated[str, Field(min_length=1), AfterValidator(expanduser)]
"""A file or folder of this machine; `~` is whoever runs it."""


def _hidden(value: str | None, info: SerializationInfo) -> str | None:
    return HIDDEN if value and info.context == RESULTS else value


RESULTS = "results"
"""Context of a dump that goes into results, for others to see."""
HIDDEN = "(not shown)"
KeyPath = Annotated[LocalPath, PlainSerializer(_hidden)]
"""The file of a key on this machine: where it lies is told in no result."""
RepoId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$")]
Revision = Annotated[str, Field(pattern=r"^[\w][\w./-]*$")]


def _address(value: str) -> str:
    if re.match(r"https?://[^/]*@", value):
        raise PydanticCustomError(
            "login",
            "an address holds no user and no password: a config is shown to others; name a 'user' "
            "and a 'password_file'",
            {},
        )
    return value


Url = Annotated[str, Field(pattern=r"^https?://[^\s]+$"), AfterValidator(_address)]
"""An address without user and password."""


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
Points = Annotated[float, Field(gt=0, lt=100, allow_inf_nan=False)]
Bytes = Annotated[int, Field(ge=1), BeforeValidator(_bytes), WithJsonSchema(SIZE)]


class Part(BaseModel):
    """Every part of a config refuses keys it does not know, so that a typo never passes."""

    # Each job imports these models, and few of them validate anything: what they need for that is
    # built when they first do. (The texts under the fields are read by `llmpi.study.reference`.)
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, defer_build=True)


def one_of(part: Part, *keys: str) -> None:
    """Exactly one of these keys is given.

    Raises:
        PydanticCustomError: none is, or several are.
    """
    given = [key for key in keys if getattr(part, key)]
    if len(given) != 1:
        raise PydanticCustomError(
            "one_of",
            "exactly one of these keys is needed: {keys}",
            {"keys": ", ".join(keys)},
        )


class TextSource(Part):
    """A text: a file, the help of Python, or a data set of the hub; or a part of it."""

    text_file: LocalPath | None = None
    """A text (UTF-8), or"""
    python_topics: bool = False
    """the help texts of this machine's Python, which every installation has, or"""
    hub: RepoId | None = None
    """a data set on the Hugging Face hub, such as `Salesforce/wikitext`."""
    revision: Revision = "main"
    """Of the data set: commit sha; a branch or tag is resolved and locked as a model's is."""
    subset: str | None = Field(default=None, pattern=r"^[\w.-]+$")
    """Configuration of the data set, such as `wikitext-2-raw-v1`."""
    split: str = Field(default="test", pattern=r"^\w+$")
    """Split of the data set."""
    column: str = "text"
    """Column that holds the text."""
    from_pct: float = Field(default=0, ge=0, lt=100)
    """The text begins here, per cent of its characters (at the next line), and"""
    to_pct: float = Field(default=100, gt=0, le=100)
    """ends here: to train on one part and to score on the other."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        one_of(self, "text_file", "python_topics", "hub")
        if self.from_pct >= self.to_pct:
            raise PydanticCustomError("part", "'from_pct' must be below 'to_pct'", {})
        return self

    def overlaps(self, other: "TextSource") -> bool:
        """Whether a part of the text is the other's, too, as far as their names tell."""
        same = self._whole == other._whole
        return same and self.from_pct < other.to_pct and other.from_pct < self.to_pct

    @property
    def _whole(self) -> tuple[str | None, ...]:
        """What the whole text goes by, however it is spelled: a file where it lies in truth, a data
        set in any of its revisions, which have most of their rows in common."""
        if self.text_file:
            return "text_file", realpath(self.text_file)
        if self.hub:
            return "hub", self.hub.casefold(), self.subset, self.split, self.column
        return ("python_topics",)


def which(*keys: str) -> Discriminator:
    """Choose a union's member by the key that only this member has."""

    def choose(value: object) -> str | None:
        held = value if isinstance(value, dict) else getattr(value, "__dict__", {})
        return next((key for key in keys if key in held), None)

    return Discriminator(
        choose,
        custom_error_type="which_source",
        custom_error_message="one of these keys is needed: " + ", ".join(keys),
    )


def check_name(name: str, known: Collection[str], what: str, key: str, loc: Loc) -> None:
    """
    Args:
        what: a name of what kind it is, and `key` the section that defines those.
        loc: where it stands.

    Raises:
        PydanticCustomError: it is none of the known ones.
    """
    if name not in known:
        raise PydanticCustomError(
            "unknown_name",
            "no {what} '{value}' under '{key}'",
            {"what": what, "value": name, "key": key, "allowed": list(known), "loc": loc},
        )
