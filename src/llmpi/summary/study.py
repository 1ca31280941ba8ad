"""Bring a study's records together: a row per device, model, quantization, runtime, workload."""

import importlib.metadata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from typing_extensions import TypeIs

from llmpi import __version__
from llmpi.engine.records import Failed
from llmpi.errors import LlmpiError
from llmpi.gguf.published import type_in
from llmpi.gguf.records import Gguf
from llmpi.models.records import ModelRecord
from llmpi.quality import kind
from llmpi.quality.answers import Answered
from llmpi.quality.evidence import Requirement, Requirements
from llmpi.quality.kind import Objection, OverHttp, Section
from llmpi.quality.kinds import task_kinds
from llmpi.quality.records import Drawn
from llmpi.records import now
from llmpi.results import NotRun
from llmpi.study.fields import RESULTS
from llmpi.study.runs import Run, Scored, Session, Variant, asked_over_http, expand_runs
from llmpi.study.study import Study
from llmpi.summary.bandwidth import MemoryRates, memory_rates
from llmpi.summary.by_engine import by_engine
from llmpi.summary.caches import caches
from llmpi.summary.computed import computed
from llmpi.summary.concurrency import concurrency
from llmpi.summary.conditions import how_measured
from llmpi.summary.conversations import conversations
from llmpi.summary.curves import curve
from llmpi.summary.groups import spreads, unlike
from llmpi.summary.measured import Single, single
from llmpi.summary.on_device import on_device
from llmpi.summary.over_http import over_http
from llmpi.summary.paper import beside_the_paper
from llmpi.summary.predictions import Planner, boards, planned, predictions
from llmpi.summary.read import Records
from llmpi.summary.records import Fallbacks, FileFacts, ModelFacts, Row, Summary
from llmpi.summary.row import row, tensors_of
from llmpi.summary.samples import samples
from llmpi.summary.speculation import speculation
from llmpi.summary.tuned import output_agreement_pct, tuned


def summarize(
    study: Study, records: Records, planner: Planner = planned
) -> tuple[Summary, Requirements]:
    """The whole study in one record, and what its decision on quality rests on in another.

    Args:
        planner: says what was to be expected of each cell.

    Raises:
        LlmpiError: nothing of one conversation is in the sweep.
    """
    runs = [run for run in expand_runs(study) if run.workload in study.single_workloads]
    if not runs:
        raise LlmpiError("exclude: it leaves no cell of a workload of the kind single")
    cells = {run: single(records.sessions[run.session], run.workload) for run in runs}
    quality, rates = _quality(study), memory_rates(records.sessions)
    by_run = {run: _row(study, run, cells, records, quality, rates) for run in runs}
    rows = list(by_run.values())
    own = {run: row for run, row in by_run.items() if not study.runtimes[run.runtime].endpoint}
    well = [(run, cell) for run, cell in cells.items() if isinstance(cell, Single)]
    curves = (curve(run, cell) for run, cell in well)
    summary: Summary = {
        "study": study.study,
        "rows": rows,
        "groups": spreads(rows, study.classes),
        "unlike": unlike(records.machines, study.classes),
        "concurrency": concurrency(study, records.sessions, rows),
        "conversations": conversations(study, records.sessions),
        "samples": samples(study, records.sessions, by_run, quality.answers),
        "speculation": speculation(study, records.sessions, by_run),
        "over_http": over_http(study, records.sessions, by_run, quality.over_http),
        "files": [_file(variant, found) for variant, found in records.files.items()],
        "fallbacks": [
            _fallbacks(variant, found)
            for variant, found in records.files.items()
            if found["status"] == "ok" and found["fallbacks"]
        ],
        "models": {model: _model(found) for model, found in records.models.items()},
        "questions": quality.questions,
        "sections": quality.sections,
        "curves": [found for found in curves if found],
        "measured": [how_measured(run, cell) for run, cell in well],
        "machines": dict(records.machines),
        "predictions": predictions(own, planner(study, [*own], boards(study, records.sessions))),
        "paper": beside_the_paper(study, list(own.values()), records.machines),
        "tuned": tuned(study, records.searches),
        "engines": by_engine(records.comparisons),
        "gates": [
            {"task": gate.task, "metric": gate.metric, "at_least_pct": gate.at_least_pct}
            for gate in study.gates
        ],
        "provenance": {
            "llmpi": __version__,
            "snakemake": importlib.metadata.version("snakemake"),
            "summarized": now(),
            "config": study.model_dump(mode="json", context=RESULTS),
        },
    }
    return summary, {"study": study.study, "requirements": quality.requirements}


