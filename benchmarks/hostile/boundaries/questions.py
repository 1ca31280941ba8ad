"""Questions of others: files in SQuAD's format, rows of data sets of the hub."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.hostile import spoiled
from llmpi.quality.squad.questions import from_rows, prepare
from llmpi.records import write_json
from llmpi.study.tasks.squad import SquadTask

ASKED = [
    {"id": "1", "question": "What?", "is_impossible": False, "answers": [{"text": "it"}]},
    {"id": "2", "question": "Who?", "is_impossible": True, "answers": []},
]
FILE = {"version": "v2.0", "data": [{"title": "t", "paragraphs": [{"context": "c", "qas": ASKED}]}]}
ROWS = [
    {"id": str(i), "context": f"c{i // 2}", "question": "What?", "answers": {"text": ["it"]}}
    for i in range(4)
]


def inputs(draw: random.Random) -> Iterator[bytes | list[Any]]:
    while True:
        yield spoiled.dumped(draw, spoiled.data(draw, FILE))
        rows = spoiled.data(draw, ROWS)
        yield rows if isinstance(rows, list) else [rows]


@contextmanager
def receiver(folder: Path) -> Iterator[Callable[[bytes | list[Any]], None]]:
    def receive(given: bytes | list[Any]) -> None:
        if isinstance(given, list):
            assert from_rows(given, "acme/qa")
            return
        path = folder / "qa.json"
        path.write_bytes(given)
        task = SquadTask(task="squad", squad_file=str(path))
        write_json(folder / "questions.json", prepare(task, folder / "lock"))

    yield receive
