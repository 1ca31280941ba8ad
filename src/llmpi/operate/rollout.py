"""A rollout over a group of devices in stages, as logic alone: it decides who is touched, and when.

Each stage is gated by its own canaries. When one fails, every device that this rollout has touched
goes back, so that the group runs one release, and the rest of the group never sees the new one.
"""

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from llmpi.errors import LlmpiError

AT_ONCE = 8

Objections = list[str]
"""What is wrong with a release on a device; empty where it is good."""


@dataclass
class Rollout:
    """How it went. A device stands in one of the lists at most; who stands in none was not touched.

    `rolled_back` are back where they were; `stuck` could not be brought back, with the reason.
    """

    updated: list[str] = field(default_factory=list)
    rolled_back: list[str] = field(default_factory=list)
    stuck: dict[str, str] = field(default_factory=dict)
    objections: dict[str, Objections] = field(default_factory=dict)

    @property
    def good(self) -> bool:
        return not self.objections


def split(devices: Sequence[str], stages: Sequence[float]) -> list[list[str]]:
    """The devices that each stage adds; a stage that adds none is left out.

    Args:
        stages: how many have the release at the end of it: an int counts, a float is a share,
            rounded up.
    """
    found, done = [], 0
    for stage in stages:
        share = math.ceil(stage * len(devices) - 1e-9) if isinstance(stage, float) else stage
        until = min(len(devices), share)
        if until > done:
            found.append(list(devices[done:until]))
            done = until
    return found


def roll_out(
    stages: Sequence[Sequence[str]],
    update: Callable[[str], Objections],
    undo: Callable[[str], None],
    say: Callable[[str], None],
) -> Rollout:
    """Update stage after stage; on the first objection undo what was touched, and stop.

    Args:
        update: gives a device the release and looks at it there.
        undo: brings a device back to where it was, whatever `update` got to. What either raises
            counts as its objection.
    """
    result = Rollout()
    for number, stage in enumerate(stages, 1):
        say(f"stage {number} of {len(stages)}: {', '.join(stage)}")
        for device, objections in zip(stage, _each(_safely(update), stage), strict=True):
            result.updated.append(device)
            if objections:
                result.objections[device] = objections
                say(f"{device}: failed: {'; '.join(objections)}")
            else:
                say(f"{device}: passed")
        if result.objections:
            _undo(result, undo, say)
            break
    return result


def _undo(result: Rollout, undo: Callable[[str], None], say: Callable[[str], None]) -> None:
    touched, result.updated = result.updated, []

    def back(device: str) -> Objections:
        undo(device)
        return []

    for device, failures in zip(touched, _each(_safely(back), touched), strict=True):
        if failures:
            result.stuck[device] = failures[0]
            say(f"{device}: could not be rolled back: {failures[0]}")
        else:
            result.rolled_back.append(device)
            say(f"{device}: rolled back")


def _safely(do: Callable[[str], Objections]) -> Callable[[str], Objections]:
    def attempt(device: str) -> Objections:
        try:
            return do(device)
        except LlmpiError as error:
            return [str(error)]
        except Exception as error:  # whatever it was, what was touched goes back
            return [f"{type(error).__name__}: {error}"]

    return attempt


def _each(do: Callable[[str], Objections], devices: Sequence[str]) -> list[Objections]:
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        return list(pool.map(do, devices))