# --- quality --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Quality:
    """What all kinds of quality tasks say."""

    rows: Mapping[str, Mapping[Scored, kind.Row]]
    """By task, in the config's order."""
    answers: Mapping[str, Mapping[Scored, Answered]]
    objections: Mapping[Scored, list[Objection]]
    sections: list[Section]
    requirements: list[Requirement]
    questions: dict[str, Drawn | Failed | NotRun]
    """By task, in the config's order."""
    over_http: Mapping[Session, Mapping[str, OverHttp]]
    """Of the sessions with an endpoint, by task, where it is asked."""


def _quality(study: Study) -> Quality:
    tasks: dict[str, list[str]] = {}
    for task, asked in study.quality.items():
        tasks.setdefault(asked.task, []).append(task)
    told = [known.summarize(study, tasks.get(name, [])) for name, known in task_kinds().items()]
    rows = {task: found for one in told for task, found in one.rows.items()}
    drawn = {task: found for one in told for task, found in one.questions.items()}
    objections: dict[Scored, list[Objection]] = {}
    for one in told:
        for scored, raised in one.objections.items():
            objections.setdefault(scored, []).extend(raised)
    ordered = {task: rows[task] for task in study.quality}
    sections = [section for one in told for section in one.sections]
    return Quality(
        rows=ordered,
        answers={task: found for one in told for task, found in one.answers.items()},
        objections=objections,
        sections=[*sections, *caches(study, ordered)],
        requirements=[found for one in told for found in one.requirements],
        questions={task: drawn[task] for task in study.quality if task in drawn},
        over_http=_over_http(study),
    )


def _over_http(study: Study) -> dict[Session, dict[str, OverHttp]]:
    found: dict[Session, dict[str, OverHttp]] = {}
    for session, task in asked_over_http(study):
        read = task_kinds()[study.quality[task].task].over_http
        assert read, task
        found.setdefault(session, {})[task] = read(study, task, session)
    return found


# --- rows and facts -------------------------------------------------------------------------------


def _row(
    study: Study,
    run: Run,
    cells: Mapping[Run, Single | Failed | NotRun],
    records: Records,
    quality: Quality,
    rates: MemoryRates,
) -> Row:
    own = computed(
        study,
        run,
        cells,
        records.searches,
        quality.rows,
        quality.answers,
        quality.objections,
        quality.over_http.get(run.session, {}),
    )
    return row(
        study,
        run,
        cells[run],
        records.files[run.variant],
        own,
        on_device(study, run.session, records, own.objections),
        output_agreement_pct(records.searches, run.session),
        rates.get(run.session),
    )


def _file(variant: Variant, found: Gguf | Failed | NotRun) -> FileFacts:
    known = found if found["status"] == "ok" else None
    return {
        "model": variant.model,
        "quant": variant.quant,
        "types": known and type_in(known),
        "lattice_tensors": known and known["lattice_tensors"],
        "bytes": known and known["bytes"],
        "sha256": known and known["sha256"],
    }


def _fallbacks(variant: Variant, found: Gguf) -> Fallbacks:
    changes = Counter(f"{item['wanted']} > {item['got']}" for item in found["fallbacks"])
    return {
        "model": variant.model,
        "quant": variant.quant,
        "count": len(found["fallbacks"]),
        "tensors": tensors_of(found),
        "changes": dict(changes),
    }


def _model(found: ModelRecord | Failed | NotRun) -> ModelFacts:
    known = found if _is_fetched(found) else None
    return {
        "status": found["status"],
        "reason": None if found["status"] == "ok" else found["reason"],
        "origin": known and known["origin"],
        "checkpoint": known and known["checkpoint"],
        "licence": known and known["licence"],
        "format": known and known["format"],
        "files": known and known["files"],
        "fetched": known and known["fetched"],
    }


def _is_fetched(found: ModelRecord | Failed | NotRun) -> TypeIs[ModelRecord]:
    """Also one that is no sound file was fetched."""
    return "origin" in found
