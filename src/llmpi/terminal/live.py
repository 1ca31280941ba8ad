"""The live view: one picture at the foot of the terminal, above it what must not scroll away."""

import os
import shutil
import threading
from collections.abc import Callable
from contextlib import suppress

from rich.console import Console, ConsoleDimensions
from rich.live import Live
from rich.text import Text

from llmpi.engine.shown import shown
from llmpi.job_lines import ERROR, FAILED, JobLine, heard
from llmpi.terminal.capture import Capture
from llmpi.terminal.drawn import drawn
from llmpi.terminal.run_state import IMPORTANT, Run

EVERY_S = 1.0
"""Between pictures: it is not to cost what is measured here."""


class LiveView:
    """Draws a run until it is closed.

    Whatever goes wrong in drawing, the run goes on: the view says so, and from then on hands
    through what is written, as it is.
    """

    def __init__(self, run: Run) -> None:
        self._run, self._capture = run, Capture()
        terminal = self._capture.terminal
        self._console = Console(file=terminal, force_terminal=True, highlight=False)
        self._live: Live | None = Live(
            console=self._console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            vertical_overflow="crop",
        )
        self._lock = threading.RLock()
        self._closed = threading.Event()
        self._guarded(self._live.start)
        self._ticking = threading.Thread(target=self._tick, daemon=True)
        self._ticking.start()

    def say(self, text: str, style: str = "") -> None:
        """Lines above the picture, which stay."""
        with self._lock:
            self._guarded(lambda: self._say(text, style))

    def catch_up(self) -> None:
        """Hear what jobs said up to now, before one of them is forgotten."""
        with self._lock:
            self._guarded(lambda: self._hear(self._capture.lines()))

    def close(self) -> None:
        """Take the picture away and give the terminal back; once is enough."""
        if self._closed.is_set():
            return
        self._closed.set()
        self.catch_up()
        with self._lock:
            self._guarded(self._stop)
            left = self._capture.release()
            self._guarded(lambda: self._hear(left))

    def _tick(self) -> None:
        while not self._closed.wait(EVERY_S):
            with self._lock:
                if not self._closed.is_set():
                    self._guarded(self._draw)

    def _draw(self) -> None:
        self._hear(self._capture.lines())
        if self._live:
            size = _size(self._capture.terminal.fileno())
            self._console.size = ConsoleDimensions(*size)
            self._live.update(drawn(self._run, *size), refresh=True)

    def _hear(self, lines: list[str]) -> None:
        """Progress goes into the picture; all else stands above it."""
        above = Text()
        for line in lines:
            found = heard(line)
            job = self._run.hear(found) if found else None
            if not found or not job or not self._live:
                above.append(f"{shown(line)}\n")
            elif found.text.startswith(IMPORTANT):
                above.append(f"{shown(line)}\n", _style(found))
        if above:
            self._print(above)

    def _say(self, text: str, style: str = "") -> None:
        self._print(Text(f"{shown(text)}\n", style))

    def _print(self, text: Text) -> None:
        if self._live:
            self._console.print(text, end="", soft_wrap=True)
        else:
            print(text.plain, end="", file=self._capture.terminal, flush=True)

    def _stop(self) -> None:
        if self._live:
            live, self._live = self._live, None
            live.stop()

    def _guarded(self, draw: Callable[[], None]) -> None:
        try:
            draw()
        except Exception as error:
            with suppress(Exception):
                self._stop()
            self._live = None
            with suppress(Exception):  # the terminal may be gone
                self._say(f"llmpi: the live view ended ({error!r}); lines follow")


def _style(line: JobLine) -> str:
    return "red" if line.text.startswith((FAILED, ERROR)) else "yellow"


def _size(terminal: int) -> tuple[int, int]:
    try:
        found = os.get_terminal_size(terminal)
    except OSError:
        return shutil.get_terminal_size()
    return found.columns or 80, found.lines or 24
