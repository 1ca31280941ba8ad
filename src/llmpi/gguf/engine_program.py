"""Programs of llama.cpp, compiled from the sources of the pinned engine."""

import logging
import os
import shutil
import subprocess
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path

from llmpi.device.install import Compiling
from llmpi.errors import LlmpiError

log = logging.getLogger(__name__)


def compiled(
    program: str,
    home: Path,
    arguments: Sequence[str],
    compilers: Sequence[str],
    flags: Mapping[str, str],
) -> Path:
    """Path of a program of llama.cpp, compiled in `home/build` from what lies in `home/source`.

    Args:
        program: one of its targets, such as `llama-server`.
        arguments: for cmake.
        compilers: what must be there besides cmake.
        flags: `CFLAGS` and `CXXFLAGS`, if there are to be any.

    Raises:
        LlmpiError: a compiler is missing, or did not get through.
    """
    # cmake and ninja stand beside this Python (build.lock); the shell need not know of them.
    here = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    for tool in ("cmake", "ninja", *compilers):
        if not shutil.which(tool, path=here):
            raise LlmpiError(
                f"{tool} is missing here; it builds {program} (Debian, Ubuntu: sudo apt install "
                f"{PACKAGES.get(tool, tool)})"
            )
    env = {k: v for k, v in os.environ.items() if k not in ("CFLAGS", "CXXFLAGS", "LDFLAGS")}
    env |= {"PATH": here, **flags}
    source, build = home / "source", home / "build"
    compile_aloud(["cmake", "-G", "Ninja", "-S", str(source), "-B", str(build), *arguments], env)
    jobs = str(len(os.sched_getaffinity(0)))
    compile_aloud(["cmake", "--build", str(build), "--target", program, "-j", jobs], env)
    return build / "bin" / program


PACKAGES = {
    "ninja": "ninja-build",
    "cc": "gcc",
    "c++": "g++",
    "aarch64-linux-gnu-gcc": "gcc-aarch64-linux-gnu",
    "aarch64-linux-gnu-g++": "g++-aarch64-linux-gnu",
}


def compile_aloud(command: Sequence[str], env: Mapping[str, str]) -> None:
    """Run a compiler, or pip over one, saying how far it is; all it says goes to the log.

    Raises:
        LlmpiError: it failed, with the end of what it said.
    """
    tail: deque[str] = deque(maxlen=20)
    compiling = Compiling(log.info)
    with subprocess.Popen(
        command, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            log.debug("%s", line.rstrip())
            compiling.hear(line)
            tail.append(line)
    if process.returncode != 0:
        raise LlmpiError(f"{command[0]} failed: {''.join(tail).strip()[-1500:]}")
