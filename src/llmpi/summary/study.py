"""Bring a study's records together: a row per device, model, quantization, runtime, workload."""

import csv
import importlib.metadata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llmpi import __version__, layout
from llmpi.errors import LlmpiError
from llmpi.quality.kind import Summary, TaskKind, flat, records_of
from llmpi.quality.kinds import task_kinds
from llmpi.quality.records import Skipped
from llmpi.quality.squad.comparisons import comparisons
from llmpi.quality.squad.records import SquadScored
from llmpi.quant_types import QAT, type_of
from llmpi.records import Record, is_ok, now, read_json, whole_file
from llmpi.study.runs import (
    Run,
    Variant,
    by_width,
    expand_runs,
    pairs_of,
    sessions,
    stands_for,
    variants,
)
from llmpi.study.study import Study
from llmpi.study.tasks.ab import AbTask
from llmpi.study.tasks.divergence import DivergenceTask
from llmpi.study.tasks.lm_eval import LmEvalTask
from llmpi.study.tasks.squad import SquadTask
from llmpi.summary.concurrency import concurrency
from llmpi.summary.curves import curve
from llmpi.summary.groups import by_class, spreads, unlike
from llmpi.summary.paper import beside_the_paper
from llmpi.summary.predictions import predictions, profile
from llmpi.summary.prompt_lookup import prompt_lookup
from llmpi.summary.row import Row, row
from llmpi.summary.tuned import output_agreement_pct, tuned

NOT_RUN: Record = {"status": "not run", "stage": None, "reason": "no record; it was not run yet"}


def summarize(spec: dict[str, Any]) -> Record:
    """The whole study in one record.

    Args:
        spec: the study's config, as `Study` dumps it.

    Returns:
        `rows` of the cells of one conversation (see `row`); `classes`, those with a group's boards
        as one; `groups` and `unlike`, how its boards differ (see `llmpi.summary.groups`);
        `concurrency` of conversations side by side and `prompt_lookup` (see the modules of
        `llmpi.report`); the GGUF `files` with their hashes, `questions` and `models` by id,
        `comparisons` of each variant with its reference, the outcome of the `descent` by model,
        the `curves` of sustained phases (see `llmpi.summary.curves`), `machines` by device,
        `predictions` (see `llmpi.summary.predictions`), `paper` (see `llmpi.summary.paper`), the
        settings that were `tuned` (see `llmpi.summary.tuned`), `provenance`.
        Cells without a record are there with status `not run`.

    Raises:
        LlmpiError: nothing of one conversation is in the sweep.
    """
    study = Study.model_validate(spec)
    manifests = {v: _read(layout.GGUF_MANIFEST, **v._asdict()) for v in variants(study)}
    scores = {v: _scores(study, v) for v in manifests}
    order = {model: by_width(study, model) for model in study.models}
    tasks = [task for task, asked in study.quality.items() if isinstance(asked, SquadTask)]
    kinds = {name: _of_kind(study, kind) for name, kind in task_kinds().items()}
    machines = {d: _read(layout.PROVISIONED, device=d) for d in study.devices}
    records = {s: _read(layout.BENCH, study=study.study, **s._asdict()) for s in sessions(study)}
    searches = tuned(study)
    rows, curves = [], []
    for run in (r for r in expand_runs(study) if r.workload in study.single_workloads):
        session = records[run.session]
        bench = {**session, **session.get("workloads", {}).get(run.workload, {})}
        parity = _parity(study, run, machines)
        told, compared = _told(study, run.variant, kinds)
        objections = [
            why for kind in kinds.values() for why in kind.objections.get(run.variant, ())
        ]
        cell = row(study, run, bench, manifests[run.variant], told, parity, objections)
        agreement = {"output_agreement_pct": output_agreement_pct(searches, run.session)}
        rows.append({**cell, **compared, **agreement})
        curves.append(curve(run, bench))
    if not rows:
        raise LlmpiError("exclude: it leaves no cell of a workload of the kind single")
    profiles = {session: profile(study, session, record) for session, record in records.items()}
    return {
        "study": study.study,
        "rows": rows,
        "classes": by_class(rows, study.classes),
        "groups": spreads(rows, study.classes),
        "unlike": unlike(machines, study.classes),
        "concurrency": concurrency(study, records.__getitem__, rows),
        "prompt_lookup": prompt_lookup(study, records.__getitem__, rows),
        "files": [
            {**v._asdict(), "bytes": m.get("bytes"), "sha256": m.get("sha256")}
            for v, m in manifests.items()
        ],
        "fallbacks": [_fallbacks(v, m) for v, m in manifests.items() if m.get("fallbacks")],
        "models": {m: _model(_read(layout.MODEL_MANIFEST, model=m)) for m in study.models},
        "questions": {
            task: _without(_read(layout.QUESTIONS, study=study.study, task=task), "squad")
            for task in tasks
        },
        "comparisons": _comparisons(study),
        "sections": [section for kind in kinds.values() for section in kind.sections],
        "divergence": _divergences(study, scores),
        "pairs": _pairs(study),
        "harness": _harnesses(study, scores),
        "descent": _descent(study, order, scores),
        "curves": [found for found in curves if found],
        "machines": machines,
        "predictions": predictions(study, rows, profiles),
        "paper": beside_the_paper(study, rows, machines),
        "tuned": searches,
        "gates": [gate.model_dump() for gate in study.gates],
        "provenance": {
            "llmpi": __version__,
            "snakemake": importlib.metadata.version("snakemake"),
            "summarized": now(),
            "config": spec,
        },
    }


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """Write the rows atomically; an empty field means that there is no such value."""
    with whole_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _read(pattern: str, **wildcards: str) -> Record:
    path = Path(layout.at(pattern, **wildcards))
    return read_json(path) if path.is_file() else NOT_RUN


