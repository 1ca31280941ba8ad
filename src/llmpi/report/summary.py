"""Bring a study's records together: a row per device, model, quantization, runtime, workload."""

import csv
import importlib.metadata
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from llmpi import __version__, layout
from llmpi.device.energy import tokens_per_joule, words_per_battery
from llmpi.errors import LlmpiError
from llmpi.quality.comparisons import comparisons
from llmpi.quant_types import QAT, type_of
from llmpi.records import Record, is_ok, now, read_json, whole_file
from llmpi.report.concurrency import concurrency
from llmpi.report.curves import curve
from llmpi.report.groups import by_class, spreads, unlike
from llmpi.report.lookup import prompt_lookup
from llmpi.report.paper import beside_the_paper
from llmpi.report.predictions import predictions, profile
from llmpi.runs import Run, Variant, by_width, expand_runs, pairs_of, sessions, stands_for, variants
from llmpi.study import (
    AbTask,
    DivergenceTask,
    Gate,
    LmEvalTask,
    QualityTask,
    SquadTask,
    Study,
    group_of,
)

Row = dict[str, Any]

NOT_RUN: Record = {"status": "not run", "stage": None, "reason": "no record; it was not run yet"}


def summarize(spec: dict[str, Any]) -> Record:
    """The whole study in one record.

    Args:
        spec: the study's config, as `Study` dumps it.

    Returns:
        `rows` of the cells of one conversation (see `row`); `classes`, those with a group's boards
        as one; `groups` and `unlike`, how its boards differ (see `llmpi.report.groups`);
        `concurrency` of conversations side by side and `prompt_lookup` (see the modules of
        `llmpi.report`); the GGUF `files` with their hashes, `questions` and `models` by id,
        `comparisons` of each variant with its reference, the outcome of the `descent` by model,
        the `curves` of sustained phases (see `llmpi.report.curves`), `machines` by device,
        `predictions` (see `llmpi.report.predictions`), `paper` (see `llmpi.report.paper`),
        `provenance`.
        Cells without a record are there with status `not run`.

    Raises:
        LlmpiError: nothing of one conversation is in the sweep.
    """
    study = Study.model_validate(spec)
    manifests = {v: _read(layout.GGUF_MANIFEST, **v._asdict()) for v in variants(study)}
    scores = {v: _scores(study, v) for v in manifests}
    order = {model: by_width(study, model) for model in study.models}
    tasks = [task for task, asked in study.quality.items() if isinstance(asked, SquadTask)]
    compared = comparisons(tasks, {m: quants for m, quants in order.items() if quants}, scores)
    machines = {d: _read(layout.PROVISIONED, device=d) for d in study.devices}
    records = {s: _read(layout.BENCH, study=study.study, **s._asdict()) for s in sessions(study)}
    rows, curves = [], []
    for run in (r for r in expand_runs(study) if r.workload in study.single_workloads):
        session = records[run.session]
        bench = {**session, **session.get("workloads", {}).get(run.workload, {})}
        parity = _parity(study, run, machines)
        cell = row(study, run, bench, manifests[run.variant], scores[run.variant], parity)
        rows.append({**cell, **_compared(run.variant, tasks, compared)})
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
        "comparisons": compared,
        "divergence": _divergences(study, scores),
        "pairs": _pairs(study),
        "harness": _harnesses(study, scores),
        "descent": _descent(study, order, scores),
        "curves": [found for found in curves if found],
        "machines": machines,
        "predictions": predictions(study, rows, profiles),
        "paper": beside_the_paper(study, rows, machines),
        "gates": [gate.model_dump() for gate in study.gates],
        "provenance": {
            "llmpi": __version__,
            "snakemake": importlib.metadata.version("snakemake"),
            "summarized": now(),
            "config": spec,
        },
    }


