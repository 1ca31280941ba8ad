"""Whether the sections of a study go together. One idea each; `Study` asks them in this order.

Each raises a `PydanticCustomError` with, as `loc`, the place in the config that is to be mended.
"""

from collections.abc import Collection, Mapping, Sequence

from pydantic_core import PydanticCustomError

from llmpi.quant_types import (
    FLOATS,
    PUBLISHED,
    is_mix,
    is_published,
    is_rounded,
    is_trained,
    rated_on,
    wants_imatrix,
)
from llmpi.study.decision import Constraints, Cost
from llmpi.study.devices import SingleDevice, SshDevice
from llmpi.study.engines import ComparedEngine
from llmpi.study.exclude import Exclude
from llmpi.study.fields import Loc, check_name
from llmpi.study.measuring import AnswersWorkload, AnyWorkload, Runtime, Workload
from llmpi.study.meters import OnDevice
from llmpi.study.models import Model, ScratchSource
from llmpi.study.quality import Descent, Gate
from llmpi.study.service import ServedVariant, Service
from llmpi.study.task import Task
from llmpi.study.tasks.squad import SquadTask
from llmpi.study.training import Calibration, Qat
from llmpi.study.tuning import Tune

Quants = Mapping[str, Sequence[str]]
"""Model -> its quantizations."""


def one_is_single(workloads: Mapping[str, AnyWorkload]) -> None:
    if not any(isinstance(asked, Workload) for asked in workloads.values()):
        raise PydanticCustomError(
            "single",
            "one workload of the kind single is needed, beside which other kinds are shown",
            {},
        )


def gates_name_tasks(gates: Sequence[Gate], squad_tasks: Collection[str]) -> None:
    for i, gate in enumerate(gates):
        check_name(gate.task, squad_tasks, "squad task", "quality", ("gates", i, "task"))


def descent_can_stop(descent: Descent | None, squad_tasks: Mapping[str, SquadTask]) -> None:
    """Its task is asked by one job, which may stop after any block."""
    if descent is None:
        return
    check_name(descent.task, squad_tasks, "squad task", "quality", ("descent", "task"))
    if squad_tasks[descent.task].shards > 1:
        raise PydanticCustomError(
            "shards",
            "the descent asks '{task}' block by block, no further than it takes to tell: "
            "take its 'shards' out, or descend on another task",
            {"task": descent.task, "loc": ("quality", descent.task, "shards")},
        )


def thoughts_fit(models: Mapping[str, Model], tasks: Mapping[str, Task]) -> None:
    """A thought and an answer leave room for a prompt in the context of each task."""
    for name, model in models.items():
        for task, asked in tasks.items():
            context, thought = getattr(asked, "context_tokens", None), model.thinking_tokens
            if context and thought and thought + getattr(asked, "max_new_tokens", 0) >= context:
                raise PydanticCustomError(
                    "thinking",
                    "{thought} tokens of thought and an answer leave no room for a prompt in the "
                    "{context} tokens of quality.{task}.context_tokens: raise those, or think less",
                    {
                        "thought": thought,
                        "context": context,
                        "task": task,
                        "loc": ("models", name, "thinking"),
                    },
                )


def samples_are_of_tasks(
    workloads: Mapping[str, AnswersWorkload], tasks: Mapping[str, Task]
) -> None:
    """Each asks questions of a task of its own, which are answered on a device as when scored."""
    answering = [name for name, task in tasks.items() if task.ANSWERS]
    taken: dict[str, str] = {}
    for name, asked in workloads.items():
        place: Loc = ("workloads", name, "task")
        check_name(asked.task, answering, "task with questions", "quality", place)
        task = tasks[asked.task]
        if other := taken.get(asked.task):
            raise PydanticCustomError(
                "sample",
                "{other} has a sample of '{task}' already: one is enough, with more questions",
                {"other": other, "task": asked.task, "loc": place},
            )
        taken[asked.task] = name
        if key := task.unlike_on_a_board:
            raise PydanticCustomError(
                "sample",
                "answers of '{task}' are made with {key}, as no device makes them here: a task "
                "without it can be sampled",
                {"task": asked.task, "key": key, "loc": place},
            )
        most = getattr(task, task.BOUND, None) if task.BOUND else None
        if most is not None and asked.questions > most:
            raise PydanticCustomError(
                "sample",
                "'{task}' asks {most} questions, and no {wanted} can be drawn of them",
                {
                    "task": asked.task,
                    "most": most,
                    "wanted": asked.questions,
                    "loc": ("workloads", name, "questions"),
                },
            )


