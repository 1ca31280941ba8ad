"""A study's variants on its devices before anything runs: what fits, how fast, what it takes."""

from pathlib import Path
from typing import Any

from llmpi import layout
from llmpi.device.machine import environment
from llmpi.device.measure import bandwidth
from llmpi.plan import presets
from llmpi.plan.architectures import Model
from llmpi.plan.model_facts import base_gguf, model_or_reason
from llmpi.plan.plan_text import problem
from llmpi.plan.predict import Prediction, predict
from llmpi.plan.presets import PRESETS, Board, Range
from llmpi.plan.sizes import sizes
from llmpi.records import Record, read_json
from llmpi.study.devices import LocalDevice
from llmpi.study.measuring import ConcurrentWorkload, Workload
from llmpi.study.models import HubSource
from llmpi.study.runs import Session, Variant, sessions, variants
from llmpi.study.study import Study

DOWNLOAD_BYTES_PER_S = Range(3e6, 12.5e6, 110e6)
"""Of a household's line: 25 Mbit/s, 100 Mbit/s, 1 Gbit/s."""
CHECKPOINT_BYTES_PER_WEIGHT = 2
"""Checkpoints of the hub are bfloat16 or float16."""


def plan(study: Study) -> list[Record]:
    """What every session of a study will need and give; nothing is downloaded.

    Returns:
        A record per device, model, quantization and runtime, in the order of the sweep:
        `device`, `model`, `quant`, `runtime`; `constants` (where the board's numbers come from);
        `file_bytes`, `bits_per_weight`, `fallbacks`, `read_per_token_bytes`, `kv_cache_bytes`,
        `working_bytes`, `needed_bytes`, `room_bytes`, `fit` (see `predict.Prediction`),
        `reread_bytes`; `tg_tps`, `pp_tps`, `tg_j_per_token`, `transfer_s` and `measure_s` as
        [least, likely, most]; `band`; `problem`, a sentence if it cannot work, else None.
        What cannot be known is None, and then `unknown` says why.
    """
    boards = {name: board_of(study, name) for name in study.devices}
    models = {name: model_or_reason(study, name) for name in study.models}
    return [
        _record(study, session, models[session.model], boards[session.device], workloads)
        for session, workloads in sessions(study).items()
    ]


def impossible(records: list[Record]) -> bool:
    """Whether something that the study asks for cannot work."""
    return any(record["problem"] for record in records)


def totals(study: Study, records: list[Record]) -> Record:
    """What the study takes as a whole.

    Returns:
        `download_bytes`, `workstation_bytes` (checkpoints, F16 and every quantization),
        `device_bytes` by device; `download_s`, `transfer_s`, `measure_s` and `study_s` as [least,
        likely, most]: devices are measured side by side, and scoring on the workstation is not in
        it.
    """
    made = dict.fromkeys(variants(study), 0)
    for r in records:
        made[Variant(r["model"], r["quant"])] = r["file_bytes"] or 0
    download, base = 0, 0
    for name, spec in study.models.items():
        known = model_or_reason(study, name)
        if isinstance(known, str):
            continue
        size = sizes(known, layout.BASE_QUANT)
        base += size.file_bytes * (Variant(name, layout.BASE_QUANT) not in made)
        if isinstance(spec.source, HubSource) and not base_gguf(name).is_file():
            download += size.parameters * CHECKPOINT_BYTES_PER_WEIGHT
    per_device = {
        device: sum(
            {_variant(r): r["file_bytes"] or 0 for r in records if r["device"] == device}.values()
        )
        for device in study.devices
    }
    transfers = [_sum_of(records, device, "transfer_s") for device in study.devices]
    measures = [_sum_of(records, device, "measure_s") for device in study.devices]
    download_s = [download / rate for rate in reversed(DOWNLOAD_BYTES_PER_S)]
    transfer_s = [sum(column) for column in zip(*transfers, strict=True)]
    measure_s = [max(column) for column in zip(*measures, strict=True)]
    return {
        "download_bytes": download,
        "workstation_bytes": download + base + sum(made.values()),
        "device_bytes": per_device,
        "download_s": download_s,
        "transfer_s": transfer_s,
        "measure_s": measure_s,
        "study_s": [sum(c) for c in zip(download_s, transfer_s, measure_s, strict=True)],
    }


def _variant(record: Record) -> Variant:
    return Variant(record["model"], record["quant"])


def _sum_of(records: list[Record], device: str, key: str) -> list[float]:
    """Of a device; what is transferred once for all runtimes counts once."""
    seen: dict[Any, list[float]] = {}
    for r in records:
        if r["device"] == device and r[key]:
            what = _variant(r) if key == "transfer_s" else (_variant(r), r["runtime"])
            seen[what] = r[key]
    return [sum(column) for column in zip([0.0, 0.0, 0.0], *seen.values(), strict=True)]


