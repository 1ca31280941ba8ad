"""Install a lock file, the engine compiled from source with flags that do not crash.

Stdlib only, and run by file name before anything is installed:
``python install.py envs/workstation.lock [more.lock ...]``. `make` calls it on the workstation and
provisioning calls it on a device, so that both ends build the engine the same way.
"""

import hashlib
import json
import os
import platform
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

LOG = Path(sys.prefix) / "llmpi-install.log"
"""What pip and the compiler say: shown where they fail."""
TAIL_LINES = 40
SAY_EVERY_S = 10.0
COMPILED = re.compile(r"\s*\[(\d+)/(\d+)\] ")
"""How ninja begins its lines."""
ENGINE_CORE_MINUTES = 6
"""Of compiling the engine, on one core of a Xeon of 2023; a Pi 5 takes some three times that."""
RECORD = Path(sys.prefix) / "llmpi-engine-build.json"

# llama.cpp's AMX kernels die of SIGSEGV at `ldtilecfg` where the processor reports AMX but the
# kernel or hypervisor has not granted its use; quantized models then crash on the first token.
NO_AMX = ("-mno-amx-tile", "-mno-amx-int8", "-mno-amx-bf16")

# Of llama.cpp only the library is loaded. The bindings' CMakeLists.txt would build as much again:
# its library for images, which an option turns off, and what its own programs share, which is
# forced on before llama.cpp's own CMakeLists.txt is read and so must be turned off within it.
WITHOUT_IMAGES = "-DLLAVA_BUILD=OFF"
WITHOUT_COMMON = "set(LLAMA_BUILD_COMMON OFF)\n"


def engine_flags(machine: str, compiler: str) -> list[str]:
    """Compiler flags for the engine on `machine` (as `uname -m` says it).

    A flag the compiler does not know is left out: such a compiler cannot emit AMX either.
    """
    if machine not in ("x86_64", "AMD64"):
        return []
    return [flag for flag in NO_AMX if _accepts(compiler, flag)]


def _accepts(compiler: str, flag: str) -> bool:
    try:
        done = subprocess.run(
            [compiler, flag, "-E", "-x", "c", os.devnull], capture_output=True, check=False
        )
    except FileNotFoundError:
        raise SystemExit(
            f"llmpi: the C compiler {compiler!r} was not found; the engine is built from source. "
            "Install one (Debian: apt-get install build-essential) and try again."
        ) from None
    return done.returncode == 0


def only_the_library(arguments: str, folder: Path) -> str:
    """The same arguments for cmake (`CMAKE_ARGS`), of which no more is built than what is loaded.

    The library is the same with it and without, and so it stands in no record of a build.

    Args:
        folder: where a file for cmake is written; it must stay for as long as is built.
    """
    included = folder.absolute() / "llmpi-only-the-library.cmake"  # cmake runs elsewhere
    included.write_text(WITHOUT_COMMON, encoding="utf-8")
    ours = [WITHOUT_IMAGES, f"-DCMAKE_PROJECT_llama.cpp_INCLUDE={included}"]
    return f"{shlex.join(ours)} {arguments}".strip()


def install(locks: list[str]) -> None:
    """pip-install `locks` (hash-checked) into this interpreter and record the build's flags.

    What builds the sources among them stands in `build.lock` beside the first one, and is installed
    before: pip would fetch it by itself, whatever the index has, and check nothing. A newer pip is
    in it, too: one before 23.1 compiles anew for each environment where hashes are asked for.
    """
    flags = " ".join(engine_flags(platform.machine(), os.environ.get("CC", "cc")))
    env = dict(os.environ)
    for variable in ("CFLAGS", "CXXFLAGS"):
        env[variable] = f"{flags} {env.get(variable, '')}".strip()
    minutes = max(1, round(ENGINE_CORE_MINUTES / (os.cpu_count() or 1)))
    _say(
        f"installing {', '.join(locks)} into {sys.prefix}; the first time, the engine (llama.cpp) "
        f"is compiled for this processor, about {minutes} minutes. What pip says goes to {LOG}"
    )
    build = str(Path(locks[0]).with_name("build.lock"))
    LOG.write_text("", encoding="utf-8")
    _pip(["--only-binary", ":all:"], [build], env)
    record = {name: env.get(name, "") for name in ("CFLAGS", "CXXFLAGS", "CMAKE_ARGS")}
    env["CMAKE_ARGS"] = only_the_library(record["CMAKE_ARGS"], Path(sys.prefix))
    _pip(["--no-build-isolation", "--cache-dir", str(cache(record, _machine()))], locks, env)
    RECORD.write_text(json.dumps(record, indent=2) + "\n")


