"""Files of prompts with what is expected of an answer, and files that judges saved."""

import contextlib
import json
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks.hostile import spoiled
from llmpi.engine.shown import UNSEEN
from llmpi.errors import LlmpiError
from llmpi.quality.ab.blind_sheet import NAME_CHARACTERS, read_judgements
from llmpi.quality.ab.prompts import load_prompts
from llmpi.quality.ab.records import Key
from llmpi.records import write_json

PROMPT = {
    "id": "a",
    "tags": ["t"],
    "system": "Be brief.",
    "messages": [{"role": "user", "content": "Hi"}],
    "expect": {
        "reference": ["x"],
        "contains": "y",
        "regex": "(a+)+$",
        "json_schema": {"type": "object", "properties": {"a": {"$ref": "#/$defs/a"}},
                        "$defs": {"a": {"type": "string"}}},
        "max_words": 5,
    },
}  # fmt: skip
KEY: Key = {
    "sheet": "f" * 64,
    "a": "m F16",
    "b": "m Q4_0",
    "prompts": {f"p{i}": {"left": "a", "tags": ["t"]} for i in range(5)},
}
SAVED = {
    "sheet": "f" * 64,
    "judge": "Ada",
    "judgements": [{"id": "p0", "verdict": "left"}, {"id": "p1", "verdict": "tie"}],
}


class Given(NamedTuple):
    prompts: bytes
    saved: bytes


def inputs(draw: random.Random) -> Iterator[Given]:
    while True:
        lines = [spoiled.dumped(draw, spoiled.data(draw, PROMPT)), json.dumps(PROMPT).encode()]
        draw.shuffle(lines)
        yield Given(b"\n".join(lines), spoiled.dumped(draw, spoiled.data(draw, SAVED)))


@contextmanager
def receiver(folder: Path) -> Iterator[Callable[[Given], None]]:
    def receive(given: Given) -> None:
        for name, content in given._asdict().items():
            (folder / name).write_bytes(content)
        with contextlib.suppress(LlmpiError):
            load_prompts(folder / "prompts")
        judged = read_judgements(folder / "saved", KEY)
        name = judged["judge"] or ""
        assert len(name) <= NAME_CHARACTERS and not UNSEEN.search(name)
        write_json(folder / "judged.json", judged)

    yield receive
