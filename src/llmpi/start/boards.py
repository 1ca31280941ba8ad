"""Boards as a check found them: which preset each is, and what its files lie on."""

import math
import re
from collections.abc import Mapping
from typing import cast

from llmpi.plan.presets import PRESETS, Storage
from llmpi.study.devices import Preset

FAMILIES = {
    r"Raspberry Pi (Compute Module )?5\b|Raspberry Pi 500": ("pi5-2gb", "pi5-4gb", "pi5-8gb",
                                                             "pi5-16gb"),
    r"Raspberry Pi (Compute Module )?4\b|Raspberry Pi 400": ("pi4-4gb", "pi4-8gb"),
    r"Raspberry Pi 3\b": ("pi3-1gb",),
    r"Raspberry Pi Zero 2": ("pi-zero2w",),
}  # fmt: skip
"""What the device tree calls a board, and the presets of its kind."""
SAME_MEMORY = 0.15
"""Of the logarithm: what the kernel and the firmware keep for themselves differs."""
MEDIA: Mapping[str, Storage] = {"SD card": "microsd", "USB": "usb", "NVMe": "nvme"}


def preset_of(board: str | None, memory_bytes: int | None) -> Preset | None:
    """The preset of a board; None of a machine that is none, or whose memory no preset has."""
    for pattern, presets in FAMILIES.items():
        if board and memory_bytes and re.match(pattern, board):
            apart = {name: _apart(PRESETS[name].memory_bytes, memory_bytes) for name in presets}
            nearest = min(apart, key=lambda name: apart[name])
            return cast(Preset, nearest) if apart[nearest] <= SAME_MEMORY else None
    return None


def storage_of(medium: str | None) -> Storage | None:
    return MEDIA.get(medium or "")


def _apart(one: int, other: int) -> float:
    return abs(math.log(one / other))