# --- boards ---------------------------------------------------------------------------------------


def board_of(study: Study, device: str) -> Board | None:
    """The board behind a device: as it was measured, else its preset, else this machine as it is.

    Returns:
        None for a device behind SSH that names no preset and was never measured.
    """
    spec = study.devices[device]
    preset = PRESETS[spec.preset] if spec.preset else None
    for session in sessions(study):
        path = Path(layout.at(layout.BENCH, study=study.study, **session._asdict()))
        if session.device == device and path.is_file():
            found = presets.measured(read_json(path), preset, device)
            if found:
                return found
    if isinstance(spec, LocalDevice) and not preset:
        return _this_machine(device, spec)
    return preset


def _this_machine(device: str, spec: LocalDevice) -> Board:
    """Half a second of reading memory; storage is not looked at, a file in it may be in memory."""
    machine, now = environment.machine(), environment.conditions()
    threads = spec.threads or machine["processors"]
    told = {
        "status": "ok",
        "environment": {"machine": machine, "before": now},
        "limits": spec.limits and spec.limits.model_dump(),
        "bandwidth": {
            "memory_read_bytes_per_s": bandwidth.memory_read_bytes_per_s(threads),
            "storage_read_bytes_per_s": 0.5e9,
        },
    }
    found = presets.measured(told, None, device)
    assert found is not None
    return found


# --- records --------------------------------------------------------------------------------------


def _record(
    study: Study, session: Session, model: Model | str, board: Board | None, workloads: list[str]
) -> Record:
    empty = dict.fromkeys(
        (*Prediction._fields, "transfer_s", "measure_s", "constants", "problem", "unknown")
    )
    record: Record = {**session._asdict(), **empty}
    if isinstance(model, str):
        return record | {"unknown": model}
    if board is None:
        size = sizes(model, session.quant)
        return record | {
            "file_bytes": size.file_bytes,
            "bits_per_weight": size.bits_per_weight,
            "fallbacks": size.fallbacks,
            "read_per_token_bytes": size.read_per_token_bytes,
            "unknown": f"the device {session.device} was never measured and names no preset "
            f"({', '.join(PRESETS)}); add one to its config for speeds",
        }
    asked = [study.workloads[name] for name in workloads]
    runtime = study.runtimes[session.runtime]
    found = predict(
        model,
        session.quant,
        board,
        runtime,
        context_tokens=max(w.needed_tokens for w in asked),
        prompt_tokens=max(w.prompt_tokens for w in asked),
    )
    local = isinstance(study.devices[session.device], LocalDevice)
    transfer = (
        [0.0] * 3 if local else [found.file_bytes / r for r in reversed(board.receive_bytes_per_s)]
    )
    return record | {
        **{key: _plain(value) for key, value in found._asdict().items()},
        "constants": board.name if not board.sources.get("name") else "measured",
        "transfer_s": transfer,
        "measure_s": _measure_s(study, session, found, board, workloads),
        "problem": problem(found, session, board),
    }


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, Range) else value


def _measure_s(
    study: Study, session: Session, found: Prediction, board: Board, workloads: list[str]
) -> list[float] | None:
    """Two loads, the rest before them, and every repetition with its warm-up; no depths.

    Where settings are searched, as long as that may take before the confirmation.
    """
    if found.fit == "dies":
        return None
    rest = study.devices[session.device].idle_s
    search_s = 60 * study.tune.minutes if study.runtimes[session.runtime].tune else 0
    seconds = []
    for i in (2, 1, 0):  # the highest speed takes the least time
        pp = found.pp_tps[i] if found.pp_tps else found.tg_tps[i]
        total = search_s + rest + 2 * found.file_bytes / board.storage_bytes_per_s[i]
        for name in workloads:
            total += _workload_s(study.workloads[name], pp, found.tg_tps[i])
        seconds.append(total)
    return seconds


def _workload_s(asked: Workload | ConcurrentWorkload, pp_tps: float, tg_tps: float) -> float:
    """Seconds of all repetitions; side by side as if that gained nothing, which is the most."""
    times = asked.warmup + asked.repetitions
    if isinstance(asked, Workload):
        once = asked.prompt_tokens / pp_tps + asked.output_tokens / tg_tps
        return times * once + asked.sustained_s
    each = asked.prompt_tokens / pp_tps + asked.output_tokens / tg_tps
    return times * sum(asked.system_tokens / pp_tps + n * each for n in asked.conversations)
