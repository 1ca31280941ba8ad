"""Processes that have imported much, and what their forks begin with: `support` and
`forked_training` have such processes, and the tests' own are."""

import atexit
import gc
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager


def become(cwd: str, env: Mapping[str, str], out: int, err: int, argv: Sequence[str]) -> None:
    """As a command would be started: there, in this environment, with these two open files."""
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    for source, target in ((os.open(os.devnull, os.O_RDONLY), 0), (out, 1), (err, 2)):
        os.dup2(source, target)
    sys.argv = [*argv]


def pythons(env: Mapping[str, str]) -> dict[str, str]:
    """What Python itself reads as it starts: a fork would not."""
    return {name: value for name, value in env.items() if name.startswith("PYTHON")}


def settled() -> None:
    """What is there by now stays: to look through it for garbage, again and again, was half of a
    dry run in a fork, which copies every page that is looked at."""
    gc.collect()
    gc.freeze()


@contextmanager
def ending() -> Iterator[None]:
    """Ends the process as Python would, but for taking apart all that was imported."""
    status: object = None
    try:
        yield
    except SystemExit as left:
        if not isinstance(status := left.code, int | None):
            raise
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(status or 0)
