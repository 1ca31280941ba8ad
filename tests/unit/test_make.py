"""What a machine lacks for `make setup` is said at once, before anything is made or fetched."""

import os
import subprocess
from pathlib import Path

import pytest
from support import ROOT, needed


@pytest.mark.parametrize(
    ("tool", "script", "said"),
    [
        ("uname", "echo Darwin", "llmpi needs Linux, this is Darwin; on Windows WSL2 has it"),
        ("python3", 'case "$*" in *ensurepip*) exit 1;; esac', "sudo apt install python3-venv"),
        ("python3", 'case "$*" in *version*) echo 3.9 is old >&2; exit 1;; esac', "3.9 is old"),
    ],
)
def test_what_is_missing_is_said(tool: str, script: str, said: str, tmp_path: Path) -> None:
    make = needed("make")
    stand_in = tmp_path / "bin" / tool
    stand_in.parent.mkdir()
    stand_in.write_text(f"#!/bin/sh\n{script}\n")
    stand_in.chmod(0o755)
    done = subprocess.run(
        [make, "setup", f"VENV={tmp_path}/venv", f"BIN={tmp_path}/venv/bin"],
        cwd=ROOT,
        env={**os.environ, "PATH": f"{stand_in.parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert said in done.stderr
    assert not (tmp_path / "venv").exists()
