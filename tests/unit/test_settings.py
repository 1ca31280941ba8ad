"""What decides each step is what its script asks for: parsed as the type of its parameter."""

import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter
from scripts import main_of
from support import ROOT

from llmpi.study import settings
from llmpi.study.file import load_study
from llmpi.study.runs import asked_over_http, pairs_of, sessions
from llmpi.study.study import Study

LOCK = Path("sources.lock.yaml")


@pytest.fixture(scope="module")
def study() -> Study:
    """A study in which every rule has a job."""
    before = Path.cwd()
    os.chdir(ROOT)  # where its files are
    try:
        return load_study(Path("tests/configs/everything.yaml"))
    finally:
        os.chdir(before)


def model_of(s: Study) -> str:
    return next(iter(s.models))


def task_of(study: Study, kind: str) -> str:
    return next(task for task, asked in study.quality.items() if asked.task == kind)


def first_pair(study: Study) -> str:
    return next(iter(pairs_of(study, task_of(study, "ab"))))


def asking(study: Study, kind: str) -> list[settings.Settings]:
    return [
        settings.asking(study, session, task)
        for session, task in asked_over_http(study)
        if study.quality[task].task == kind
    ]


GIVEN: dict[tuple[str, str], Callable[[Study], Any]] = {
    ("fetch_model", "spec"): lambda s: [
        settings.model(s, m, LOCK) for m, model in s.models.items() if not model.is_scratch
    ],
    ("start_model", "spec"): lambda s: [
        settings.model(s, m, LOCK) for m, model in s.models.items() if model.is_scratch
    ],
    ("train_qat", "spec"): lambda s: [settings.training(s, m) for m in s.models],
    ("learn_rounding", "spec"): lambda s: [settings.rounding(s)],
    ("prepare_questions", "spec"): lambda s: [settings.questions(s, task_of(s, "squad"), LOCK)],
    ("evaluate_quality", "spec"): lambda s: [
        settings.answers(s, model_of(s), task_of(s, "squad"), "f16")
    ],
    ("answer_shard", "spec"): lambda s: [
        settings.shard(s, model_of(s), task_of(s, "squad"), "q8_0", "2-of-3")
    ],
    ("merge_shards", "spec"): lambda s: [
        settings.answers(s, model_of(s), task_of(s, "squad"), "f16")
    ],
    ("answer_prompts", "spec"): lambda s: [
        settings.own_prompts(s, model_of(s), task_of(s, "ab"), "q4_0")
    ],
    ("ask_endpoint", "spec"): lambda s: asking(s, "squad"),
    ("ask_prompts", "spec"): lambda s: asking(s, "ab"),
    ("compare_pair", "spec"): lambda s: [settings.pair(s, task_of(s, "ab"), first_pair(s))],
    ("score_reference", "spec"): lambda s: [settings.windows(s, task_of(s, "divergence"))],
    ("evaluate_divergence", "spec"): lambda _: [settings.computation("q8_0")],
    ("evaluate_lm_eval", "spec"): lambda s: [
        settings.harness(s, model_of(s), task_of(s, "lm_eval"), "f16-noflash")
    ],
    ("prepare_corpus", "spec"): lambda s: [settings.corpus(s, u, LOCK) for u in settings.texts(s)],
    ("provision_device", "how"): lambda s: [settings.provisioning(s, d) for d in s.devices],
    ("deploy_gguf", "how"): lambda s: [settings.deploying(s, d) for d in s.devices],
    ("check_parity", "how"): lambda s: [settings.predicting(s, d) for d in s.devices],
    ("ask_for_rates", "how"): lambda s: [settings.rating(s, d) for d in s.devices],
    ("measure_rates", "how"): lambda s: [settings.rating(s, d) for d in s.devices],
    ("sample_questions", "spec"): lambda s: [
        settings.sample(s, m, w) for m in s.models for w in s.answer_workloads
    ],
    ("benchmark_device", "session"): lambda s: [settings.session(s, x) for x in sessions(s)],
    ("tune_runtime", "search"): lambda s: [settings.search(s, x) for x in sessions(s)],
    ("check_devices", "devices"): lambda s: [{n: d.model_dump() for n, d in s.devices.items()}],
    ("summarize", "study"): lambda s: [s.model_dump(mode="json")],
}


@pytest.mark.parametrize(("script", "name"), GIVEN)
def test_a_script_takes_what_its_rule_gives(study: Study, script: str, name: str) -> None:
    kind = inspect.signature(main_of(script), eval_str=True).parameters[name].annotation
    given = GIVEN[script, name](study)
    assert given
    for one in given:
        TypeAdapter(kind).validate_python(one)
