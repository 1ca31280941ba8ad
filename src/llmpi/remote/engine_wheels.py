"""The wheels of a device's engine, made on the workstation: a device needs no compiler, no network.

llama-cpp-python comes as sources only. It is cross-compiled here for the device's processor; what
it needs has wheels for aarch64 on the index. All are kept below one folder and shared by all
devices and studies.
"""

import logging
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock
from packaging.requirements import Requirement
from packaging.version import Version

from llmpi.device.install import engine_flags, only_the_library
from llmpi.errors import LlmpiError
from llmpi.gguf.engine_program import compile_aloud
from llmpi.records import read, sha256_of, write_json
from llmpi.remote.records import EngineBuild

log = logging.getLogger(__name__)

ENGINE = "llama-cpp-python"
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")
TOOLCHAIN = "aarch64-linux-gnu"
RUNTIME = ("libgomp.so.1", "libstdc++.so.6", "libgcc_s.so.1")
"""The compiler's own libraries that go with the engine."""
# Which manylinux_2_N wheels a device takes is its glibc's age; Debian 12 has 2.36.
PLATFORMS = (34, 28, 17)
OLDEST_PLATFORM = "manylinux2014"  # the older name of 2_17

# Bits of AT_HWCAP and AT_HWCAP2 (Linux, arch/arm64/include/uapi/asm/hwcap.h).
FPHP, ASIMDHP, ASIMDDP = 1 << 9, 1 << 10, 1 << 20
I8MM = 1 << 13


class Processor(NamedTuple):
    """What decides which wheels a device can take."""

    machine: str
    """As `uname -m` says it."""
    python: str
    """Full version, such as 3.11.2."""
    glibc: str
    hwcap: int
    hwcap2: int

    @property
    def march(self) -> str:
        """The architecture for gcc: a Pi 5 is armv8.2-a+dotprod+fp16, a Pi 4 armv8-a."""
        half = self.hwcap & FPHP and self.hwcap & ASIMDHP
        if not (half and self.hwcap & ASIMDDP):
            return "armv8-a"
        return "armv8.2-a+dotprod+fp16" + ("+i8mm" if self.hwcap2 & I8MM else "")


def engine_wheels(
    lock: Path, processor: Processor, march: str, cache: Path, own: Path | None = None
) -> list[Path]:
    """All wheels of `lock` for an aarch64 device, the engine's first; made where missing.

    Args:
        lock: a requirements file with hashes.
        march: architecture for gcc, such as `Processor.march`.
        cache: shared folder; several jobs may use it at once.
        own: an engine's wheel to take in place of building one.

    Raises:
        LlmpiError: the cross compiler is missing, the build failed, a package has no wheel for the
            device, or the device's glibc is older than the toolchain's.
    """
    packages = _packages(lock, processor)
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / ".flock"):
        pinned = packages.pop(ENGINE)
        if own:
            return [own, *_others(packages, processor, cache)]
        engine = _engine(pinned, march, cache, processor.glibc)
        check_glibc(processor.glibc, read(engine.with_suffix(".json"), EngineBuild)["glibc"])
        return [engine, *_others(packages, processor, cache)]


def cross_wheel(
    version: str, more: Sequence[str], processor: Processor, march: str, cache: Path
) -> Path:
    """Wheel of any version of the engine for an aarch64 device, made where it is missing.

    Args:
        more: arguments for cmake besides.

    Raises:
        LlmpiError: as `engine_wheels`; or the package index does not have it.
    """
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / ".flock"):
        pinned = _pinned(version, cache)
        engine = _engine(pinned, march, cache, processor.glibc, more)
        check_glibc(processor.glibc, read(engine.with_suffix(".json"), EngineBuild)["glibc"])
        return engine