def _scores(study: Study, variant: Variant) -> dict[str, Record]:
    return {
        task: _read(layout.QUALITY, study=study.study, task=task, **variant._asdict())
        for task in study.quality
    }


def _pairs(study: Study) -> list[Record]:
    """Pairs of variants on the user's own prompts, without the single answers."""
    found = []
    for task in (t for t, asked in study.quality.items() if isinstance(asked, AbTask)):
        for pair, (a, b) in pairs_of(study, task).items():
            record = _read(layout.AB, study=study.study, task=task, pair=pair)
            sheet = f"../../ab/{study.study}/{task}/{pair}.html"
            names = {"a": "/".join(a), "b": "/".join(b)}
            found.append({"task": task, "sheet": sheet, **names, **_without(record, "prompts")})
    return found


def _harnesses(study: Study, scores: Mapping[Variant, dict[str, Record]]) -> list[Record]:
    """Metrics of the lm-evaluation-harness, one row a variant and metric."""
    return [
        {"task": task, **variant._asdict(), "metric": name, **metric}
        for task in (t for t, asked in study.quality.items() if isinstance(asked, LmEvalTask))
        for variant, by_task in scores.items()
        if is_ok(by_task[task])
        for name, metric in by_task[task]["summary"]["metrics"].items()
    ]


def _divergences(study: Study, scores: Mapping[Variant, dict[str, Record]]) -> list[Record]:
    """The texts, and what each variant makes of them."""
    found = []
    for task in (t for t, asked in study.quality.items() if isinstance(asked, DivergenceTask)):
        records = {variant: by_task[task] for variant, by_task in scores.items()}
        rows = [
            {**variant._asdict(), "status": r["status"], **(r.get("summary") or {})}
            for variant, r in records.items()
        ]
        known = next((r for r in records.values() if is_ok(r)), {})
        keys = ("corpus", "window_tokens", "chunks", "wanted_chunks")
        found.append({"task": task, "rows": rows, **{key: known.get(key) for key in keys}})
    return found


