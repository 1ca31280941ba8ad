"""After a power cut: what was done counts as done if all of it is there, whatever file was lost."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import ROOT

from llmpi.device import durable
from llmpi.device.durable import PARTS, SEALED, has, is_whole, look, seal, unseal, write_whole
from llmpi.records import sha256_of
from llmpi.remote.wheel import this_llmpi


@pytest.fixture(scope="module")
def venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With this very llmpi, installed as on a device and sealed."""
    folder = tmp_path_factory.mktemp("store") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    install(folder)
    seal(folder, "engine", "the engine's key")
    seal(folder, "llmpi", "llmpi's key")
    return folder


def install(folder: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin/python"), "install"]
    wheel = str(this_llmpi().resolve())
    subprocess.run([*pip, "--quiet", "--no-index", "--no-deps", wheel], check=True)


CUTS = ["lost", "empty", "half", "zeros"]


def cut_short(path: Path, cut: str) -> None:
    """What a power cut leaves of a file."""
    content = path.read_bytes()
    path.unlink()
    if cut != "lost":
        left = {"empty": b"", "half": content[: len(content) // 2], "zeros": b"\0" * len(content)}
        path.write_bytes(left[cut])


def test_what_was_installed_is_whole(venv: Path) -> None:
    found = look(venv)
    assert is_whole(found)
    assert found["engine"] == {"key": "the engine's key", "damaged": 0, "such_as": []}
    assert len(json.loads((venv / "llmpi-llmpi.sealed").read_text())["files"]) > 200


@pytest.mark.fault("any file of an installation lost or torn", by="hashes of the installation")
@given(st.data())
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_file_that_is_lost_or_cut_is_seen(venv: Path, data: st.DataObject) -> None:
    files = sorted(path for path in venv.rglob("*") if path.is_file() and path.stat().st_size)
    own = [path for path in files if not path.is_symlink() and path.suffix != SEALED]
    path = data.draw(st.sampled_from(own))
    content, status = path.read_bytes(), path.stat()
    cut_short(path, data.draw(st.sampled_from(CUTS)))
    os.utime(path.parent)
    try:
        assert not is_whole(look(venv)), path
    finally:
        path.write_bytes(content)
        path.chmod(status.st_mode)
    assert is_whole(look(venv))


@pytest.mark.fault("the seal of an installation lost or torn", by="no seal, not installed")
@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("part", PARTS)
def test_a_seal_that_is_lost_or_cut_is_none(venv: Path, part: str, cut: str) -> None:
    cut_short(venv / f"llmpi-{part}{SEALED}", cut)
    assert dict(look(venv))[part] is None
    unseal(venv, part)
    if part == "llmpi":
        install(venv)
    seal(venv, part, f"{part}'s key")
    assert is_whole(look(venv))


def test_a_link_that_leads_elsewhere_is_seen(venv: Path) -> None:
    link = venv / "bin/python"
    there = link.readlink()
    link.unlink()
    link.symlink_to("/nowhere")
    assert not is_whole(look(venv))
    link.unlink()
    link.symlink_to(there)
    assert is_whole(look(venv))


def test_half_of_bytecode_that_python_wrote_later_is_removed(venv: Path) -> None:
    [package] = venv.glob("lib/python*/site-packages/llmpi")
    stray = package / "__pycache__/errors.cpython-399.pyc"
    stray.write_bytes(b"\0" * 20)
    assert is_whole(look(venv))
    assert not stray.exists()


def test_llmpi_is_replaced_even_where_its_own_list_is_lost(venv: Path) -> None:
    [record] = venv.glob("lib/python*/site-packages/llmpi-*.dist-info/RECORD")
    record.write_text("")
    (record.parents[1] / "llmpi/left_over.py").write_text("1/0\n")
    unseal(venv, "llmpi")
    assert look(venv)["llmpi"] is None
    assert not list(venv.glob("lib/python*/site-packages/llmpi*"))
    install(venv)
    seal(venv, "llmpi", "llmpi's key")
    assert is_whole(look(venv))


def test_what_is_not_as_its_wheel_says_is_not_sealed(venv: Path) -> None:
    [module] = venv.glob("lib/python*/site-packages/llmpi/errors.py")
    text = module.read_text()
    module.write_text("")
    with pytest.raises(SystemExit, match=r"errors\.py is not what its wheel says"):
        seal(venv, "llmpi", "another key")
    module.write_text(text)
    assert look(venv)["llmpi"] == {"key": "llmpi's key", "damaged": 0, "such_as": []}


def test_what_a_package_carries_of_others_is_not_looked_for(venv: Path) -> None:
    """As setuptools does: wheels unpacked elsewhere than their lists say."""
    [packages] = venv.glob("lib/python*/site-packages")
    carried = packages / "carrier/_vendor/wheel-1.0.dist-info"
    carried.mkdir(parents=True)
    (carried / "RECORD").write_text("bin/wheel,sha256=AAAA,10\n")
    seal(venv, "engine", "the engine's key")
    assert is_whole(look(venv))


def test_no_venv_holds_nothing(tmp_path: Path) -> None:
    assert look(tmp_path / "none") == {"engine": None, "llmpi": None}


@pytest.fixture
def order(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the disk is told, in order."""
    told: list[str] = []

    def telling(name: str, told_of: object) -> object:
        def call(*arguments: object) -> object:
            told.append(f"{name} {told_of(*arguments)}" if callable(told_of) else name)
            return real(*arguments)

        real = getattr(os, name)
        return call

    where = lambda handle: Path(f"/proc/self/fd/{handle}").readlink().name  # noqa: E731
    monkeypatch.setattr(os, "fsync", telling("fsync", where))
    monkeypatch.setattr(os, "sync", telling("sync", None))
    return told


def test_a_mark_comes_after_what_it_speaks_of(venv: Path, order: list[str]) -> None:
    seal(venv, "llmpi", "llmpi's key")
    mark = f".llmpi-llmpi.sealed.{os.getpid()}.part"
    assert order == ["sync", f"fsync {mark}", "fsync venv"]


def test_what_cannot_be_written_leaves_what_was(tmp_path: Path) -> None:
    path = tmp_path / "mark"
    write_whole(path, "before")
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "half \ud800")
    assert path.read_text() == "before"
    assert [one.name for one in tmp_path.iterdir()] == ["mark"]


def test_it_needs_nothing_that_is_not_on_a_bare_python(venv: Path) -> None:
    text = Path(durable.__file__).read_text()
    command = [sys.executable, "-I", "-S", "-c", text, "look", str(venv)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert is_whole(json.loads(done.stdout))


def test_all_that_the_wheel_brings_is_of_llmpi() -> None:
    """Else a device takes it for a part of the engine, and llmpi for damaged."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    built = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert sorted(path.removeprefix("src/") for path in built) == sorted(durable.PACKAGES)


def test_another_llmpi_is_told_by_what_is_asked_of_it(venv: Path) -> None:
    [package] = venv.glob("lib/python*/site-packages/llmpi")
    here = {f"llmpi/{name}": sha256_of(package / name) for name in ("errors.py", "device/cli.py")}
    assert has(venv, here)
    assert not has(venv, {**here, "llmpi/errors.py": "0" * 64})
    assert not has(venv, {**here, "llmpi/new.py": "0" * 64})
    assert not has(venv / "none", here)
