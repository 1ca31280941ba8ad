"""The rows of a summary as a flat table has them, and as CSV."""

import csv
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from llmpi.engine.shown import visible
from llmpi.quality.kind import TaskKind, objection_text
from llmpi.quality.kind import flat as flat_quality
from llmpi.records import whole_file
from llmpi.study.study import Study
from llmpi.summary.columns import (
    ANSWERS,
    CELL,
    DEVICE,
    ENERGY,
    FILE,
    HTTP,
    SPEED,
    TUNED,
    kinds_of,
)
from llmpi.summary.records import Row

FIRST = (*CELL, *SPEED, *ENERGY, *FILE)
LAST = (*HTTP, *TUNED)
"""What stands before and behind the scores, as `columns` has it."""

FlatRow = dict[str, object]
"""A text, a number or None by the name of each column; it is written, and never read here."""


def flat_rows(study: Study, rows: Sequence[Row]) -> list[FlatRow]:
    """Rows as a flat table has them: lists as text, quality in columns of its own."""
    kinds, answering = kinds_of(study), study.answering
    return [_flat(kinds, answering, row) for row in rows]


def write_csv(path: Path, flat: Sequence[FlatRow]) -> None:
    """Write the rows atomically; an empty field means that there is no such value, an apostrophe
    that a text begins as a spreadsheet's formula would."""
    with whole_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(flat[0])
        shown = cache(_shown)  # most texts stand in many rows
        for row in flat:
            writer.writerow([shown(v) if isinstance(v, str) else v for v in row.values()])


def _shown(value: str) -> str:
    text = visible(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t")) else text


def _flat(kinds: Mapping[str, TaskKind], answering: Sequence[str], row: Row) -> FlatRow:
    of_row: FlatRow = {**row, **_texts(row)}
    scored: FlatRow = {}
    compared: FlatRow = {}
    answers: FlatRow = {}
    for task, kind in kinds.items():
        scored |= flat_quality(task, kind.columns, row["quality"][task])
        compared |= flat_quality(task, kind.compared, row["quality"][task])
    for task in answering:
        cost: Mapping[str, object] = row["answers"].get(task, {})  # by any name
        answers |= {f"{task}_{name}": cost.get(name) for name in ANSWERS}
    first = {name: of_row[name] for name in FIRST}
    device = {name: of_row[name] for name in DEVICE}
    last = {name: of_row[name] for name in LAST}
    return {**first, **scored, **answers, **device, **compared, **last}


def _texts(row: Row) -> dict[str, str | None]:
    """The lists; None where nothing was measured."""
    depths = [f"{depth['depth_tokens']}: {depth['tps']:.1f}" for depth in row["tg_at_depths_tps"]]
    ends = [f"{tps:.1f}" for tps in row["sustained_first_last_tps"]]
    objections = [objection_text(objection) for objection in row["gates_failed"]]
    parity = [f"parity: {row['parity_reason']}"] if row["parity_reason"] else []
    measured = row["status"] == "ok"
    return {
        "tg_at_depths_tps": "; ".join(depths) if measured else None,
        "sustained_first_last_tps": "; ".join(ends) if measured else None,
        "marks": "; ".join(row["marks"]) if measured else None,
        "lineage": " > ".join(row["lineage"]) or None,
        "gates_failed": "; ".join([*parity, *objections]),
    }
