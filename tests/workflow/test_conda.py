"""`snakemake --sdm conda`: Snakemake's own part, with a stand-in for conda.

What conda would install is there, so that pip's answer to a lock is that it has all: its hashes are
asked of `make` (`tests/unit/test_supply_chain.py`), which installs in the same way.
"""

import hashlib
import sys
import sysconfig
from pathlib import Path

import pytest
import yaml
from support import ROOT, run_snakemake

CONDA = """#!/usr/bin/env bash
case "$*" in
  --version) echo "conda 25.5.1" ;;
  "info --json") echo '{"conda_prefix": "PREFIX", "platform": "linux-64"}' ;;
  "config --get"*) echo '{"get": {"channel_priority": "strict"}}' ;;
  clean*) ;;
  "env create"*)
    while [ "$1" != --prefix ]; do shift; done
    PYTHON -m venv --without-pip "$2" && cd "$2"/lib/python*/site-packages
    echo PACKAGES > there.pth ;;
  *) exit 2 ;;
esac
"""


@pytest.fixture
def conda(tmp_path: Path) -> Path:
    """The folder of a command of that name."""
    text = CONDA.replace("PREFIX", str(tmp_path / "conda")).replace("PYTHON", sys.executable)
    programs = tmp_path / "conda/bin"
    programs.mkdir(parents=True)
    (programs / "activate").write_text('. "$1/bin/activate"\n')
    (programs / "conda").write_text(text.replace("PACKAGES", sysconfig.get_path("purelib")))
    (programs / "conda").chmod(0o755)
    return programs


def test_a_job_runs_in_what_the_installer_made(
    conda: Path, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(conda), prepend=":")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    questions = "results/questions/demo/field.json"
    run_snakemake("--sdm", "conda", "--cores", "2", questions, cwd=workdir)
    assert (workdir / questions).is_file()
    [made] = workdir.glob(".snakemake/conda/*_/llmpi-engine-build.json")
    log = (made.parent / "llmpi-install.log").read_text()
    assert f"-r {ROOT}/envs/build.lock" in log
    assert log.index("build.lock") < log.index("workstation.lock")


def test_pip_installs_nothing_before() -> None:
    """It would fetch what builds the engine by itself, and check nothing."""
    for file in (ROOT / "envs").glob("*.yaml"):
        packages = yaml.safe_load(file.read_text())["dependencies"]
        assert all(isinstance(package, str) for package in packages)
        assert file.with_suffix(".post-deploy.sh").is_file()


def test_the_environment_is_made_anew_with_the_locks() -> None:
    """Snakemake names it after the yaml and the script that runs behind it, and knows no lock."""
    locks = b"".join((ROOT / f"envs/{name}.lock").read_bytes() for name in ("build", "workstation"))
    behind = (ROOT / "envs/workstation.post-deploy.sh").read_text()
    assert f"lock sha256 {hashlib.sha256(locks).hexdigest()[:16]}\n" in behind, "make lock"
