"""How a measurement says how far it is."""

import contextlib
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple


def say(text: str) -> None:
    """A line for the person who waits; the engine's own lines lack the prefix."""
    to_stderr(f"llmpi: {text}")


def to_stderr(line: str) -> None:
    """A line of a process that works for this one, as it is; lost where a log has no room."""
    with contextlib.suppress(OSError):
        print(line, file=sys.stderr, flush=True)


MB = 1_000_000


class Progress:
    """Says how far it is, how fast, and how long it will take, every few seconds.

    Args:
        total: items in all.
        what: they are called.
        done: of them, before this began.
        say: where it says it.
    """

    EVERY_S = 5.0

    def __init__(
        self,
        total: int,
        what: str = "items",
        *,
        done: int = 0,
        say: Callable[[str], None] = say,
    ) -> None:
        self._total, self._what, self._before, self._say = total, what, done, say
        self._begin = done
        self._start = self._said = time.monotonic()

    def add(self, items: int) -> None:
        self._before += items

    def at(self, items: int, more: str = "") -> None:
        """So many items behind those added are done; `more` is to be known of them."""
        now, done = time.monotonic(), self._before + items
        if done < self._total and now - self._said < self.EVERY_S:
            return
        self._said = now
        rate = (done - self._begin) / max(now - self._start, 1e-9)
        left = f", {(self._total - done) / rate:.0f} s left" if rate and done < self._total else ""
        self._say(
            f"{done}/{self._total} {self._what}, {_three_digits(rate)}/s{left}"
            f"{', ' if more else ''}{more}"
        )


class Bytes(Progress):
    """Of a file. One that is through before there was anything to say is not spoken of.

    Args:
        total: bytes in all.
        what: is done with them, such as `of m.gguf sent`.
        done: of them, before this began.
    """

    def __init__(
        self, total: int, what: str, *, done: int = 0, say: Callable[[str], None] = say
    ) -> None:
        self._bytes = total
        super().__init__(max(1, round(total / MB)), f"MB {what}", done=round(done / MB), say=say)

    def at(self, items: int, more: str = "") -> None:
        """So many bytes in all are done."""
        if items < self._bytes:
            super().at(min(round(items / MB), self._total - 1) - self._begin, more)


@contextlib.contextmanager
def growing(file: Path, total: int, what: str, say: Callable[[str], None]) -> Iterator[None]:
    """Say how far a file is that somebody writes meanwhile who does not say it.

    Args:
        total: bytes that it will have, about.
        what: is done with them, such as `of F16.gguf written`.
    """
    there = file.stat().st_size if file.is_file() else 0
    progress, written = Bytes(total, what, done=there, say=say), threading.Event()

    def watch() -> None:
        while not written.wait(Progress.EVERY_S):
            with contextlib.suppress(OSError):
                progress.at(file.stat().st_size)

    watching = threading.Thread(target=watch, daemon=True)
    watching.start()
    try:
        yield
    finally:
        written.set()
        watching.join()


def _three_digits(rate: float) -> str:
    return f"{rate:.0f}" if rate >= 100 else f"{rate:.3g}"


class Step(NamedTuple):
    """How far a job is, as a line says it."""

    done: int
    total: int
    more: str
    """What else the line says: of what, how fast, how long."""


STEP = re.compile(r"\[?(?P<done>\d+)/(?P<total>[1-9]\d*)\]? (?P<more>.+)", re.DOTALL)


def step_in(text: str) -> Step | None:
    """How far it is, of a line that begins with that: `Progress` and repetitions say so."""
    found = STEP.match(text)
    return Step(int(found["done"]), int(found["total"]), found["more"]) if found else None
