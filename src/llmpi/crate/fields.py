"""Fields of JSON, YAML and tables: a short hash of each, and where two trees differ."""

import csv
import hashlib
import io
import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from typing_extensions import TypeIs

from llmpi import plain_yaml

HEX_DIGITS = 12
"""Of a field's hash: it names what was changed, the file's own hash proves that nothing was."""
RELATIVE, ABSOLUTE = 1e-9, 1e-12
"""How far computed numbers may be apart: processors round differently in the last digits."""


class Number(NamedTuple):
    """A number as it is written, with all its digits."""

    text: str


def exact(text: bytes) -> object:
    """JSON with its numbers as they are written.

    Raises:
        ValueError, RecursionError: it is none, or is nested too deeply.
    """
    return json.loads(text, parse_float=Number, parse_int=Number, parse_constant=Number)


def fields_of(path: Path) -> dict[str, str] | None:
    """Field of a file, its places in lists left out -> the beginning of the SHA-256 of all its
    values; of a table by column. None of a file that has no fields.

    Raises:
        ValueError: it is not what its name says, or nested too deeply.
    """
    try:
        match path.suffix:
            case ".json":
                return _hashes(exact(path.read_bytes()))
            case ".yaml":
                return _hashes(plain_yaml.load(path.read_text("utf-8")))
            case ".csv":
                return _hashes(columns_of(path.read_text("utf-8")))
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return None


def columns_of(table: str) -> dict[str, list[str]]:
    """Column -> its values; what stands behind the last one is a column without a name.

    Raises:
        ValueError: it is no table.
    """
    try:
        header, *rows = csv.reader(io.StringIO(table, newline=""), strict=True)
    except csv.Error as error:
        raise ValueError(str(error)) from None
    found: dict[str, list[str]] = {name: [] for name in header}
    for row in rows:
        for at, value in enumerate(row):
            found.setdefault(header[at] if at < len(header) else "", []).append(value)
    return found


def _hashes(tree: object) -> dict[str, str]:
    found: dict[str, hashlib._Hash] = {}
    for place, value in _leaves(tree, ()):
        field = dotted(part for part in place if isinstance(part, str))
        digest = found.setdefault(field, hashlib.sha256())
        digest.update(f"{place}{value!r}\n".encode("utf-8", "backslashreplace"))
    return {field: digest.hexdigest()[:HEX_DIGITS] for field, digest in found.items()}


Place = tuple[str | int, ...]


def _leaves(tree: object, place: Place) -> Iterator[tuple[Place, object]]:
    """Every value that holds no other; an empty list or object is one."""
    if isinstance(tree, dict) and tree:
        for key, value in tree.items():
            yield from _leaves(value, (*place, key))
    elif isinstance(tree, list) and tree:
        for at, value in enumerate(tree):
            yield from _leaves(value, (*place, at))
    else:
        yield place, tree


class Difference(NamedTuple):
    place: str
    said: object
    computed: object


NOTHING = "nothing"


def differences(said: object, computed: object, place: Place = ()) -> Iterator[Difference]:
    """Where two trees of JSON differ, numbers by more than rounding."""
    if isinstance(said, dict) and isinstance(computed, dict):
        for key in dict.fromkeys([*said, *computed]):
            one, other = said.get(key, NOTHING), computed.get(key, NOTHING)
            yield from differences(one, other, (*place, key))
    elif isinstance(said, list) and isinstance(computed, list) and len(said) == len(computed):
        for at, (one, other) in enumerate(zip(said, computed, strict=True)):
            yield from differences(one, other, (*place, at))
    elif not _same(said, computed):
        yield Difference(dotted(place), said, computed)


def _same(said: object, computed: object) -> bool:
    if _is_number(said) and _is_number(computed) and float in (type(said), type(computed)):
        return math.isclose(said, computed, rel_tol=RELATIVE, abs_tol=ABSOLUTE)
    return type(said) is type(computed) and said == computed


def _is_number(value: object) -> TypeIs[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def dotted(place: Iterable[str | int]) -> str:
    return ".".join(map(str, place)) or "as a whole"


def shown_value(value: object) -> str:
    """A value of a field, cut to what fits in a line."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else f"{text[:77]}..."
