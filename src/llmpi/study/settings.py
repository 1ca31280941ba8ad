"""What of a study decides each step: the parameters of the rules, as plain values.

Snakemake redoes a step whose parameters change, so each holds what the step's result depends on and
nothing else. One mapping a rule, since Snakemake compares the values without their names.
"""

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

from llmpi.quant_types import TENSOR_TYPES
from llmpi.sources_lock import Kind, is_commit, moves, read_lock
from llmpi.study.computation import BY_ID, DEFAULT
from llmpi.study.fields import Part, TextSource
from llmpi.study.runs import Session, draft_of, pairs_of, sessions
from llmpi.study.study import Study
from llmpi.study.tasks.ab import AbTask
from llmpi.study.tasks.divergence import DivergenceTask
from llmpi.study.tasks.squad import SquadTask

Settings = dict[str, Any]
"""Plain values, as YAML has them: what they are is said by the models of `llmpi.study`."""

ANSWERING = (
    *("max_new_tokens", "context_tokens", "examples", "prompt"),
    *("language", "block_questions"),
)
"""Settings of a quality task that concern the answers, not the choice of questions."""

ANSWERED = ("examples", "prompt", "max_new_tokens", "context_tokens")
"""Those of them on which the tokens hang that a model is asked."""

ASKED_WITH = frozenset({"max_new_tokens", "examples", "prompt", "language"})
"""What an endpoint is asked with, of those that a task has."""

REACHING = (
    *("transport", "host", "port", "user", "identity_file", "known_hosts", "host_key"),
    *("connect_timeout_s", "store"),
)
"""Keys of a device that say which one it is, and where llmpi lies there."""
PROVISIONING = (*REACHING, "python", "engine", "march")
DEPLOYING = (*REACHING, "quota")
PREDICTING = (*DEPLOYING, "threads")
RATING = (*REACHING, "threads", "limits")
"""What idles, cools or meters is not asked for: rates that are measured anew are another file."""
DECODING = (
    *("threads", "kv_cache", "flash_attention", "mmap", "mlock", "lazy", "repack"),
    "omp_wait_policy",
)
"""Settings of a runtime that a token by itself may hang on."""
UNMEASURED = ("group", "preset", "server_wheel")
"""Keys of a device that are for the report, the plan and the service."""


def model(study: Study, model: str, lock: Path) -> Settings:
    """Where a model comes from, and the checkpoint that stands beside its files."""
    asked = study.models[model]
    found = _source("model", asked.source, lock)
    if asked.checkpoint:
        beside = _source("model", asked.checkpoint, lock)
        found["lock"] = found["lock"] or beside["lock"]
        found["moves"] += beside["moves"]
    return found


def questions(study: Study, task: str, lock: Path) -> Settings:
    """Which questions are asked."""
    asked = study.quality[task]
    return _source("dataset", asked, lock, without=(*ANSWERING, *asked.JUDGING, "shards"))


def computation(computation: str) -> Settings:
    """How the engine computes, by the id."""
    return BY_ID[computation]._asdict()


def answers(study: Study, model: str, task: str, computed: str) -> Settings:
    """How a model answers them.

    Args:
        computed: id of a computation; a descent goes down the default's alone.
    """
    asked, descent = _squad(study, task), study.descent
    found: Settings = {key: getattr(asked, key) for key in ANSWERING}
    found |= _asking(study, model, computed)
    if descent and descent.task == task and computed == DEFAULT:
        found["descent"] = descent.model_dump()
    return found


def asking(study: Study, session: Session, task: str) -> Settings:
    """How an endpoint is asked them, from where."""
    asked = study.quality[task]
    keys = ASKED_WITH.intersection(type(asked).model_fields)
    spec = {key: getattr(asked, key) for key in sorted(keys)}
    spec["thinking_tokens"] = study.models[session.model].thinking_tokens
    endpoint = study.runtimes[session.runtime].endpoint
    assert endpoint
    return {
        "device": study.devices[session.device].model_dump(include={*REACHING}),
        "endpoint": endpoint.model_dump(),
        "questions": spec,
    }


def sample(study: Study, model: str, workload: str) -> Settings:
    """Which questions a device is to answer, and how a model is asked them."""
    wanted = study.answer_workloads[workload]
    asked = study.quality[wanted.task]
    how = {key: getattr(asked, key, None) for key in ANSWERED}
    return {
        "kind": asked.task,
        "task": wanted.task,
        "questions": wanted.questions,
        "seed": wanted.seed,
        "thinking_tokens": study.models[model].thinking_tokens,
        **how,
    }


def shard(study: Study, model: str, task: str, computed: str, shard: str) -> Settings:
    """The same for a shard, with which part it is (from 0) of how many."""
    number, shards = map(int, shard.split("-of-"))
    return {**answers(study, model, task, computed), "shard": (number - 1, shards)}


def own_prompts(study: Study, model: str, task: str, computed: str) -> Settings:
    """How a model answers the user's prompts."""
    asked = study.quality[task]
    assert isinstance(asked, AbTask)
    keys = ("max_new_tokens", "context_tokens", "grammar")
    found: Settings = {key: getattr(asked, key) for key in keys}
    return {**found, **_asking(study, model, computed)}


def pair(study: Study, task: str, pair: str) -> Settings:
    """Who is compared, and the seed of the sheet."""
    asked = study.quality[task]
    assert isinstance(asked, AbTask)
    names = ["/".join(variant) for variant in pairs_of(study, task)[pair]]
    return {"names": names, "seed": asked.seed}


