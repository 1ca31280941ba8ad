"""Write `config/README.md` and `config/schema.json` from the models of `llmpi.study`.

`python -m llmpi.study.reference` (or `make docs`); a test fails where the files are not what it
writes.
"""

import ast
import inspect
import json
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from llmpi.quant_types import FTYPES, IGNORES_IMATRIX, NEEDS_IMATRIX, ROUNDABLE
from llmpi.records import whole_file
from llmpi.study import meters
from llmpi.study.decision import (
    CloudApi,
    Constraints,
    Cost,
    Engineering,
    Hardware,
    Hat,
    LargerBoard,
    OtherDevice,
    RentedGpu,
)
from llmpi.study.devices import Limits, LocalDevice, SshDevice, SshGroup
from llmpi.study.endpoint import Endpoint, Serves
from llmpi.study.engines import ComparedEngine
from llmpi.study.exclude import Exclude
from llmpi.study.fields import TextSource
from llmpi.study.measuring import (
    AnswersWorkload,
    ConcurrentWorkload,
    ConversationWorkload,
    Draft,
    PromptLookup,
    Runtime,
    Workload,
)
from llmpi.study.models import (
    HubCheckpoint,
    HubSource,
    Model,
    PathCheckpoint,
    PathSource,
    PypiSource,
    ScratchSource,
)
from llmpi.study.quality import TASKS, Descent, Gate
from llmpi.study.service import ServedVariant, Service
from llmpi.study.study import Battery, Study
from llmpi.study.training import Calibration, Mixing, Qat, Rounding, Training
from llmpi.study.tuning import Tune, TuneSpace

INTRODUCTION = """\
<!-- Written by `make docs` from src/llmpi/study/; edit that. -->

# The config file

A study is one YAML file. `config.yaml` is the demo; `llmpi.yaml` is the paper's whole study. Run
another one with `snakemake --cores 4 --configfile config/other.yaml`: it stands alone, nothing is
taken from `config.yaml`. Single values are overridden with `--config`.

Lists and mappings are swept: every model at every quantization, on every device, with every
runtime, for every workload; `exclude` takes combinations out. After an edit, run again: only what
changed is redone.
A key that is not listed here is an error. For completion in an editor, begin the file with
`# yaml-language-server: $schema=schema.json`.

Branches and tags of the hub are resolved once and written to `sources.lock.yaml` beside the config.
Keep that file under version control; `llmpi lock --update` moves its entries.

## What somebody else's config may do

Check it with `llmpi check --configfile theirs.yaml` **before** Snakemake gets to see it. `llmpi
check` reads it as data, runs nothing and reaches nothing. `snakemake --configfile` reads the file
by itself before llmpi can: where it holds `__use_yte__: true`, Snakemake runs the Python in it, and
what is nested too deeply it ends on with an error of Python's, or not at all. `llmpi check` refuses
those, tags, and numbers that YAML reads otherwise than they look (`010` is 8, `1:30` is 90).

A config that passes is data, and yet a run of it does what it says, with your rights:

- it reads every file that it names (`path`, `squad_file`, `text_file`, `prompts`, ...), and what
  was in them may stand in the results;
- it writes under `results/` and into each `store`: here, and on every machine that your SSH
  configuration and your keys open;
- it starts programs: what `python` names on a device, the wheel under `engine`, and, here, the
  Python that task files in an `include_path` name;
- it asks every address that it names: repositories of the hub (with your `HF_TOKEN`), projects of
  the package index, the `url` of a meter or of an endpoint;
- it takes disk space and time without bound.

So read its paths, hosts and addresses before you run it. Nothing that it names is ever deleted, but
for llmpi's own files in its stores.
"""