def weights_name_workloads(tune: Tune, workloads: Collection[str]) -> None:
    for name in tune.weights:
        check_name(name, workloads, "workload", "workloads", ("tune", "weights", name))


def energy_is_metered_there(
    tune: Tune, runtimes: Mapping[str, Runtime], devices: Mapping[str, SingleDevice]
) -> None:
    """A turn of a search takes seconds: who looks each second, or afterwards, sees too little."""
    if tune.objective != "energy" or not any(runtime.tune for runtime in runtimes.values()):
        return
    for name, device in devices.items():
        if not isinstance(device.meter, OnDevice):
            raise PydanticCustomError(
                "objective",
                "energy needs a meter that the device reads itself (pmic, hwmon or rapl), and "
                "devices.{device}.meter is of kind {kind}: give it one, or tune for total",
                {"device": name, "kind": device.meter.kind, "loc": ("tune", "objective")},
            )


def exclusions_name_parts(exclude: Sequence[Exclude], known: Mapping[str, Collection[str]]) -> None:
    """
    Args:
        known: key of an exclusion -> what it may name.
    """
    for i, rule in enumerate(exclude):
        for key, names in known.items():
            name = getattr(rule, key)
            if name is not None:
                check_name(name, names, key, f"{key}s", ("exclude", i, key))


OF_ANSWERS = ("answer_s_at_most", "answer_s_p95_at_most", "j_per_right_answer_at_most")
"""Constraints on what an answer takes."""


def constraints_can_be_held(
    constraints: Constraints | None,
    single_workloads: Collection[str],
    squad_tasks: Collection[str],
    answering_tasks: Collection[str],
) -> None:
    if constraints is None:
        return
    if workload := constraints.workload:
        place = ("constraints", "workload")
        check_name(workload, single_workloads, "single workload", "workloads", place)
    if task := constraints.task:
        check_name(task, squad_tasks, "squad task", "quality", ("constraints", "task"))
    for key in OF_ANSWERS:
        if getattr(constraints, key) is not None and not answering_tasks:
            raise _section_needed(
                f"{key} needs a task with answers under 'quality', such as squad",
                ("constraints", key),
            )
    if constraints.f1_drop_at_most is not None and not squad_tasks:
        raise _section_needed(
            "f1_drop_at_most needs a task of the kind squad under 'quality'",
            ("constraints", "f1_drop_at_most"),
        )


def cost_names_devices(cost: Cost | None, classes: Collection[str]) -> None:
    if cost is None:
        return
    named: list[tuple[Loc, str]] = [(("cost", "hardware", name), name) for name in cost.hardware]
    if cost.hat:
        named += [(("cost", "hat", key), name) for key, name in cost.hat]
    for place, name in named:
        check_name(name, classes, "device", "devices", place)


def service_names_devices(service: Service | None, reachable: Collection[str]) -> None:
    """
    Args:
        reachable: devices behind SSH, and groups of them.
    """
    for i, name in enumerate(service.devices if service else []):
        place = ("service", "devices", i)
        check_name(name, reachable, "device behind SSH", "devices", place)


