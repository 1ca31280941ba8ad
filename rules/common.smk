"""Functions and the validated study, no rules. Runs at every parse, in every job: keep it light."""

import os
import re
import sys
from pathlib import Path

from llmpi import layout
from llmpi.study.file import ConfigError, parse_study
from llmpi.sources_lock import is_commit, moves, read_lock
from llmpi.quant_types import is_trained, wants_imatrix
from llmpi.study.runs import Session, by_width, next_wider, pairs_of, sessions, stands_for, variants

CONFIG_FILES = [Path(f) for f in workflow.configfiles]
SOURCES_LOCK = (CONFIG_FILES[0].parent if CONFIG_FILES else Path("config")) / layout.SOURCES_LOCK

try:
    study = parse_study(config, CONFIG_FILES)
except ConfigError as error:
    print(f"llmpi: the config has errors:\n{error}", file=sys.stderr)
    sys.exit(1)

# Longest first: where a wildcard ends a name, Q4_0 must not match the beginning of Q4_0-qat.
QUANTS = sorted({v.quant for v in variants(study)} | {layout.BASE_QUANT}, key=len, reverse=True)


wildcard_constraints:
    study=re.escape(study.study),
    model="|".join(map(re.escape, study.models)),
    device="|".join(map(re.escape, study.devices)),
    runtime="|".join(map(re.escape, study.runtimes)),
    quant="|".join(map(re.escape, QUANTS)),
    language="|".join(study.languages),


def slot(device):
    """Name of the resource that stands for a device."""
    name = re.sub(r"\W", "_", device)
    return f"device_{name}"


# One measurement or transfer at a time on each device. A resource without a limit is ignored, so
# that a bare `--cores 4` must find one.
for device in study.devices:
    workflow.global_resources.setdefault(slot(device), 1)

# `resources:` where there is a {device} wildcard: the slot of that device is taken.
DEVICE_SLOTS = {
    slot(device): lambda wildcards, device=device: int(wildcards.device == device)
    for device in study.devices
}


# For a benchmark. One on this machine takes the slots of all: nothing is sent meanwhile.
BENCHMARK_SLOTS = {
    slot(device): lambda wildcards, device=device: int(
        wildcards.device == device or is_local(wildcards.device)
    )
    for device in study.devices
}


def tasks_of(kind):
    """Ids of the study's quality tasks of a kind."""
    return [task for task, spec in study.quality.items() if spec.task == kind]


def squad_tasks(sharded):
    """Ids of the squad tasks whose blocks several jobs share, or of the others."""
    return [task for task in tasks_of("squad") if (study.quality[task].shards > 1) == sharded]


def any_of(names):
    """What a wildcard with these values must match."""
    return "|".join(map(re.escape, names)) or "none"


# The settings of a quality task that concern the answers, not the choice of questions.
ANSWERING = ("max_new_tokens", "context_tokens", "examples", "block_questions")


def project(path):
    """A file of the project, relative to where Snakemake runs: a moved clone reruns nothing."""
    return os.path.relpath(Path(workflow.basedir) / path)


def code(script, *modules):
    """The code behind a step as its inputs, namely its script and the modules that decide its result.

    Snakemake sees no edit of an imported module; small inputs are compared by checksum. A test
    holds every list against what the script really imports.
    """
    return [
        project(f"workflow/scripts/{script}.py"),
        *(project(f"src/llmpi/{module}.py") for module in modules),
    ]


def page_templates():
    """What the page is written with besides Python: its HTML, style and script."""
    folder = Path(workflow.basedir) / "src/llmpi/report/page/templates"
    return [os.path.relpath(file) for file in sorted(folder.iterdir())]


def session_path(pattern, session):
    """A pattern of the layout for one session."""
    return layout.at(pattern, study=study.study, **session._asdict())


def model_source(wildcards):
    return source_spec("model", study.models[wildcards.model].source)


def question_spec(wildcards):
    """What decides which questions are asked."""
    return source_spec("dataset", study.quality[wildcards.task], without=(*ANSWERING, "shards"))


def answer_spec(wildcards):
    """What decides how they are answered."""
    task, descent = study.quality[wildcards.task], study.descent
    found = {key: getattr(task, key) for key in ANSWERING}
    if descent and descent.task == wildcards.task:
        found["descent"] = descent.model_dump()
    return found


def shard_spec(wildcards):
    """What decides a shard's answers: the task's settings, and which part it is (from 0)."""
    shard, shards = map(int, wildcards.shard.split("-of-"))
    return {**answer_spec(wildcards), "shard": [shard - 1, shards]}


