"""Records of a study of one model on one device, with a cell that died and one that was not run."""

import made_records as made
from made_records import write

from llmpi import layout
from llmpi.engine.records import Session, SingleCell
from llmpi.gguf.records import Gguf
from llmpi.quality.evidence import Requirements
from llmpi.quality.squad.records import SquadScored
from llmpi.study.study import Study
from llmpi.summary.read import read_records
from llmpi.summary.records import Row, Summary
from llmpi.summary.study import summarize

EVIL = "<script>alert('reason')</script> & more"
CELL = {"study": "s", "device": "pi", "model": "m", "quant": "F16", "runtime": "default"}
"""The one that was measured, as the layout names it."""


def study(**more: object) -> Study:
    given = {
        "study": "s",
        "models": {"m": {"source": {"path": "m.gguf"}}},
        "quants": ["F16", "Q4_0", "Q2_K"],
        "devices": {"pi": {"transport": "local"}},
        "workloads": {"chat": {"prompt_tokens": 100, "output_tokens": 4, "repetitions": 3}},
        "quality": {"qa": {"task": "squad", "squad_file": "qa.json"}},
        "gates": [{"task": "qa", "metric": "f1", "at_least_pct": 40}],
        "languages": ["en"],
    }
    return Study.model_validate({**given, **more})


def summary(**more: object) -> tuple[Summary, Requirements]:
    """Of the records in the working directory, and what the decision rests on."""
    asked = study(**more)
    return summarize(asked, read_records(asked))


def rows(**more: object) -> list[Row]:
    return summary(**more)[0]["rows"]


def manifest(quant: str) -> Gguf:
    return made.gguf(quant, lineage=("Q4_1", "F16"), fallbacks=int(quant != "F16"))


def chat() -> SingleCell:
    """Three repetitions: pp 100, 50, 200 tokens/s; tg 10, 20, 5 tokens/s."""
    return made.cell(
        [
            made.repetition(1.0, [0.1] * 3),
            made.repetition(2.0, [0.05] * 3),
            made.repetition(0.5, [0.2] * 3),
        ],
        depths=[
            {
                "depth_tokens": 512,
                "repetitions": [made.repetition(1.0, [0.1] * 2), made.repetition(1.0, [0.3] * 2)],
            }
        ],
        sustained=[(5.0, 12.0), (6.0, 11.0), (7.0, 8.5)],
    )


def bench(cell: SingleCell | None = None) -> Session:
    """A session of one workload."""
    return made.session({"chat": cell or chat()})


def quality(f1_pct: float) -> SquadScored:
    """Nine questions, three of them without an answer; the score is put in by hand."""
    items = [made.item(i, i // 3, float(i < f1_pct / 10), answerable=i % 3 > 0) for i in range(9)]
    found = made.squad(items)
    for score in found["summary"]["metrics"].values():
        score.update({"pct": f1_pct, "low_pct": f1_pct - 5, "high_pct": f1_pct + 5})
    return {**found, "summary": {**found["summary"], "thresholds": None}}


def write_results() -> None:
    """F16 measured and scored; Q4_0's benchmark died and it misses the gate; Q2_K is not run."""
    write(layout.MODEL_MANIFEST, made.model(f"/models/{EVIL}"), model="m")
    write(layout.QUESTIONS, made.questions(), study="s", task="qa")
    for quant, measured, f1_pct in (("F16", bench(), 50.0), ("Q4_0", made.failed(EVIL), 30.0)):
        cell = {**CELL, "quant": quant}
        write(layout.GGUF_MANIFEST, manifest(quant), **cell)
        write(layout.BENCH, measured, **cell)
        write(layout.QUALITY, quality(f1_pct), task="qa", **cell)
