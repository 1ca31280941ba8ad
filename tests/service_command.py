"""`llmpi service`, as a user calls it in the folder of a study."""

import os
import subprocess
import sys
from pathlib import Path

from support import ROOT


def llmpi_service(folder: Path, action: str, *more: str, check: bool = True) -> str:
    """What it says; that it ends well, or badly, is checked."""
    command = [sys.executable, "-m", "llmpi.cli", "service", action]
    done = subprocess.run(
        [*command, "--configfile", "config/study.yaml", *more],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout + done.stderr
    assert (done.returncode == 0) == check, said
    return said
