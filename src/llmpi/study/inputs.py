"""Which files of `results/` each step of a study takes."""

from pathlib import Path

from llmpi import layout
from llmpi.quant_types import (
    RATED_WITH,
    is_mix,
    is_published,
    is_rounded,
    is_trained,
    rated_on,
    wants_imatrix,
)
from llmpi.study.computation import DEFAULT
from llmpi.study.quality import QualityTask
from llmpi.study.runs import (
    Scored,
    Session,
    asked_over_http,
    by_width,
    compared_by_engine,
    draft_of,
    made,
    next_wider,
    pairs_of,
    scored,
    sessions,
    stands_for,
    variants,
)
from llmpi.study.settings import is_here
from llmpi.study.study import Study
from llmpi.study.tasks.ab import AbTask
from llmpi.study.tasks.divergence import DivergenceTask
from llmpi.study.tasks.lm_eval import LmEvalTask
from llmpi.study.tasks.squad import SquadTask


def tasks_of(study: Study, kind: str) -> list[str]:
    """Ids of the study's quality tasks of a kind."""
    return [task for task, asked in study.quality.items() if asked.task == kind]


def squad_tasks(study: Study, *, sharded: bool) -> list[str]:
    """Ids of the squad tasks whose blocks several jobs share, or of the others."""
    return [task for task, asked in study.squad_tasks.items() if (asked.shards > 1) == sharded]


def models(study: Study, *, from_scratch: bool) -> list[str]:
    """Ids of the models that are made from scratch, or of those that are not."""
    return [name for name, model in study.models.items() if model.is_scratch == from_scratch]


def needs_base(study: Study, model: str) -> bool:
    """Whether a model's F16 is made: of a variant that is not published, a text's reference, or
    what another takes its vocabulary of."""
    quantized = any(v.model == model and not is_published(v.quant) for v in made(study))
    compared = any(isinstance(task, DivergenceTask) for task in study.quality.values())
    taken = any(getattr(m.source, "vocabulary_of", None) == model for m in study.models.values())
    return quantized or compared or taken


def fetched_from(study: Study, model: str) -> list[str]:
    """Files and folders of this machine that a model is taken from."""
    return [path for source in study.models[model].sources for path in named(source, "path")]


def imatrix(model: str, quant: str) -> list[str]:
    """The importance matrix of a variant that asks for one, and its manifest."""
    wanted = [layout.IMATRIX, layout.IMATRIX_MANIFEST] if wants_imatrix(quant) else []
    return [layout.at(pattern, model=model) for pattern in wanted]


def mix(model: str, quant: str) -> list[str]:
    """What was searched for a mix."""
    return [layout.at(layout.MIX, model=model, quant=quant)] if is_mix(quant) else []


def made_with(study: Study, model: str, quant: str) -> list[str]:
    """The texts that a variant is made with."""
    calibrated = wants_imatrix(quant) or is_mix(quant) or is_rounded(quant)
    trained = is_trained(quant) or study.models[model].is_scratch
    uses = {"calibration": calibrated, "qat": trained}
    return [
        layout.at(layout.CORPUS, study=study.study, task=use)
        for use, needed in uses.items()
        if needed
    ]


def rates(model: str, quant: str) -> list[str]:
    """The rates of the board that a variant is made for."""
    device = rated_on(quant)
    return [layout.at(layout.RATES, device=device, model=model)] if device else []


def rated_with(pattern: str, model: str, device: str = "") -> str:
    """A file of what is decoded for the rates of a board."""
    return layout.at(pattern, quant=RATED_WITH, model=model, device=device)


def vocabulary(study: Study, model: str) -> tuple[str, str]:
    """The file whose vocabulary a model from scratch takes, and its manifest."""
    other = study.models[model].source.vocabulary_of  # type: ignore[union-attr]  # from scratch
    return layout.at(layout.BASE_GGUF, model=other), layout.at(layout.BASE_MANIFEST, model=other)


def trained_from(study: Study, model: str) -> tuple[str, str]:
    """The file that training starts from, and its manifest."""
    scratch = study.models[model].is_scratch
    gguf = layout.START_GGUF if scratch else layout.BASE_GGUF
    manifest = layout.START_MANIFEST if scratch else layout.BASE_MANIFEST
    return layout.at(gguf, model=model), layout.at(manifest, model=model)


def shards(study: Study, asked_of: Scored, task: str) -> list[str]:
    """The shards of a task, in order."""
    asked = study.quality[task]
    assert isinstance(asked, SquadTask)
    where = {"study": study.study, "task": task, **asked_of._asdict()}
    return [
        layout.at(layout.SHARD, **where, shard=f"{i + 1}-of-{asked.shards}")
        for i in range(asked.shards)
    ]


def all_pairs(study: Study) -> list[str]:
    """Ids of all pairs of all A/B tasks."""
    return [pair for task in tasks_of(study, "ab") for pair in pairs_of(study, task)]


def pair(study: Study, task: str, pair: str) -> list[str]:
    """The two variants' answers."""
    return [
        asked(study, one, task) if isinstance(one, Session) else scores(study, Scored(*one), task)
        for one in pairs_of(study, task)[pair]
    ]


def judgements(study: Study, task: str) -> list[str]:
    """What people saved from the sheets so far."""
    asked = study.quality[task]
    folder = asked.judgements if isinstance(asked, AbTask) else None
    return sorted(map(str, Path(folder).glob("*.json"))) if folder else []


def harness(study: Study, task: str) -> list[str]:
    """The user's own task files and their data."""
    asked = study.quality[task]
    folder = asked.include_path if isinstance(asked, LmEvalTask) else None
    return sorted(str(p) for p in Path(folder).rglob("*") if p.is_file()) if folder else []


