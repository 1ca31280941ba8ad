"""A study of two boards with everything: its records written, its summary made by the real code.

What a device would have answered is made up; files, comparisons and the summary are not.
"""

import random
from collections.abc import Sequence
from functools import cache
from statistics import fmean

import made_records as made
from made_questions import questions_of
from made_records import write

from llmpi import layout
from llmpi.engine.records import Cell, MeteredEnergy, Repetition, Session
from llmpi.gguf.records import Gguf
from llmpi.plan.model_facts import model_of
from llmpi.quality.evidence import Requirements
from llmpi.quality.squad.records import SquadScored
from llmpi.quant_types import type_of
from llmpi.study.measuring import Workload
from llmpi.study.runs import Session as SessionId
from llmpi.study.runs import Variant, sessions, variants
from llmpi.study.study import Study
from llmpi.summary.read import read_records
from llmpi.summary.records import Summary
from llmpi.summary.study import summarize

LLAMA = "meta-llama/Llama-3.2-1B-Instruct"
QUANTS = ["F16", "Q8_0", "Q6_K", "Q4_0", "Q2_K"]
TG_TPS = {"F16": 3.6, "Q8_0": 7.2, "Q6_K": 8.9, "Q4_K_M": 10.7, "Q4_0": 12.4, "Q2_K": 14.1}
"""Of the NVMe board."""
KNOWS = {"F16": 0.80, "Q8_0": 0.80, "Q6_K": 0.795, "Q4_K_M": 0.79, "Q4_0": 0.785, "Q2_K": 0.01}
"""Share of the questions with an answer that a variant gets right."""
ABSTAINS = 0.6
"""Share of the others on which every variant abstains, as it should."""
QUESTIONS = 1500
"""Enough to show that Q4_0 loses less than five points; 400 are not."""
IDLE_W, BUSY_W = 3.2, 6.4


def study(**more: object) -> Study:
    ssh = {"transport": "ssh", "preset": "pi5-8gb", "meter": {"kind": "pmic"}, "idle_s": 15}
    given = {
        "study": "made",
        "models": {"llama-1b": {"source": {"hub": LLAMA}}},
        "quants": QUANTS,
        "devices": {"nvme": {**ssh, "host": "nvme.local"}, "sd": {**ssh, "host": "sd.local"}},
        "workloads": {
            "chat": {
                "prompt_tokens": 32,
                "output_tokens": 50,
                "repetitions": 5,
                "context_tokens": 4096,
            }
        },
        "quality": {"qa": {"task": "squad", "squad_file": "qa.json"}},
    }
    return Study.model_validate({**given, **more})


def summarized(asked: Study) -> tuple[Summary, Requirements]:
    """Of the records in the working directory."""
    return summarize(asked, read_records(asked))


def write_records(asked: Study, *, metered: bool = True, questions: int = QUESTIONS) -> None:
    """The records of a finished study, below the working directory.

    The board `sd` generates 4 % slower, loads slowly, and the engine died on it of F16.
    """
    for variant in variants(asked):
        write(layout.GGUF_MANIFEST, _manifest(asked, variant), **variant._asdict())
        for task in asked.quality:
            where = {"study": asked.study, "task": task, **variant._asdict()}
            write(layout.QUALITY, _quality(variant.quant, questions), **where)
    for task in asked.quality:
        drawn = questions_of(_quality(asked.quants[0], questions)["items"])
        write(layout.QUESTIONS, drawn, study=asked.study, task=task)
    for session in sessions(asked):
        where = {"study": asked.study, **session._asdict()}
        died = (session.device, session.quant) == ("sd", "F16")
        bench = made.failed("the engine died") if died else _bench(asked, session, metered)
        write(layout.BENCH, bench, **where)
        write(layout.PARITY, made.parity(None, 97.0, 0.004), **where)
    for device in asked.devices:
        write(layout.PROVISIONED, made.provisioned(device), device=device)
    for model in asked.models:
        write(layout.MODEL_MANIFEST, made.model(f"{model}.gguf"), model=model)


def _manifest(asked: Study, variant: Variant) -> Gguf:
    found = model_of(asked, variant.model, ask_hub=False).sizes(variant.quant)
    manifest = made.gguf(
        variant.quant,
        size_bytes=found.file_bytes,
        parameters=found.parameters,
        bits_per_weight=found.bits_per_weight,
        lineage=("BF16", "F16"),
    )
    return {**manifest, "read_per_token_bytes": found.read_per_token_bytes}


@cache
def _quality(quant: str, questions: int) -> SquadScored:
    draw = random.Random(0)  # the same questions are hard for every variant
    items = []
    for i in range(questions):
        answerable, luck = i % 2 == 0, draw.random()
        right = float(luck < (KNOWS[type_of(quant)] if answerable else ABSTAINS))
        item = made.item(i, i // 5, right, answerable=answerable)
        items.append({**item, "no_answer": -luck})
    return made.squad(items)


def _bench(asked: Study, session: SessionId, metered: bool) -> Session:
    tg_tps = TG_TPS[type_of(session.quant)] * (0.96 if session.device == "sd" else 1.0)
    storage = 0.045e9 if session.device == "sd" else 0.43e9
    weights = model_of(asked, session.model, ask_hub=False).sizes(session.quant).file_bytes
    cells: dict[str, Cell] = {}
    for name in asked.single_workloads:
        workload = asked.workloads[name]
        repetitions = []
        for i in range(workload.repetitions):
            slower = 1 + 0.01 * i
            pp_s = workload.prompt_tokens / (5 * tg_tps) * slower
            itl_s = [slower / tg_tps] * workload.output_tokens
            repetitions.append(made.repetition(pp_s, itl_s, first_s=0.001))
        told = made.workload(workload.prompt_tokens, workload.output_tokens, workload.repetitions)
        energy = _energy(repetitions, workload) if metered else None
        cell = made.cell(repetitions, told, energy=energy, peak_rss_bytes=weights + 150_000_000)
        cells[name] = {**cell, "context_tokens": 4096}
    for name in asked.answer_workloads:
        done = [made.answered_question(i, (30 + i) / tg_tps) for i in range(3)]
        cells[name] = made.answers_cell(done)
    how = made.circumstances(threads=4, cold_s=weights / storage, warm_s=0.4)
    return made.session(
        cells,
        how,
        memory_read_bytes_per_s=14.6e9,
        storage_read_bytes_per_s=storage,
        heat=[(0.0, 51.0), (1.0, 63.5)],
    )


def _energy(repetitions: Sequence[Repetition], workload: Workload) -> MeteredEnergy:
    """At `BUSY_W` throughout, by a meter of 2 %."""
    tg_s = fmean(sum(r["itl_s"]) for r in repetitions) / workload.output_tokens
    pp_s = fmean(r["pp_s"] for r in repetitions) / workload.prompt_tokens
    return made.metered(
        BUSY_W,
        BUSY_W * tg_s,
        idle_power_w=IDLE_W,
        uncertainty=0.021 * BUSY_W * tg_s,
        pp_j_per_token=BUSY_W * pp_s,
        tier="pmic",
    )
