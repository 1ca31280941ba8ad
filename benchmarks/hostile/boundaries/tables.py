"""Tables of question and answer pairs, as people and spreadsheets save them; their documents."""

import csv
import io
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks.hostile import spoiled
from llmpi.engine.shown import UNSEEN
from llmpi.start.own_task import make

TABLES = (
    [["question", "answer", "answer 2"], *([f"Who is {i}?", f"Ada {i}", "I"] for i in range(4))],
    [["tags", "question", "answer"], *(["t", f"Is {i}?", f"-{i}.5"] for i in range(4))],
    [["question", "answer", "passage"], *([f"Who is {i}?", "Ada", "Ada is."] for i in range(4))],
    [["question", "answer", "document"], *([f"Who is {i}?", "", "a.txt"] for i in range(4))],
)


class Given(NamedTuple):
    table: bytes
    document: bytes
    with_documents: bool


def inputs(draw: random.Random) -> Iterator[Given]:
    while True:
        rows = [list(row) for row in draw.choice(TABLES)]
        for _ in range(draw.randrange(3)):
            row = draw.choice(rows)
            row[draw.randrange(len(row))] = spoiled.text(draw)
        out = io.StringIO()
        csv.writer(out, delimiter=draw.choice(",;\t|")).writerows(rows)
        encoding = draw.choice(("utf-8", "utf-8-sig", "utf-16", "cp1252"))
        table = out.getvalue().encode(encoding, "replace")
        if draw.random() < 0.3:
            table = spoiled.bytes_(draw, table)
        document = f"Ada was there.\n\n{spoiled.text(draw)}".encode("utf-8", "surrogatepass")
        yield Given(table, document, draw.random() < 0.5)


@contextmanager
def receiver(folder: Path) -> Iterator[Callable[[Given], None]]:
    def receive(given: Given) -> None:
        (folder / "documents").mkdir(exist_ok=True)
        (folder / "documents/a.txt").write_bytes(given.document)
        (folder / "pairs.csv").write_bytes(given.table)
        out = folder / "own.json"
        out.unlink(missing_ok=True)
        documents = folder / "documents" if given.with_documents else None
        own = make(folder / "pairs.csv", out, documents=documents, examples=0)
        assert own.asked and not UNSEEN.search(out.read_text(encoding="utf-8"))

    yield receive