def reference(study: Study, asked_of: Scored, task: str) -> list[str]:
    """The widest variant's record, where this one is compared while it is scored."""
    if not _descends(study, asked_of, task) or asked_of.computation != DEFAULT:
        return []
    return [scores(study, Scored(asked_of.model, by_width(study, asked_of.model)[0]), task)]


def wider(study: Study, asked_of: Scored, task: str) -> list[str]:
    """The records of the next wider type's variants, which tell whether to go on."""
    if not _descends(study, asked_of, task) or asked_of.computation != DEFAULT:
        return []
    model, quant = asked_of.variant
    return [scores(study, Scored(model, q), task) for q in next_wider(study, model, quant)]


def by_default(study: Study, asked_of: Scored, task: str) -> list[str]:
    """The record of the same variant by default: what a descent skips there is skipped here."""
    if not _descends(study, asked_of, task) or asked_of.computation == DEFAULT:
        return []
    return [scores(study, Scored(*asked_of.variant), task)]


def _descends(study: Study, asked_of: Scored, task: str) -> bool:
    """Whether a variant is scored no further than it takes to tell, if wider ones hold: what is
    made here of one type; what was published is scored as it is, and so is a mix."""
    descent, quant = study.descent, asked_of.quant
    if descent is None or descent.task != task or is_published(quant) or is_mix(quant):
        return False
    return quant != by_width(study, asked_of.model)[0]


def scores(study: Study, asked_of: Scored, task: str) -> str:
    """The record of a task."""
    return layout.at(layout.QUALITY, study=study.study, task=task, **asked_of._asdict())


def sampled(study: Study, workload: str) -> str:
    """The questions that a workload draws from."""
    task = study.answer_workloads[workload].task
    return study.quality[task].questions_file(study.study, task)


def samples(study: Study, session: Session) -> list[str]:
    """What a session asks of questions, workload by workload."""
    variant = {"study": study.study, **session.variant._asdict()}
    asked = [name for name in sessions(study)[session] if name in study.answer_workloads]
    return [layout.at(layout.SAMPLE, **variant, workload=name) for name in asked]


def of_session(pattern: str, study: Study, session: Session) -> str:
    """A file of a session."""
    return layout.at(pattern, study=study.study, **session._asdict())


def draft(pattern: str, study: Study, session: Session) -> list[str]:
    """A file of what drafts tokens for a session, where a model does."""
    found = draft_of(study, session)
    at = {"device": session.device, **found._asdict()} if found else {}
    return [layout.at(pattern, **at)] if found else []


def deployed(study: Study) -> list[str]:
    """The receipt of every file on every device: of what is measured there, and of what drafts."""
    own = [of_session(layout.RECEIPT, study, session) for session in sessions(study)]
    drafting = [path for s in sessions(study) for path in draft(layout.RECEIPT, study, s)]
    return list(dict.fromkeys([*own, *drafting]))


def tuned(study: Study, session: Session) -> list[str]:
    """The settings that were found, for a runtime that is tuned."""
    is_tuned = study.runtimes[session.runtime].tune
    return [of_session(layout.TUNED, study, session)] if is_tuned else []


def engine_wheels(study: Study) -> list[str]:
    """Wheels of the user's own making that are compared."""
    return [engine.wheel for engine in study.engines.values() if engine.wheel]


def by_engine(study: Study) -> list[str]:
    """Every comparison of engines."""
    return [of_session(layout.BY_ENGINE, study, one) for one in compared_by_engine(study)]


def named(part: QualityTask | object, key: str) -> list[str]:
    """A file or folder that the user named; nothing where the source is another."""
    path = getattr(part, key, None)
    return [path] if path else []


def records(study: Study) -> dict[str, list[str]]:
    """Everything the summary reads."""
    measured, found = sessions(study), variants(study)
    order = {model: by_width(study, model) for model in study.models}
    models, devices = (
        dict.fromkeys(v.model for v in found),
        dict.fromkeys(s.device for s in measured),
    )
    return {
        "models": [layout.at(layout.MODEL_MANIFEST, model=model) for model in models],
        "gguf": [layout.at(layout.GGUF_MANIFEST, **variant._asdict()) for variant in found],
        "devices": [layout.at(layout.PROVISIONED, device=device) for device in devices],
        "bench": [of_session(layout.BENCH, study, session) for session in measured],
        "tuned": [path for session in measured for path in tuned(study, session)],
        "by_engine": by_engine(study),
        "quality": quality(study),
        "tasks": [
            path
            for task, asked in study.quality.items()
            for path in asked.summary_files(study.study, task, order)
        ],
        "parity": parity(study),
    }


def quality(study: Study) -> list[str]:
    """Every record of a quality task."""
    here = [scores(study, one, task) for one in scored(study) for task in study.quality]
    return here + [asked(study, *one) for one in asked_over_http(study)]


def asked(study: Study, session: Session, task: str) -> str:
    """What an endpoint answered to the questions of a task."""
    return layout.at(layout.ASKED, study=study.study, task=task, **session._asdict())


def service(study: Study) -> list[str]:
    """What the services of its devices were seen to carry, where somebody measured that."""
    devices = study.devices if study.service else []
    every = [layout.at(layout.SERVICE, study=study.study, device=device) for device in devices]
    return [path for path in every if Path(path).is_file()]


def parity(study: Study) -> list[str]:
    """Where quality is scored on one machine and speed measured on another; once in a group."""
    ours = [s for s in sessions(study) if not study.runtimes[s.runtime].endpoint]
    there = [s for s in ours if study.quality and not is_here(study, s.device)]
    checked = [s._replace(device=stands_for(study, s.device, s.variant)) for s in there]
    return list(dict.fromkeys(of_session(layout.PARITY, study, session) for session in checked))
