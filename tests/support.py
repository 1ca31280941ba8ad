"""Shared by all tests: where the project is, and how its workflow is run."""

import contextlib
import functools
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, NoReturn, TypeVar

from forks import pythons

Found = TypeVar("Found")

ROOT = Path(__file__).resolve().parent.parent


def run_snakemake(
    *arguments: str, cwd: Path, check: bool = True, of_jobs: Path | None = None, **env: str
) -> subprocess.CompletedProcess[str]:
    """Run the workflow in `cwd`, where its results go: the Snakefile there, else the project's.

    Args:
        of_jobs: the folder of a `sitecustomize` for the processes that Snakemake starts.
    """
    snakefile = next(p / "Snakefile" for p in (cwd, ROOT) if (p / "Snakefile").is_file())
    command = ["--snakefile", str(snakefile), *arguments]
    with tempfile.NamedTemporaryFile("r", encoding="utf-8") as out:
        there = {**os.environ, **env}
        run = _forked if pythons(there) == STARTED_WITH else _started
        if of_jobs:
            there["PYTHONPATH"] = f"{of_jobs}{os.pathsep}{there.get('PYTHONPATH', '')}"
        status = run(command, cwd, there, Path(out.name))
        said = out.read()
    assert not check or status == 0, said
    return subprocess.CompletedProcess(command, status, said)


STARTED_WITH = pythons(os.environ)


def _started(arguments: list[str], cwd: Path, env: dict[str, str], out: Path) -> int:
    command = [sys.executable, "-m", "snakemake", *arguments]
    with out.open("a") as said:
        done = subprocess.run(
            command, cwd=cwd, env=env, stdout=said, stderr=subprocess.STDOUT, check=False
        )
    return done.returncode


def _forked(arguments: list[str], cwd: Path, env: dict[str, str], out: Path) -> int:
    asked = {"arguments": arguments, "cwd": str(cwd), "env": env, "out": str(out)}
    with ONE_AT_A_TIME:
        to, back = _forks()
        to.write(json.dumps(asked) + "\n")
        to.flush()
        return int(back.readline())


@functools.cache
def _forks() -> tuple[IO[str], IO[str]]:
    """Standard input and output of a process that has imported Snakemake; it ends with this one."""
    command = [sys.executable, str(ROOT / "tests/snakemake_forks.py")]
    pipes: dict[str, int] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    started = subprocess.Popen(command, **pipes, cwd=ROOT, text=True)
    assert started.stdin
    assert started.stdout
    return started.stdin, started.stdout


ONE_AT_A_TIME = threading.Lock()


def planned_jobs(*arguments: str, cwd: Path) -> dict[str, int]:
    """Rule -> number of jobs that a dry run would start, without `all`."""
    out = run_snakemake("--dry-run", *arguments, "--quiet", "rules", cwd=cwd).stdout
    if "Nothing to be done" in out:
        return {}
    table = out.partition("Job stats:")[2]
    rows = [line.split() for line in table.splitlines()]
    jobs = {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdigit()}
    return {rule: count for rule, count in jobs.items() if rule not in ("all", "total")}


def first_of(values: Sequence[Any], count: int = 1) -> list[Any]:
    """Parameters of a test of which `make test` takes so many, and `make test-long` the others."""
    import pytest  # see `unavailable`

    each = [value if isinstance(value, tuple) else (value,) for value in values[count:]]
    return [*values[:count], *(pytest.param(*one, marks=pytest.mark.long) for one in each)]


def needed(tool: str) -> str:
    """A system tool a test needs: its path."""
    from shutil import which

    path = which(tool, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    return path or unavailable(f"{tool} is not installed; .ci/run does")


def unavailable(what: str) -> NoReturn:
    """What a test needs is not here: it is skipped, but for CI, which has to have it."""
    import pytest  # `make virtual-pi` needs this module, and has no pytest

    (pytest.fail if os.environ.get("CI") else pytest.skip)(what)


def caches() -> Path:
    """Of this user."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def only_root(what: str) -> None:
    """Of a test that needs rights."""
    if os.geteuid() != 0:
        unavailable(f"{what} needs root")


def heed_ctrl_c() -> None:
    """As a child begins: a shell's background job, as a test may be part of, ignores Ctrl-C."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


PATIENCE_S = 900
"""Until a test gives up waiting for what must come: machines may be slow, and busy besides."""


def until(true: Callable[[], Found], said: Callable[[], str] = str) -> Found:
    """What `true` returns once that is true.

    Args:
        said: what to show where it never is.
    """
    deadline = time.monotonic() + PATIENCE_S
    while not (found := true()):
        assert time.monotonic() < deadline, f"never true: {said()[-4000:]}"
        time.sleep(0.05)
    return found


def free_port() -> int:
    """A port on loopback that is free, for a program that must be told its port.

    From below those that the kernel gives away, to every connection and to who asks for any port:
    between here and the program's start nobody takes it by chance.
    """
    ports = Path("/proc/sys/net/ipv4/ip_local_port_range")
    lowest_given = int(ports.read_text().split()[0]) if ports.exists() else 32768
    while True:
        port = random.randrange(10_000, max(lowest_given, 11_000))
        with socket.socket() as probe, contextlib.suppress(OSError):
            if port not in GIVEN:
                probe.bind(("127.0.0.1", port))
                GIVEN.add(port)
                return port


GIVEN: set[int] = set()
