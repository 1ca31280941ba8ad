"""The process that tries the inputs of a boundary: `... NAME SEED FIRST LAST FOLDER`.

For each input a line of JSON on standard output: `number`, `outcome` (`words`, `taken` or
`traceback`), `said`, and `outside`, the paths that it touched.
"""

import importlib
import itertools
import json
import os
import random
import sys
import traceback
from pathlib import Path
from typing import Any

from llmpi.errors import LlmpiError

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# Audit events that change something: where in their arguments a path stands, and the descriptor of
# the folder that it is relative to.
CHANGING: dict[str, list[tuple[int, int | None]]] = {
    "os.chmod": [(0, 2)],
    "os.chown": [(0, 3)],
    "os.link": [(1, 3)],
    "os.mkdir": [(0, 2)],
    "os.remove": [(0, 1)],
    "os.rename": [(0, 2), (1, 3)],
    "os.rmdir": [(0, 1)],
    "os.symlink": [(1, 2)],
    "os.truncate": [(0, None)],
}
ALLOWED = ("/dev/", "/proc/", "pipe:")


class Watch:
    """Notes what is changed outside of `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = os.path.realpath(folder)
        self.outside: list[str] = []
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, mode, flags = arguments
            if not (flags or 0) & WRITING and not set(mode or "") & set("wax+"):
                return
            self._note(path, -1)
        for path, folder in CHANGING.get(event, ()):
            self._note(arguments[path], -1 if folder is None else arguments[folder])

    def _note(self, path: Any, folder: int) -> None:
        if not isinstance(path, str | bytes | os.PathLike):
            return  # a descriptor of what was opened before
        text = os.fsdecode(path)
        if folder != -1:
            text = os.path.join(os.readlink(f"/proc/self/fd/{folder}"), text)  # noqa: PTH115, PTH118
        # The entry itself, not what a link leads to.
        parent, name = os.path.split(os.path.abspath(text))  # noqa: PTH100
        place = f"{os.path.realpath(parent)}/{name}"
        if not f"{place}/".startswith((f"{self._folder}/", *ALLOWED)):
            self.outside.append(text)


def main(name: str, seed: str, first: str, last: str, folder: str) -> None:
    boundary = importlib.import_module(f"benchmarks.hostile.boundaries.{name}")
    refusals = (LlmpiError, *getattr(boundary, "REFUSALS", ()))
    given = boundary.inputs(random.Random(f"{seed} {name}"))
    out = os.fdopen(os.dup(1), "w")  # whatever the product prints is not ours
    os.dup2(2, 1)
    with boundary.receiver(Path(folder)) as receive:
        watch = Watch(Path(folder))
        for number, one in enumerate(itertools.islice(given, int(last))):
            if number < int(first):
                continue
            out.write(json.dumps({"number": number, "outcome": "begun"}) + "\n")
            out.flush()
            outcome, said = attempt(receive, one, refusals)
            told = {"number": number, "outcome": outcome, "said": said, "outside": watch.outside}
            out.write(json.dumps(told) + "\n")
            out.flush()
            watch.outside = []


def attempt(receive: Any, given: Any, refusals: tuple[type[BaseException], ...]) -> tuple[str, str]:
    try:
        receive(given)
    except refusals as error:
        # Words that could not be printed are none.
        return ("words", str(error)[:300]) if str(error).strip() else ("traceback", "no word")
    except BaseException:
        return "traceback", f"{given!r:.300}\n{traceback.format_exc()[-3000:]}"
    return "taken", ""


if __name__ == "__main__":
    main(*sys.argv[1:])