def cache(record: dict[str, str], machine: str) -> Path:
    """pip's cache of what was compiled in just this way: its own knows an engine by its sources
    alone, and would take one of other flags, of another compiler, or for another processor or libc.

    Args:
        record: the flags.
        machine: that compiles it, and runs it.
    """
    how = json.dumps([record, machine], sort_keys=True).encode()
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return caches / "llmpi" / f"pip-{hashlib.sha256(how).hexdigest()[:12]}"


def _machine() -> str:
    """Architecture and instruction sets, compilers and libc; the file is the kernel's."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    sets = sorted({line for line in lines if line.startswith(("flags", "Features"))})
    compilers = (os.environ.get("CC", "cc"), os.environ.get("CXX", "c++"))
    versions = (_version(compiler) for compiler in compilers)
    return " ".join([platform.machine(), *sets, *versions, *platform.libc_ver()])


def _version(compiler: str) -> str:
    try:
        done = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False)
    except OSError:  # the build says so
        return ""
    return done.stdout


def _say(text: str) -> None:
    """As `llmpi.engine.progress.say`, which is not there yet."""
    print(f"llmpi: {text}", file=sys.stderr, flush=True)


def _pip(options: list[str], locks: list[str], env: dict[str, str]) -> None:
    # Verbose, or the compiler says nothing of how far it is.
    command = [sys.executable, "-m", "pip", "install", "--verbose", "--require-hashes"]
    command += ["--progress-bar", "off", *options]
    for lock in locks:
        command += ["-r", lock]
    compiling = Compiling(_say)
    with subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as pip, LOG.open("ab") as log:  # fmt: skip
        assert pip.stdout is not None
        for line in pip.stdout:
            log.write(line)
            compiling.hear(line.decode("utf-8", "replace"))
    if pip.returncode != 0:
        lines = LOG.read_text(encoding="utf-8", errors="replace").splitlines()
        print(*lines[-TAIL_LINES:], sep="\n", file=sys.stderr)
        why = next((line for line in reversed(lines) if line.startswith("ERROR: ")), "see above")
        raise SystemExit(f"llmpi: pip could not install {' '.join(locks)}: {why} (all in {LOG})")


class Compiling:
    """Says how far pip and the compiler are, every few seconds, by what they say."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say, self._packages, self._told = say, 0, 0
        self._began = self._said = time.monotonic()

    def hear(self, line: str) -> None:
        now = time.monotonic()
        self._packages += line.startswith("Collecting ")
        if line.startswith("Installing collected packages: "):
            self._say(f"installing {line.count(',') + 1} packages")
        found = COMPILED.match(line)
        if found and found[1] == "1":
            self._began = now
        if now - self._said < SAY_EVERY_S:
            return
        self._said = now
        if found:
            done, total = int(found[1]), int(found[2])
            # The first file is where the clock begins.
            left = (total - done) * (now - self._began) / (done - 1) if done > 1 else None
            more = "" if left is None else f", {left:.0f} s left"
            self._say(f"{done}/{total} files of the engine compiled{more}")
        elif self._packages > self._told:
            self._told = self._packages
            self._say(f"packages collected: {self._packages}")


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        raise SystemExit(__doc__)
    install(sys.argv[1:])
