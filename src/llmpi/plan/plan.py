"""A study's variants on its devices before anything runs: what fits, how fast, what it takes."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

from llmpi import layout
from llmpi.device.machine import capacity, environment
from llmpi.device.measure import bandwidth
from llmpi.engine.records import Bandwidth, SessionRecord
from llmpi.errors import LlmpiError
from llmpi.plan.as_bytes import as_bytes
from llmpi.plan.asked import asked_of
from llmpi.plan.brings import Brings, brings
from llmpi.plan.learning import refused
from llmpi.plan.measuring import Measuring, measuring
from llmpi.plan.model import Model, Sizes
from llmpi.plan.model_facts import base_gguf, draft_for, models_of, variants_of
from llmpi.plan.predict import Draft, Prediction, by_kernels, predict
from llmpi.plan.presets import PRESETS, Board, Kernels, Profile, Range, Seen, lying_on, measured
from llmpi.plan.profile import profile, profile_of, prompt_rates
from llmpi.plan.serving import Serving, servings
from llmpi.plan.usual import BY_BLOCK, TRAIN
from llmpi.plan.workstation import (
    Here,
    Stage,
    held_bytes,
    here,
    stages,
    together,
)
from llmpi.quant_types import PUBLISHED, is_published
from llmpi.results import result
from llmpi.study import inputs
from llmpi.study.devices import LocalDevice, SingleDevice
from llmpi.study.measuring import Workload
from llmpi.study.models import HubSource, PathSource
from llmpi.study.runs import Session, Variant, sessions, variants
from llmpi.study.study import Study

DOWNLOAD_BYTES_PER_S = Range(3e6, 12.5e6, 110e6)
"""Of a household's line: 25 Mbit/s, 100 Mbit/s, 1 Gbit/s."""
CHECKPOINT_BYTES_PER_WEIGHT = 2
"""Checkpoints of the hub are bfloat16 or float16."""
NOTHING = Range(0.0, 0.0, 0.0)
NOT_MEASURED = Measuring()


@dataclass(frozen=True)
class SessionPlan:
    """What a session will need and give; what cannot be known is None, and `unknown` says why."""

    session: Session
    size: Sizes | None = None
    prediction: Prediction | None = None
    board: Board | None = None
    """Whose constants they are."""
    transfer_s: Range | None = None
    measuring: Measuring = NOT_MEASURED
    unknown: str | None = None
    refused: str | None = None
    """Why its variant cannot be made at all."""

    @property
    def does_not_fit(self) -> bool:
        return self.prediction is not None and self.prediction.fit in ("overflow", "dies")

    @property
    def is_in_vain(self) -> bool:
        return self.does_not_fit or self.refused is not None


@dataclass(frozen=True)
class Totals:
    """What a study takes as a whole. Devices are measured side by side, and beside what is done on
    the workstation."""

    download_bytes: int
    workstation_bytes: int
    """Checkpoints, F16 and every quantization, references, and the largest training under way."""
    missing_bytes: int
    """Of these, what is not here yet."""
    device_bytes: dict[str, int]
    """A store of this machine links the files, and takes none."""
    here: Here
    stages: list[Stage]
    brings: list[Brings]
    """What is searched and learned takes and brings."""
    download_s: Range
    transfer_s: Range
    measure_s: Range
    workstation_s: Range
    """Converting, quantizing, training and scoring."""
    study_s: Range


def plan(study: Study, *, ask_hub: bool = True) -> list[SessionPlan]:
    """What every session of a study will need and give, in the order of the sweep.

    Nothing is downloaded.

    Args:
        ask_hub: whether the network may be used.
    """
    known = variants_of(study, ask_hub=ask_hub)
    boards = {name: _with_prompts(study, name, known) for name in study.devices}
    return [
        _planned(study, session, known, boards, workloads)
        for session, workloads in sessions(study).items()
    ]


def serving_plans(study: Study, *, ask_hub: bool = True) -> list[Serving]:
    """What the study's service will take of its devices; nothing where it has none.

    Args:
        ask_hub: whether the network may be used.
    """
    if study.service is None:
        return []
    boards = {name: board_of(study, name) for name in study.served_on}
    return servings(study, variants_of(study, ask_hub=ask_hub), boards)


