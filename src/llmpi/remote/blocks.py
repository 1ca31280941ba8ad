"""Blocks of turns, measured on a device one after the other, each kept as soon as it is measured.

What was broken off takes the same course again, and finds its blocks instead of measuring them.
"""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from typing_extensions import TypedDict

from llmpi.device.records import TurnRequest, TurnsRequest
from llmpi.engine.records import Engine, Turns
from llmpi.errors import CellError
from llmpi.records import read, sha256_of_json, write_json
from llmpi.remote.connection import connected
from llmpi.remote.detached import detached
from llmpi.remote.plugs import Timeline
from llmpi.script import tell
from llmpi.study.devices import SingleDevice, SshDevice

log = logging.getLogger(__name__)

TURNS = "llmpi.device.measure.turns"
"""The module that has a block measured there."""
TIMES = 3
"""A block in which the meter failed is measured so often at most."""


class Means(TypedDict):
    """With what is measured."""

    llmpi: str | None
    engine: Engine | list[Engine]
    gguf_sha256: str


class Blocks:
    """Has blocks measured, one after the other, each of them once.

    Args:
        common: what all blocks have in common.
        means: what else decides what is measured.
        kept: their folder.
    """

    def __init__(
        self, name: str, device: SingleDevice, common: TurnsRequest, means: Means, kept: Path
    ) -> None:
        self._name, self._device, self._common = name, device, common
        self._means, self._kept = means, kept
        self._count = 0

    def measure(self, turns: list[TurnRequest]) -> Turns:
        """
        Raises:
            CellError: the meter fails, or what the device answers cannot be.
            LlmpiError: the device or the way to it failed.
        """
        self._count += 1
        seed = f"{self._common['what']} {self._count}"
        job: TurnsRequest = {**self._common, "seed": seed, "turns": turns}
        key = sha256_of_json({**job, **self._means})[:16]
        path = self._kept / f"{key}.json"
        if path.is_file():
            log.info("block %d was measured before", self._count)
            return read(path, Turns)
        log.info("block %d: %d turns", self._count, len(turns))
        reason = None
        for _ in range(TIMES):
            with self._ask(job, key) as record:
                _check_times(record, job)
                reason = _no_energy(record) if job["meter"] else None
                if reason is None:
                    write_json(path, record)
                    return record
            log.warning("block %d has no joules, and is measured again: %s", self._count, reason)
        raise CellError(f"no joules: {reason}")

    @contextlib.contextmanager
    def _ask(self, job: TurnsRequest, key: str) -> Iterator[Turns]:
        if isinstance(self._device, SshDevice):
            there = detached(self._name, self._device, TURNS, job, Turns, key, Timeline())
            with there as record:
                yield record
            return
        with connected(self._name, self._device) as reached:
            yield reached.ask("take_turns", job, Turns, log=tell, timeout_s=None)


def _check_times(record: Turns, job: TurnsRequest) -> None:
    """
    Raises:
        CellError: these are not the turns that were asked for, or one took no time.
    """
    if len(record["turns"]) != len(job["turns"]):
        raise CellError("the device answered with other turns than it was asked for")
    for turn in record["turns"]:
        if turn["status"] != "ok":
            continue
        if turn["workloads"].keys() != job["workloads"].keys():
            raise CellError("the device answered with other workloads than it was asked for")
        for name, done in turn["workloads"].items():
            times = [min(one["pp_s"], one["ttft_s"], sum(one["itl_s"])) for one in done]
            if min(times, default=0.0) <= 0:
                raise CellError(f"workloads.{name}: a repetition took no time")


def _no_energy(record: Turns) -> str | None:
    """Why a turn that went well has no joules."""
    for turn in record["turns"]:
        if turn["status"] != "ok":
            continue
        energy = turn["energy"]
        if energy is None or energy["status"] == "none":
            return energy["reason"] if energy else "the device gave none"
        for name in turn["workloads"]:
            if median(energy["energy_j"].get(name) or [0.0]) <= 0:
                return f"workloads.{name}: the meter shows {energy['energy_j'].get(name)} J"
    return None