def native_wheel(version: str, more: Sequence[str], cache: Path) -> Path:
    """The same for this machine, with the flags that its own engine has.

    Raises:
        LlmpiError: the build failed, or the package index does not have it.
    """
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / ".flock"):
        pinned = _pinned(version, cache)
        try:
            flags = " ".join(engine_flags(platform.machine(), os.environ.get("CC", "cc")))
        except SystemExit as error:  # the compiler is missing
            raise LlmpiError(str(error)) from None
        build = {"CFLAGS": flags, "CXXFLAGS": flags, "CMAKE_ARGS": " ".join(more)}
        key = sha256(f"{pinned}{build}{platform.machine()}".encode()).hexdigest()[:12]
        folder = cache / f"{version}-native-{key}"
        if not folder.is_dir():
            log.info("building the engine %s for this machine (takes minutes, once)", version)
            with tempfile.TemporaryDirectory(prefix=".build-", dir=cache) as scratch:
                built = _build(pinned, build, Path(scratch), _sources(version, cache))
                whole = Path(scratch) / "whole"
                whole.mkdir()
                wheel = built.rename(whole / built.name)
                write_json(wheel.with_suffix(".json"), {**build, "sha256": sha256_of(wheel)})
                whole.rename(folder)
        return next(folder.glob("*.whl"))


def check_cross_build(march: str, glibc: str, cache: Path) -> None:
    """Whether an engine can be made here for a device with this glibc: told before it is built.

    Raises:
        LlmpiError: the cross compiler is missing, or newer than the device.
    """
    if not any(cache.glob(f"*-{march}-*")):
        check_toolchain(glibc)


def package_wheels(lock: Path, without: Path, processor: Processor, cache: Path) -> list[Path]:
    """Wheels of the packages of `lock` that the lock `without` does not have.

    Raises:
        LlmpiError: a package has no wheel for the device.
    """
    there = _packages(without, processor)
    packages = {n: text for n, text in _packages(lock, processor).items() if n not in there}
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / ".flock"):
        return _others(packages, processor, cache)


def _packages(lock: Path, processor: Processor) -> dict[str, str]:
    """Name -> its lines in the lock (version and hashes), for what the device's Python needs."""
    environment = {
        "python_full_version": processor.python,
        "python_version": ".".join(processor.python.split(".")[:2]),
        "platform_machine": processor.machine,
        "sys_platform": "linux",
        "platform_system": "Linux",
        "os_name": "posix",
    }
    packages = {}
    for block in re.split(r"\n(?=[^\s#])", lock.read_text(encoding="utf-8")):
        lines = [line for line in block.splitlines() if not line.strip().startswith("#")]
        if not lines:
            continue
        requirement = Requirement(lines[0].rstrip(" \\"))
        if requirement.marker is None or requirement.marker.evaluate(environment):
            pinned = f"{requirement.name}{requirement.specifier} \\"
            packages[requirement.name] = "\n".join([pinned, *lines[1:]]) + "\n"
    return packages


# --- the engine -----------------------------------------------------------------------------------


def _engine(pinned: str, march: str, cache: Path, glibc: str, more: Sequence[str] = ()) -> Path:
    arguments = " ".join([cmake_arguments(march), *more])
    key = sha256(f"{pinned}{arguments}".encode()).hexdigest()[:12]
    version = _version(pinned)
    folder = cache / f"{version}-{march}-{key}"
    if not folder.is_dir():
        check_toolchain(glibc)
        log.info("cross-building the engine for %s (takes minutes, once)", march)
        with tempfile.TemporaryDirectory(prefix=".build-", dir=cache) as scratch:
            built = _build(
                pinned, {"CMAKE_ARGS": arguments}, Path(scratch), _sources(version, cache)
            )
            _with_runtime(built, Path(scratch) / "whole", march, arguments)
            (Path(scratch) / "whole").rename(folder)
    return next(folder.glob("*.whl"))


def _version(pinned: str) -> str:
    return pinned.partition("==")[2].split()[0]


def _sources(version: str, cache: Path) -> Path:
    """Folder of the sources of a version that no lock pins."""
    return cache / f"sources-{version}"


