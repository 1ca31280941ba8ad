"""`make test-long` goes on where it was, and tells what became of each part."""

import subprocess
import sys
from pathlib import Path

import long_parts
import pytest

PYPROJECT = "[tool.pytest.ini_options]\nmarkers = ['long: takes long']\n"
TEST = "import pathlib, pytest\n@pytest.mark.long\ndef test() -> None:\n    assert {}\n"


def test_what_passed_is_not_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(long_parts, "ROOT", tmp_path)
    monkeypatch.setattr(long_parts, "STAMPS", tmp_path / ".cache")
    (tmp_path / "tests").mkdir()
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    (tmp_path / "Snakefile").touch()
    (tmp_path / "tests/test_one.py").write_text(TEST.format(True))
    (tmp_path / "tests/test_two.py").write_text(TEST.format("pathlib.Path('mended').exists()"))

    def results() -> tuple[int, list[str]]:
        status = long_parts.main()
        rows = capsys.readouterr().out.splitlines()[1:]
        return status, [" ".join(row.split()[1:-1]) for row in rows]

    assert results() == (1, ["passed", "failed"])
    (tmp_path / "mended").touch()
    assert results() == (0, ["passed before", "passed"])
    assert results() == (0, ["passed before", "passed before"])
    (tmp_path / "Snakefile").write_text("# edited")
    assert results() == (0, ["passed", "passed"])


def test_what_passed_of_a_part_that_failed_is_not_run_again(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    first = "def test_first() -> None:\n    open('ran', 'a').write('first ')\n"
    (tmp_path / "test_one.py").write_text(
        TEST.format("pathlib.Path('mended').exists()") + "@pytest.mark.long\n" + first
    )

    def status() -> int:
        command = [sys.executable, long_parts.__file__, "test_one.py", "kept"]
        return subprocess.run(command, cwd=tmp_path, check=False).returncode

    assert status() == 1
    (tmp_path / "mended").touch()
    assert [status(), status()] == [0, 0]
    assert (tmp_path / "ran").read_text() == "first "


def test_files_of_tests_have_names_of_their_own() -> None:
    """Collected together, as the parts are found, two of one name are an error."""
    names = [path.name for path in long_parts.ROOT.glob("tests/*/test_*.py")]
    assert sorted(names) == sorted(set(names))
