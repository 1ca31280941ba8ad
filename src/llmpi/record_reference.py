"""Write `docs/records.md` from the types of the files under `results/`.

`python -m llmpi.record_reference` (or `make docs`); a test fails where the file is not what it
writes.
"""

import ast
from functools import cache, reduce
from operator import or_
from pathlib import Path
from textwrap import fill
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from typing_extensions import TypeAliasType, is_typeddict

from llmpi import layout
from llmpi.attribute_docs import attribute_docs, class_of
from llmpi.compare.records import Comparison
from llmpi.crate.records import Manifest
from llmpi.decide.records import Recommendation
from llmpi.device.service.records import ServiceBench
from llmpi.engine.records import Failed, Predictions, Rates, RatesAsked, Sample, SessionRecord
from llmpi.gguf.records import Gguf, Imatrix, Mix, Start
from llmpi.models.records import ModelRecord
from llmpi.operate.records import Expectation
from llmpi.quality.ab.records import ComparedPair, Key, SavedSheet
from llmpi.quality.divergence.records import Corpus, Perplexity
from llmpi.quality.evidence import Requirements
from llmpi.quality.kinds import task_kinds
from llmpi.quality.records import AnsweredBlock, Parity
from llmpi.quality.squad.records import Questions, Shard
from llmpi.records import whole_file
from llmpi.remote.records import InstalledEngines, Provisioned, ReceiptRecord
from llmpi.summary.records import Summary
from llmpi.train.probe.make import BlockProbe
from llmpi.tune.records import ComparedEnginesRecord, TunedRecord

TARGET = "docs/records.md"

INTRODUCTION = """\
<!-- Written by `make docs` from the types in src/llmpi/*/records.py; edit those. -->

# Records

What each JSON file under `results/` holds. Every file that comes from a device, a judge or an older
run is checked against its type where it is read: a field that is missing, unknown or of another
kind, a NaN or an infinity is an error that names the file and the field. A record with the status
`failed` says at which `stage` and for what `reason`. Times of day are UTC, ISO 8601. Units stand in
the names:
{units}.
"""


def _one_of(*kinds: Any) -> object:
    return reduce(or_, kinds)


FILES: list[tuple[str, object]] = [
    (layout.MODEL_MANIFEST, ModelRecord),
    (layout.GGUF_MANIFEST, Gguf | Failed),
    (layout.START_MANIFEST, Start | Failed),
    (layout.IMATRIX_MANIFEST, Imatrix | Failed),
    (layout.RATES_ASKED, RatesAsked),
    (layout.RATES, Rates | Failed),
    (layout.MIX, Mix | Failed),
    (layout.PROBE, BlockProbe),
    (layout.PROVISIONED, Provisioned),
    (layout.RECEIPT, ReceiptRecord),
    (layout.BENCH, SessionRecord),
    (layout.TUNED, TunedRecord),
    (layout.INSTALLED_ENGINES, InstalledEngines),
    (layout.BY_ENGINE, ComparedEnginesRecord),
    (layout.QUESTIONS, Questions),
    (layout.CORPUS, Corpus | Failed),
    (layout.REFERENCE, Perplexity | Failed),
    (f"{layout.BLOCKS}/{{job}}/{{block}}.json", AnsweredBlock),
    (layout.SHARD, Shard | Failed),
    (layout.QUALITY, _one_of(*(kind.record for kind in task_kinds().values()), Failed)),
    (layout.SAMPLE, Sample | Failed),
    (layout.ASKED, _one_of(*(kind.asked for kind in task_kinds().values() if kind.asked), Failed)),
    (layout.AB, ComparedPair | Failed),
    (layout.AB_KEY, Key | None),
    ("what people save from a sheet", SavedSheet),
    (layout.PREDICTIONS, Predictions | Failed),
    (layout.PARITY, Parity | Failed),
    (layout.EXPECTATION, Expectation),
    (layout.SERVICE, ServiceBench),
    (layout.SUMMARY_JSON, Summary),
    (layout.REQUIREMENTS, Requirements),
    (layout.RECOMMENDATION, Recommendation),
    (layout.CRATE_MANIFEST, Manifest),
    ("what `llmpi compare --json` prints", Comparison),
]

