"""The raw records of a study of the demo's kind, by chance in place of an engine, and its page."""

from collections.abc import Sequence
from pathlib import Path

import made_records as made
import numpy as np
from made_questions import questions_of
from made_records import write

from llmpi import layout
from llmpi.decide.choice import recommend
from llmpi.engine.records import Session
from llmpi.gguf.records import Gguf
from llmpi.quality.divergence.records import DivergenceScored
from llmpi.quality.divergence.summaries import summarize as summarize_windows
from llmpi.quality.squad.metric import Question, score
from llmpi.quality.squad.records import Item
from llmpi.records import write_json
from llmpi.report.page.write import write_page
from llmpi.study.decision import Constraints
from llmpi.study.study import Study
from llmpi.summary.read import read_records
from llmpi.summary.study import summarize

WIDTHS = {"F16": 16.0, "Q8_0": 8.5, "Q6_K": 6.6, "Q4_0": 4.5, "Q2_K": 3.2}
PER_PASSAGE, WINDOWS, POSITIONS = 5, 12, 31
GOLD = "the north pump house"
SAID = ("north pump house", "the pump", "in the north", "boiler 3", "unanswerable")
"""From what is right to what abstains."""


def study(passages: int) -> Study:
    return Study.model_validate(
        {
            "study": "demo",
            "models": {"m-135m": {"source": {"path": "m.gguf"}}},
            "quants": [*WIDTHS],
            "devices": {"here": {"transport": "local"}},
            "workloads": {"chat": {"prompt_tokens": 128, "output_tokens": 16, "repetitions": 5}},
            "quality": {
                "field": {
                    "task": "squad",
                    "squad_file": "qa.json",
                    "questions": PER_PASSAGE * passages,
                },
                "topics": {"task": "divergence", "python_topics": True, "window_tokens": 64},
            },
            "languages": ["en", "ja"],
        }
    )


def write_demo(seed: int, *, passages: int, losses: Sequence[float]) -> None:
    """All of it, below the working directory.

    Args:
        losses: of each width, by how much rarer it is right than the widest.
    """
    asked, rng = study(passages), np.random.default_rng(seed)
    write(layout.MODEL_MANIFEST, made.model(), model="m-135m")
    write(layout.PROVISIONED, made.provisioned("here"), device="here")
    luck = rng.random(PER_PASSAGE * passages)
    hard = rng.gamma(9, 0.3, (WINDOWS, POSITIONS))
    for (quant, bits), lost in zip(WIDTHS.items(), losses, strict=True):
        where = {"study": "demo", "device": "here", "model": "m-135m", "quant": quant}
        items = [_item(at, one, 0.6 - lost, rng) for at, one in enumerate(luck)]
        write(layout.QUESTIONS, questions_of(items), study="demo", task="field")
        write(layout.GGUF_MANIFEST, _gguf(quant, bits), **where)
        write(layout.BENCH, _bench(bits, rng), runtime="default", **where)
        write(layout.QUALITY, made.squad(items), task="field", **where)
        write(layout.QUALITY, _divergence(hard, lost, rng), task="topics", **where)
    _report(asked)


def _report(asked: Study) -> None:
    summary, requirements = summarize(asked, read_records(asked))
    choice = {**recommend(summary, requirements, Constraints()), "money": None}
    folder = Path("results/report/demo")
    write_json(folder / "summary.json", summary)
    write_page(summary, choice, folder / "index.html")


def _item(at: int, luck: float, rate: float, rng: np.random.Generator) -> Item:
    """Half right where it is unlucky; two of five questions have no answer."""
    answerable = at % PER_PASSAGE > 1
    kind = 0 if luck < rate else int(rng.integers(1, len(SAID)))
    answer = SAID[kind if answerable else -1 - kind]
    predicted = "" if answer == SAID[-1] else answer
    golds = (GOLD,) if answerable else ()
    exact, f1 = score(Question(str(at), "?", golds), predicted)
    made_up = made.item(at, at // PER_PASSAGE, f1, answerable=answerable)
    return {
        **made_up,
        "golds": [*golds],
        "answer": answer,
        "prediction": predicted,
        "normalized": predicted,
        "exact": exact,
        "f1": f1,
        "stopped": bool(rng.random() > 0.05),
        "no_answer": float(rng.normal(-2 if answerable else -1)),
    }


def _gguf(quant: str, bits: float) -> Gguf:
    size = int(134_515_008 * bits / 8)
    found = made.gguf(
        quant,
        size_bytes=size,
        parameters=134_515_008,
        lineage=("Q4_1", "F16"),
        fallbacks=7 * (quant in ("Q6_K", "Q2_K")),
    )
    bits = 8 * size / 134_515_008
    return {**found, "bits_per_weight": bits, "bytes": size + 1_700_000}


def _bench(bits: float, rng: np.random.Generator) -> Session:
    def repetition() -> made.Repetition:
        each = 0.004 * bits**0.5 * rng.gamma(400, 1 / 400, 16)
        return made.repetition(float(rng.gamma(90, 0.001)), each.tolist())

    cell = made.cell(
        [repetition() for _ in range(5)],
        made.workload(128, 16, 5),
        peak_rss_bytes=int(150e6 + 14e6 * bits),
    )
    return made.session({"chat": cell}, memory_read_bytes_per_s=float(rng.uniform(3e10, 6e10)))


def _divergence(hard: np.ndarray, lost: float, rng: np.random.Generator) -> DivergenceScored:
    rounded = lost / 2 + 1e-3  # nats; even what loses nothing computes otherwise
    reference, kld = hard, np.abs(rng.normal(rounded, rounded / 4, hard.shape))
    nll = reference + lost / 2 * hard * rng.gamma(4, 0.25, hard.shape)
    same = (rng.random(hard.shape) > lost).astype(float)
    values = np.array([[float(f"{one:.9g}") for one in of.flat] for of in (nll, reference, kld)])
    values = np.stack([*values.reshape(3, *hard.shape), same])
    sums = values.sum(axis=2).T.tolist()
    names = ("nll", "reference_nll", "kld", "same_top1")
    return {
        **made.divergence(summarize_windows(values)),
        "window_tokens": 64,
        "chunks": WINDOWS,
        "available_chunks": WINDOWS,
        "wanted_chunks": WINDOWS,
        "positions_per_chunk": POSITIONS,
        "chunk_sums": [dict(zip(names, chunk, strict=True)) for chunk in sums],
        "positions": dict(zip(names, values.tolist()[:3], strict=False)),
    }
