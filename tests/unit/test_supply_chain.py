"""What is installed is pinned by hash, what builds it too, and the locks agree with one another."""

import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest
from packaging.markers import Marker
from support import ROOT

ENVS = ROOT / "envs"
LOCKS = sorted(ENVS.glob("*.lock"))
MAKEFILE = (ROOT / "Makefile").read_text()


def blocks(lock: Path) -> list[tuple[str, str, str, set[str]]]:
    """Of each package: name, version, marker, hashes."""
    found = []
    for block in re.split(r"\n(?=[^\s#])", lock.read_text(encoding="utf-8")):
        lines = [line for line in block.splitlines() if not line.lstrip().startswith("#")]
        if lines:
            pin = re.fullmatch(r"([a-z0-9.-]+)==(\S+?)(?: ; (.*?))? \\", lines[0])
            assert pin, f"{lock.name}: {lines[0]}"
            found.append((pin[1], pin[2], pin[3] or "", set(re.findall(r"sha256:\w{64}", block))))
    return found


@pytest.mark.parametrize("lock", [*LOCKS, ENVS / "torch.txt"], ids=lambda path: path.name)
def test_all_is_pinned_by_hash(lock: Path) -> None:
    assert all(hashes for _, _, _, hashes in blocks(lock))


PLACES = [
    {"python_full_version": f"3.{minor}.0", "sys_platform": "linux", "platform_machine": machine}
    for minor in (11, 12, 13, 14)
    for machine in ("x86_64", "aarch64")
]


@pytest.mark.parametrize("place", PLACES, ids=lambda place: "-".join(place.values()))
def test_the_locks_agree(place: dict[str, str]) -> None:
    """On the version and the hashes of every package that two of them have, wherever it is."""
    here = {**place, "platform_python_implementation": "CPython", "os_name": "posix"}
    here["python_version"] = ".".join(here["python_full_version"].split(".")[:2])
    here["implementation_name"], here["platform_system"] = "cpython", "Linux"
    pins = defaultdict(lambda: defaultdict(list))
    for lock in LOCKS:
        for name, version, marker, hashes in blocks(lock):
            if not marker or Marker(marker).evaluate(here):
                pins[name][version, frozenset(hashes)].append(lock.name)
    assert {name: dict(found) for name, found in pins.items() if len(found) > 1} == {}


def test_what_builds_is_in_the_environment_that_builds() -> None:
    """The cross-build and the sources of the engine have no environment of their own."""
    build = {(name, version) for name, version, *_ in blocks(ENVS / "build.lock")}
    names = {name for name, _ in build}
    assert {"cmake", "ninja", "scikit-build-core", "setuptools"} <= names
    for lock in ("workstation", "train", "dev", "cluster", "lm-eval"):
        assert build <= {(name, version) for name, version, *_ in blocks(ENVS / f"{lock}.lock")}


@pytest.mark.parametrize(
    "file",
    ["device/install.py", "remote/engine_wheels.py", "remote/wheel.py", "gguf/engine_source.py"],
)
def test_who_builds_does_so_with_what_is_installed(file: str) -> None:
    assert '"--no-build-isolation"' in (ROOT / "src/llmpi" / file).read_text(encoding="utf-8")


def test_a_lock_is_installed_after_what_builds_it(tmp_path: Path) -> None:
    """With an empty lock, so that nothing is built here; pip itself reads the options."""
    for name in ("build", "own"):
        (tmp_path / f"{name}.lock").write_text("# nothing\n")
    installer = ROOT / "src/llmpi/device/install.py"
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    done = subprocess.run(
        [venv / "bin/python", installer, tmp_path / "own.lock"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    (tmp_path / "build.lock").unlink()
    done = subprocess.run(
        [venv / "bin/python", installer, tmp_path / "own.lock"], capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "build.lock" in done.stderr


def test_torch_is_installed_by_hash_alone() -> None:
    for file in ("torch.txt", "cuda.lock"):
        assert f"--no-deps --require-hashes --requirement envs/{file}" in MAKEFILE
        assert MAKEFILE.count(f"--requirement envs/{file}") == 1
    [(_, for_cpu, *_)] = blocks(ENVS / "torch.txt")
    pins = {name: version for name, version, *_ in blocks(ENVS / "cuda.lock")}
    assert for_cpu == f"{pins['torch']}+cpu"