def _pinned(version: str, cache: Path) -> str:
    """A version that the user names, as a lock would pin it: by the hash of the sources that the
    package index gave at the first time."""
    folder = _sources(version, cache)
    if not folder.is_dir():
        with tempfile.TemporaryDirectory(prefix=".sources-", dir=cache) as scratch:
            got = Path(scratch) / "sources"
            options = ["--no-deps", "--no-binary", ENGINE, "--no-build-isolation"]
            _pip(["download", *options, "--dest", str(got), f"{ENGINE}=={version}"], {**os.environ})
            got.rename(folder)
    [sources] = folder.iterdir()
    return f"{ENGINE}=={version} \\\n    --hash=sha256:{sha256_of(sources)}\n"


def cmake_arguments(march: str) -> str:
    """For a device's processor."""
    return (
        "-DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 "
        f"-DCMAKE_C_COMPILER={TOOLCHAIN}-gcc -DCMAKE_CXX_COMPILER={TOOLCHAIN}-g++ "
        f"-DGGML_NATIVE=OFF -DGGML_CPU_ARM_ARCH={march}"
    )


class Made(NamedTuple):
    """What is made here for a device, for who reads why it cannot be."""

    what: str
    without: str
    """What to do without the compiler."""
    elsewhere: str
    """What to do where the compiler is too new."""


OWN_ENGINE = Made(
    "the engine",
    "Or set 'engine: native' for the device.",
    "set 'engine: native' for the device, or have the engine made on an older workstation, such as "
    "a container of debian:12, and name its wheel as 'engine'.",
)


def check_toolchain(glibc: str, made: Made = OWN_ENGINE) -> None:
    """It is there, and its libraries, which ask for what is made will, are for this glibc.

    Raises:
        LlmpiError: it is not, with what to do.
    """
    for tool in ("gcc", "g++", "objdump"):
        if not shutil.which(f"{TOOLCHAIN}-{tool}"):
            raise LlmpiError(
                f"{TOOLCHAIN}-{tool} is missing on this workstation; it builds {made.what} for the "
                "devices. Debian, Ubuntu: sudo apt install gcc-aarch64-linux-gnu "
                f"g++-aarch64-linux-gnu. {made.without}"
            )
    check_glibc(glibc, glibc_needed(map(_of_the_compiler, RUNTIME)), made)


def check_glibc(glibc: str, needed: str, made: Made = OWN_ENGINE) -> None:
    """
    Raises:
        LlmpiError: the device's is older than what is made needs, with what to do.
    """
    if Version(glibc) < Version(needed):
        raise LlmpiError(
            f"{made.what} that this workstation's cross compiler makes needs glibc {needed}, the "
            f"device has {glibc}. Take a newer system there (Raspberry Pi OS 12 has 2.36, 13 has "
            f"2.41), {made.elsewhere}"
        )


def _of_the_compiler(library: str) -> Path:
    return Path(run([f"{TOOLCHAIN}-gcc", f"-print-file-name={library}"]).strip())


def _build(pinned: str, flags: Mapping[str, str], scratch: Path, sources: Path) -> Path:
    """The wheel of what is pinned.

    Args:
        flags: variables of the environment.
        sources: folder that has them already, if it is there.
    """
    requirements = scratch / "engine.txt"
    requirements.write_text(pinned)
    # Flags meant for this machine's processor are none for the device's. pip keeps what it built by
    # its sources alone, so its cache would give back this machine's own engine.
    env = {k: v for k, v in os.environ.items() if k not in ("CFLAGS", "CXXFLAGS", "LDFLAGS")}
    env |= {**flags, "CMAKE_ARGS": only_the_library(flags["CMAKE_ARGS"], scratch)}
    command = ["wheel", "--no-deps", "--no-cache-dir", "--no-binary", ENGINE, "--require-hashes"]
    if sources.is_dir():
        command += ["--no-index", "--find-links", str(sources)]
    command += ["--no-build-isolation"]  # with what this environment's lock has for it
    command += ["--verbose", "--wheel-dir", str(scratch), "-r", str(requirements)]
    compile_aloud([*PIP, *command], env)
    return next(scratch.glob("*.whl"))