def windows(study: Study, task: str) -> Settings:
    """How a text is cut and how much of it is taken."""
    asked = study.quality[task]
    assert isinstance(asked, DivergenceTask)
    return {key: getattr(asked, key) for key in ("window_tokens", "chunks", "max_bytes")}


def harness(study: Study, model: str, task: str, computed: str) -> Settings:
    """How a model is asked the tasks of the lm-evaluation-harness."""
    asked = study.quality[task]
    settings = asked.model_dump(exclude={"task", *asked.JUDGING})
    return {**settings, **_asking(study, model, computed)}


def texts(study: Study) -> dict[str, TextSource]:
    """The texts of a study by what they are for: to score, to calibrate, to train on."""
    scored = {t: asked for t, asked in study.quality.items() if isinstance(asked, DivergenceTask)}
    made_with = {"calibration": study.calibration, "qat": study.qat}
    return scored | {use: part.text for use, part in made_with.items() if part}


def corpus(study: Study, use: str, lock: Path) -> Settings:
    """Where a text comes from: the one source that is named, and what belongs to it."""
    text = texts(study)[use]
    part = {"from_pct": text.from_pct, "to_pct": text.to_pct}
    if not text.hub:
        key = "text_file" if text.text_file else "python_topics"
        return {"source": {key: getattr(text, key), **part}, "lock": "", "moves": 0}
    hub = {key: getattr(text, key) for key in ("hub", "revision", "subset", "split", "column")}
    return {**_source("dataset", text, lock), "source": {**hub, **part}}


def mixing(study: Study) -> Settings:
    """How the types of a mix are searched."""
    return {"windows": study.mix.windows, "types": list(study.mix.types or TENSOR_TYPES)}


def rounding(study: Study) -> Settings:
    """How roundings are learned."""
    return study.rounding.model_dump()


def training(study: Study, model: str) -> Settings:
    """How a model is trained. One from scratch has no teacher."""
    asked = study.models[model]
    assert study.qat
    spec = (asked.training or study.qat.training).model_dump()
    alone = {"distill": False, "by_block": None, "hidden_weight": 0}
    return spec | alone if asked.is_scratch else spec


def provisioning(study: Study, device: str) -> Settings:
    """What a device is made ready with."""
    return study.devices[device].model_dump(include={*PROVISIONING})


def deploying(study: Study, device: str) -> Settings:
    """Where a file goes."""
    return study.devices[device].model_dump(include={*DEPLOYING})


def predicting(study: Study, device: str) -> Settings:
    """What is predicted with there, for the parity check."""
    return study.devices[device].model_dump(include={*PREDICTING})


def measuring(study: Study, device: str) -> Settings:
    """How a device measures."""
    return study.devices[device].model_dump(exclude={*UNMEASURED})


def rating(study: Study, device: str) -> Settings:
    """How a device multiplies and decodes for its rates: as in the first runtime of llmpi's own
    engine."""
    runtime = next(one for one in study.runtimes.values() if not one.endpoint)
    return {
        "device": study.devices[device].model_dump(include={*RATING}),
        "runtime": runtime.model_dump(include={*DECODING}),
    }


def session(study: Study, session: Session) -> Settings:
    """How a session is measured; what drafts there is named."""
    runtime = study.runtimes[session.runtime].model_dump(exclude={"tune"})
    if draft := draft_of(study, session):
        runtime["draft"]["model"] = draft.model
    return {
        "device": measuring(study, session.device),
        "runtime": runtime,
        "workloads": {w: study.workloads[w].model_dump() for w in sessions(study)[session]},
    }


def search(study: Study, where: Session) -> Settings:
    """How settings are searched for a session: for conversations one by one."""
    return {**_of_singles(study, where), "tune": study.tune.model_dump(mode="json")}


def engines(study: Study, device: str) -> Settings:
    """Which engines a device is given, to be compared."""
    asked = {name: engine.model_dump() for name, engine in study.engines.items()}
    return {"device": provisioning(study, device), "engines": asked}


def comparison(study: Study, where: Session) -> Settings:
    """How they are compared in a session: with conversations one by one."""
    return {**_of_singles(study, where), "engines": [*study.engines]}


def is_here(study: Study, device: str) -> bool:
    """Whether a device is this machine, whose engine is the workstation's."""
    return study.devices[device].is_here


def _of_singles(study: Study, where: Session) -> Settings:
    """A session with its conversations one by one alone."""
    found = session(study, where)
    single = {w: s for w, s in found["workloads"].items() if w in study.single_workloads}
    return {**found, "workloads": single}


def _asking(study: Study, model: str, computed: str) -> Settings:
    thinking = study.models[model].thinking_tokens
    return {"computation": computation(computed), "thinking_tokens": thinking}


def _squad(study: Study, task: str) -> SquadTask:
    asked = study.quality[task]
    assert isinstance(asked, SquadTask)
    return asked


def _source(kind: Kind, part: Part, lock: Path, without: Collection[str] = ()) -> Settings:
    """A source; for a branch of the hub also its lock file, and how often the lock was moved."""
    found: Settings = {"source": part.model_dump(exclude={*without}), "lock": "", "moves": 0}
    hub, revision = getattr(part, "hub", None), getattr(part, "revision", "")
    if hub and not is_commit(revision):
        found["lock"] = os.path.relpath(lock)
        found["moves"] = moves(read_lock(lock), kind, hub, revision)
    return found