def service_has_a_variant(
    service: Service | None,
    quants: Quants,
    runtimes: Mapping[str, Runtime],
    constraints: Constraints | None,
) -> None:
    """The one it names can be served, or the study recommends one."""
    if service is None:
        return
    where = ("service", "variant")
    named = service.variant
    if not isinstance(named, ServedVariant):
        if constraints is None:
            raise _section_needed("a recommended variant needs the section 'constraints'", where)
        return
    check_name(named.model, quants, "model", "models", (*where, "model"))
    check_name(named.quant, quants[named.model], "quant", "quants", (*where, "quant"))
    check_name(named.runtime, runtimes, "runtime", "runtimes", (*where, "runtime"))
    if runtimes[named.runtime].endpoint:
        raise PydanticCustomError(
            "endpoint",
            "what stands behind an endpoint is served already; choose a runtime of llmpi's engine",
            {"loc": (*where, "runtime")},
        )


def drafts_are_variants(runtimes: Mapping[str, Runtime], quants: Quants) -> None:
    """What drafts is made and sent as any other file, and drafts for another one."""
    for name, runtime in runtimes.items():
        if (draft := runtime.draft) is None:
            continue
        where = ("runtimes", name, "draft")
        if draft.model:
            check_name(draft.model, quants, "model", "models", (*where, "model"))
        models = [draft.model] if draft.model else [*quants]
        for model in models:
            check_name(draft.quant, quants[model], "quant", "quants", (*where, "quant"))
        others = [
            (model, quant)
            for model, own in quants.items()
            for quant in own
            if (model, quant) != (draft.model or model, draft.quant)
        ]
        if not others:
            raise PydanticCustomError(
                "draft",
                "{quant} is the only variant, and would draft for itself: add a wider one to "
                "quants",
                {"quant": draft.quant, "loc": (*where, "quant")},
            )


def endpoints_serve_variants(
    runtimes: Mapping[str, Runtime], quants: Quants, limited: Sequence[str]
) -> None:
    """
    Args:
        limited: devices that are measured as smaller ones.
    """
    for name, runtime in runtimes.items():
        if runtime.endpoint is None:
            continue
        for i, served in enumerate(runtime.endpoint.serves):
            where = ("runtimes", name, "endpoint", "serves", i)
            check_name(served.model, quants, "model", "models", (*where, "model"))
            check_name(served.quant, quants[served.model], "quant", "quants", (*where, "quant"))
        if limited:
            raise PydanticCustomError(
                "limits",
                "the limits of {device} would hold the client and not the endpoint {name}; give "
                "the server itself less, and leave them out",
                {"device": limited[0], "name": name, "loc": ("devices", limited[0], "limits")},
            )


def engines_can_be_compared(
    engines: Mapping[str, ComparedEngine],
    devices: Mapping[str, SingleDevice],
    runtimes: Mapping[str, Runtime],
) -> None:
    """What is to be made is made here, for each device; and there is a runtime to compare with."""
    if engines and not any(runtime.is_of_one_model for runtime in runtimes.values()):
        raise PydanticCustomError(
            "endpoint",
            "an endpoint has an engine of its own, and a draft model is one too many: there is no "
            "other runtime to compare engines with",
            {"loc": ("engines",)},
        )
    native = [n for n, d in devices.items() if isinstance(d, SshDevice) and d.engine == "native"]
    made = [name for name, engine in engines.items() if not engine.wheel]
    if native and made:
        raise PydanticCustomError(
            "native",
            "the engine of {device} is compiled there ('engine: native'), and engines to compare "
            "are made here: name a 'wheel' of {engine}, or let {device} have a cross-built engine",
            {"device": native[0], "engine": made[0], "loc": ("engines",)},
        )


