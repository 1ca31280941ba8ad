"""llama.cpp's own server as a wheel: what the service on a device runs.

It is compiled from the sources of the pinned engine, with what the engine's wheel is compiled with,
and holds its libraries in itself, so that it depends on nothing of the engine beside it. pip puts
it into a venv as `bin/llama-server`. `python -m llmpi.remote.server_wheel FOLDER` makes one for the
very machine it is called on.
"""

import argparse
import base64
import json
import logging
import platform
import stat
import sys
import sysconfig
import tempfile
import zipfile
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock

from llmpi.device.machine import capacity
from llmpi.errors import LlmpiError
from llmpi.gguf import engine_source
from llmpi.gguf.engine_program import compiled
from llmpi.records import read, sha256_of, write_json
from llmpi.remote import engine_wheels
from llmpi.remote.engine_wheels import TOOLCHAIN, Made, Processor
from llmpi.remote.records import EngineBuild

log = logging.getLogger(__name__)

PROGRAM = "llama-server"
PACKAGE = "llmpi_llama_server"
CORE_MINUTES = 10
"""Of compiling it, on one core of a server of 2023."""
# Neither TLS nor a page of its own: the one is a proxy's, the other would be fetched from the net.
OPTIONS = (
    "-DCMAKE_BUILD_TYPE=Release",
    "-DBUILD_SHARED_LIBS=OFF",
    "-DLLAMA_OPENSSL=OFF",
    "-DLLAMA_BUILD_TESTS=OFF",
    "-DLLAMA_BUILD_EXAMPLES=OFF",
    "-DLLAMA_BUILD_APP=OFF",
    "-DLLAMA_BUILD_UI=OFF",
    "-DLLAMA_USE_PREBUILT_UI=OFF",
)

OWN_WHEEL = (
    "a wheel of it that was made on a machine like the device, by `python -m "
    "llmpi.remote.server_wheel .` in llmpi's folder there, as its 'server_wheel'."
)
SERVER = Made(PROGRAM, f"Or name {OWN_WHEEL}", f"or name {OWN_WHEEL}")


class How(NamedTuple):
    """What decides the program, beside the sources."""

    platform: str
    """As in a wheel's name, such as `linux_aarch64`."""
    arguments: tuple[str, ...]
    """For cmake."""
    compilers: tuple[str, str]
    """Of C and of C++."""
    objdump: str
    flags: Mapping[str, str]
    """For the compilers, by variable."""
    march: str
    """For whoever looks."""


def cross_server(lock: Path, processor: Processor, march: str, cache: Path) -> Path:
    """The wheel for an aarch64 device; made where it is missing.

    Args:
        lock: a requirements file with hashes, the engine among them.
        march: architecture for gcc, such as `Processor.march`.
        cache: shared folder; several jobs may use it at once.

    Raises:
        LlmpiError: the device is no aarch64, the cross compiler is missing or newer than the
            device, or the build failed.
    """
    if processor.machine != "aarch64":
        raise LlmpiError(
            f"is {processor.machine}; {PROGRAM} is built here for aarch64 only: name {OWN_WHEEL}"
        )
    arguments = (*engine_wheels.cmake_arguments(march).split(), *OPTIONS)
    compilers = (f"{TOOLCHAIN}-gcc", f"{TOOLCHAIN}-g++")
    how = How("linux_aarch64", arguments, compilers, f"{TOOLCHAIN}-objdump", {}, march)
    wheel = _kept(lock, how, cache, glibc=processor.glibc)
    needed = read(wheel.with_suffix(".json"), EngineBuild)["glibc"]
    engine_wheels.check_glibc(processor.glibc, needed, SERVER)
    return wheel


def own_server(lock: Path, cache: Path) -> Path:
    """The wheel for this very machine, compiled as its engine was; made where it is missing.

    Raises:
        LlmpiError: a compiler is missing, or the build failed.
    """
    here = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    how = How(here, OPTIONS, ("cc", "c++"), "objdump", engine_flags(), platform.machine())
    return _kept(lock, how, cache, glibc=None)


def engine_flags() -> dict[str, str]:
    """The compiler flags that this machine's engine was compiled with."""
    record = Path(sys.prefix) / "llmpi-engine-build.json"
    flags = json.loads(record.read_text()) if record.is_file() else {}
    return {name: flags[name] for name in ("CFLAGS", "CXXFLAGS") if flags.get(name)}


def executable(wheel: Path) -> bytes:
    """The program in a wheel."""
    with zipfile.ZipFile(wheel) as packed:
        return packed.read(f"{wheel.name.rpartition('-py3-')[0]}.data/scripts/{PROGRAM}")