def shard_records(wildcards):
    """The shards of a task, in order."""
    shards = study.quality[wildcards.task].shards
    where = dict(wildcards.items())
    return [layout.at(layout.SHARD, **where, shard=f"{i + 1}-of-{shards}") for i in range(shards)]


# What a text is for: to score, to calibrate, to train on.
TEXTS = {task: study.quality[task] for task in tasks_of("divergence")}
TEXTS |= {key: getattr(study, key).text for key in ("calibration", "qat") if getattr(study, key)}


def corpus_spec(wildcards):
    """Where a text comes from: the one source that is named, and what belongs to it."""
    text = TEXTS[wildcards.task]
    part = {"from_pct": text.from_pct, "to_pct": text.to_pct}
    if not text.hub:
        keys = ["text_file"] if text.text_file else ["python_topics"]
        return {"source": {**{key: getattr(text, key) for key in keys}, **part}, "sources_lock": ""}
    hub = {"hub": text.hub, "revision": text.revision, "split": text.split}
    spec = source_spec("dataset", text)
    return {**spec, "source": {**hub, "column": text.column, "config": text.subset, **part}}


def corpus_of(use):
    """The text for a use, made by this study."""
    return layout.at(layout.CORPUS, study=study.study, task=use)


def models_from(scratch):
    """Ids of the models that are made from scratch, or of those that are not."""
    return [name for name, model in study.models.items() if model.is_scratch == scratch]


def imatrix_files(wildcards):
    """The importance matrix of a variant that asks for one."""
    wanted = [layout.IMATRIX, layout.IMATRIX_MANIFEST] if wants_imatrix(wildcards.quant) else []
    return [layout.at(pattern, model=wildcards.model) for pattern in wanted]


def vocabulary_base(wildcards):
    """The file whose vocabulary a model from scratch takes."""
    return layout.at(layout.BASE_GGUF, model=study.models[wildcards.model].source.vocabulary_of)


def trained_from(wildcards):
    """The file that training starts from, and its manifest."""
    scratch = study.models[wildcards.model].is_scratch
    patterns = [layout.START_GGUF, layout.START_MANIFEST]
    if not scratch:
        patterns = [layout.BASE_GGUF, layout.BASE_MANIFEST]
    gguf, manifest = (layout.at(pattern, model=wildcards.model) for pattern in patterns)
    return {"base": ancient(gguf), "base_manifest": manifest}


def training_spec(wildcards):
    """How a model is trained. One from scratch has no teacher."""
    model = study.models[wildcards.model]
    spec = (model.training or study.qat.training).model_dump()
    return {**spec, "distill": False, "hidden_weight": 0} if model.is_scratch else spec


def window_spec(wildcards):
    """How a text is cut and how much of it is taken."""
    task = study.quality[wildcards.task]
    return {key: getattr(task, key) for key in ("window_tokens", "chunks", "max_bytes")}


def prompt_spec(wildcards):
    """What decides how the user's prompts are answered."""
    task = study.quality[wildcards.task]
    return {key: getattr(task, key) for key in ("max_new_tokens", "context_tokens")}


def all_pairs():
    """Ids of all pairs of all A/B tasks."""
    return [pair for task in tasks_of("ab") for pair in pairs_of(study, task)]


def pair_spec(wildcards):
    """Who is compared, and the seed of the sheet."""
    pair = pairs_of(study, wildcards.task)[wildcards.pair]
    return {
        "names": ["/".join(variant) for variant in pair],
        "seed": study.quality[wildcards.task].seed,
    }


def pair_records(wildcards):
    """The two variants' answers."""
    where = {"study": wildcards.study, "task": wildcards.task}
    pair = pairs_of(study, wildcards.task)[wildcards.pair]
    return [layout.at(layout.QUALITY, **where, **variant._asdict()) for variant in pair]


def judgement_files(wildcards):
    """What people saved from the sheets so far."""
    folder = study.quality[wildcards.task].judgements
    return sorted(map(str, Path(folder).glob("*.json"))) if folder else []


def harness_files(wildcards):
    """The user's own task files and their data."""
    folder = study.quality[wildcards.task].include_path
    return sorted(str(p) for p in Path(folder).rglob("*") if p.is_file()) if folder else []


def descends(wildcards):
    """Whether this variant is scored no further than it takes to tell, if wider ones hold."""
    descent = study.descent
    quants = by_width(study, wildcards.model)
    return bool(descent) and descent.task == wildcards.task and wildcards.quant != quants[0]


