"""What every power meter's reading is, and how one fails."""

import os
from collections.abc import Callable
from pathlib import Path

Reading = tuple[float | None, float | None]
"""Power in W or None, energy counter in J or None."""
Read = Callable[[], Reading]


class MeterError(Exception):
    """The meter cannot be read; the message is for a person."""


def number(path: Path) -> float:
    """
    Raises:
        MeterError: the file holds none.
    """
    try:
        # Not `read_text`: beside an engine that has the caches, what runs costs ten times as much.
        handle = os.open(path, os.O_RDONLY)
        try:
            return float(os.read(handle, 64))
        finally:
            os.close(handle)
    except (OSError, ValueError) as error:
        raise MeterError(f"{path}: {error}") from None


def text(path: Path) -> str:
    """What a file holds; nothing where it is not there."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