def row(
    study: Study,
    run: Run,
    bench: Record,
    manifest: Record,
    scores: dict[str, Record],
    parity: Row,
) -> Row:
    """One cell. Speed as median, least and greatest of the repetitions; units are in the names."""
    no_parity = [f"parity: {parity['parity_reason']}"] if parity["parity_reason"] else []
    return {
        "study": study.study,
        **run._asdict(),
        "group": group_of(study.devices[run.device]),
        "status": bench["status"],
        "stage": bench.get("stage"),
        "reason": bench.get("reason"),
        **_speed(bench),
        **_roofline(bench, manifest),
        **_energy(study, bench),
        **_file(manifest),
        **{
            key: value
            for task, asked in study.quality.items()
            for key, value in _quality(asked, task, scores[task]).items()
        },
        **parity,
        "gates_failed": "; ".join([*no_parity, *_failed_gates(study.gates, scores)]),
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


def _speed(bench: Record) -> Row:
    if not is_ok(bench):
        return dict.fromkeys(SPEED)
    prompt_tokens = bench["workload"]["prompt_tokens"]
    repetitions = bench["repetitions"]
    itl = [seconds for repetition in repetitions for seconds in repetition["itl_s"]]
    cuts = statistics.quantiles(itl, n=100, method="inclusive") if len(itl) > 1 else itl * 99
    return dict(
        zip(
            SPEED,
            (
                *_spread([prompt_tokens / r["pp_s"] for r in repetitions]),
                *_spread([len(r["itl_s"]) / sum(r["itl_s"]) for r in repetitions]),
                len(repetitions),
                statistics.median(r["ttft_s"] for r in repetitions),
                cuts[49],
                cuts[94],
                max(itl),
                bench["load"]["cold_s"],
                bench["load"]["warm_s"],
                bench["memory"]["peak_rss_bytes"],
                bench["memory"]["major_faults"],
                bench["settings"]["threads"],
                bench["context_tokens"],
                _depths(bench),
                _sustained(bench),
                _hottest(bench),
                "; ".join(bench["marks"]),
            ),
            strict=True,
        )
    )


SPEED = (
    "pp_tps",
    "pp_min_tps",
    "pp_max_tps",
    "tg_tps",
    "tg_min_tps",
    "tg_max_tps",
    "repetitions",
    "ttft_s",
    "itl_p50_s",
    "itl_p95_s",
    "itl_max_s",
    "cold_load_s",
    "warm_load_s",
    "peak_rss_bytes",
    "major_faults",
    "threads",
    "context_tokens",
    "tg_at_depths_tps",
    "sustained_first_last_tps",
    "hottest_c",
    "marks",
)


def _energy(study: Study, bench: Record) -> Row:
    """Joules where a meter gave them; else why not."""
    energy = bench.get("energy") if is_ok(bench) else None
    row: Row = dict.fromkeys(ENERGY)
    if energy is None:
        return row
    row |= {"energy_tier": energy["tier"], "energy_reason": energy.get("reason")}
    if not is_ok(energy):
        return row
    tg, idle_power_w = energy["tg"], energy["idle_power_w"]
    tps = _speed(bench)["tg_tps"]
    battery = study.battery
    return row | {
        "idle_power_w": idle_power_w,
        "pp_power_w": energy["pp"]["power_w"],
        "tg_power_w": tg["power_w"],
        "pp_j_per_token": energy["pp"]["j_per_token"],
        "tg_j_per_token": tg["j_per_token"],
        "tg_uncertainty_j_per_token": tg["uncertainty_j_per_token"],
        "tpj_board": tokens_per_joule(tps, tg["power_w"]),
        "tpj_above_idle": (
            None if idle_power_w is None else tokens_per_joule(tps, tg["power_w"], idle_power_w)
        ),
        "words_per_battery": words_per_battery(
            tps, tg["power_w"], battery.wh, battery.tokens_per_word
        ),
    }


ENERGY = (
    "energy_tier",
    "energy_reason",
    "idle_power_w",
    "pp_power_w",
    "tg_power_w",
    "pp_j_per_token",
    "tg_j_per_token",
    "tg_uncertainty_j_per_token",
    "tpj_board",
    "tpj_above_idle",
    "words_per_battery",
)


def _roofline(bench: Record, manifest: Record) -> Row:
    """tg as a share of what the memory delivers: weights read per token x tg / its bandwidth."""
    row: Row = dict.fromkeys(
        ("memory_read_bytes_per_s", "storage_read_bytes_per_s", "tg_memory_share")
    )
    if not is_ok(bench) or not bench["bandwidth"]:
        return row
    row |= bench["bandwidth"]
    if per_token := is_ok(manifest) and manifest["read_per_token_bytes"]:
        tg_tps = _speed(bench)["tg_tps"]
        row["tg_memory_share"] = per_token * tg_tps / row["memory_read_bytes_per_s"]
    return row


def _depths(bench: Record) -> str:
    """tg behind each context depth, such as `512: 80.1; 2048: 61.5`; tokens per second."""
    shown = []
    for depth in bench["depths"]:
        itl = [seconds for repetition in depth["repetitions"] for seconds in repetition["itl_s"]]
        shown.append(f"{depth['depth_tokens']}: {len(itl) / sum(itl):.1f}")
    return "; ".join(shown)


def _sustained(bench: Record) -> str:
    """tg of the first and the last stretch of the sustained phase, tokens per second."""
    curve = bench["sustained"]
    return f"{curve[0][1]:.1f}; {curve[-1][1]:.1f}" if curve else ""


def _hottest(bench: Record) -> float | None:
    return max((value for _, value in bench["samples"]["temperature_c"]), default=None)


def _spread(values: Sequence[float]) -> tuple[float, float, float]:
    return statistics.median(values), min(values), max(values)


def _file(manifest: Record) -> Row:
    known = is_ok(manifest)
    return {
        "file_bytes": manifest["bytes"] if known else None,
        "parameters": manifest["parameters"] if known else None,
        "bits_per_weight": manifest["bits_per_weight"] if known else None,
        "tensors": (
            sum(kind["tensors"] for kind in manifest["tensors_by_type"].values()) if known else None
        ),
        "fallback_tensors": len(manifest["fallbacks"]) if known else None,
        "lineage": " > ".join(manifest["lineage"]) if known else None,
    }


def _scores(study: Study, variant: Variant) -> dict[str, Record]:
    return {
        task: _read(layout.QUALITY, study=study.study, task=task, **variant._asdict())
        for task in study.quality
    }


def _quality(asked: QualityTask, task: str, record: Record) -> Row:
    state = {f"{task}_status": record["status"], f"{task}_reason": record.get("reason")}
    numbers: dict[str, Callable[[str, Record], Row]] = {
        "squad": _squad,
        "divergence": _divergence,
        "ab": _own_prompts,
        "lm_eval": _harness,
    }
    return {**state, **numbers[asked.task](task, record)}


def _own_prompts(task: str, record: Record) -> Row:
    """Share of the prompts with an expectation whose answer meets it."""
    return {f"{task}_passed_pct": record["summary"]["passed_pct"] if is_ok(record) else None}


def _harness(task: str, record: Record) -> Row:
    """The harness's metrics as text, such as `arc_easy/acc,none 43.0; ...`; any name may occur."""
    metrics = record["summary"]["metrics"] if is_ok(record) else {}
    shown = {name: m.get("pct", m.get("value")) for name, m in metrics.items()}
    return {f"{task}_metrics": "; ".join(f"{n} {v:.4g}" for n, v in shown.items() if v is not None)}


def _divergence(task: str, record: Record) -> Row:
    """Perplexity and distance from the F16, each with its standard error (`_se`)."""
    found = record["summary"] if is_ok(record) else {}
    row: Row = {}
    for name in DIVERGENCE:
        estimate = found.get(name, {})
        row[f"{task}_{name}"] = estimate.get("value")
        row[f"{task}_{name}_se"] = estimate.get("standard_error")
    return row


DIVERGENCE = (
    "perplexity",
    "perplexity_ratio",
    "kld_mean_nats",
    "kld_median_nats",
    "kld_p99_nats",
    "top1_agreement_pct",
)


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


def _squad(task: str, record: Record) -> Row:
    known = is_ok(record)
    metrics = record["summary"]["metrics"] if known else {}
    best = (record["summary"]["thresholds"] if known else None) or {}
    cells: Row = {
        f"{task}_items": record["summary"]["items"] if known else None,
        f"{task}_best_em_pct": best.get("best_exact"),
        f"{task}_best_f1_pct": best.get("best_f1"),
        f"{task}_best_f1_threshold": best.get("best_f1_thresh"),
    }
    for metric, name in NAMES.items():
        score = metrics.get(metric, {})
        cells[f"{task}_{name}_pct"] = score.get("pct")
        cells[f"{task}_{name}_low_pct"] = score.get("low_pct")
        cells[f"{task}_{name}_high_pct"] = score.get("high_pct")
    return cells


NAMES = {
    "exact": "em",
    "f1": "f1",
    "has_ans_exact": "has_ans_em",
    "has_ans_f1": "has_ans_f1",
    "no_ans_exact": "no_ans_em",
    "no_ans_f1": "no_ans_f1",
}


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


def _compared(variant: Variant, tasks: Sequence[str], compared: Sequence[Record]) -> Row:
    """F1 against the reference's: what the data say, and whether they can tell the two apart."""
    found = {c["task"]: c for c in compared if (c["model"], c["quant"]) == variant}
    return {
        f"{task}_f1_{name}": found.get(task, {}).get(key)
        for task in tasks
        for name, key in COMPARED.items()
    }


COMPARED = {
    "difference_pct": "difference_pct",
    "difference_low_pct": "low_pct",
    "difference_high_pct": "high_pct",
    "p_adjusted": "p_adjusted",
    "minimum_detectable_pct": "minimum_detectable_pct",
    "verdict": "verdict",
}


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


def _failed_gates(gates: Sequence[Gate], scores: dict[str, Record]) -> list[str]:
    failed = []
    for gate in gates:
        record = scores[gate.task]
        if not is_ok(record):
            failed.append(f"{gate.task} {gate.metric}: not scored")
            continue
        score = record["summary"]["metrics"].get(gate.metric)
        if score is None or score["pct"] < gate.at_least_pct:
            got = f"{score['pct']:.1f} %" if score else "no items"
            failed.append(f"{gate.task} {gate.metric}: {got} < {gate.at_least_pct:g} %")
    return failed


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