def reference_record(wildcards):
    """The widest variant's record, where this one is compared while it is scored."""
    return quality_of(wildcards, by_width(study, wildcards.model)[0]) if descends(wildcards) else []


def wider_records(wildcards):
    """The records of the next wider type's variants, which tell whether to go on."""
    wider = next_wider(study, wildcards.model, wildcards.quant) if descends(wildcards) else []
    return [quality_of(wildcards, quant) for quant in wider]


def quality_of(wildcards, quant):
    """The record of another variant of the model."""
    return layout.at(layout.QUALITY, **{**dict(wildcards.items()), "quant": quant})


def source_spec(kind, part, without=()):
    """A source; for a branch of the hub also its lock file, and how often the lock was moved."""
    spec = {"source": part.model_dump(exclude=set(without)), "sources_lock": "", "moves": 0}
    if getattr(part, "hub", None) and not is_commit(part.revision):
        spec["sources_lock"] = os.path.relpath(SOURCES_LOCK)
        spec["moves"] = moves(read_lock(SOURCES_LOCK), kind, part.hub, part.revision)
    return spec


def path_of(part, key):
    """A file or folder the user named, as an input; nothing where the source is another."""
    return getattr(part, key, None) or []


def device_spec(wildcards):
    """How a device is reached and measured; what group it is in changes nothing."""
    return study.devices[wildcards.device].model_dump(exclude={"group"})


def session_spec(wildcards):
    """What decides how a session is measured."""
    session = Session(*(getattr(wildcards, key) for key in Session._fields))
    return {
        "device": device_spec(wildcards),
        "runtime": study.runtimes[session.runtime].model_dump(exclude={"tune"}),
        "workloads": {w: study.workloads[w].model_dump() for w in sessions(study)[session]},
    }


def tune_spec(wildcards):
    """What decides how settings are searched for a session: for conversations one by one."""
    found = session_spec(wildcards)
    single = {w: s for w, s in found["workloads"].items() if w in study.single_workloads}
    return {**found, "workloads": single, "tune": study.tune.model_dump(mode="json")}


def tuned_record(wildcards):
    """The settings that were found, for a runtime that is tuned."""
    tuned = study.runtimes[wildcards.runtime].tune
    return layout.at(layout.TUNED, **dict(wildcards.items())) if tuned else []


def is_local(device):
    return study.devices[device].transport == "local"


def device_threads(wildcards):
    """A benchmark on this machine has the machine to itself; a remote one only waits.

    Threads are not counted where other machines compute: see BENCHMARK_SLOTS.
    """
    return workflow.cores if is_local(wildcards.device) else 1


def wheel_for_ssh(wildcards):
    """This machine runs llmpi's sources; any other device needs the wheel."""
    return {} if is_local(wildcards.device) else {"wheel": layout.WHEEL}


def study_records():
    """Everything the summary reads."""
    measured, found = sessions(study), variants(study)
    return {
        "models": [layout.at(layout.MODEL_MANIFEST, model=m) for m in {v.model: 0 for v in found}],
        "gguf": [layout.at(layout.GGUF_MANIFEST, **v._asdict()) for v in found],
        "devices": [
            layout.at(layout.PROVISIONED, device=d) for d in {s.device: 0 for s in measured}
        ],
        "bench": [session_path(layout.BENCH, session) for session in measured],
        "tuned": [
            session_path(layout.TUNED, s) for s in measured if study.runtimes[s.runtime].tune
        ],
        "questions": [
            layout.at(layout.QUESTIONS, study=study.study, task=t) for t in tasks_of("squad")
        ],
        "quality": quality_records(),
        "pairs": [
            layout.at(layout.AB, study=study.study, task=task, pair=pair)
            for task in tasks_of("ab")
            for pair in pairs_of(study, task)
        ],
        "parity": parity_records(measured),
    }


def quality_records():
    return [
        layout.at(layout.QUALITY, study=study.study, task=task, **variant._asdict())
        for variant in variants(study)
        for task in study.quality
    ]


def parity_records(measured):
    """Where quality is scored on one machine and speed measured on another; once in a group."""
    there = [session for session in measured if study.quality and not is_local(session.device)]
    checked = [
        session._replace(device=stands_for(study, session.device, session.variant))
        for session in there
    ]
    return list(dict.fromkeys(session_path(layout.PARITY, session) for session in checked))
