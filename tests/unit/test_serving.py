"""What a service takes of a board is known before it is installed, and what of it would fit."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from headed import headed

from benchmarks.random_models import make
from llmpi import cli
from llmpi.device.service.records import CHECKPOINTS
from llmpi.errors import LlmpiError
from llmpi.operate import room
from llmpi.operate.release import Release, settings
from llmpi.plan.model import Model
from llmpi.plan.presets import PRESETS, Board
from llmpi.plan.serving import Serving, serving
from llmpi.study.file import ConfigError, load_study
from llmpi.study.measuring import Runtime
from llmpi.study.service import MEMORY_SHARE, ServedVariant, Service

SMALL, LARGE = PRESETS["pi-zero2w"], PRESETS["pi5-8gb"]
SERVED = ServedVariant(model="m", quant="F16")
MIB = 1 << 20


@pytest.fixture(scope="module", params=["llama", "gemma3", "qwen35"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """Attention alone, sliding windows, a recurrent hybrid."""
    return headed(make(request.param, tmp_path_factory.mktemp("m") / "m.gguf"))


def served(model: Model, board: Board = LARGE, **asked: Any) -> Serving:
    size = model.sizes(SERVED.quant)
    return serving("pi", Service.model_validate(asked), SERVED, model, size, board, Runtime())


def test_every_slot_and_the_prefix_cache_are_counted(model: Model) -> None:
    one, four = (served(model, slots=n, context_tokens=1024) for n in (1, 4))
    assert one.context_bytes > 0
    assert four.context_bytes == pytest.approx(4 * one.context_bytes, rel=0.02)
    assert four.checkpoint_bytes == pytest.approx(4 * one.checkpoint_bytes, rel=0.1)
    cached = served(model, slots=4, context_tokens=1024, prefix_cache="256M")
    assert cached.needed_bytes - four.needed_bytes == cached.prefix_cache_bytes == 256 * MIB
    parts = (four.weights_bytes, four.context_bytes, four.checkpoint_bytes, four.working_bytes)
    assert four.needed_bytes == sum(parts)
    assert (four.fit, four.problem) == ("fits", None)


def test_copies_are_of_what_cannot_be_cut_back(tmp_path: Path) -> None:
    """Of attention nothing, of recurrent layers their state, of windows no more than they hold."""
    of = {n: served(headed(make(n, tmp_path / n))) for n in ("llama", "qwen35", "gemma3")}
    assert of["llama"].checkpoint_bytes == 0
    assert 0 < of["qwen35"].checkpoint_bytes < CHECKPOINTS * of["qwen35"].context_bytes
    assert 0 < of["gemma3"].checkpoint_bytes < CHECKPOINTS * of["gemma3"].context_bytes


TOO_MUCH: list[dict[str, Any]] = [
    {"slots": 64, "context_tokens": 4096},
    {"slots": 64, "context_tokens": 4096, "prefix_cache": "1G"},
    {"prefix_cache": "300M"},
    {"prefix_cache": "1G", "memory_limit": "1100M"},
    {"context_tokens": 1_000_000},
]


@pytest.mark.parametrize("asked", TOO_MUCH, ids=str)
def test_what_is_said_to_fit_fits(model: Model, asked: dict[str, Any]) -> None:
    found = served(model, SMALL, **asked)
    assert found.problem and found.fit in ("overflow", "dies")
    for words in ("m F16 on pi", f"{found.needed_bytes:,} bytes"):
        assert words in found.problem
    for key, value in re.findall(r"`(\w+): (\w+)`", found.problem):
        other = {**asked, key: value if value.endswith("M") else int(value)}
        assert served(model, SMALL, **other).problem is None, (key, value)
    if "no `prefix_cache`" in found.problem:
        assert served(model, SMALL, **{**asked, "prefix_cache": None}).problem is None


def test_a_limit_below_what_it_needs_is_told_with_the_one_that_holds_it(tmp_path: Path) -> None:
    model = headed(make("llama", tmp_path / "m.gguf"))
    found = served(model, LARGE, prefix_cache="300M", memory_limit="310M")
    assert found.problem and (enough := re.search(r"`memory_limit: (\d+M)`", found.problem))
    assert served(model, LARGE, prefix_cache="300M", memory_limit=enough[1]).problem is None


def test_by_default_it_has_the_units_share_of_a_board(tmp_path: Path) -> None:
    model = headed(make("llama", tmp_path / "m.gguf"))
    assert served(model).room_bytes == pytest.approx(MEMORY_SHARE * LARGE.memory_bytes)


STUDY = """\
study: s
models: {m: {source: {path: ./m.gguf}}}
quants: [Q4_0]
devices:
  pi: {transport: ssh, host: pi.local, preset: pi-zero2w}
  big: {transport: ssh, host: big.local, preset: pi5-8gb}
workloads: {chat: {prompt_tokens: 8, output_tokens: 8}}
quality: {text: {task: divergence, text_file: text.txt}}
service: {variant: {model: m, quant: Q4_0}, SERVICE}
"""


def config(folder: Path, service: str) -> Path:
    (folder / "text.txt").write_text("Text.")
    make("llama", folder / "m.gguf")
    path = folder / "study.yaml"
    path.write_text(STUDY.replace("SERVICE", service))
    return path


def test_a_plan_says_what_a_board_does_not_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    path = config(tmp_path, "prefix_cache: 1G")
    assert cli.main(["plan", "--configfile", str(path)]) == 1
    said = capsys.readouterr().out
    assert "service: memory of each board" in said
    assert "! service: m Q4_0 on pi needs" in said and "the kernel would end it" in said
    assert "Q4_0 on big" not in said
    assert cli.main(["plan", "--json", "--configfile", str(path)]) == 1
    told = json.loads(capsys.readouterr().out)["service"]
    assert [(one["device"], one["fit"]) for one in told] == [("pi", "dies"), ("big", "fits")]
    assert {one["prefix_cache_bytes"] for one in told} == {1 << 30}
    config(tmp_path, "slots: 2")
    assert cli.main(["plan", "--configfile", str(path)]) == 0
    assert "! service" not in capsys.readouterr().out


def test_an_install_is_refused_before_the_board_is_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    study = load_study(config(tmp_path, "prefix_cache: 1G"))
    given = settings(study, ServedVariant(model="m", quant="Q4_0"), "pi")
    release = Release(given, tmp_path / "m.gguf", "0" * 64, [], tmp_path / "none.json")
    with pytest.raises(LlmpiError, match=r"m Q4_0 on pi needs .* no `prefix_cache`|`prefix_cache:"):
        room.check(study, "pi", release)
    room.check(study, "big", release)


def test_a_cache_as_large_as_the_limit_is_refused_in_the_config(tmp_path: Path) -> None:
    """By `llmpi check` already: no model needs to be known for that."""
    with pytest.raises(ConfigError, match="leaves nothing of the memory_limit"):
        load_study(config(tmp_path, "prefix_cache: 1G, memory_limit: 512M"))
