"""Every shipped config expands to the jobs it should, and a bad one stops before any."""

from pathlib import Path

import pytest
import yaml
from support import ROOT, planned_jobs, run_snakemake

CONFIGS = sorted(p.name for p in (ROOT / "config").glob("*.yaml") if p.name != "sources.lock.yaml")


@pytest.mark.parametrize("name", CONFIGS)
def test_every_config_expands(workdir: Path, name: str) -> None:
    config = yaml.safe_load((ROOT / "config" / name).read_text())
    jobs = planned_jobs("--configfile", f"config/{name}", cwd=workdir)
    assert jobs["fetch_model"] + jobs.get("start_model", 0) == len(config["models"])
    assert jobs["summarize"] == jobs["report"] == 1


def test_the_demo_is_the_default(workdir: Path) -> None:
    jobs = planned_jobs(cwd=workdir)
    assert jobs["benchmark_device"] == jobs["evaluate_quality"] == jobs["deploy_gguf"] == 6
    assert jobs["quantize_gguf"] == 5  # F16 is the base, made by convert_to_gguf
    assert "check_parity" not in jobs


def test_a_study_takes_nothing_from_the_default_config(workdir: Path) -> None:
    jobs = planned_jobs("--configfile", "config/llmpi.yaml", cwd=workdir)
    assert jobs["fetch_model"] == 10
    assert jobs["check_parity"] == jobs["predict_on_workstation"] == jobs["deploy_gguf"]


def test_one_value_is_overridden_on_the_command_line(workdir: Path) -> None:
    assert planned_jobs("--config", "quants=[Q4_0]", cwd=workdir)["benchmark_device"] == 1


@pytest.mark.parametrize(
    ("target", "last"),
    [
        ("models", "fetch_model"),
        ("gguf", "quantize_gguf"),
        ("deployed", "deploy_gguf"),
        ("measured", "benchmark_device"),
        ("scored", "evaluate_quality"),
    ],
)
def test_stage_targets(workdir: Path, target: str, last: str) -> None:
    jobs = planned_jobs(target, cwd=workdir)
    assert last in jobs
    assert "report" not in jobs


def test_bad_config_stops_with_its_error_before_any_job(workdir: Path) -> None:
    config = workdir / "config" / "config.yaml"
    config.write_text(config.read_text().replace("Q4_K_M", "Q4_KM"))
    done = run_snakemake("--dry-run", cwd=workdir, check=False)
    assert done.returncode != 0
    assert "config/config.yaml:" in done.stdout
    assert "'Q4_KM' is no quantization type of llama.cpp; did you mean 'Q4_K_M'?" in done.stdout
    assert "Traceback" not in done.stdout
    assert not (workdir / "results").exists()


def test_excluded_combinations_have_no_job(workdir: Path) -> None:
    config = workdir / "config" / "config.yaml"
    config.write_text(config.read_text() + "exclude: [{quant: Q2_K}]\n")
    jobs = planned_jobs(cwd=workdir)
    assert jobs["benchmark_device"] == jobs["evaluate_quality"] == 5
