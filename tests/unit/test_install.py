"""What the installer says: before, how far it is, and why where it fails."""

import shlex
from pathlib import Path

import pytest

from llmpi.device import install
from llmpi.device.install import Compiling
from llmpi.engine.progress import Step, step_in


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(install, "SAY_EVERY_S", 0.0)
    return []


def test_the_compiler_is_followed_by_its_lines(said: list[str]) -> None:
    compiling = Compiling(said.append)
    for line in ("Collecting a==1\n", "  [1/4] Building C object a.o\n", "  [3/4] Building b.o\n"):
        compiling.hear(line)
    assert said[0] == "packages collected: 1"
    steps = [step_in(text) for text in said[1:]]
    assert [step and step[:2] for step in steps] == [(1, 4), (3, 4)]
    assert isinstance(steps[1], Step)
    assert steps[1].more.startswith("files of the engine compiled, ")
    assert said[1] == "1/4 files of the engine compiled", "nothing is known of the time yet"


def test_nothing_is_said_twice(said: list[str]) -> None:
    compiling = Compiling(said.append)
    for line in ("Collecting a==1", " Cached a.whl", "Collecting b==2", " Downloading b.whl"):
        compiling.hear(line)
    compiling.hear("Installing collected packages: a, b")
    assert said == ["packages collected: 1", "packages collected: 2", "installing 2 packages"]


@pytest.mark.parametrize("line", ["", "[x/4] y", "[0/4]", "Building [1/4] x"])
def test_other_lines_are_not_taken_for_it(said: list[str], line: str) -> None:
    Compiling(said.append).hear(line)
    assert not said


def test_what_is_compiled_otherwise_is_not_taken() -> None:
    """pip knows an engine by its sources alone."""
    record = {"CFLAGS": "-mno-amx-tile", "CXXFLAGS": "", "CMAKE_ARGS": ""}
    same = install.cache(record, "x86_64 flags: avx2")
    assert install.cache({**record}, "x86_64 flags: avx2") == same
    others = {
        install.cache({**record, "CMAKE_ARGS": "-DGGML_NATIVE=OFF"}, "x86_64 flags: avx2"),
        install.cache({**record, "CFLAGS": ""}, "x86_64 flags: avx2"),
        install.cache(record, "x86_64 flags: avx2 avx512f"),
    }
    assert len(others | {same}) == 4


def test_no_more_of_llama_cpp_is_built_than_what_is_loaded(tmp_path: Path) -> None:
    """As scikit-build-core takes the arguments apart; what the user gives comes last and holds."""
    folder = tmp_path / "a space"
    folder.mkdir()
    images, within, *users = shlex.split(install.only_the_library("-DA=1 -DB='2 3'", folder))
    assert (images, users) == ("-DLLAVA_BUILD=OFF", ["-DA=1", "-DB=2 3"])
    option, _, included = within.partition("=")
    assert option == "-DCMAKE_PROJECT_llama.cpp_INCLUDE"
    assert Path(included).read_text() == "set(LLAMA_BUILD_COMMON OFF)\n"
    assert len(shlex.split(install.only_the_library("", folder))) == 2


def test_cmake_finds_what_is_included_from_its_own_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("results").mkdir()
    _, within = shlex.split(install.only_the_library("", Path("results")))
    assert Path(within.partition("=")[2]).parent == tmp_path / "results"


def test_another_compiler_is_another_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "clang++"
    other.write_text("#!/bin/sh\necho clang version 99\n")
    other.chmod(0o755)
    before = install._machine()
    monkeypatch.setenv("CXX", str(other))
    assert "clang version 99" in install._machine() != before
    monkeypatch.setenv("CXX", str(tmp_path / "none"))
    assert install._machine()


def test_it_says_before_what_it_does_and_shows_pips_words_where_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(install, "LOG", tmp_path / "install.log")
    lock = tmp_path / "no.lock"
    (tmp_path / "build.lock").write_text(f"nothing==1 --hash=sha256:{'0' * 64}\n")
    lock.touch()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(SystemExit) as ended:
        install.install([str(lock)])
    out, err = capfd.readouterr()
    begin, *rest = err.splitlines()
    assert begin.startswith(f"llmpi: installing {lock} into ")
    assert "minutes. What pip says goes to" in begin
    assert "ERROR: No matching distribution found for nothing==1" in "\n".join(rest)
    assert "No matching distribution found for nothing==1" in str(ended.value)
    assert str(tmp_path / "install.log") in str(ended.value)
    assert not out