def _kept(lock: Path, how: How, cache: Path, glibc: str | None) -> Path:
    """Made where it is missing, which needs a compiler not newer than `glibc`."""
    pinned = engine_source.pin(lock)
    version = pinned.partition("==")[2].split()[0]
    key = sha256(json.dumps([pinned, how]).encode()).hexdigest()[:12]
    folder = cache / f"{PROGRAM}-{version}-{key}"
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / f".{PROGRAM}.flock"):
        if not folder.is_dir():
            if glibc is not None:
                engine_wheels.check_toolchain(glibc, SERVER)
            minutes = max(1, round(CORE_MINUTES / capacity.processors()))
            log.info("building %s for %s: about %d minutes, once", PROGRAM, how.march, minutes)
            with tempfile.TemporaryDirectory(prefix=".server-", dir=cache) as scratch:
                _make(pinned, version, how, Path(scratch)).rename(folder)
    return next(folder.glob("*.whl"))


def _make(pinned: str, version: str, how: How, scratch: Path) -> Path:
    """A folder with the wheel and the record of its build."""
    engine_source.unpack(pinned, scratch / "source")
    # Else the commit of whatever repository the folder lies in is asked for.
    of = ("-DLLAMA_BUILD_NUMBER=0", f"-DLLAMA_BUILD_COMMIT={engine_source.ENGINE}-{version}")
    arguments = (*how.arguments, *_runtime_within(how), *of)
    program = compiled(PROGRAM, scratch, arguments, how.compilers, how.flags)
    whole = scratch / "whole"
    whole.mkdir()
    wheel = pack(program, version, how.platform, whole)
    compiler = engine_wheels.run([how.compilers[0], "--version"]).splitlines()[0]
    record: EngineBuild = {
        "CMAKE_ARGS": " ".join(how.arguments),
        "march": how.march,
        "compiler": compiler,
        "glibc": engine_wheels.glibc_needed([program], how.objdump),
        "sha256": sha256_of(wheel),
    }
    write_json(wheel.with_suffix(".json"), record)
    return whole


def _runtime_within(how: How) -> tuple[str, ...]:
    """What has the compiler's own libraries in the program: a device may lack them."""
    gomp = engine_wheels.run([how.compilers[0], "-print-file-name=libgomp.a"]).strip()
    if not Path(gomp).is_absolute():  # a clang knows none; the machine has what it links to
        return ()
    flags = "-static-libstdc++ -static-libgcc"
    return (f"-DOpenMP_gomp_LIBRARY={gomp}", f"-DCMAKE_EXE_LINKER_FLAGS={flags}")


def pack(program: Path, version: str, platform_tag: str, folder: Path) -> Path:
    """A wheel whose only content is a program; the same for the same bytes."""
    name = f"{PACKAGE}-{version}"
    info = f"{name}.dist-info"
    files = {
        f"{name}.data/scripts/{PROGRAM}": program.read_bytes(),
        f"{info}/METADATA": METADATA.format(name=PACKAGE, version=version).encode(),
        f"{info}/WHEEL": WHEEL.format(tag=platform_tag).encode(),
    }
    listed = [f"{path},sha256={_digest(data)},{len(data)}" for path, data in files.items()]
    files[f"{info}/RECORD"] = "".join(
        f"{line}\n" for line in [*listed, f"{info}/RECORD,,"]
    ).encode()
    wheel = folder / f"{name}-py3-none-{platform_tag}.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as packed:
        for path, data in files.items():
            member = zipfile.ZipInfo(path)  # of 1980: no date in it
            member.compress_type = zipfile.ZIP_DEFLATED
            mode = 0o755 if path.endswith(PROGRAM) else 0o644
            member.external_attr = (stat.S_IFREG | mode) << 16
            packed.writestr(member, data)
    return wheel


METADATA = """\
Metadata-Version: 2.1
Name: {name}
Version: {version}
Summary: llama.cpp's server, of the sources of llama-cpp-python {version}
License: MIT
"""
WHEEL = """\
Wheel-Version: 1.0
Generator: llmpi
Root-Is-Purelib: false
Tag: py3-none-{tag}
"""


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(sha256(data).digest()).rstrip(b"=").decode()


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m llmpi.remote.server_wheel",
        description="Make llama-server's wheel for this very machine, for devices like it.",
    )
    parser.add_argument("folder", type=Path, help="where it is kept")
    parser.add_argument("--lock", type=Path, default=Path("envs/device.lock"))
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="llmpi: %(message)s")
    print(own_server(args.lock, args.folder))


if __name__ == "__main__":
    main()
