"""Python runs this at the start of each process that has the folder on PYTHONPATH: see
`benchmarks.overhead`.

Accounts the processor time of the process: Python's own start, imports (Snakemake's apart), loading
(of records, and of models for scores), and the rest, which computes. What begins within one of them
is a part of it.
"""

import atexit
import builtins
import importlib
import json
import os
import re
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

LOADING = {
    "llmpi.script": ["arguments"],
    "llmpi.records": ["check", "read"],
    "llmpi.quality.batching.engine": ["BatchEngine.__init__"],
    "llmpi.quality.divergence.windows": ["Windows.__init__"],
}
"""What loads, by its module."""
SCRIPT = re.compile(r"\.snakemake/scripts/\w+\.(\w+)\.py$")


class Account:
    """Processor seconds by what they were spent on."""

    def __init__(self) -> None:
        self._since = time.process_time()
        self.seconds = {"start": self._since}
        self._on, self._thread = "computing", threading.get_ident()

    def turn(self, on: str) -> str:
        """From now on they are spent on this; says on what before."""
        now = time.process_time()
        self.seconds[self._on] = self.seconds.get(self._on, 0.0) + now - self._since
        before, self._on, self._since = self._on, on, now
        return before

    def spent(self, on: Callable[[object], str], does: Callable[..., Any]) -> Callable[..., Any]:
        """A function, accounted where it is no part of what is accounted already.

        Args:
            on: says on what, of the first argument.
        """

        def accounted(*arguments: Any, **options: Any) -> Any:
            if self._on != "computing" or threading.get_ident() != self._thread:
                return does(*arguments, **options)
            self.turn(on(arguments[0] if arguments else None))
            try:
                return does(*arguments, **options)
            finally:
                self.turn("computing")

        return accounted


def watched(account: Account, imports: Callable[..., Any]) -> Callable[..., Any]:
    """An `__import__` behind which what loads is accounted, too."""

    def watching(name: str, *arguments: Any, **options: Any) -> Any:
        found = imports(name, *arguments, **options)
        for place in LOADING.pop(name, ()):
            owner, _, function = place.rpartition(".")
            holder = sys.modules[name]
            holder = getattr(holder, owner) if owner else holder
            does = getattr(holder, function)
            setattr(holder, function, account.spent(lambda _: "loading", does))
        return found

    return watching


def main(folder: Path) -> None:
    account = Account()
    command = Path("/proc/self/cmdline").read_bytes().decode().split("\0")
    for argument in command:
        if script := SCRIPT.search(argument):
            os.environ["ACCOUNTED_JOB"] = f"{script[1]}-{os.getpid()}"  # of what it starts, too

    def kind(name: object) -> str:
        return "snakemake" if str(name).startswith("snakemake") else "imports"

    builtins.__import__ = account.spent(kind, watched(account, builtins.__import__))
    importlib.import_module = account.spent(kind, importlib.import_module)

    def write() -> None:
        account.turn("computing")
        seen = {"job": os.environ.get("ACCOUNTED_JOB"), "command": command, **account.seconds}
        (folder / f"{os.getpid()}.json").write_text(json.dumps(seen))

    atexit.register(write)


if "ACCOUNTED" in os.environ:
    main(Path(os.environ["ACCOUNTED"]))
