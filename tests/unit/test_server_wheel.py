"""llama-server as a wheel: what is in it, what is asked for where it cannot be built."""

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from support import ROOT, needed

from llmpi.errors import LlmpiError
from llmpi.gguf import engine_program
from llmpi.operate.device_runtime import server_wheel as wheel_for
from llmpi.records import write_json
from llmpi.remote import server_wheel
from llmpi.remote.engine_wheels import Processor
from llmpi.remote.provision import Parts
from llmpi.study.devices import SshDevice

LOCK = ROOT / "envs/device.lock"
PI = Processor("aarch64", "3.11.2", "2.36", 0, 0)
HERE = sysconfig.get_platform().replace("-", "_")


def test_pip_installs_the_program_and_nothing_else(tmp_path: Path) -> None:
    program = Path("/bin/true")
    wheel = server_wheel.pack(program, "0.3.36", HERE, tmp_path)
    assert wheel.name == f"llmpi_llama_server-0.3.36-py3-none-{HERE}.whl"
    assert server_wheel.executable(wheel) == program.read_bytes()
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = tmp_path / "venv/bin/python"
    before = {path for path in (tmp_path / "venv").rglob("*") if path.suffix != ".pyc"}
    subprocess.run([python, "-m", "pip", "install", "-q", "--no-index", wheel], check=True)
    after = {path for path in (tmp_path / "venv").rglob("*") if path.suffix != ".pyc"}
    installed = tmp_path / "venv/bin/llama-server"
    assert {path for path in after - before if "dist-info" not in str(path)} <= {
        installed,
        *(path for path in after if path.name == "__pycache__"),
    }
    assert subprocess.run([installed], check=False).returncode == 0


def test_the_same_program_makes_the_same_wheel(tmp_path: Path) -> None:
    """Else every install would make a release anew."""
    made = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        made.append(server_wheel.pack(Path("/bin/true"), "1", HERE, tmp_path / name).read_bytes())
    assert made[0] == made[1]


def test_without_a_cross_compiler_it_is_told_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LlmpiError) as caught:
        wheel_for("pi5", ssh(), Parts(LOCK, tmp_path / "engines"), PI)
    assert str(caught.value) == (
        "device pi5: aarch64-linux-gnu-gcc is missing on this workstation; it builds llama-server "
        "for the devices. Debian, Ubuntu: sudo apt install gcc-aarch64-linux-gnu "
        "g++-aarch64-linux-gnu. Or name a wheel of it that was made on a machine like the device, "
        "by `python -m llmpi.remote.server_wheel .` in llmpi's folder there, as its "
        "'server_wheel'."
    )
    assert not list((tmp_path / "engines").glob("[!.]*")), "nothing half-built"


def test_a_compiler_newer_than_the_device_is_told_before_anything_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed("aarch64-linux-gnu-g++")
    monkeypatch.setattr(server_wheel, "_make", lambda *_: pytest.fail("it is built"))
    with pytest.raises(LlmpiError, match=r"llama-server that .* needs glibc 2\.\d+, .* has 2\.17"):
        wheel_for("pi5", ssh(), Parts(LOCK, tmp_path), PI._replace(glibc="2.17"))


def test_another_processor_needs_a_wheel_of_its_own(tmp_path: Path) -> None:
    other = PI._replace(machine="x86_64")
    with pytest.raises(LlmpiError, match="device nuc: is x86_64; llama-server is built here for"):
        wheel_for("nuc", ssh(), Parts(LOCK, tmp_path), other)
    own = ssh(server_wheel="own.whl")
    assert wheel_for("nuc", own, Parts(LOCK, tmp_path), other) == Path("own.whl")


def test_a_wheel_that_is_there_is_taken_without_a_compiler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is kept by the lock and by what it is made with."""

    def make(_: str, version: str, how: server_wheel.How, scratch: Path) -> Path:
        whole = scratch / "whole"
        whole.mkdir()
        wheel = server_wheel.pack(Path("/bin/true"), version, how.platform, whole)
        build = {"CMAKE_ARGS": " ".join(how.arguments), "march": how.march, "compiler": "gcc 12"}
        write_json(wheel.with_suffix(".json"), {**build, "glibc": "2.17", "sha256": "0" * 64})
        made.append(how.march)
        return whole

    made: list[str] = []
    monkeypatch.setattr(server_wheel, "_make", make)
    monkeypatch.setattr(server_wheel.engine_wheels, "check_toolchain", lambda *_: None)
    parts = Parts(LOCK, tmp_path / "engines")
    first = wheel_for("pi4", ssh(), parts, PI)
    monkeypatch.undo()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert wheel_for("pi4", ssh(), parts, PI) == first
    assert made == ["armv8-a"]
    with pytest.raises(LlmpiError, match="is missing"):  # of another architecture there is none
        wheel_for("pi5", ssh(march="armv8.2-a+dotprod+fp16"), parts, PI)


def test_a_compiler_that_fails_is_quoted(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source/CMakeLists.txt").write_text("message(FATAL_ERROR no-such-thing)\n")
    with pytest.raises(LlmpiError, match="no-such-thing"):
        engine_program.compiled("x", tmp_path, (), (), {})
    with pytest.raises(LlmpiError, match="no-compiler is missing here; it builds x"):
        engine_program.compiled("x", tmp_path, (), ("no-compiler",), {})


def ssh(**more: str) -> SshDevice:
    return SshDevice.model_validate({"transport": "ssh", "host": "x", **more})