# In reading order: (key path, what may stand there).
SECTIONS: list[tuple[str, str, list[type[BaseModel]]]] = [
    ("the file", "", [Study]),
    ("models.ID", "", [Model]),
    (
        "models.ID.source",
        "One of four kinds, told by its first key.",
        [PypiSource, HubSource, PathSource, ScratchSource],
    ),
    (
        "models.ID.source.checkpoint",
        "Told by its first key.",
        [HubCheckpoint, PathCheckpoint],
    ),
    ("devices.ID", "Told by `transport`.", [LocalDevice, SshDevice, SshGroup]),
    ("devices.ID.limits", "", [Limits]),
    (
        "devices.ID.meter",
        "Told by `kind`.",
        [
            meters.NoMeter,
            meters.PmicMeter,
            meters.HwmonMeter,
            meters.RaplMeter,
            meters.TasmotaMeter,
            meters.ShellyMeter,
            meters.CsvMeter,
            meters.ConstantMeter,
        ],
    ),
    (
        "workloads.ID",
        "Told by `kind`.",
        [Workload, ConcurrentWorkload, ConversationWorkload, AnswersWorkload],
    ),
    ("runtimes.ID", "", [Runtime]),
    ("runtimes.ID.prompt_lookup", "", [PromptLookup]),
    ("runtimes.ID.draft", "", [Draft]),
    ("runtimes.ID.endpoint", "", [Endpoint]),
    ("runtimes.ID.endpoint.serves[]", "", [Serves]),
    ("engines.ID", "Or a list of versions, each called after itself.", [ComparedEngine]),
    ("tune", "", [Tune]),
    ("tune.space", "", [TuneSpace]),
    (
        "quality.ID",
        "Told by `task`.",
        [*TASKS],
    ),
    ("calibration", "", [Calibration]),
    ("mix", "", [Mixing]),
    ("rounding", "", [Rounding]),
    ("qat", "", [Qat]),
    ("qat.training, models.ID.training", "", [Training]),
    ("calibration.text, qat.text", "", [TextSource]),
    ("gates[]", "", [Gate]),
    ("descent", "", [Descent]),
    ("constraints", "", [Constraints]),
    ("cost", "", [Cost]),
    ("cost.hardware.ID", "", [Hardware]),
    ("cost.engineering", "", [Engineering]),
    (
        "cost.alternatives.ID",
        "Told by `kind`.",
        [CloudApi, RentedGpu, LargerBoard, OtherDevice],
    ),
    ("cost.hat", "", [Hat]),
    ("service", "", [Service]),
    ("service.variant", "`recommended`, or:", [ServedVariant]),
    ("battery", "", [Battery]),
    ("exclude[]", "", [Exclude]),
]


def readme() -> str:
    """The text of `config/README.md`."""
    parts = [INTRODUCTION]
    for path, intro, models in SECTIONS:
        parts.append(f"## {path}\n")
        if intro:
            parts.append(f"{intro}\n")
        for model in models:
            if len(models) > 1:
                parts.append(f"### {_told_by(model)}\n")
            parts += [_one_line(inspect.getdoc(model) or "") + "\n", *_table(model)]
    parts.append("## Quantizations\n")
    parts.append(f"From wide to narrow: {_names(FTYPES)}.\n")
    parts.append(
        "`TYPE+imatrix` is made with an importance matrix (section `calibration`). These need "
        f"one: {_names(name for name in FTYPES if name in NEEDS_IMATRIX)}. These would be the same "
        f"with one: {_names(name for name in FTYPES if name in IGNORES_IMATRIX)}.\n"
    )
    parts.append(
        "`MIX-4.5bpw` and `MIX-700M` are mixes: each group of tensors gets the type that a budget "
        "is best spent on, of bits per weight (all tensors together) or of bytes (the file; M and "
        "G are powers of 1024), and none takes more. `MIX-12tps-DEVICE` is to decode so many "
        "tokens per second on that device (a board of a group is `GROUP.BOARD`) at the beginning "
        "of a context, by rates that are measured there first, with the model's Q4_0, as the first "
        "runtime of llmpi's own engine runs it; it can be measured on the others as well. "
        "`MIX-0.02nats` turns it around: the least bytes of all that diverge from the unquantized "
        "model by no more (on the mean of the calibration text), and `MIX-0.02nats-DEVICE` the "
        "least time there. What "
        "a type costs is measured on the calibration text (sections `calibration` and `mix`). "
        "`MIX-4.5bpw+imatrix` is quantized with an importance matrix, and may have the types that "
        "need one. A descent leaves mixes out: they are all scored.\n"
    )
    parts.append(
        "`TYPE+round` has a rounding that is learned on the calibration text (sections "
        f"`calibration` and `rounding`), for {_names(ROUNDABLE)}; `TYPE+round+imatrix` begins with "
        "an importance matrix.\n"
    )
    parts.append("`TYPE-qat` is made by quantization-aware training (section `qat`).\n")
    parts.append(
        "`as-published` is the GGUF file of the model's source, byte for byte. Of several `files` "
        "it stands for all; each is called after its file, `as-published.gemma-3-1b-it-Q4_K_M`, "
        "where one of them is meant. The first, which is the widest, is the reference of all "
        "variants of the model; where a `checkpoint` stands beside them, its F16 is. A descent "
        "goes down what is made here alone.\n"
    )
    return "\n".join(parts)


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def schema() -> str:
    """The text of `config/schema.json`."""
    whole = Study.model_json_schema()
    for model in parts_of(Study):
        part = whole if model is Study else whole["$defs"][model.__name__]
        for field, text in descriptions(model).items():
            told = {**part["properties"][field], "description": text}
            part["properties"][field] = dict(sorted(told.items()))
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