def files_are_published(models: Mapping[str, Model], quants: Sequence[str]) -> None:
    """What a model is to have as it was published is in its source, and what is fetched is asked
    for."""
    for name, model in models.items():
        asked = [quant for quant in model.quants or quants if is_published(quant)]
        place: Loc = ("models", name, "quants") if model.quants else ("quants",)
        if asked and not model.published:
            raise PydanticCustomError(
                "published",
                "the source of {model} names no GGUF file that could be taken as it was published: "
                "name one as 'file', or give the model 'quants' of its own",
                {"model": name, "loc": place},
            )
        for quant in asked:
            known = [PUBLISHED, *model.published]
            check_name(quant, known, "published file", f"models.{name}.source", place)
        if model.checkpoint and not FLOATS.intersection(model.quants or quants):
            raise PydanticCustomError(
                "checkpoint",
                "{model} has a 'checkpoint' that its published files are held against, and no "
                "variant is made of it in full: add F16 to its quants",
                {"model": name, "loc": place},
            )
        if (model.checkpoint or len(model.published) > 1) and not asked:
            raise PydanticCustomError(
                "published",
                "{model} has '{files}', and none is a variant: add {published} to its quants",
                {
                    "model": name,
                    "files": "files" if len(model.published) > 1 else "checkpoint",
                    "published": PUBLISHED,
                    "loc": place,
                },
            )


def variants_can_be_made(
    models: Mapping[str, Model], quants: Quants, calibration: Calibration | None, qat: Qat | None
) -> None:
    """What a variant is made with has its section; a new model has a vocabulary to take."""
    ready = [name for name, model in models.items() if not model.is_scratch]
    for name, model in models.items():
        if isinstance(model.source, ScratchSource):
            place = ("models", name, "source", "vocabulary_of")
            check_name(model.source.vocabulary_of, ready, "model that exists", "models", place)
            if not qat:
                raise _text_needed("qat", f"{name} is to be trained from scratch")
        for quant in quants[name]:
            if wants_imatrix(quant) and not calibration:
                raise _text_needed("calibration", f"{quant} needs an importance matrix")
            if is_mix(quant) and not calibration:
                raise _text_needed("calibration", f"the types of {quant} are searched on a text")
            if is_rounded(quant) and not calibration:
                raise _text_needed("calibration", f"the rounding of {quant} is learned on a text")
            if is_trained(quant) and not qat:
                raise _text_needed("qat", f"{quant} is to be trained")


def mixes_name_devices(
    models: Mapping[str, Model],
    quants: Sequence[str],
    boards: Mapping[str, Sequence[str]],
    runtimes: Mapping[str, Runtime],
) -> None:
    """A mix by a budget of time is for one board, whose engine can be timed.

    Args:
        quants: of the models that have no list of their own.
        boards: by device or group, its devices.
    """
    devices = [device for found in boards.values() for device in found]
    lists: dict[Loc, Sequence[str]] = {("quants",): quants}
    lists |= {("models", name, "quants"): model.quants or [] for name, model in models.items()}
    asked = [((*at, i), quant) for at, listed in lists.items() for i, quant in enumerate(listed)]
    for place, quant in asked:
        if not (device := rated_on(quant)):
            continue
        if device not in devices and device in boards:
            raise PydanticCustomError(
                "group",
                "{device} is a group, and its boards differ: name one of them, such as {board}",
                {"device": device, "board": boards[device][0], "loc": place},
            )
        check_name(device, devices, "device", "devices", place)
        if all(runtime.endpoint for runtime in runtimes.values()):
            raise PydanticCustomError(
                "endpoint",
                "what stands behind an endpoint tells no time of a type: {quant} needs a runtime "
                "of llmpi's own engine",
                {"quant": quant, "loc": place},
            )


def _section_needed(message: str, loc: Loc) -> PydanticCustomError:
    return PydanticCustomError("section_needed", message, {"loc": loc})


def _text_needed(key: str, why: str) -> PydanticCustomError:
    return PydanticCustomError(
        "section_needed",
        "{why}: add the section '{key}', with a 'text'",
        {"key": key, "why": why, "loc": ()},
    )
