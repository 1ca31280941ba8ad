"""A draft model: the text is the greedy one, and what does not go together is refused in words."""

from pathlib import Path
from typing import Any

import pytest
from random_gguf import tiny_model
from tiny_llama import SIZE, tiny_llama

from benchmarks.random_models import make
from llmpi.device.machine.contention import Processors
from llmpi.device.measure import process
from llmpi.device.measure.single import Single
from llmpi.device.records import SessionJob
from llmpi.engine import info as engine_info
from llmpi.engine.draft_model import DraftModel
from llmpi.engine.llama import Engine, EngineError, Settings
from llmpi.engine.records import LoadedSession, SingleCell
from llmpi.engine.speculation import Speculation
from llmpi.engine.supervise import Death, supervise
from llmpi.remote import requests
from llmpi.study.measuring import Runtime, Workload
from llmpi.train.small import write_start

SETTINGS = Settings(threads=1, kv_cache="q8_0")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    engine_info.log_to(lambda _: None)
    folder = tmp_path_factory.mktemp("drafts")
    tiny_llama(folder).rename(folder / "target.gguf")
    write_start(folder / "tokenizer.gguf", folder / "other.gguf", SIZE, seed=7)
    return folder


def generated(folder: Path, draft: str | None, *, draft_tokens: int = 4, **more: Any) -> SingleCell:
    asked = {"prompt_tokens": 300, "output_tokens": 40, "repetitions": 2, "depths": [50], **more}
    spec = requests.single_workloads({"chat": Workload.model_validate(asked)})["chat"]
    with Engine(folder / "target.gguf", SETTINGS, context_tokens=8) as engine:
        model = DraftModel(folder / f"{draft}.gguf", engine, draft_tokens) if draft else None
        speculation = Speculation(model) if model else None
        workload = Single(engine, "chat", spec, None, Processors(1), speculation)
        for _, depth in workload.arms():
            assert not isinstance(depth, str)
            workload.repeat(depth, "1/1")
        if model:
            model.close()
        return workload.record()


@pytest.mark.parametrize("draft_tokens", [1, 4, 9])
@pytest.mark.parametrize("draft", ["target", "other"])
def test_the_text_is_the_greedy_one_whoever_drafts(
    folder: Path, draft: str, draft_tokens: int
) -> None:
    quick = generated(folder, draft, draft_tokens=draft_tokens)
    assert quick["output"] == generated(folder, None)["output"]
    for one in [*quick["repetitions"], *quick["depths"][0]["repetitions"]]:
        assert len(one["itl_s"]) == 40 == one["steps"] + one["accepted"]
        assert sum(seconds > 0 for seconds in one["itl_s"]) == one["steps"]
        if draft == "target":
            assert one["accepted"] == one["drafted"] == 40 - one["steps"]
            assert one["steps"] == -(-40 // (draft_tokens + 1))


def test_fixed_tokens_are_not_drafted(folder: Path) -> None:
    assert "drafted" not in generated(folder, "target", sampling="none")["repetitions"][0]


def test_another_vocabulary_is_refused_by_name(folder: Path) -> None:
    (folder / "bytes.gguf").write_bytes(tiny_model(1))
    (folder / "renamed.gguf").write_bytes(tiny_model(1, end="</end>"))
    with Engine(folder / "bytes.gguf", Settings(threads=1), context_tokens=8) as engine:
        for draft, why in {
            "renamed": "its token 2 is '</end>', and this one's is '</s>'",
            "target": "it has 260 tokens, and this one has 259",
        }.items():
            with pytest.raises(EngineError, match=f"the draft model {draft} cannot .*: {why}; a"):
                DraftModel(folder / f"{draft}.gguf", engine, 4)


# --- a session ------------------------------------------------------------------------------------


def job(gguf: Path, draft: Path | None = None, **runtime: object) -> SessionJob:
    chat = Workload(prompt_tokens=40, output_tokens=12, repetitions=2, warmup=0, warmup_limit=0)
    asked = {"kv_cache": "q8_0", **runtime}
    if draft:
        asked["draft"] = {"model": "m", "quant": "Q4_0"}
    found: SessionJob = {
        "what": "s: m F16 drafted",
        "gguf": str(gguf),
        "threads": 1,
        "limits": None,
        "runtime": requests.runtime(Runtime.model_validate(asked)),
        "workloads": requests.workloads({"chat": chat}),
        "meter": {"kind": "none"},
        "rest": {"cool_below_c": None, "cool_limit_s": 0, "idle_s": 0},
        "others_at_most_pct": 100,
        "measured_by": "llmpi.device.measure.process",
        "sensors": [],
    }
    return {**found, "draft": str(draft)} if draft else found


def measured(asked: SessionJob) -> LoadedSession | Death:
    return supervise(process.__name__, asked, writes=LoadedSession, log=lambda _: None)


def test_a_session_says_what_drafted_and_has_both_in_memory(folder: Path) -> None:
    plain = measured(job(folder / "target.gguf"))
    quick = measured(job(folder / "target.gguf", folder / "target.gguf"))
    assert not isinstance(plain, Death) and not isinstance(quick, Death), (plain, quick)
    cells = plain["workloads"]["chat"], quick["workloads"]["chat"]
    outputs = [cell["output"] for cell in cells if "output" in cell]
    assert outputs[0] == outputs[1]
    assert quick["settings"] and quick["settings"]["draft"] == {
        "model": "m",
        "quant": "Q4_0",
        "draft_tokens": 4,
    }


@pytest.mark.parametrize("runtime", [{"prompt_lookup": {}}, {}])
def test_a_memory_that_cannot_be_cut_back_is_told_before_anything_is_measured(
    tmp_path: Path, runtime: dict[str, object]
) -> None:
    gguf = make("mamba", tmp_path / "m.gguf")
    found = measured(job(gguf, None if runtime else gguf, flash_attention="on", **runtime))
    assert isinstance(found, Death)
    assert "the memory of this model cannot forget the end of a text alone" in found.reason
