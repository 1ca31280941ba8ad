"""Python runs this at the start of each process that has the folder on PYTHONPATH: see `held`."""

import json
import os
import signal
import sys
from pathlib import Path


def stop(folder: Path) -> None:
    """Stop this process, if it is the first to come to the moment."""
    mine = folder / f"{os.getpid()}.pid"
    mine.write_text(str(os.getpid()))
    try:
        os.link(mine, folder / "held")
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGSTOP)


class Stderr:
    """The standard error, which stops the process behind a line that has a text in it."""

    def __init__(self, folder: Path, text: str) -> None:
        self._folder, self._text, self._line, self._stream = folder, text, "", sys.stderr

    def write(self, text: str) -> int:
        count = self._stream.write(text)
        self._line += text
        if "\n" in self._line:
            if self._text in self._line:
                self._stream.flush()
                stop(self._folder)
            self._line = ""
        return count

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


def main(folder: Path) -> None:
    try:
        moment = json.loads((folder / "moment").read_text())
    except FileNotFoundError:  # this process is not the one that is held
        return
    if moment["said"]:
        sys.stderr = Stderr(folder, moment["said"])
    files = {"os.rename": (1, moment["named"]), "os.remove": (0, moment["removed"])}

    def watch(event: str, arguments: tuple) -> None:
        which, end = files.get(event, (0, None))
        if end and os.fsdecode(arguments[which]).endswith(end):
            stop(folder)

    sys.addaudithook(watch)


if "HOLD" in os.environ:
    main(Path(os.environ["HOLD"]))
