"""What the engine says of a header without weights, against what it does with the real file.

`python -m benchmarks.sizes` does the same of eighteen architectures.
"""

import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from fetching import clean_env
from gguf_split import split
from headed import headed
from hub_server import HubServer, Repo
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.loaded import Loaded, loaded
from benchmarks.random_models import make
from llmpi.errors import LlmpiError
from llmpi.gguf.footprint import Context, Question, ask
from llmpi.gguf.inspect import inspect
from llmpi.plan.hub_head import header_end
from llmpi.plan.model import Head, Model
from llmpi.plan.model_facts import models_of
from llmpi.plan.plan import plan, totals
from llmpi.plan.plan_text import table
from llmpi.plan.predict import predict
from llmpi.plan.presets import PRESETS
from llmpi.study.file import load_study
from llmpi.study.measuring import Runtime

SMALL = Context(512, ubatch_tokens=64)
DIGIT = 0.01 * 1024**2
"""The engine prints MiB so."""


def weight(model: Model, name: str) -> tuple[int, int]:
    """Bytes of a tensor, and those that a token reads of it."""
    [found] = [w for w in model.footprint["weights"] if w["name"] == name]
    return found["bytes"], found["read_bytes"]


@pytest.mark.parametrize("name", ["qwen35", "qwen3moe", "gemma3", "gemma4", "glm4moe", "mamba"])
def test_a_header_says_what_the_file_takes(name: str, tmp_path: Path) -> None:
    """Hybrids, experts, windows, tables by row, a block that predicts ahead, no attention."""
    path = make(name, tmp_path / "m.gguf")
    model, real = headed(path), loaded(path, SMALL)
    size, reserved = model.sizes("as it is"), model.reserved(SMALL)
    assert size.file_bytes == path.stat().st_size
    said = Loaded(
        size.loaded_bytes,
        reserved["kv_bytes"],
        reserved["state_bytes"],
        reserved["compute_bytes"],
        size.read_per_token_bytes,
    )
    assert said == pytest.approx(real, abs=DIGIT)
    assert said.read == real.read
    assert inspect(path)["read_per_token_bytes"] == real.read


def test_one_row_of_a_table_is_read(tmp_path: Path) -> None:
    """Case 26: 1.85 times too slow before."""
    model = headed(make("gemma4", tmp_path / "m.gguf"))
    whole, read = weight(model, "per_layer_token_embd.weight")
    assert whole == 512 * read
    size = model.sizes("Q4_0")
    assert size.read_per_token_bytes < size.file_bytes - 0.9 * whole / 32 * 4.5
    assert sum(size.resident_bytes.values()) < size.loaded_bytes


def test_the_experts_that_are_chosen_are_read_and_all_are_kept(tmp_path: Path) -> None:
    model = headed(make("qwen3moe", tmp_path / "m.gguf"))
    whole, read = weight(model, "blk.0.ffn_up_exps.weight")
    assert read == whole * 2 // 8
    board = PRESETS["pi5-8gb"]
    roomy = predict(model, "F16", board, Runtime(), context_tokens=512, prompt_tokens=8)
    assert roomy.needed_bytes - roomy.working_bytes > 2 * roomy.read_per_token_bytes
    assert roomy.reread_bytes == 0


def test_what_predicts_ahead_is_neither_loaded_nor_read(tmp_path: Path) -> None:
    model = headed(make("glm4moe", tmp_path / "m.gguf"))
    ahead = [w for w in model.footprint["weights"] if w["name"].startswith("blk.4.")]
    assert ahead
    assert not any(w["is_loaded"] or w["read_bytes"] for w in ahead)


