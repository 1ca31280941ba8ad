"""What jobs of one machine share: its memory and its processors, whatever `--cores` says."""

import base64
import json
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_llama
import yaml
from support import ROOT, only_root, run_snakemake

from llmpi import needs
from llmpi.device.machine import capacity
from llmpi.device.machine.limits import limited

QUANTS = ["F16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"]
MADE = [f"results/gguf/tiny/{quant}.json" for quant in QUANTS]


@pytest.fixture
def study(tmp_path: Path) -> Path:
    tiny_llama.tiny_llama(tmp_path)
    config = {
        "study": "tiny",
        "models": {"tiny": {"source": {"path": "tiny.gguf"}}},
        "quants": QUANTS,
        "devices": {"here": {"transport": "local"}},
        "workloads": {"chat": {"prompt_tokens": 8, "output_tokens": 4}},
    }
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(config))
    return tmp_path


def at_once(study: Path, rule: str) -> int:
    """How many jobs of a rule ran at the same time, by Snakemake's own records."""
    spans = []
    for path in (study / ".snakemake/metadata").iterdir():
        about = json.loads(path.read_text())
        if about["rule"] == rule and base64.b64decode(path.name).endswith(b".json"):
            spans.append((about["starttime"], about["endtime"]))
    assert len(spans) == len(QUANTS) - 1
    return max(sum(begin <= at < end for begin, end in spans) for at, _ in spans)


def test_no_more_at_once_than_there_is_memory_for(study: Path) -> None:
    """Room for two of five jobs that say what they need; `--cores 16` bounds nothing."""
    only_root("a control group")
    each = 1000
    with limited({"memory": int(2.9 * each * needs.MB), "cpus": None}) as [group]:
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
        command += ["--cores", "16", "--resources", "processors=16"]
        command += ["--set-resources", f"quantize_gguf:mem_mb={each}"]
        done = subprocess.run(
            [*command, "--configfile", "study.yaml", "--", *MADE],
            cwd=study,
            preexec_fn=lambda: group.write_text("0"),
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert at_once(study, "quantize_gguf") == 2


def test_a_job_larger_than_the_machine_runs_alone(study: Path) -> None:
    more = "quantize_gguf:mem_mb=999999999"
    run_snakemake(
        *("--cores", "16", "--set-resources", more, "--configfile", "study.yaml", "--", *MADE),
        cwd=study,
    )
    assert at_once(study, "quantize_gguf") == 1


def test_where_nothing_is_free_jobs_run_one_by_one(study: Path) -> None:
    """By a limit of 0 each would be held to 0, and all would begin at once."""
    (study / "Snakefile").write_text(
        "from llmpi.device.machine import capacity\n"
        "capacity.memory_bytes = lambda: 0\n"
        f'include: "{ROOT}/Snakefile"\n'
        'print("limit:", dict(workflow.global_resources.unwrapped_items())["mem_mb"])\n'
    )
    arguments = ("--cores", "16", "--dry-run", "--configfile", "study.yaml", "--", MADE[0])
    assert "limit: 1\n" in run_snakemake(*arguments, cwd=study).stdout


def test_other_cores_make_other_threads_and_rerun_nothing(study: Path) -> None:
    arguments = ["--configfile", "study.yaml", "--", *MADE]
    run_snakemake("--cores", "1", *arguments, cwd=study)
    log = study / "logs/quantize_gguf/tiny/Q4_0.log"
    assert "Q4_0 with 1 threads" in log.read_text()
    assert "Nothing to be done" in run_snakemake("--cores", "16", *arguments, cwd=study).stdout
    run_snakemake("--cores", "16", "--forcerun", "quantize_gguf", *arguments, cwd=study)
    assert f"Q4_0 with {capacity.processors()} threads" in log.read_text()


def test_a_cluster_is_not_held_to_this_machine(study: Path) -> None:
    """Its jobs ask for what they need, and for the threads that docs/cluster.md tells."""
    (study / "Snakefile").write_text(
        f'include: "{ROOT}/Snakefile"\n'
        "limits = dict(workflow.global_resources.unwrapped_items())\n"
        'print("limits:", limits.get("mem_mb"), limits.get("processors"), THREADS)\n'
    )

    def limits(*arguments: str) -> str:
        arguments = (*arguments, "--dry-run", "--configfile", "study.yaml", "--", MADE[0])
        out = run_snakemake(*arguments, cwd=study).stdout
        [line] = [line for line in out.splitlines() if line.startswith("limits:")]
        return line

    assert limits("--executor", "slurm", "--jobs", "9") == "limits: None None 4"
    cores = capacity.processors()
    assert limits("--cores", "16", "--resources", "mem_mb=77") == f"limits: 77 {cores} {cores}"
    assert 0 < int(limits("--cores", "16").split()[1]) < capacity.memory_bytes() / needs.MB * 1.5
