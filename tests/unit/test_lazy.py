"""`lazy` of a runtime: of a table that the engine can look up in the file, the rows it wants."""

import ctypes
from pathlib import Path

import pytest
from headed import headed

from benchmarks.random_models import make
from llmpi.device.measure import process
from llmpi.device.records import SessionJob
from llmpi.engine.llama import Engine, LacksSettingError, Settings
from llmpi.engine.low_level import llama_cpp
from llmpi.engine.records import LoadedSession
from llmpi.engine.supervise import Death, supervise
from llmpi.plan.predict import LAZY_BYTES, Prediction, predict
from llmpi.plan.presets import PRESETS
from llmpi.records import write_json
from llmpi.remote import requests
from llmpi.study.measuring import Runtime, Workload

TABLE = "per_layer_token_embd.weight"


def job(gguf: Path, **runtime: object) -> SessionJob:
    chat = Workload(prompt_tokens=8, output_tokens=4, repetitions=1, warmup=0, warmup_limit=0)
    return {
        "what": "s: m F16 lazily",
        "gguf": str(gguf),
        "threads": 1,
        "limits": None,
        "runtime": requests.runtime(Runtime.model_validate(runtime)),
        "workloads": requests.workloads({"chat": chat}),
        "meter": {"kind": "none"},
        "rest": {"cool_below_c": None, "cool_limit_s": 0, "idle_s": 0},
        "others_at_most_pct": 100,
        "measured_by": "llmpi.device.measure.process",
        "sensors": [],
    }


def measured(asked: SessionJob) -> tuple[LoadedSession, str]:
    said: list[str] = []
    found = supervise("llmpi.device.measure.process", asked, writes=LoadedSession, log=said.append)
    assert not isinstance(found, Death), found
    return found, "\n".join(said)


def test_a_table_is_read_on_demand_and_the_text_stays(tmp_path: Path) -> None:
    gguf = make("gemma4", tmp_path / "m.gguf")
    outputs = []
    for lazy, on_demand in {"on": [TABLE], "off": [], "auto": []}.items():
        record, said = measured(job(gguf, lazy=lazy))
        assert record["settings"]["lazy"] == lazy
        assert record["load"]["on_demand"] == on_demand
        assert "no difference" not in said
        outputs.append(record["workloads"]["chat"]["output"])
    assert outputs[0] == outputs[1] == outputs[2] != []


def test_where_there_is_no_such_table_the_log_says_so(tmp_path: Path) -> None:
    record, said = measured(job(make("llama", tmp_path / "m.gguf"), lazy="on"))
    assert record["load"]["on_demand"] == []
    assert "lazy: on makes no difference here" in said


class OldParams(ctypes.Structure):
    """Of an engine before lazy modes."""

    _fields_ = [field for field in llama_cpp.llama_model_params._fields_ if field[0] != "lazy_mode"]


def test_an_engine_without_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llama_cpp, "llama_model_default_params", OldParams)
    with pytest.raises(
        LacksSettingError, match=r"lazy: on .* llama-cpp-python \d.*no field lazy_m"
    ):
        Engine(tmp_path / "m.gguf", Settings(threads=1, lazy="on"), context_tokens=8)
    asked = tmp_path / "job.json"
    write_json(asked, job(tmp_path / "m.gguf", lazy="on"))
    monkeypatch.setattr(process, "forget_cached", lambda _: None)
    monkeypatch.setattr(process.engine_info, "log_to", lambda _: None)
    with pytest.raises(SystemExit, match=r"s: m F16 lazily: lazy: on .* llama-cpp-python"):
        process.main(str(asked), str(tmp_path / "out.json"))


def test_the_plan_counts_no_table_that_is_read_on_demand(tmp_path: Path) -> None:
    model = headed(make("gemma4", tmp_path / "m.gguf"))
    [table] = model.sizes("F16").on_demand_bytes
    assert table == 2 * 512 * 4 * 64  # vocabulary, layers, width for each

    def predicted(**runtime: object) -> Prediction:
        asked, board = Runtime.model_validate(runtime), PRESETS["pi5-8gb"]
        return predict(model, "F16", board, asked, context_tokens=512, prompt_tokens=8)

    copied = {lazy: predicted(mmap=False, lazy=lazy).needed_bytes for lazy in ("on", "auto", "off")}
    assert copied["on"] == copied["off"] - table
    assert copied["auto"] == copied["off"], f"it has less than {LAZY_BYTES} bytes"
    assert predicted(lazy="on").needed_bytes == predicted(lazy="off").needed_bytes, "rows, as ever"
    assert headed(make("llama", tmp_path / "l.gguf")).sizes("F16").on_demand_bytes == ()
