"""Records made up for tests: of an endpoint that was measured, and asked questions."""

from typing import Any

import made_records as made
from made_records import write
from small_results import CELL

from llmpi import layout
from llmpi.engine.records import Circumstances, Served, Session, SingleCell
from llmpi.quality.squad.evaluate import summarize
from llmpi.quality.squad.records import SquadAsked

ENDPOINT = {
    "url": "http://127.0.0.1:8080/v1",
    "serves": [{"model": "m", "quant": "F16", "name": "m-f16", "file": "m.gguf", "type": "f16"}],
}
RUNTIMES = {"default": {}, "server": {"endpoint": ENDPOINT}}


def served(**told: float) -> Served:
    silent = dict.fromkeys(("prompt_tokens", "cached_tokens", "output_tokens", "pp_tps", "tg_tps"))
    return {**silent, "pieces": 4, "connect_s": 0.001, **told}  # type: ignore[typeddict-item]


def cell_over_http(told: Served) -> SingleCell:
    """Twice as fast as the cell in process: pp 200 tokens/s, tg 20."""
    done = {**made.repetition(0.5, [0.05] * 3, first_s=0.0), "served": told}
    unknown = dict.fromkeys(made.memory())
    cell: Any = {**made.cell([done, done, done]), "memory": unknown, "marks": ["over HTTP"]}
    return cell


def circumstances() -> Circumstances:
    claimed = {"file": "m.gguf", "type": "f16", "template": None}
    how: Any = {
        **made.circumstances(),
        "settings": None,
        "load": None,
        "environment": {**made.environment(), "engine": None},
        "endpoint": {
            "url": ENDPOINT["url"],
            "api": "completions",
            "on_device": True,
            "model": "m-f16",
            "claimed": claimed,
            "server": "llama.cpp",
        },
    }
    return how


def session_over_http(cell: SingleCell) -> Session:
    found: Any = {**made.session({"chat": cell}, circumstances()), "bandwidth": None}
    return found


def write_endpoint(right: int = 4) -> None:
    """What was measured of it, and what it answered, for the study of `small_results`."""
    where = {**CELL, "runtime": "server"}
    write(layout.BENCH, session_over_http(cell_over_http(served())), **where)
    write(layout.ASKED, answers(right), **where, task="qa")


def answers(right: int) -> SquadAsked:
    """To the questions of the made-up study, so many of nine right."""
    items = [made.item(i, i // 3, float(i < right), answerable=i % 3 > 0) for i in range(9)]
    return {
        "status": "ok",
        "summary": {**summarize(items), "thresholds": None},
        "settings": {
            "max_new_tokens": 8,
            "examples": 4,
            "prompt": 1,
            "language": "en",
            "thinking_tokens": None,
        },
        "questions_sha256": "0" * 64,
        "endpoint": {**circumstances()["endpoint"], "thinking_told": True},
        "items": items,
    }
