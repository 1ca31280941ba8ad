"""llama.cpp's own tools, built from the very sources of the installed engine.

The source distribution of the pinned llama-cpp-python holds all of llama.cpp. A tool is built once
with the flags the engine was built with, and kept in the user's cache folder.
"""

import hashlib
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from llmpi.gguf.engine_source import ENGINE, pin, unpack

ROOT = Path(__file__).resolve().parent.parent
CMAKE_OPTIONS = (
    "-DCMAKE_BUILD_TYPE=Release",
    "-DBUILD_SHARED_LIBS=ON",
    "-DLLAMA_CURL=OFF",
    "-DLLAMA_BUILD_TESTS=OFF",
    "-DLLAMA_BUILD_EXAMPLES=OFF",
)


def cache_folder() -> Path:
    """Where peers and benchmark models are kept: outside the tree."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "llmpi" / "benchmarks"


def tool(name: str) -> Path:
    """Path of a llama.cpp tool, e.g. `llama-bench`; built on the first call (minutes)."""
    flags = _build_flags()
    key = hashlib.sha256(json.dumps([CMAKE_OPTIONS, flags]).encode()).hexdigest()[:12]
    home = cache_folder() / f"{ENGINE}-{importlib.metadata.version(ENGINE)}-{key}"
    binary = home / "build" / "bin" / name
    if not (home / f"{name}.built").is_file():
        _say(f"building {name} from the engine's own sources, once; this takes some minutes")
        _build(home, name, flags)
        (home / f"{name}.built").touch()  # last: a half build is never taken for a whole one
    return binary


def _build(home: Path, name: str, flags: dict[str, str]) -> None:
    for needed in ("cmake", "cc", "c++"):
        if not shutil.which(needed):
            raise SystemExit(
                f"{needed} is needed to build {name} (Debian: apt-get install cmake g++)"
            )
    if not (home / "source" / "CMakeLists.txt").is_file():
        unpack(pin(ROOT / "envs" / "workstation.lock"), home / "source")
    configure = ["cmake", "-S", "source", "-B", "build", *CMAKE_OPTIONS]
    build = ["cmake", "--build", "build", "--target", name, "-j", str(os.cpu_count() or 1)]
    for command in (configure, build):
        done = subprocess.run(
            command,
            cwd=home,
            env={**os.environ, **flags},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise SystemExit(f"{' '.join(command)} failed:\n{(done.stdout + done.stderr)[-3000:]}")


def _build_flags() -> dict[str, str]:
    """The compiler flags the installed engine was built with."""
    record = Path(sys.prefix) / "llmpi-engine-build.json"
    flags = json.loads(record.read_text()) if record.is_file() else {}
    return {name: flags[name] for name in ("CFLAGS", "CXXFLAGS") if flags.get(name)}


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
