"""Texts of others in what llmpi writes: no formula, no markup, nothing that a terminal obeys."""

import csv
import json
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path

from benchmarks.hostile import spoiled
from llmpi.engine.shown import UNSEEN, shown
from llmpi.quality.ab.blind_sheet import write_sheet
from llmpi.quality.ab.prompts import Prompt
from llmpi.quality.records import Answer
from llmpi.records import write_json
from llmpi.report.memo.text import _escaped
from llmpi.summary.flat import _shown


class Tags(HTMLParser):
    """How many elements of a kind a page has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.scripts = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script" or any(name.startswith("on") for name, _ in attrs)


def inputs(draw: random.Random) -> Iterator[str]:
    while True:
        yield draw.choice(("", "http://me:secret@", "=", "a ")) + spoiled.text(draw)


@contextmanager
def receiver(folder: Path) -> Iterator[Callable[[str], None]]:
    plain = _sheet(folder, "x")

    def receive(text: str) -> None:
        assert not UNSEEN.search(shown(text)) and "//me:secret@" not in shown(text)
        with (folder / "x.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerow([_shown(text), -3.2])
        with (folder / "x.csv").open(newline="", encoding="utf-8") as file:
            [[cell, number]] = csv.reader(file)
        assert not cell.startswith(("=", "+", "-", "@", "\t", "\r")) and number == "-3.2"
        write_json(folder / "x.json", {"text": text})
        kept = (folder / "x.json").read_text(encoding="utf-8")
        assert not UNSEEN.search(kept) and json.loads(kept) == {"text": text}
        assert not UNSEEN.search(str(_escaped(text)))
        if text.strip() and not any("\ud800" <= letter <= "\udfff" for letter in text):
            assert _sheet(folder, text).scripts == plain.scripts

    yield receive


def _sheet(folder: Path, text: str) -> Tags:
    answers: list[Answer] = [
        {
            "text": said,
            "thought": None,
            "prompt_tokens": 1,
            "new_tokens": 1,
            "thought_tokens": 0,
            "stopped": True,
            "error": None,
            "log_likelihood": None,
        }
        for said in (text, f"{text}.")
    ]
    path = folder / "sheet.html"
    write_sheet(path, ("a", "b"), [Prompt(id=text, prompt=text)], answers[:1], answers[1:], 0)
    return Tags(path.read_text(encoding="utf-8"))