def _parity(study: Study, run: Run, machines: Mapping[str, Record]) -> Row:
    """Agreement with the workstation; a reason says that its scores are not transferred.

    On a local device the engine that is timed is the one that is scored. Of a group one board is
    checked, and speaks for those with its engine.
    """
    checked = study.quality and study.devices[run.device].transport != "local"
    board = stands_for(study, run.device, run.variant)
    where = {**run._asdict(), "device": board}
    record = _read(layout.PARITY, study=study.study, **where) if checked else {}
    alike = _engine(machines[run.device]) == _engine(machines[board])
    if checked and not alike and not record.get("reason"):
        record = {"reason": f"{run.device} has another engine than {board}, which was checked"}
    return {
        "parity_top1_pct": record.get("top1_pct"),
        "parity_kl_nats": record.get("kl_nats"),
        "parity_reason": record.get("reason"),
    }


def _engine(machine: Record) -> Record:
    """Version, build flags, processor features. Two builds of the same differ in their hash."""
    return _without(machine.get("engine", {}), "library_sha256")


def _of_kind(study: Study, kind: TaskKind) -> Summary:
    tasks = [task for task, asked in study.quality.items() if asked.task == kind.name]
    return kind.summarize(study, tasks)


def _told(study: Study, variant: Variant, kinds: Mapping[str, Summary]) -> tuple[Row, Row]:
    """What the tasks say of a variant, and of it against the widest of its model."""
    told: Row = {}
    compared: Row = {}
    for task, asked in study.quality.items():
        kind, found = task_kinds()[asked.task], kinds[asked.task].rows[task][variant]
        told |= flat(task, kind.columns, found)
        compared |= flat(task, kind.compared, found)
    return told, compared


def _comparisons(study: Study) -> list[Any]:
    tasks = [task for task, asked in study.quality.items() if isinstance(asked, SquadTask)]
    order = {m: quants for m in study.models if (quants := by_width(study, m))}
    scores = {task: dict(records_of(SquadScored | Skipped, study, task)) for task in tasks}
    return list(comparisons(order, scores))


def _descent(
    study: Study, order: Mapping[str, Sequence[str]], scores: Mapping[Variant, dict[str, Record]]
) -> list[Record]:
    """For each model the lowest width that holds, where it ended, and each step's verdict."""
    if study.descent is None:
        return []
    found = []
    for model, (widest, *narrower) in ((m, quants) for m, quants in order.items() if quants):
        records = {q: scores[Variant(model, q)][study.descent.task] for q in narrower}
        verdicts = {q: r["descent"] for q, r in records.items() if is_ok(r) and r["descent"]}
        holds = [q for q, verdict in verdicts.items() if verdict["decision"] == "holds"]
        kept = {type_of(q) for q in holds}  # one variant that holds is enough to go on below it
        ended = next((q for q in verdicts if type_of(q) not in kept), None)
        trained = ended and type_of(ended) + QAT
        found.append(
            {
                "model": model,
                "widest": widest,
                "lowest": holds[-1] if holds else widest,
                "ended_at": ended,
                "train": None if trained in records else trained,
                "steps": [{"quant": q, **verdict} for q, verdict in verdicts.items()],
                "skipped": {q: r["reason"] for q, r in records.items() if r["status"] == "skipped"},
            }
        )
    return found


def _fallbacks(variant: Variant, manifest: Record) -> Record:
    tensors = sum(kind["tensors"] for kind in manifest["tensors_by_type"].values())
    kinds: dict[str, int] = {}
    for item in manifest["fallbacks"]:
        change = f"{item['wanted']} > {item['got']}"
        kinds[change] = kinds.get(change, 0) + 1
    return {
        **variant._asdict(),
        "count": len(manifest["fallbacks"]),
        "tensors": tensors,
        "changes": kinds,
    }


def _model(manifest: Record) -> Record:
    keys = ("status", "reason", "origin", "licence", "format", "files", "fetched")
    return {key: manifest.get(key) for key in keys}


def _without(record: Record, key: str) -> Record:
    return {k: v for k, v in record.items() if k != key}