@pytest.mark.parametrize("name", ["mamba", "lfm2"])
def test_a_plan_of_a_model_without_or_with_little_attention(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Case 27: a division by zero before."""
    monkeypatch.chdir(tmp_path)
    make(name, tmp_path / "m.gguf")
    study = load_study(config(tmp_path, "m: {source: {path: ./m.gguf}}"))
    [planned] = plan(study)
    assert planned.unknown is None
    assert planned.prediction
    assert planned.prediction.fit == "fits"
    assert planned.prediction.kv_cache_bytes > 0


def config(folder: Path, models: str) -> Path:
    path = folder / "study.yaml"
    path.write_text(
        f"study: s\nmodels: {{{models}}}\nquants: [Q4_0]\n"
        "devices: {pi: {transport: ssh, host: pi.local, preset: pi5-8gb}}\n"
        "workloads: {chat: {prompt_tokens: 8, output_tokens: 8}}\n"
        "quality: {text: {task: divergence, text_file: text.txt}}\n"
    )
    (folder / "text.txt").write_text("Text.")
    return path


def test_published_files_are_planned_by_their_own_headers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    wide, other = make("lfm2", tmp_path / "wide.gguf"), make("mamba", tmp_path / "other.gguf")
    path = config(tmp_path, "m: {source: {path: ., files: [wide.gguf, other.gguf]}}")
    path.write_text(path.read_text().replace("quants: [Q4_0]", "quants: [as-published, Q4_0]"))
    sizes = {planned.session.quant: planned.size for planned in plan(load_study(path))}
    assert sizes["as-published.wide"].file_bytes == wide.stat().st_size
    assert sizes["as-published.other"].file_bytes == other.stat().st_size
    assert sizes["Q4_0"].parameters == sizes["as-published.wide"].parameters


def test_a_file_in_parts_is_one_model(tmp_path: Path) -> None:
    whole = make("qwen3", tmp_path / "m.gguf")
    first, *_ = split(whole, tmp_path, "part", 3)
    sizes = Model(first, "m").sizes("Q4_0")
    assert sizes.read_bytes == Model(whole, "m").sizes("Q4_0").read_bytes
    assert sizes.file_bytes > Model(whole, "m").sizes("Q4_0").file_bytes


def test_a_model_that_the_engine_dies_of_leaves_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An assertion of the engine's, an architecture it does not know, and a model that is sound."""
    monkeypatch.chdir(tmp_path)
    dies = {"ssm.time_step_rank": 8}  # not what the state's width is divided by
    make("qwen35", tmp_path / "dies.gguf", dies)
    sound = make("llama", tmp_path / "sound.gguf").read_bytes()
    unknown = sound.replace(b"general.architecture\x08\0\0\0\x05\0\0\0\0\0\0\0llama", UNKNOWN, 1)
    (tmp_path / "unknown.gguf").write_bytes(unknown)
    (tmp_path / "damaged.gguf").write_bytes(sound[:24] + b"\xff" * 64)
    names = ("dies", "unknown", "sound", "damaged")
    study = load_study(
        config(tmp_path, ", ".join(f"{n}: {{source: {{path: ./{n}.gguf}}}}" for n in names))
    )
    found = models_of(study)
    assert "the engine died of SIGABRT: " in found["dies"]
    assert "GGML_ASSERT(" in found["dies"]
    assert "unknown model architecture: 'nobod'" in found["unknown"]
    assert "no sound GGUF file" in found["damaged"]
    plans = plan(study)
    assert [p.unknown is None for p in plans] == [False, False, True, False]
    assert "? dies.gguf: the engine cannot say what it takes" in table(plans, totals(study, plans))


UNKNOWN = b"general.architecture\x08\0\0\0\x05\0\0\0\0\0\0\0nobod"


def test_a_header_cannot_ask_for_all_memory(tmp_path: Path) -> None:
    """The state of recurrent layers is allocated even when nothing else is."""
    path = make("mamba", tmp_path / "m.gguf")
    data = path.read_bytes()
    key = b"mamba.ssm.conv_kernel\x04\0\0\0"
    path.write_bytes(data.replace(key + struct.pack("<I", 4), key + struct.pack("<I", 2**31), 1))
    [said] = ask([Question(path, ("Q4_0",), (SMALL,))])
    assert isinstance(said, str)


def test_a_context_that_the_engine_refuses_is_one_sessions(tmp_path: Path) -> None:
    """Keys of 48 values do not go into blocks of 32."""
    widths = {"attention.key_length": 48, "attention.value_length": 48}
    model = headed(make("llama", tmp_path / "m.gguf", widths))
    assert model.reserved(SMALL)["kv_bytes"] > 0
    with pytest.raises(LlmpiError, match="block size 32 does not divide n_embd_head_k=48"):
        model.reserved(SMALL._replace(kv_cache="q8_0", flash_attention="on"))


def test_a_file_of_any_size_is_words() -> None:
    model = Model(Head((("m.gguf", b"GGUF", 2**63 - 1),)), "acme/m")
    with pytest.raises(LlmpiError, match="acme/m: the engine cannot say what it takes: File too"):
        model.sizes("Q4_0")


# --- at the hub -----------------------------------------------------------------------------------


PLAN = """
import json, sys
from llmpi.errors import LlmpiError
from llmpi.plan.model_facts import _of_hub
from llmpi.study.models import HubSource
try:
    print(_of_hub(HubSource(hub="acme/m", file="m.gguf"), True).sizes("Q4_0").file_bytes)
except LlmpiError as error:
    print(f"error: {error}")
"""


def planned(hub: HubServer, folder: Path) -> str:
    env = clean_env(folder, HF_ENDPOINT=hub.url, HF_HOME=str(folder / "hf"))
    command = [sys.executable, "-c", PLAN]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout


def test_of_a_file_at_the_hub_the_header_is_fetched(tmp_path: Path) -> None:
    """The connection gives no more than the header; all would be 10 MB."""
    path = make("llama", tmp_path / "m.gguf")
    size = headed(path).sizes("Q4_0").file_bytes
    with HubServer(Repo("acme/m", {"m.gguf": path.read_bytes()})) as hub:
        hub.faults.short["m.gguf"] = 2 << 20
        assert planned(hub, tmp_path) == f"{size}\n"
        [asked] = hub.asked("GET", "m.gguf", "storage")
        assert asked.range == "bytes=0-67108863"
    assert not list(tmp_path.rglob("blobs/*"))


def test_a_plan_is_of_the_commit_that_the_lock_names(tmp_path: Path) -> None:
    """The branch has moved on since; and so it has in the hub's cache."""
    first, later = (
        make("llama", tmp_path / f"{blocks}.gguf", {"block_count": blocks}) for blocks in (2, 3)
    )
    path = config(tmp_path, "m: {source: {hub: acme/m, file: m.gguf}}")
    repo = Repo("acme/m", {"m.gguf": first.read_bytes()})
    with HubServer(repo) as hub:
        env = clean_env(tmp_path, HF_ENDPOINT=hub.url, HF_HOME=str(tmp_path / "hf"))

        def llmpi(*words: str) -> str:
            command = [sys.executable, "-m", "llmpi.cli", *words, "--configfile", path]
            done = subprocess.run(
                command, env=env, cwd=tmp_path, capture_output=True, text=True, check=True
            )
            return done.stdout

        def planned_bytes() -> int:
            [session] = json.loads(llmpi("plan", "--json"))["sessions"]
            return session["file_bytes"]

        llmpi("lock")
        repo.commit("later", {"m.gguf": later.read_bytes()})
        assert planned_bytes() == headed(first).sizes("Q4_0").file_bytes
        llmpi("lock", "--update")
        assert planned_bytes() == headed(later).sizes("Q4_0").file_bytes


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"<html>", "acme/m/m.gguf is no GGUF file"),
        (b"GGUF" + struct.pack("<IQQ", 3, 2**60, 0) + bytes(64), "its header has no end"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + bytes(8) + b"\x63" + bytes(64), "is no GGUF"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 0) + bytes(64), "the engine cannot say"),
    ],
)
def test_what_is_no_header(data: bytes, why: str, tmp_path: Path) -> None:
    with HubServer(Repo("acme/m", {"m.gguf": data})) as hub:
        said = planned(hub, tmp_path)
    assert said.startswith("error: ")
    assert why in said


@given(st.binary(max_size=200), st.integers(0, 5))
def test_any_bytes_are_a_header_or_none(tail: bytes, count: int) -> None:
    data = b"GGUF" + struct.pack("<IQQ", 3, count, count) + tail
    try:
        end = header_end(data)
    except ValueError:
        return
    assert end is None or 24 <= end <= len(data)
