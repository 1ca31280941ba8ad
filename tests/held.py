"""A process that is stopped at a moment of its work, whatever the speed of the machine.

with hold.at(said="[1/4]") as held:
    start(something, env=hold.env_here)
    held.wait()   # it has said so, and does nothing more
    ...
    held.go_on()
"""

import contextlib
import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

from support import ROOT, until

PROCESS = ROOT / "tests/held_process"
"""The folder that such a process has on its PYTHONPATH."""


def moment(*, said: str | None = None, named: str | None = None, removed: str | None = None) -> str:
    """As such a process reads it.

    Args:
        said: behind a line on its standard error with this in it.
        named: before a file takes a name that ends so, as files do that are whole or not there.
        removed: before a file is removed whose name ends so.
    """
    return json.dumps({"said": said, "named": named, "removed": removed})


class Hold:
    """For the processes whose environment has `env`.

    Args:
        folder: where they find what to wait for.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.env = {"PYTHONPATH": str(PROCESS), "HOLD": str(folder)}

    @property
    def env_here(self) -> dict[str, str]:
        """As `env`, for processes that have this one's PYTHONPATH, too."""
        path = [str(PROCESS), *filter(None, [os.environ.get("PYTHONPATH")])]
        return {**os.environ, **self.env, "PYTHONPATH": os.pathsep.join(path)}

    @contextlib.contextmanager
    def at(self, *, said: str | None = None, named: str | None = None) -> Iterator[Self]:
        """Stop the first process, of those started in the block, that comes to a `moment`."""
        for file in self._folder.iterdir():
            file.unlink()
        (self._folder / "moment").write_text(moment(said=said, named=named))
        try:
            yield self
        finally:
            (self._folder / "moment").unlink()
            self.go_on()

    def wait(self, alive: Callable[[], object] = lambda: True) -> int:
        """Until a process is stopped there; its number.

        Args:
            alive: false once none can come there any more.
        """

        def held() -> bool:
            there = (self._folder / "held").exists()
            assert there or alive(), "it ended before that moment"
            return there

        until(held)
        pid = int((self._folder / "held").read_text())
        until(lambda: state(pid) == "T")
        return pid

    def go_on(self) -> None:
        """Let it, if it still lives."""
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            os.kill(int((self._folder / "held").read_text()), signal.SIGCONT)


def state(pid: int) -> str | None:
    """As ps shows it: T is stopped; None where there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return None