def totals(study: Study, plans: Sequence[SessionPlan]) -> Totals:
    """What the study takes as a whole."""
    made = dict.fromkeys(variants(study), 0)
    made |= {p.session.variant: _bytes(p) for p in plans}
    download, fetched, base, machine = 0, 0, 0, here()
    models = models_of(study)
    found = stages(study, models, machine.cores, machine.memory_bytes)
    for name, model in study.models.items():
        known = models[name]
        if isinstance(known, str):
            continue
        size = known.sizes(layout.BASE_QUANT)
        if inputs.needs_base(study, name) and Variant(name, layout.BASE_QUANT) not in made:
            base += size.file_bytes
        files = sum(made[v] for v in made if v.model == name and is_published(v.quant))
        checkpoint = model.checkpoint or (None if model.published else model.source)
        if isinstance(checkpoint, HubSource) and not base_gguf(name).is_file():
            download += size.parameters * CHECKPOINT_BYTES_PER_WEIGHT
        if isinstance(model.source, HubSource) and not base_gguf(name).is_file():
            download += files or (known.sizes(PUBLISHED).file_bytes if model.published else 0)
        elif not isinstance(model.source, PathSource):  # that is a link, as a published variant is
            fetched += files
    per_device = {
        device: _stored(plans, device, links=_links(study.devices[device]))
        for device in study.devices
    }
    # What is transferred once for all runtimes counts once.
    transfers = [_sum({p.session.variant: p.transfer_s for p in _of(plans, d)}) for d in per_device]
    measures = [_sum({p.session: p.measuring.seconds for p in _of(plans, d)}) for d in per_device]
    download_s = Range(*(download / rate for rate in reversed(DOWNLOAD_BYTES_PER_S)))
    transfer_s = Range(*(sum(column) for column in zip(*transfers, strict=True)))
    measure_s = Range(*(max(column) for column in zip(*measures, strict=True)))
    workstation_s = together(found)
    whole = zip(
        download_s,
        *[transfer_s, map(max, zip(measure_s, workstation_s, strict=True))],
        strict=True,
    )
    of_training = (TRAIN, BY_BLOCK)
    kept = sum(stage.disk_bytes for stage in found if stage.stage not in of_training)
    trained = max((s.disk_bytes for s in found if s.stage in of_training), default=0)
    own = sum(size for variant, size in made.items() if not is_published(variant.quant))
    workstation = download + fetched + base + own + kept + trained
    return Totals(
        download_bytes=download,
        workstation_bytes=workstation,
        missing_bytes=max(0, workstation - held_bytes()),
        device_bytes=per_device,
        here=machine,
        stages=found,
        brings=brings(study, variants_of(study), found, machine.cores),
        download_s=download_s,
        transfer_s=transfer_s,
        measure_s=measure_s,
        workstation_s=workstation_s,
        study_s=Range(*(sum(column) for column in whole)),
    )


def _bytes(planned: SessionPlan) -> int:
    return planned.size.file_bytes if planned.size else 0


def _stored(plans: Sequence[SessionPlan], device: str, *, links: bool) -> int:
    """Files of the variants, and beside them for a while the largest prefix of a conversation."""
    own = _of(plans, device)
    files = {p.session.variant: _bytes(p) for p in own}
    saved = [talk.saved_bytes for p in own for talk in p.measuring.talks]
    return (0 if links else sum(files.values())) + max(saved, default=0)


def _links(device: SingleDevice) -> bool:
    """Whether its store is beside the files, so that each is one more name of the same bytes."""
    return isinstance(device, LocalDevice) and device.store is None


def _of(plans: Sequence[SessionPlan], device: str) -> list[SessionPlan]:
    return [p for p in plans if p.session.device == device]


def _sum(times: dict[Hashable, Range | None]) -> Range:
    known = [seconds for seconds in times.values() if seconds]
    return Range(*(sum(column) for column in zip(NOTHING, *known, strict=True)))


# --- boards ---------------------------------------------------------------------------------------


def board_of(study: Study, name: str) -> Board | None:
    """The board behind a device: as it was measured, else its preset, else this machine as it is.

    Returns:
        None for a device behind SSH that names no preset and was never measured.
    """
    device = study.devices[name]
    preset = lying_on(PRESETS[device.preset], device.storage) if device.preset else None
    for session in sessions(study):
        if session.device == name and (record := _record_of(study, session)):
            found = profile_of(record)
            if found:
                return measured(found, preset, name)
    if isinstance(device, LocalDevice) and not preset:
        here = _this_machine(device)
        return measured(here, None, name) if here else None
    return preset


