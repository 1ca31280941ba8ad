"""Shared by all tests: where the project is, and how its workflow is run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def run_snakemake(
    *arguments: str, cwd: Path, check: bool = True, **env: str
) -> subprocess.CompletedProcess[str]:
    """Run the workflow in `cwd`, where its results go: the Snakefile there, else the project's."""
    snakefile = next(p / "Snakefile" for p in (cwd, ROOT) if (p / "Snakefile").is_file())
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--snakefile", str(snakefile), *arguments],
        cwd=cwd,
        env={**os.environ, **env},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    assert not check or done.returncode == 0, done.stdout
    return done


def planned_jobs(*arguments: str, cwd: Path) -> dict[str, int]:
    """Rule -> number of jobs that a dry run would start, without `all`."""
    out = run_snakemake("--dry-run", *arguments, "--quiet", "rules", cwd=cwd).stdout
    if "Nothing to be done" in out:
        return {}
    table = out.partition("Job stats:")[2]
    rows = [line.split() for line in table.splitlines()]
    jobs = {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdigit()}
    return {rule: count for rule, count in jobs.items() if rule not in ("all", "total")}


def needed(tool: str) -> str:
    """A system tool a test needs: its path. CI must have it; elsewhere the test is skipped."""
    from shutil import which

    path = which(tool, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if path is None and os.environ.get("CI"):
        pytest.fail(f"CI has no {tool}; .ci/run installs it")
    if path is None:
        pytest.skip(f"{tool} is not installed")
    return path