UNITS = {
    "_j_per_token": "joules per token",
    "_bytes_per_s": "bytes per second",
    "_tps": "tokens per second",
    "_pct": "per cent",
    "_nats": "nats",
    "_tokens": "tokens",
    "_bytes": "bytes",
    "_hz": "hertz",
    "_wh": "watt-hours",
    "_w": "watts",
    "_j": "joules",
    "_c": "degrees Celsius",
    "_s": "seconds",
}
"""Ends of names, the longest first."""


TABLE = ["| field | type | unit | |", "| --- | --- | --- | --- |"]


def reference() -> str:
    """The text of `docs/records.md`."""
    units = fill(", ".join(f"`{end}` {unit}" for end, unit in reversed(UNITS.items())), 110)
    parts = [INTRODUCTION.format(units=units)]
    told: set[type] = set()
    for pattern, kind in FILES:
        name = f"`{pattern}`" if "/" in pattern else pattern.capitalize()
        parts.append(f"## {name}\n\nOne of: {_text(kind)}.\n")
        if not isinstance(kind, UnionType):
            parts[-1] = f"## {name}\n\n{_text(kind)}.\n"
        parts += [_section(part) for part in _parts(kind) if part not in told]
        told.update(_parts(kind))
    return "\n".join(parts)


def _section(part: type) -> str:
    """A type: what it is, and its fields."""
    doc = ast.get_docstring(class_of(part))
    lines = [f"### {_title(part)}\n", *([f"{doc}\n"] if doc else []), *TABLE]
    docs = attribute_docs(part)
    optional: frozenset[str] = getattr(part, "__optional_keys__", frozenset())
    for name, hint in get_type_hints(part, include_extras=True).items():
        may = " (may be left out)" if name in optional else ""
        said = docs.get(name, "").replace("|", "\\|")
        lines.append(f"| `{name}` | {_text(hint)}{may} | {_unit(name)} | {said} |")
    return "\n".join(lines) + "\n"


def _title(part: type) -> str:
    """Its name; of several with that name with the room they are of."""
    room = part.__module__.removeprefix("llmpi.").removesuffix(".records")
    alike = [other for other in _all() if other.__name__ == part.__name__]
    return part.__name__ if len(alike) == 1 else f"{part.__name__} of {room}"


@cache
def _all() -> list[type]:
    return list(dict.fromkeys(part for _, kind in FILES for part in _parts(kind)))


def _unit(name: str) -> str:
    return next((unit for end, unit in UNITS.items() if name.endswith(end)), "")


def _parts(kind: object) -> list[type]:
    """The records in a type, in the order in which they are met."""
    found: dict[type, None] = {}

    def visit(hint: object) -> None:
        if is_typeddict(hint) and isinstance(hint, type):
            if hint not in found:
                found[hint] = None
                for field in get_type_hints(hint, include_extras=True).values():
                    visit(field)
        elif not isinstance(hint, TypeAliasType) and get_origin(hint) is not Literal:
            for part in get_args(hint):
                visit(part)

    visit(kind)
    return [*found]


NAMES = {str: "text", bool: "truth value", int: "integer", float: "number", NoneType: "null"}


def _text(hint: object) -> str:
    """A type in words, records as links."""
    origin, arguments = get_origin(hint), get_args(hint)
    if is_typeddict(hint) and isinstance(hint, type):
        title = _title(hint)
        return f"[{title}](#{title.lower().replace(' ', '-').replace('.', '')})"
    if hint in NAMES:
        return NAMES[hint]
    if origin in (Union, UnionType):
        return " or ".join(_text(part) for part in arguments)
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin is Annotated or getattr(origin, "__name__", "") in ("NotRequired", "Required"):
        return _text(arguments[0])
    if origin is dict:
        return f"by {_text(arguments[0])}: {_text(arguments[1])}"
    if origin is tuple and len(arguments) > 1 and arguments[1] is not ...:
        return f"[{', '.join(map(_text, arguments))}]"
    if origin in (list, tuple):
        return f"list of {_text(arguments[0])}"
    return "JSON"


if __name__ == "__main__":
    with whole_file(Path(TARGET)) as partial:
        partial.write_text(reference(), encoding="utf-8")