def descriptions(model: type[BaseModel]) -> dict[str, str]:
    """The texts under a model's fields, its own and those it inherits."""
    found: dict[str, str] = {}
    for part in reversed(model.__mro__):
        if part is BaseModel or not issubclass(part, BaseModel):
            continue
        [body] = ast.parse(textwrap.dedent(inspect.getsource(part))).body
        assert isinstance(body, ast.ClassDef)
        for field, below in pairwise(body.body):
            match field, below:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str(text))),
                ):
                    found[name] = inspect.cleandoc(text)
    return {name: text for name, text in found.items() if name in model.model_fields}


def parts_of(model: type[BaseModel]) -> set[type[BaseModel]]:
    """A model, and all that may stand anywhere in it."""
    found, queue = {model}, [model]
    while queue:
        inside = {part for field in queue.pop().model_fields.values() for part in _inside(field)}
        queue += inside - found
        found |= inside
    return found


def _inside(annotated: object) -> Iterator[type[BaseModel]]:
    annotation = getattr(annotated, "annotation", annotated)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _inside(part)


def _told_by(model: type[BaseModel]) -> str:
    """The key, and for `transport`, `task` and `kind` its value, that chooses this kind."""
    first = next(key for key in model.model_fields if key in model.__annotations__)
    return (
        f"`{first}: {get_args(model.model_fields[first].annotation)[0]}`"
        if first in ("transport", "task", "kind")
        else f"`{first}`"
    )


def _table(model: type[BaseModel]) -> Iterator[str]:
    texts = descriptions(model)
    rows = ["| key | value | default | |", "| --- | --- | --- | --- |"]
    for name, field in sorted(model.model_fields.items(), key=lambda item: _place(model, item[0])):
        default = (
            "**needed**"
            if field.is_required()
            else _default(field.get_default(call_default_factory=True))
        )
        about = _one_line(texts.get(name, ""))
        rows.append(f"| `{name}` | {_kind(field)} | {default} | {about} |")
    yield "\n".join(rows) + "\n"


def _place(model: type[BaseModel], name: str) -> bool:
    """A model's own keys first, inherited ones behind them."""
    return name not in model.__annotations__


def _default(value: object) -> str:
    if value is None or value in ({}, []) or callable(value):
        return ""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    return f"`{value if isinstance(value, str) else json.dumps(value, default=_said)}`"


def _said(part: BaseModel) -> object:
    return part.model_dump(exclude_defaults=True)


def _kind(field: FieldInfo) -> str:
    """What may stand there, in a user's words."""
    annotation = field.annotation
    if annotation is bool:
        return "`true` or `false`"
    choices = [a for a in (annotation, *get_args(annotation)) if get_origin(a) is Literal]
    allowed = get_args(choices[0]) if choices else ()
    if allowed:
        listed = "list of " if get_origin(annotation) is list else ""
        return listed + " or ".join(f"`{value}`" for value in allowed)
    text = f"{annotation} {field.metadata}"
    for pattern, words in (
        (r"\b_bytes\b", "text such as `4G` (GiB), or bytes"),
        (r"dict\[", "mapping by id"),
        (r"list\[", "list"),
        (r"Source", "mapping"),
        (r"Figure", "figure"),
        (r"\bfloat\b", "number"),
        (r"\bint\b", "whole number"),
        (r"\bstr\b", "text"),
    ):
        if re.search(pattern, text):
            return words
    return "mapping"


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def main() -> None:
    for name, text in (("README.md", readme()), ("schema.json", schema())):
        path = Path("config") / name
        with whole_file(path) as partial:
            partial.write_text(text, encoding="utf-8")
        print(f"wrote {path}", file=sys.stderr)


if __name__ == "__main__":
    main()
