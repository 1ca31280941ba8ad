"""What happens when things break: the cell is recorded, the rest goes on, nothing is left."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from held import Hold, state
from support import PATIENCE_S, ROOT, heed_ctrl_c, until

from llmpi.gguf.records import Gguf
from llmpi.records import read, sha256_of, write_json


def replace_with_a_stump(path: Path) -> None:
    """Cut a file short without touching other links to it."""
    whole = path.read_bytes()
    path.unlink()
    path.write_bytes(whole[: len(whole) // 2])


@pytest.mark.fault(
    "an engine that cannot load its file", by="the cell's reason; the other cells are ok"
)
def test_engine_that_dies_in_one_cell(copy) -> None:
    """A file that no engine can load, and whose manifest stands by it: its cell says why."""
    gguf = copy.folder / "results/gguf/smollm2-135m/Q4_0.gguf"
    replace_with_a_stump(gguf)
    manifest = gguf.with_suffix(".json")
    write_json(manifest, {**read(manifest, Gguf), "sha256": sha256_of(gguf)})
    page = copy.shown()
    rows = {row["quant"]: row for row in copy.summary()}
    assert rows["Q4_0"]["status"] == "failed"
    assert rows["Q4_0"]["stage"] == "benchmark"
    assert "llama.cpp cannot load Q4_0.gguf" in rows["Q4_0"]["reason"]
    assert rows["F16"]["status"] == "ok"
    assert "Failed, skipped or not run" in page
    assert "llama.cpp cannot load Q4_0.gguf" in page


@pytest.mark.fault(
    "a file cut short before it is deployed", by="its hash; no cell is measured on it"
)
def test_damaged_file_is_not_deployed(copy) -> None:
    """Cut short between quantization and deployment: no cell may be measured on it."""
    replace_with_a_stump(copy.folder / "results/gguf/smollm2-135m/Q4_0.gguf")
    copy.config["devices"]["there"] = {"transport": "local"}
    rows = {(row["device"], row["quant"]): row for row in copy.summarized()}
    assert rows["there", "Q4_0"]["stage"] == "deploy"
    assert "does not have the hash its manifest states" in rows["there", "Q4_0"]["reason"]
    assert rows["there", "F16"]["status"] == rows["here", "Q4_0"]["status"] == "ok"


@pytest.mark.fault("a model cut short", by="its cells' reasons; the other model is ok")
def test_damaged_model_fails_all_its_cells_and_no_other(copy) -> None:
    source = copy.folder / "results/gguf/smollm2-135m/Q4_0.gguf"
    (copy.folder / "broken.gguf").write_bytes(source.read_bytes()[:1_000_000])
    copy.config["models"]["broken"] = {"source": {"path": "broken.gguf"}}
    rows = copy.summarized()
    assert {(row["model"], row["status"]) for row in rows} == {
        ("smollm2-135m", "ok"),
        ("broken", "failed"),
    }
    broken = next(row for row in rows if row["model"] == "broken")
    assert "broken.gguf" in broken["reason"]
    assert broken["quality"]["field"]["status"] == "failed"


@pytest.mark.fault("a device that is not there", by="the other device's records")
def test_keep_going_finishes_what_can_be_finished(copy) -> None:
    """A device that cannot be reached fails its jobs; the other device's are done."""
    copy.config["study"] = "going"
    copy.config["devices"]["gone"] = {"transport": "ssh", "host": "127.0.0.1", "port": 1}
    done = copy.write().snakemake("--keep-going", "--", "measured", check=False)
    assert done.returncode != 0
    assert "cannot be reached" in done.stdout
    bench = copy.folder / "results/bench/going"
    assert len(list(bench.glob("here/**/default.json"))) == 2
    assert not (bench / "gone").exists()
    command = [sys.executable, "-m", "llmpi.cli", "report", "--configfile", "config/study.yaml"]
    subprocess.run(command, cwd=copy.folder, check=True, capture_output=True)
    page = (copy.folder / "results/report/going/index-partial.html").read_text()
    assert "not run" in page


