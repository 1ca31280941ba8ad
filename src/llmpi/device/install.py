"""Install a lock file, the engine compiled from source with flags that do not crash.

Stdlib only, and run by file name before anything is installed:
``python install.py envs/workstation.lock [more.lock ...]``. `make` calls it on the workstation and
provisioning calls it on a device, so that both ends build the engine the same way.
"""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

RECORD = Path(sys.prefix) / "llmpi-engine-build.json"

# llama.cpp's AMX kernels die of SIGSEGV at `ldtilecfg` where the processor reports AMX but the
# kernel or hypervisor has not granted its use; quantized models then crash on the first token.
NO_AMX = ("-mno-amx-tile", "-mno-amx-int8", "-mno-amx-bf16")


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


def install(locks: list[str]) -> None:
    """pip-install `locks` (hash-checked) into this interpreter and record the build's flags.

    What builds the sources among them stands in `build.lock` beside the first one, and is installed
    before: pip would fetch it by itself, whatever the index has, and check nothing.
    """
    flags = " ".join(engine_flags(platform.machine(), os.environ.get("CC", "cc")))
    env = dict(os.environ)
    for variable in ("CFLAGS", "CXXFLAGS"):
        env[variable] = f"{flags} {env.get(variable, '')}".strip()
    print("llmpi: installing; compiling the engine takes some minutes the first time", flush=True)
    build = str(Path(locks[0]).with_name("build.lock"))
    _pip(["--only-binary", ":all:"], [build], env)
    _pip(["--no-build-isolation"], locks, env)
    record = {name: env.get(name, "") for name in ("CFLAGS", "CXXFLAGS", "CMAKE_ARGS")}
    RECORD.write_text(json.dumps(record, indent=2) + "\n")


def _pip(options: list[str], locks: list[str], env: dict[str, str]) -> None:
    command = [sys.executable, "-m", "pip", "install", "--require-hashes", "--progress-bar", "off"]
    command += options
    for lock in locks:
        command += ["-r", lock]
    if subprocess.run(command, env=env, check=False).returncode != 0:
        raise SystemExit(f"llmpi: pip could not install {' '.join(locks)} (see above)")


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        raise SystemExit(__doc__)
    install(sys.argv[1:])
