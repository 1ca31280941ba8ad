"""Every column of the summary as a flat table: its type, its unit, its meaning.

They are those of the row's type (`llmpi.summary.records.Row`) and of the kinds of quality tasks.
`python -m llmpi.summary.columns` (or `make docs`) writes `docs/summary.md` from them.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Literal, Union, get_args, get_origin, get_type_hints

from llmpi.attribute_docs import attribute_docs
from llmpi.columns import Column
from llmpi.quality.kind import TaskKind
from llmpi.quality.kinds import task_kinds
from llmpi.records import whole_file
from llmpi.study.study import Study
from llmpi.summary import records
from llmpi.summary.records import Joined, Unit

KINDS: Mapping[object, Literal["integer", "number"]] = {int: "integer", float: "number"}
"""Of what is no text."""


def _columns_of(*parts: type) -> dict[str, Column]:
    """The columns that parts of a row are, in order."""
    found = {}
    for part in parts:
        docs = attribute_docs(part)
        for name, hint in get_type_hints(part, include_extras=True).items():
            found[name] = _column(hint, docs[name])
    return found


def _column(hint: object, meaning: str) -> Column:
    """Of a field's type, such as `Annotated[float, Unit("s")] | None`."""
    optional = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    known = next(part for part in optional if part is not NoneType)
    base, *more = get_args(known) if get_origin(known) is Annotated else (known,)
    unit = next((one.name for one in more if isinstance(one, Unit)), "")
    joined = next((f", joined by `{one.by}`" for one in more if isinstance(one, Joined)), "")
    return Column(KINDS.get(base, "text"), unit, meaning + joined)


CELL = _columns_of(records.Cell)
SPEED = _columns_of(records.Speed, records.Roofline)
ENERGY = _columns_of(records.CellEnergy)
FILE = _columns_of(records.File)
DEVICE = _columns_of(records.OnDevice)
HTTP = _columns_of(records.OverHttp)
TUNED = _columns_of(records.TunedOutput)
ANSWERS = _columns_of(records.AnswerCost)
"""Of a task that asks questions (`Task.ANSWERS`)."""


def columns(study: Study) -> dict[str, Column]:
    """The columns of a study's summary, in their order."""
    kinds = kinds_of(study)
    scored = {f"{t}_{n}": c for t, kind in kinds.items() for n, c in kind.columns.items()}
    compared = {f"{t}_{n}": c for t, kind in kinds.items() for n, c in kind.compared.items()}
    answers = {f"{t}_{n}": c for t in study.answering for n, c in ANSWERS.items()}
    first, last = {**CELL, **SPEED, **ENERGY, **FILE}, {**HTTP, **TUNED}
    return {**first, **scored, **answers, **DEVICE, **compared, **last}


def kinds_of(study: Study) -> dict[str, TaskKind]:
    """The kind of each quality task."""
    known = task_kinds()
    return {task: known[asked.task] for task, asked in study.quality.items()}


INTRODUCTION = """\
<!-- Written by `make docs` from src/llmpi/summary/records.py and columns.py; edit those. -->

# The files of a report

`results/report/STUDY/` holds the same numbers in several forms:

| file | for |
| --- | --- |
| `index.html` | reading: the page |
| `memo.LANGUAGE.md`, `memo.LANGUAGE.pdf` | a meeting: one sheet, in each of the `languages` |
| `summary.csv` | spreadsheets: a row for each cell, the columns below |
| `summary.parquet` | programs: the same rows, typed, with units |
| `speed.jsonl` | tools that read llama-bench: the speeds as `llama-bench -o jsonl` writes them |
| `summary.json` | all of it: rows with their lists, sections, predictions, the paper's points |
| `recommendation.json` | the decision and the money |

In the CSV file an apostrophe stands in front of a text that begins as a formula does (`=`, `+`,
`-`, `@`).
In the Parquet file each column's metadata has its `unit` and `description`; the file's own has the
study, its config, llmpi's version and the time under `llmpi`, as JSON.

```python
import pyarrow.parquet as pq

table = pq.read_table("results/report/demo/summary.parquet")
table.schema.field("tg_tps").metadata[b"unit"]  # b'tokens/s'
table.to_pandas()  # with pandas
```

llama.cpp's own `scripts/compare-llama-bench.py` compares speeds: `--tool llama-bench -i speed.jsonl
-b COMMIT -c COMMIT`, where its name for a build is the engine's commit.

## speed.jsonl

A line is a test: the prompt (`n_prompt`), the generation behind it (`n_gen`, at an `n_depth` of the
prompt's tokens), and the generation at each of the workload's `depths`. Fields, order and units are
those of llama-bench at the engine's commit. What llmpi does not set is as llama.cpp has it;
`build_number` is 0, as the engine does not tell it; `model_filename` is the path below the study's
folder. One key is added at the end, `llmpi`, with the ids of study, device, model, quantization,
runtime and workload; readers of llama-bench pass over it. Cells without speeds have no line,
nor has what was measured over HTTP. Two
things differ from llama-bench: each generated token is the most likely one behind the last (unless
the workload says `sampling: none`), and the warm-up goes on until it is steady.

## Columns

A row is a cell: a workload of a variant with a runtime on a device. A field is empty (null) where
there is no such value, and then a `reason` says why. `TASK` stands for the id of a quality task.
docs/methodology.md says how each number is obtained.
"""

SECTIONS = (
    ("The cell", CELL),
    ("Speed and memory", SPEED),
    ("Energy", ENERGY),
    ("The file", FILE),
    *(
        (f"Each `{name}` task", {f"TASK_{key}": c for key, c in kind.columns.items()})
        for name, kind in task_kinds().items()
    ),
    (
        "Each task that asks questions: what an answer takes",
        {f"TASK_{key}": column for key, column in ANSWERS.items()},
    ),
    ("Parity and gates", DEVICE),
    *(
        (
            f"Each `{name}` task, against the model's widest quantization",
            {f"TASK_{key}": c for key, c in kind.compared.items()},
        )
        for name, kind in task_kinds().items()
        if kind.compared
    ),
    ("Over HTTP", HTTP),
    ("Tuned settings", TUNED),
)


def reference() -> str:
    """The text of `docs/summary.md`."""
    parts = [INTRODUCTION]
    for title, found in SECTIONS:
        rows = [
            f"| `{name}` | {kind} | {unit} | {meaning} |"
            for name, (kind, unit, meaning) in found.items()
        ]
        parts.append("\n".join([f"### {title}\n", HEAD, *rows, ""]))
    return "\n".join(parts)


HEAD = "| column | type | unit | |\n| --- | --- | --- | --- |"


def main() -> None:
    path = Path("docs/summary.md")
    with whole_file(path) as partial:
        partial.write_text(reference(), encoding="utf-8")
    print(f"wrote {path}", file=sys.stderr)


if __name__ == "__main__":
    main()
