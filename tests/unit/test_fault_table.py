"""The table of faults goes on where it was, tells what is left, and takes nothing on trust."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support import ROOT

TESTS = """
import pathlib, pytest

@pytest.mark.fault("cut", by="hash")
@pytest.mark.parametrize("at", ["start", "end"])
def test_cut(at):
    with open("ran", "a") as ran:
        ran.write(at + "\\n")

@pytest.mark.fault("full", by="reason")
def test_full():
    assert pathlib.Path("mended").exists()

@pytest.mark.fault("skipped", by="nothing")
def test_skipped():
    pytest.skip("no tool")

@pytest.mark.long
@pytest.mark.fault("power", by="record")
def test_power():
    pass

def test_no_fault():
    raise AssertionError
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n  fault:\n  long:\n")
    (tmp_path / "test_one.py").write_text(TESTS)
    return tmp_path


def outcomes(folder: Path, **how: object) -> dict[str, str]:
    code = (
        f"import json, sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from pathlib import Path; from benchmarks.faults import found\n"
        f"rows = found(Path(), Path('kept'), **{how!r})\n"
        "print(json.dumps({row.fault: row.outcome for row in rows}))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def test_a_part_leaves_the_rest_to_be_run(folder: Path) -> None:
    first = outcomes(folder, part="cut and start")
    assert first == {
        "cut: start": "survived",
        "cut: end": "not run",
        "full": "not run",
        "skipped": "not run",
    }
    second = outcomes(folder)
    assert second == {
        "cut: start": "survived",
        "cut: end": "survived",
        "full": "failed in call",
        "skipped": "skipped in call",
    }
    (folder / "mended").touch()
    third = outcomes(folder, long=True)
    assert (third["full"], third["power"]) == ("survived", "survived")
    assert (folder / "ran").read_text() == "start\nend\n", "once each"
