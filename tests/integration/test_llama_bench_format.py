"""speed.jsonl against llama.cpp's sources at the engine's commit: its fields, its reader."""

import json
import re
import statistics
import subprocess
import sys
from pathlib import Path

import made_study
import pytest
from support import ROOT

from llmpi.gguf import engine_source
from llmpi.summary.llama_bench import FIELDS, write_llama_bench
from llmpi.summary.read import read_records

PARTS = ("tools/llama-bench", "scripts/compare-llama-bench.py")


@pytest.fixture(scope="module")
def llama_cpp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source") / "llama.cpp"
    engine_source.unpack(engine_source.pin(ROOT / "envs/workstation.lock"), folder, PARTS)
    return folder


@pytest.fixture
def speed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    study = made_study.study(quality={})
    made_study.write_records(study)
    write_llama_bench(Path("speed.jsonl"), study, read_records(study))
    return tmp_path / "speed.jsonl"


def test_fields_are_llama_benchs(llama_cpp: Path, speed: Path) -> None:
    """Names, order and kinds, as its printer writes them."""
    source = (llama_cpp / "tools/llama-bench/llama-bench.cpp").read_text()
    body = source.partition("get_fields() {")[2].partition("};")[0]
    assert (*re.findall(r'"(\w+)"', body), "samples_ns", "samples_ts") == FIELDS
    kinds = source.partition("get_field_type(")[2].partition("return STRING;\n    }\n\n    std")[0]
    integers, booleans = (
        set(re.findall(r'field == "(\w+)"', kinds.split("return ")[i])) for i in (0, 1)
    )
    for line in speed.read_text().splitlines():
        found = json.loads(line)
        assert {n for n in FIELDS if type(found[n]) is bool} == booleans & set(FIELDS)
        assert {n for n in FIELDS if type(found[n]) is int} == integers & set(FIELDS)


def test_llama_cpps_own_script_reads_it(llama_cpp: Path, speed: Path) -> None:
    """Two builds are compared: ours, and the same a tenth faster."""
    lines = [json.loads(line) for line in speed.read_text().splitlines()]
    faster = [{**x, "build_commit": "fffffff", "avg_ts": 1.1 * x["avg_ts"]} for x in lines]
    both = speed.with_name("both.jsonl")
    both.write_text("".join(json.dumps(line) + "\n" for line in lines + faster))
    command = [sys.executable, str(llama_cpp / "scripts/compare-llama-bench.py")]
    command += ["--tool", "llama-bench", "-i", str(both)]
    command += ["-b", lines[0]["build_commit"], "-c", "fffffff"]
    done = subprocess.run(command, cwd=speed.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = [line.strip("| ") for line in done.stdout.splitlines() if "llama" in line]
    cells = [[cell.strip() for cell in row.split("|")] for row in rows]
    assert len(cells) == 2 * 5, "pp and tg of five variants; the two boards' CPU is the same"
    [tg] = [cell for cell in cells if "Q4_0" in cell[1] and cell[2] == "tg50@d32"]
    speeds = [board * 12.4 / (1 + 0.01 * i) for board in (1, 0.96) for i in range(5)]
    assert float(tg[3]) == pytest.approx(statistics.fmean(speeds), abs=0.006)
    assert float(tg[5]) == pytest.approx(1.1)
