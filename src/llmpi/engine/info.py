"""Which engine is installed here, and its log."""

import contextlib
import ctypes
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from llmpi.engine.laid_over import BUILD_NAME
from llmpi.engine.low_level import llama_cpp
from llmpi.engine.records import Engine
from llmpi.engine.version import BUILD, version

_callback: Any = None
"""The engine calls it for as long as the process lives, so it must live as long."""
_heard: list[str] | None = None


def log_to(write: Callable[[str], object]) -> None:
    """Send the engine's log to `write`, in pieces as it comes, until it is sent elsewhere."""
    global _callback

    def callback(level: int, text: bytes, _: Any) -> None:
        if level == 1:  # debug
            return
        said = text.decode("utf-8", "replace")
        write(said)
        if _heard is not None:
            _heard.append(said)

    pointer = llama_cpp.llama_log_callback(callback)
    llama_cpp.llama_log_set(pointer, ctypes.c_void_p(0))
    _callback = pointer


@contextlib.contextmanager
def overheard() -> Iterator[list[str]]:
    """What the engine says in the block, piece by piece, if its log was sent somewhere before."""
    global _heard
    _heard = []
    try:
        yield _heard
    finally:
        _heard = None


def named() -> str:
    """The engine's name and version, for a person."""
    return f"llama-cpp-python {version()}"


def describe() -> Engine:
    """Which engine this is: versions, CPU features in use, build flags, hash of the library."""
    package = Path(llama_cpp.__file__).parent
    folder, beside = package / "lib", package.with_name(BUILD_NAME)
    build = beside if beside.is_file() else BUILD
    base = ctypes.CDLL(str(next(iter(sorted(folder.glob("libggml-base.*"))))))
    base.ggml_commit.restype = ctypes.c_char_p
    library = next(path for path in sorted(folder.glob("libggml-cpu.*")) if path.is_file())
    features = llama_cpp.llama_print_system_info().decode()
    return {
        "name": "llama-cpp-python",
        "version": version(),
        "llama_cpp_commit": base.ggml_commit().decode(),
        "features": [
            part.removeprefix("CPU : ").split(" = ")[0].strip()
            for part in features.split("|")
            if part.strip().endswith("= 1")
        ],
        "build_flags": json.loads(build.read_text()) if build.is_file() else None,
        "library_sha256": hashlib.sha256(library.read_bytes()).hexdigest(),
    }