def _with_runtime(built: Path, folder: Path, march: str, arguments: str) -> None:
    """The wheel with the compiler's own libraries beside the engine's, and tagged for aarch64.

    A device without a compiler may lack them, libgomp above all.
    """
    unpacked = built.parent / "unpacked"
    _wheel(["unpack", str(built), "--dest", str(unpacked)])
    [content] = unpacked.iterdir()
    libraries = content / "llama_cpp/lib"
    for name in RUNTIME:
        shutil.copyfile(_of_the_compiler(name), libraries / name)
    info = next(content.glob("*.dist-info")) / "WHEEL"
    info.write_text(re.sub(r"(?m)^Tag: .*$", "Tag: py3-none-linux_aarch64", info.read_text()))
    folder.mkdir()
    _wheel(["pack", str(content), "--dest-dir", str(folder)])
    wheel = next(folder.glob("*.whl"))
    compiler = run([f"{TOOLCHAIN}-gcc", "--version"]).splitlines()[0]
    record: EngineBuild = {
        "CMAKE_ARGS": arguments,
        "march": march,
        "compiler": compiler,
        "glibc": glibc_needed(libraries.glob("*.so*")),
        "sha256": sha256_of(wheel),
    }
    write_json(wheel.with_suffix(".json"), record)


def glibc_needed(libraries: Iterable[Path], objdump: str = f"{TOOLCHAIN}-objdump") -> str:
    """The newest glibc whose symbols the libraries, or programs, ask for."""
    asked = {
        Version(found)
        for library in libraries
        for found in re.findall(r"GLIBC_(\d+\.\d+)", run([objdump, "-T", str(library)]))
    }
    return str(max(asked))


# --- what it needs --------------------------------------------------------------------------------


def _others(packages: dict[str, str], processor: Processor, cache: Path) -> list[Path]:
    minor = "".join(processor.python.split(".")[:2])
    text = "".join(packages.values())
    key = sha256(f"{text}{processor.glibc}{processor.machine}".encode()).hexdigest()[:12]
    folder = cache / f"packages-cp{minor}-{key}"
    if not folder.is_dir():
        with tempfile.TemporaryDirectory(prefix=".packages-", dir=cache) as scratch:
            requirements = Path(scratch) / "packages.txt"
            requirements.write_text(text)
            wheels = Path(scratch) / "wheels"
            command = ["download", "--no-deps", "--require-hashes", "--only-binary", ":all:"]
            command += ["--implementation", "cp", "--python-version", minor]
            for tag in _platforms(processor.glibc, processor.machine):
                command += ["--platform", tag]
            _pip([*command, "--dest", str(wheels), "-r", str(requirements)], dict(os.environ))
            wheels.rename(folder)
    return sorted(folder.glob("*.whl"))


def _platforms(glibc: str, machine: str) -> list[str]:
    """Tags of wheels that a device with this glibc and processor runs."""
    minor = Version(glibc).minor
    tags = [f"manylinux_2_{m}" for m in PLATFORMS if m <= minor] + [OLDEST_PLATFORM]
    return [f"{tag}_{machine}" for tag in tags]


# --- tools ----------------------------------------------------------------------------------------


def _pip(arguments: Sequence[str], env: dict[str, str]) -> None:
    run([*PIP, *arguments], env=env)


def _wheel(arguments: Sequence[str]) -> None:
    run([sys.executable, "-m", "wheel", *arguments])


def run(command: Sequence[str], env: dict[str, str] | None = None) -> str:
    """Stdout of a command; all it says goes to the log.

    Raises:
        LlmpiError: it failed, with the end of what it said.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    for line in (done.stdout + done.stderr).splitlines():
        log.debug("%s", line)
    if done.returncode != 0:
        raise LlmpiError(f"{command[0]} failed: {(done.stderr or done.stdout).strip()[-1500:]}")
    return done.stdout