def _with_prompts(study: Study, name: str, known: Mapping[Variant, Model | str]) -> Board | None:
    """A device's board, with the prompt rates that were measured there in place of a preset's."""
    board = board_of(study, name)
    if board is None:
        return None
    found: dict[Kernels, list[float]] = {}
    for session in sessions(study):
        model, runtime = known[session.variant], study.runtimes[session.runtime]
        if session.device != name or not isinstance(model, Model):
            continue
        if runtime.endpoint:  # another engine, maybe another machine
            continue
        record = _record_of(study, session)
        if record is None:
            continue
        try:
            by = by_kernels(model.sizes(session.quant), board, runtime)
        except LlmpiError:  # which the plan of the session tells
            continue
        if len(by) == 1:  # else it would not show which of them was slow
            [(kernel, weights)] = by.items()
            rates = prompt_rates(record, {n: w.prompt_tokens for n, w in _single(study)})
            found.setdefault(kernel, []).extend(2 * weights * rate for rate in rates)
    measured_here = {k: Range(min(v), median(v), max(v)) for k, v in found.items() if v}
    return replace(board, matmul_ops_per_s={**board.matmul_ops_per_s, **measured_here})


def _record_of(study: Study, session: Session) -> SessionRecord | None:
    """What a session came to; None where it was not run or died, or is as another llmpi wrote it,
    so that it will be measured anew."""
    found = result(SessionRecord, layout.BENCH, study=study.study, **session._asdict())
    return found if found["status"] == "ok" else None


def _single(study: Study) -> Iterator[tuple[str, Workload]]:
    for name, workload in study.workloads.items():
        if isinstance(workload, Workload):
            yield name, workload


def seen_by(study: Study, device: str) -> Seen:
    """What sees the power of a device; without a meter it is told at the wall."""
    return "pmic" if study.devices[device].meter.kind == "pmic" else "wall"


def _this_machine(device: LocalDevice) -> Profile | None:
    """Half a second of reading memory; storage is not looked at, a file in it may be in memory."""
    machine, now = environment.machine(), environment.conditions()
    threads = device.threads or capacity.processors()
    speed: Bandwidth = {
        "memory_read_bytes_per_s": bandwidth.memory_read_bytes_per_s(threads),
        "storage_read_bytes_per_s": 0.5e9,
    }
    return profile(machine, now, device.limits.memory if device.limits else None, speed)


# --- one session ----------------------------------------------------------------------------------


def _planned(
    study: Study,
    session: Session,
    known: Mapping[Variant, Model | str],
    boards: Mapping[str, Board | None],
    workloads: Sequence[str],
) -> SessionPlan:
    model = known[session.variant]
    if isinstance(model, str):
        return SessionPlan(session, unknown=model)
    if why := refused(session.variant, model):
        return SessionPlan(session, refused=why)
    if study.runtimes[session.runtime].endpoint:
        return SessionPlan(
            session,
            unknown="what another engine needs behind HTTP, and how fast it is, is not known",
        )
    try:
        quant = as_bytes(session.quant, model, boards)
        draft, board = draft_for(study, session, known), boards[session.device]
        return _on_board(study, session, model, quant, draft, board, workloads)
    except LlmpiError as error:
        return SessionPlan(session, unknown=str(error))


def _on_board(
    study: Study,
    session: Session,
    model: Model,
    quant: str,
    draft: Draft | None,
    board: Board | None,
    workloads: Sequence[str],
) -> SessionPlan:
    size = model.sizes(quant)
    if board is None:
        why = f"the device {session.device} was never measured and names no preset "
        advice = f"({', '.join(PRESETS)}); add one to its config for speeds"
        return SessionPlan(session, size, unknown=why + advice)
    asked = {name: asked_of(study, session.model, name) for name in workloads}
    found = predict(
        model,
        quant,
        board,
        study.runtimes[session.runtime],
        context_tokens=max(one.needed_tokens for one in asked.values()),
        prompt_tokens=max(one.prompt_tokens for one in asked.values()),
        seen=seen_by(study, session.device),
        draft=draft,
    )
    local = study.devices[session.device].is_here
    rates = reversed(board.receive_bytes_per_s)
    return SessionPlan(
        session,
        size,
        found,
        board,
        NOTHING if local else Range(*(found.file_bytes / rate for rate in rates)),
        measuring(
            {name: study.workloads[name] for name in workloads},
            asked,
            found,
            board,
            idle_s=study.devices[session.device].idle_s,
            search_s=60 * study.tune.minutes if study.runtimes[session.runtime].tune else 0,
        ),
    )
