"""The small modules: records, runs, tables, the installer, the environment, the job wrapper."""

import json
import logging
import os
import re
from pathlib import Path

import llama_cpp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmpi import layout
from llmpi.device.install import NO_AMX, engine_flags
from llmpi.device.machine import environment
from llmpi.errors import CellError, LlmpiError
from llmpi.gguf.fallbacks import parse_fallbacks
from llmpi.quant_types import ALIASES, FTYPES, NEEDS_IMATRIX
from llmpi.records import sha256_of, whole_file, write_json
from llmpi.script import job
from llmpi.study.runs import Session, expand_runs, sessions, variants
from llmpi.study.study import Study
from llmpi.terminal.disk import error_in

# --- records --------------------------------------------------------------------------------------


def test_a_block_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(RuntimeError), whole_file(path) as partial:
        partial.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_record_is_written_whole_into_new_folders(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.json"
    write_json(path, {"ü": 1})
    assert json.loads(path.read_text("utf-8")) == {"ü": 1}
    assert [p.name for p in path.parent.iterdir()] == ["b.json"]
    mask = os.umask(0)
    os.umask(mask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~mask


def test_sha256_of_a_known_text(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abc")  # FIPS 180-2, appendix B.1
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_of(tmp_path / "f") == expected


# --- runs -----------------------------------------------------------------------------------------


def study(exclude: list[dict[str, str]] | None = None) -> Study:
    source = {"path": "x.gguf"}
    return Study.model_validate(
        {
            "study": "s",
            "models": {"m1": {"source": source}, "m2": {"source": source, "quants": ["TQ2_0"]}},
            "quants": ["F16", "Q4_0"],
            "devices": {"d1": {"transport": "local"}, "d2": {"transport": "ssh", "host": "h"}},
            "workloads": {w: {"prompt_tokens": 1, "output_tokens": 1} for w in ("w1", "w2")},
            "runtimes": {"r1": {}, "r2": {"threads": 1}},
            "exclude": exclude or [],
        }
    )


def test_every_combination_in_the_order_of_the_config() -> None:
    runs = expand_runs(study())
    assert len(runs) == 2 * (2 + 1) * 2 * 2
    assert runs[0] == ("d1", "m1", "F16", "r1", "w1")
    assert runs[1] == ("d1", "m1", "F16", "r1", "w2")
    assert runs[2] == ("d1", "m1", "F16", "r2", "w1")
    assert runs[-1] == ("d2", "m2", "TQ2_0", "r2", "w2")
    assert variants(study()) == [("m1", "F16"), ("m1", "Q4_0"), ("m2", "TQ2_0")]


def test_sessions_hold_the_workloads_that_are_left() -> None:
    found = sessions(study([{"quant": "F16", "workload": "w1"}, {"runtime": "r2"}]))
    assert found[Session("d1", "m1", "F16", "r1")] == ["w2"]
    assert found[Session("d1", "m1", "Q4_0", "r1")] == ["w1", "w2"]
    assert {session.runtime for session in found} == {"r1"}


KEYS = {
    "device": ["d1", "d2"],
    "model": ["m1", "m2"],
    "quant": ["F16", "Q4_0", "TQ2_0"],
    "runtime": ["r1", "r2"],
    "workload": ["w1", "w2"],
}
RULE = st.fixed_dictionaries(
    {}, optional={key: st.sampled_from(values) for key, values in KEYS.items()}
).filter(bool)


@given(st.lists(RULE, max_size=3))
def test_exclude_drops_exactly_what_matches(rules: list[dict[str, str]]) -> None:
    kept = set(expand_runs(study(rules)))
    for run in expand_runs(study()):
        matches = [all(getattr(run, k) == v for k, v in rule.items()) for rule in rules]
        assert (run in kept) != any(matches)


def test_a_variant_that_runs_nowhere_is_not_scored() -> None:
    assert ("m1", "F16") not in variants(study([{"quant": "F16"}]))
    assert ("m1", "F16") in variants(study([{"quant": "F16", "device": "d1"}]))


# --- tables ---------------------------------------------------------------------------------------


def test_types_are_the_installed_engines() -> None:
    """llama.h's enum, less NVFP4 and the guess, which llama-quantize does not offer."""
    theirs = {
        re.sub("^LLAMA_FTYPE_(MOSTLY|ALL)_", "", name): value
        for name, value in vars(llama_cpp).items()
        if name.startswith(("LLAMA_FTYPE_MOSTLY_", "LLAMA_FTYPE_ALL_"))
    }
    theirs.pop("NVFP4", None)
    assert theirs == FTYPES


def test_other_tables_speak_of_known_types() -> None:
    assert set(FTYPES) > NEEDS_IMATRIX
    assert set(ALIASES.values()) <= set(FTYPES)
    assert not set(ALIASES) & set(FTYPES)


WILDCARDS = {
    "study": "my.study_2",
    "device": "shelf.pi-5",
    "model": "qwen_2.5-q4_k_m",
    "quant": "Q4_K_M",
    "computation": "q8_0-noflash",
    "runtime": "flash.kv_q8-0",
    "task": "squad.v2",
    "pair": "m,F16,vs,m,Q4_0",
    "shard": "3-of-16",
    "language": "ja",
    "name": "shelf-2",
    "workload": "chat.long",
}
PATTERNS = [v for v in vars(layout).values() if isinstance(v, str) and v.startswith("results/")]


@pytest.mark.parametrize("pattern", [p for p in PATTERNS if "{" in p])
def test_paths_read_back_to_the_same_wildcards(pattern: str) -> None:
    from snakemake.io import regex_from_filepattern

    path = layout.at(pattern, **WILDCARDS)
    match = re.match(regex_from_filepattern(pattern), path)
    assert match
    assert match.groupdict() == {k: v for k, v in WILDCARDS.items() if f"{{{k}}}" in pattern}


# --- the quantizer's log --------------------------------------------------------------------------

LINE = (
    "[   3/ 272] blk.0.attn_k.weight - [  576,   192], type = f16, converting to q2_K .. \n"
    "warning: blk.0.attn_k.weight                  - ncols    576 not divisible by 256 "
    "(required for type    q2_K) -> falling back to    q4_0\n"
)
ODD = (
    "warning: blk.1.ffn_down.weight                - ncols     30 not divisible by 256 "
    "(required for type    q4_K) (WARNING: must use F16 due to unusual shape) "
    "-> falling back to     f16\n"
)
COUNT = "llama_model_quantize_impl: WARNING: %d of 272 tensor(s) required fallback quantization\n"


def test_fallbacks_are_read_from_the_log() -> None:
    assert parse_fallbacks(LINE + ODD + COUNT % 2) == [
        {"tensor": "blk.0.attn_k.weight", "wanted": "q2_K", "got": "q4_0"},
        {"tensor": "blk.1.ffn_down.weight", "wanted": "q4_K", "got": "f16"},
    ]


def test_no_fallbacks() -> None:
    assert parse_fallbacks("llama_model_quantize_impl: model size = 1 MiB\n") == []


@pytest.mark.parametrize("text", [COUNT % 1, LINE + COUNT % 2, LINE])
def test_a_log_that_is_not_understood_hides_nothing(text: str) -> None:
    with pytest.raises(CellError, match="does not understand this engine's log"):
        parse_fallbacks(text)


# --- the installer --------------------------------------------------------------------------------


@pytest.fixture
def compiler(tmp_path: Path) -> Path:
    """A compiler that knows one of the three flags."""
    path = tmp_path / "cc"
    path.write_text(f'#!/bin/sh\n[ "$1" = {NO_AMX[1]} ]\n')
    path.chmod(0o755)
    return path


def test_flags_the_compiler_knows_are_used(compiler: Path) -> None:
    assert engine_flags("x86_64", str(compiler)) == [NO_AMX[1]]


def test_other_processors_need_none(compiler: Path) -> None:
    assert engine_flags("aarch64", str(compiler)) == []


def test_missing_compiler_says_what_to_install() -> None:
    with pytest.raises(SystemExit, match=r"'no-such-cc' was not found.*build-essential"):
        engine_flags("x86_64", "no-such-cc")


# --- the environment ------------------------------------------------------------------------------


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_a_raspberry_pi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {
        "firmware/devicetree/base/model": "Raspberry Pi 5 Model B Rev 1.0\0",
        "devices/system/cpu/cpu0/cpufreq/scaling_governor": "ondemand\n",
        "devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "2400000\n",
        "devices/system/cpu/cpu1/cpufreq/scaling_cur_freq": "1500000\n",
        "class/thermal/thermal_zone0/temp": "61250\n",
        "class/thermal/thermal_zone1/temp": "58000\n",
    }
    proc = {
        "cpuinfo": "processor\t: 0\nFeatures\t: fp asimd asimddp\nCPU part\t: 0xd0b\n",
        "meminfo": "MemTotal:        8245904 kB\nMemAvailable:    7000000 kB\nSwapTotal: 0 kB\n",
    }
    monkeypatch.setattr(environment, "SYS", write(tmp_path / "sys", files))
    monkeypatch.setattr(environment, "PROC", write(tmp_path / "proc", proc))
    machine, now = environment.machine(), environment.conditions()
    assert machine["board"] == "Raspberry Pi 5 Model B Rev 1.0"
    assert machine["cpu_features"] == ["asimd", "asimddp", "fp"]
    assert machine["memory_bytes"] == 8245904 * 1024
    assert machine["swap_bytes"] == 0
    assert now["governor"] == "ondemand"
    assert now["frequency_hz"] == [2_400_000_000, 1_500_000_000]
    assert now["temperature_c"] == 61.25


def test_a_machine_that_tells_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "SYS", tmp_path)
    monkeypatch.setattr(environment, "PROC", tmp_path)
    machine, now = environment.machine(), environment.conditions()
    assert machine["board"] is machine["cpu"] is machine["memory_bytes"] is None
    assert now["governor"] is now["frequency_hz"] is now["temperature_c"] is None


# --- the job wrapper ------------------------------------------------------------------------------


@pytest.fixture
def root_logger():
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    yield
    root.handlers[:], root.level = before


def test_the_users_error_has_no_traceback(root_logger, tmp_path: Path, capsys) -> None:
    with pytest.raises(SystemExit) as end, job(str(tmp_path / "log")):
        raise LlmpiError("the disk is full")
    assert end.value.code == 1
    assert (tmp_path / "log").read_text().endswith("ERROR error: the disk is full\n")
    said = capsys.readouterr().err
    assert re.fullmatch(r"\d\d:\d\d:\d\d \S+ error: the disk is full\n", said), said


def test_ctrl_c_is_the_last_word_of_a_job_and_no_error(root_logger, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with pytest.raises(SystemExit, match=r"^130$"), job(str(log)):
        raise KeyboardInterrupt
    assert log.read_text().splitlines()[-1].endswith("INFO interrupted")
    assert not error_in(log)


def test_our_own_error_brings_its_traceback(root_logger, tmp_path: Path) -> None:
    with pytest.raises(SystemExit), job(str(tmp_path / "log")):
        raise ZeroDivisionError
    assert "Traceback" in (tmp_path / "log").read_text()
