"""Moments of a board's work at which it waits until told, so that its power can be cut there.

Every Python of the board stops itself as `held` has it; where a moment is told lies in memory, and
is gone with the power. Each start of an engine is written down, on the disk at once.
"""

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from held import PROCESS, moment

from full_pi import recipe
from full_pi.board import Board

FOLDER = "/run/hold"
STARTS = "/var/tmp/engine-starts"
CUSTOMIZE = "/etc/python3.13/sitecustomize.py"
SEEN_S = 12
"""By then the disk has names and sizes of files whose content it has not: twice ext4's interval."""
LOOK_S = 10
"""So long one connection looks for a moment: to shake hands is work for an emulated board, of which
what is waited for would lack."""
NOTE = f"""\
import os, sys
os.environ["HOLD"] = {FOLDER!r}
if "llmpi.device.measure.process" in sys.orig_argv:
    with open({STARTS!r}, "a") as starts:
        print(os.getpid(), file=starts, flush=True)
        os.fsync(starts.fileno())
"""


def prepare(board: Board) -> None:
    """Have every Python of the board look for a moment to wait at."""
    text = NOTE + (PROCESS / "sitecustomize.py").read_text()
    write = 'printf %s "$1" > "$2" && install -m 666 /dev/null "$3" && sync'
    board.run("sh", "-c", write, "sh", text, CUSTOMIZE, STARTS, user="root")


def engine_starts(board: Board) -> int:
    """How often an engine was started there so far."""
    return len(board.run("cat", STARTS).split())


@contextlib.contextmanager
def waiting(board: Board, **at: str) -> Iterator[Callable[[Callable[[], object]], None]]:
    """The first process there that comes to a moment (`held.moment`) waits.

    The block is given what waits for that itself, as long as its argument says that it may come.
    """
    put = 'rm -rf "$2" && install -d -m 777 "$2" && printf %s "$1" > "$2/moment"'
    board.run("sh", "-c", put, "sh", moment(**at), FOLDER, user="root")

    held = f"{FOLDER}/held"
    look = f"for i in $(seq {LOOK_S}); do [ -s {held} ] && break; sleep 1; done; cat {held} 2>&-"

    def wait(alive: Callable[[], object]) -> None:
        while not board.run("sh", "-c", f"{look}; true").strip():
            assert alive(), "it ended before that moment"

    yield wait
    if board.is_on:
        go_on(board)


def go_on(board: Board) -> None:
    """Let it, and the next that comes there."""
    board.run("sh", "-c", f"rm -f {FOLDER}/moment; kill -CONT $(cat {FOLDER}/held); true")


def cut_power(board: Board) -> None:
    """Cut it at a moment: what is written now is not on the disk, however long it was known."""
    # To a new file: ext4 writes at once what replaces another's content.
    board.run("sh", "-c", f"rm -f ~/last; echo written > ~/last; sleep {SEEN_S}")
    board.cut_power()
    with tempfile.TemporaryDirectory() as scratch, contextlib.suppress(FileNotFoundError):
        last = board.look(f"/home/{recipe.USER}/last", Path(scratch)).read_text()
        assert "written" not in last, "this cut lost nothing"