@pytest.mark.fault("throttled in mid-measurement", by="its mark; the next snakemake does nothing")
def test_throttling_is_marked(copy, hold: Hold, tmp_path: Path) -> None:
    """The firmware says that it is too hot, from the first repetition to the last."""
    bits, tool = tmp_path / "bits", tmp_path / "bin/vcgencmd"
    bits.write_text("0x0")
    tool.parent.mkdir()
    tool.write_text(
        f'#!/bin/sh\n[ "$1" = get_throttled ] || exit 1\necho "throttled=$(cat {bits})"\n'
    )
    tool.chmod(0o755)
    path = {"PATH": f"{tool.parent}:{os.environ['PATH']}"}
    copy.config |= {"study": "hot", "quants": ["Q4_0"], "quality": {}}
    with (
        hold.at(said="[1/2] chat"),
        started(copy.write(), "measured", {**hold.env_here, **path}) as process,
    ):
        hold.wait(lambda: process.poll() is None)
        bits.write_text("0x40004")
        hold.go_on()
        process.communicate(timeout=PATIENCE_S)
    [row] = copy.summarized()
    assert row["status"] == "ok"
    assert "throttled" in row["marks"]
    assert "benchmark_device" not in copy.snakemake("--dry-run", "--", "measured").stdout


@pytest.mark.fault(
    "workstation killed in a quantization", by="hash of the file: an undisturbed one's"
)
def test_killed_in_a_quantization_the_next_snakemake_makes_the_same_file(
    copy, hold: Hold, tmp_path: Path
) -> None:
    copy.config["quants"] = ["F16", "Q8_0"]
    whole = copy.write().clone(tmp_path / "whole")
    whole.snakemake("--", "gguf")
    made = Path("results/gguf/smollm2-135m/Q8_0.gguf")
    with hold.at(named=made.name), started(copy, "gguf", hold.env_here) as process:
        hold.wait(lambda: process.poll() is None)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert not (copy.folder / made).exists()
    copy.snakemake("--unlock")
    copy.snakemake("--", "gguf")
    assert sha256_of(copy.folder / made) == sha256_of(whole.folder / made)
    assert not [path for path in (copy.folder / made).parent.iterdir() if "part" in path.name]


@contextlib.contextmanager
def started(work, target: str, env: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """`snakemake`, in a group of its own, beside the block."""
    command = [sys.executable, "-m", "snakemake", "--cores", "2"]
    command += ["--configfile", "config/study.yaml", "--", target]
    process = subprocess.Popen(
        command,
        cwd=work.folder,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=heed_ctrl_c,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.fault("Ctrl-C in mid-measurement", by="processes and files that are left: none")
def test_ctrl_c_leaves_no_process_and_no_half_result(copy, hold: Hold) -> None:
    copy.config["study"] = "interrupted"
    with (
        hold.at(said="[1/2] chat"),
        started(copy.write(), "measured", hold.env_here) as process,
    ):
        engine = hold.wait(lambda: process.poll() is None)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does to all of its foreground group
        hold.go_on()
        said = process.communicate(timeout=PATIENCE_S)[0].decode()
        until(lambda: state(engine) in (None, "Z"))
    assert "interrupted" in said
    assert "without a word" not in said, "it is no error"
    assert not list((copy.folder / "results/bench/interrupted").rglob("*.json"))
    assert not list((copy.folder / "results").rglob("*.part"))


def test_snakemake_report_holds_the_page(copy) -> None:
    copy.snakemake("--report", "report.zip")
    assert (copy.folder / "report.zip").stat().st_size > 10_000


def test_make_targets_are_documented() -> None:
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    for target in ("run", "test", "lint", "clean", "setup"):
        assert f"make {target}" in done.stdout
