"""The benchmark of hostile inputs: a few of each boundary, and that it finds what it looks for."""

import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest
from support import ROOT

from benchmarks.hostile import boundaries

NAMES = [module.name for module in pkgutil.iter_modules(boundaries.__path__)]

BAD = """\
import os, time
from contextlib import contextmanager
from llmpi.errors import LlmpiError

PATIENCE_S = 2.0

def inputs(draw):
    yield from ("words", "taken", "traceback", "hang", "death", "file", "removed", "taken")

@contextmanager
def receiver(folder):
    def receive(given):
        if given == "words": raise LlmpiError("no")
        if given == "traceback": raise KeyError("x")
        if given == "hang": time.sleep(60)
        if given == "death": os._exit(1)
        if given == "file": (folder / "../beside/new").write_text("x")
        if given == "removed": (folder.parent / "canary").unlink()
    yield receive
"""


def hostile(*arguments: str, path: str = "") -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": f"{path}:{ROOT / 'src'}:{ROOT}"}
    command = [sys.executable, "-m", "benchmarks.hostile", "--seed", "1", *arguments]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", NAMES)
def test_a_few_of_each(name: str) -> None:
    done = hostile("--inputs", "8", name)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("inputs: 8\ntracebacks: 0\nhangs: 0\nfiles_outside: 0\n")


def test_what_it_finds(tmp_path: Path) -> None:
    """A boundary that does all that it must not."""
    (tmp_path / "bad.py").write_text(BAD)
    (tmp_path / "sitecustomize.py").write_text(
        f"import benchmarks.hostile.boundaries as found\nfound.__path__.append({str(tmp_path)!r})\n"
    )
    done = hostile("--inputs", "8", "bad", path=str(tmp_path))
    assert done.returncode == 1, done.stderr
    assert "inputs: 8\ntracebacks: 2\nhangs: 1\nfiles_outside: 4\n" in done.stdout
    assert "input 2: 'traceback'" in done.stdout
    assert "input 3: no end after 2 s" in done.stdout
