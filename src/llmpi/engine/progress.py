"""How a measurement says how far it is."""

import contextlib
import sys
import time


def say(text: str) -> None:
    """A line for the person who waits; the engine's own lines lack the prefix."""
    print(f"llmpi: {text}", file=sys.stderr, flush=True)


def to_stderr(line: str) -> None:
    """A line of a process that works for this one, as it is; lost where a log has no room."""
    with contextlib.suppress(OSError):
        print(line, file=sys.stderr, flush=True)


class Progress:
    """Says how far it is, how fast, and how long it will take, every few seconds.

    Args:
        total: items to come.
        what: they are called.
    """

    EVERY_S = 5.0

    def __init__(self, total: int, what: str = "items") -> None:
        self._total, self._what, self._before = total, what, 0
        self._start = self._said = time.monotonic()

    def add(self, items: int) -> None:
        self._before += items

    def at(self, items: int) -> None:
        """So many items behind those added are done."""
        now, done = time.monotonic(), self._before + items
        if done < self._total and now - self._said < self.EVERY_S:
            return
        self._said = now
        rate = done / max(now - self._start, 1e-9)
        left = f", {(self._total - done) / rate:.0f} s left" if 0 < done < self._total else ""
        say(f"{done}/{self._total} {self._what}, {rate:.1f}/s{left}")
