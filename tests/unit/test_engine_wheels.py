"""Which wheels a device is given: by its processor, its Python, its glibc."""

import json
from hashlib import sha256
from pathlib import Path

import pytest
from support import ROOT, needed

from llmpi.errors import LlmpiError
from llmpi.remote import engine_wheels
from llmpi.remote.engine_wheels import ASIMDDP, ASIMDHP, FPHP, I8MM, Processor

LOCK = ROOT / "envs/device.lock"


def processor(hwcap: int = 0, hwcap2: int = 0, python: str = "3.11.2") -> Processor:
    return Processor("aarch64", python, "2.36", hwcap, hwcap2)


@pytest.mark.parametrize(
    ("hwcap", "hwcap2", "march"),
    [
        (0, 0, "armv8-a"),  # Cortex-A72, Raspberry Pi 4
        (FPHP | ASIMDHP | ASIMDDP, 0, "armv8.2-a+dotprod+fp16"),  # Cortex-A76, Raspberry Pi 5
        (FPHP | ASIMDHP | ASIMDDP, I8MM, "armv8.2-a+dotprod+fp16+i8mm"),
        (ASIMDDP, 0, "armv8-a"),
    ],
)
def test_architecture(hwcap: int, hwcap2: int, march: str) -> None:
    assert processor(hwcap, hwcap2).march == march


def test_packages_are_those_of_the_devices_python() -> None:
    old = engine_wheels._packages(LOCK, processor(python="3.11.2"))
    new = engine_wheels._packages(LOCK, processor(python="3.13.5"))
    assert old.keys() == new.keys()
    assert {"llama-cpp-python", "numpy", "pip"} <= old.keys()
    assert old["numpy"] != new["numpy"]
    for lines in old.values():
        first, *hashes = lines.splitlines()
        assert "==" in first
        assert ";" not in first, "the marker is decided; pip would decide it for this machine"
        assert hashes
        assert all(line.strip().startswith("--hash=sha256:") for line in hashes)


@pytest.mark.parametrize(
    ("glibc", "newest"),
    [
        ("2.36", "manylinux_2_34_aarch64"),
        ("2.31", "manylinux_2_28_aarch64"),
        ("2.17", "manylinux_2_17_aarch64"),
    ],
)
def test_platforms_are_not_newer_than_the_devices_glibc(glibc: str, newest: str) -> None:
    assert engine_wheels._platforms(glibc, "aarch64")[0] == newest


def test_missing_toolchain_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LlmpiError) as caught:
        engine_wheels.engine_wheels(LOCK, processor(), "armv8-a", tmp_path / "engines")
    assert str(caught.value) == (
        "aarch64-linux-gnu-gcc is missing on this workstation; it builds the engine for the "
        "devices. Debian, Ubuntu: sudo apt install gcc-aarch64-linux-gnu g++-aarch64-linux-gnu. "
        "Or set 'engine: native' for the device."
    )
    assert not list((tmp_path / "engines").glob("[!.]*")), "nothing half-built"


def test_a_compiler_newer_than_the_device_is_told_before_anything_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the compiler's own libraries ask for is more than the oldest of systems has."""
    needed("aarch64-linux-gnu-g++")
    monkeypatch.setattr(engine_wheels, "_build", lambda *_: pytest.fail("it is built"))
    old = processor()._replace(glibc="2.17")
    with pytest.raises(
        LlmpiError, match=r"needs glibc 2\.\d+, the device has 2\.17\. Take a newer"
    ):
        engine_wheels.engine_wheels(LOCK, old, "armv8-a", tmp_path)
    with pytest.raises(LlmpiError, match="engine: native"):
        engine_wheels.check_cross_build("armv8-a", "2.17", tmp_path)
    engine_wheels.check_cross_build("armv8-a", "2.99", tmp_path)


def test_an_engine_that_is_there_needs_no_compiler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "0.3.36-armv8-a-0123456789ab").mkdir()
    engine_wheels.check_cross_build("armv8-a", "2.36", tmp_path)
    with pytest.raises(LlmpiError, match="aarch64-linux-gnu-gcc is missing"):
        engine_wheels.check_cross_build("armv8.2-a+dotprod+fp16", "2.36", tmp_path)


def test_a_version_is_made_once_for_each_set_of_flags(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its sources are pinned by what the index gave at the first time; pip's own cache would give
    one wheel for all flags."""
    cache = tmp_path / "engines"
    sources = cache / "sources-0.3.35/llama_cpp_python-0.3.35.tar.gz"
    sources.parent.mkdir(parents=True)
    sources.write_bytes(b"sources")
    asked = []

    def build(pinned: str, flags: dict[str, str], scratch: Path, place: Path) -> Path:
        asked.append((pinned, flags["CMAKE_ARGS"], place))
        wheel = scratch / "llama_cpp_python-0.3.35-py3-none-any.whl"
        wheel.write_text(flags["CMAKE_ARGS"])
        return wheel

    monkeypatch.setattr(engine_wheels, "_build", build)
    made = [
        engine_wheels.native_wheel("0.3.35", more, cache)
        for more in ([], ["-DGGML_NATIVE=OFF"], [])
    ]
    assert [wheel.read_text() for wheel in made] == ["", "-DGGML_NATIVE=OFF", ""]
    pinned = f"llama-cpp-python==0.3.35 \\\n    --hash=sha256:{sha256(b'sources').hexdigest()}\n"
    assert asked == [(pinned, more, sources.parent) for more in ("", "-DGGML_NATIVE=OFF")]
    told = json.loads(made[1].with_suffix(".json").read_text())
    assert told["CMAKE_ARGS"] == "-DGGML_NATIVE=OFF"
