"""A study's variants on its devices before anything runs: what fits, how fast, what it takes."""

import json
from pathlib import Path
from typing import Any

from llmpi import layout
from llmpi.decide import presets
from llmpi.decide.architectures import SHAPES, Model, Shape, of_config, of_shape
from llmpi.decide.header import model_in
from llmpi.decide.plan_text import problem
from llmpi.decide.predict import Prediction, predict
from llmpi.decide.presets import PRESETS, Board, Range
from llmpi.decide.sizes import sizes
from llmpi.device import bandwidth, environment
from llmpi.errors import LlmpiError
from llmpi.records import Record, read_json
from llmpi.runs import Session, Variant, sessions, variants
from llmpi.study import HubSource, LocalDevice, PathSource, PypiSource, ScratchSource, Study

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
    models = {name: _model_or_reason(study, name) for name in study.models}
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
        known = _model_or_reason(study, name)
        if isinstance(known, str):
            continue
        size = sizes(known, layout.BASE_QUANT)
        base += size.file_bytes * (Variant(name, layout.BASE_QUANT) not in made)
        if isinstance(spec.source, HubSource) and not Path(_base_gguf(name)).is_file():
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


# --- models ---------------------------------------------------------------------------------------


def model_of(study: Study, name: str) -> Model:
    """What is known of a study's model without its weights, from the nearest source.

    Its F16 if that is made already, the user's own file or folder, the hub's cache, the table of
    known models, and at last the hub itself, for its `config.json`.

    Raises:
        LlmpiError: nothing says what it is built of.
    """
    source = study.models[name].source
    made = Path(_base_gguf(name))
    if made.is_file() and made.stat().st_size:
        return model_in(made)
    match source:
        case PathSource():
            return _of_path(Path(source.path).expanduser())
        case PypiSource():
            return _known(source.pypi)
        case ScratchSource():
            # 256 bytes, the merges, and special tokens.
            vocab = 256 + source.merges + 17
            head = source.width // source.heads
            shape = Shape(
                "llama",
                source.layers,
                source.width,
                source.ffn_width,
                source.heads,
                source.heads,
                head,
                vocab,
                tied=True,
            )
            return of_shape(shape)
        case HubSource():
            return _of_hub(source)


def _known(name: str) -> Model:
    if name not in SHAPES:
        raise LlmpiError(
            f"nothing is known of {name} before it is downloaded; run `snakemake models` first"
        )
    return of_shape(SHAPES[name])


def _of_path(path: Path) -> Model:
    ggufs = [path] if path.is_file() else sorted(path.glob("*.gguf"))
    if ggufs:
        return model_in(ggufs[0])
    return of_config(_json(path / "config.json"), str(path / "config.json"))


def _of_hub(source: HubSource) -> Model:
    if source.hub in SHAPES:
        return of_shape(SHAPES[source.hub])
    if source.file:
        raise LlmpiError(
            f"the header of {source.hub}/{source.file} is not here; run `snakemake models` first"
        )
    from huggingface_hub import hf_hub_download

    from llmpi.hub import explained

    with explained(source.hub, source.revision):
        path = hf_hub_download(source.hub, "config.json", revision=source.revision)
    return of_config(_json(Path(path)), f"{source.hub}/config.json")


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise LlmpiError(f"{path}: cannot be read as JSON: {error}") from None
    if not isinstance(found, dict):
        raise LlmpiError(f"{path}: holds no JSON object")
    return found


def _base_gguf(name: str) -> str:
    return layout.at(layout.BASE_GGUF, model=name)


def _model_or_reason(study: Study, name: str) -> Model | str:
    try:
        return model_of(study, name)
    except LlmpiError as error:
        return str(error)


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
    context = max(
        w.context_tokens or max([w.prompt_tokens, *w.depths]) + w.output_tokens for w in asked
    )
    runtime = study.runtimes[session.runtime]
    found = predict(
        model,
        session.quant,
        board,
        runtime,
        context_tokens=context,
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
            w = study.workloads[name]
            once = w.prompt_tokens / pp + w.output_tokens / found.tg_tps[i]
            total += (w.warmup + w.repetitions) * once + w.sustained_s
        seconds.append(total)
    return seconds
