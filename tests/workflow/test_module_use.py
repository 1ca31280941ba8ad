"""Another workflow takes ours as a module: README's own words for it, planned."""

import re
from pathlib import Path

import pytest
import yaml
from support import ROOT, planned_jobs, run_snakemake

USE = re.search(
    r"## In another workflow\n.*?```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S
)


@pytest.fixture
def theirs(workdir: Path) -> Path:
    """A workflow of somebody else, who puts the demo's config under a key."""
    assert USE, "README does not say how"
    demo = yaml.safe_load((workdir / "config/config.yaml").read_text())
    (workdir / "config.yaml").write_text(yaml.safe_dump({"llmpi": demo, "theirs": [1, 2]}))
    ours = str(ROOT / "Snakefile")
    (workdir / "Snakefile").write_text(USE[1].replace("path/to/llmpi/Snakefile", ours))
    return workdir


def test_our_jobs_are_planned_under_their_names(theirs: Path) -> None:
    jobs = planned_jobs("--cores", "2", cwd=theirs)
    assert jobs.pop("table") == 1
    assert all(rule.startswith("llmpi_") for rule in jobs)
    assert jobs["llmpi_benchmark_device"] == jobs["llmpi_evaluate_quality"] == 6
    assert jobs["llmpi_summarize"] == 1
    assert "llmpi_report" not in jobs  # nobody asks for the page


def test_our_default_target_is_theirs_by_name(theirs: Path) -> None:
    assert planned_jobs("--cores", "2", "llmpi_all", cwd=theirs)["llmpi_report"] == 1


def test_a_job_runs(theirs: Path) -> None:
    questions = "results/questions/demo/field.json"
    run_snakemake("--cores", "2", questions, cwd=theirs)
    assert (theirs / questions).is_file()


def test_what_must_run_here_does_so_under_their_names(theirs: Path) -> None:
    """A list of names would hold for ours alone: their cluster would reach for our devices."""
    out = run_snakemake("--cores", "2", "--dry-run", cwd=theirs).stdout
    assert "localrules directive specifies rules that are not present" not in out


def test_our_wildcards_bind_nobody_else(theirs: Path) -> None:
    with (theirs / "Snakefile").open("a") as file:
        file.write('rule other:\n    output: "other/{model}.txt"\n    shell: "touch {output}"\n')
    assert planned_jobs("--cores", "2", "other/theirs.txt", cwd=theirs) == {"other": 1}


def test_their_error_in_our_config_is_told(theirs: Path) -> None:
    config = theirs / "config.yaml"
    config.write_text(config.read_text().replace("Q4_K_M", "Q4_KM"))
    done = run_snakemake("--cores", "2", "--dry-run", cwd=theirs, check=False)
    assert done.returncode != 0
    assert "'Q4_KM' is no quantization type of llama.cpp; did you mean 'Q4_K_M'?" in done.stdout
    assert "Traceback" not in done.stdout


def test_the_catalog_finds_the_workflow(workdir: Path) -> None:
    """Where Snakemake's catalog looks for a workflow, ours is: the same jobs."""
    there = ("--snakefile", str(ROOT / "workflow/Snakefile"))
    assert planned_jobs(*there, cwd=workdir) == planned_jobs(cwd=workdir)
