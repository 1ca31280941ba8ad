"""Search faster settings for a model file on a device: the search here, its blocks measured there.

Every block is kept as soon as it is measured. A search that was broken off takes the same course
again, and finds its blocks instead of measuring them.
"""

import contextlib
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

from typing_extensions import TypedDict

from llmpi.code import sha256_of_code
from llmpi.device.machine.meters import is_here
from llmpi.device.records import MeterHere, TurnRequest, TurnsRequest
from llmpi.engine.records import Engine, Turns
from llmpi.errors import CellError
from llmpi.records import failed, now, read, sha256_of_json, write_json
from llmpi.remote import requests
from llmpi.remote.connection import connected
from llmpi.remote.deploy import ensure_model
from llmpi.remote.detached import detached
from llmpi.remote.plugs import Timeline
from llmpi.remote.provision import ensure_ready
from llmpi.remote.records import Provisioned, Receipt
from llmpi.script import tell
from llmpi.study.devices import SingleDevice, SshDevice
from llmpi.study.measuring import Runtime, Workload
from llmpi.study.tuning import Tune
from llmpi.tune.records import TunedRecord
from llmpi.tune.search import search
from llmpi.tune.space import Space, levels_of

log = logging.getLogger(__name__)

TURNS = "llmpi.device.measure.turns"
"""The module that has a block measured there."""
TIMES = 3
"""A block in which the meter failed is measured so often at most."""


def tune_runtime(
    name: str,
    device: SingleDevice,
    *,
    what: str,
    runtime: Runtime,
    workloads: Mapping[str, Workload],
    tune: Tune,
    provisioned: Provisioned,
    receipt: Receipt,
    gguf: Path,
    kept: Path,
) -> TunedRecord:
    """The search for one variant on one device.

    Args:
        what: names study and session, for whoever waits for the device; seeds all random orders.
        runtime: where the search starts.
        workloads: by id.
        provisioned: the receipt of the device: what it measures with.
        receipt: of the file on the device.
        gguf: the file here, to be sent again if it is not there any more.
        kept: folder of the blocks measured so far.

    Raises:
        LlmpiError: the device or the way to it failed.
    """
    with connected(name, device) as reached:
        ensure_ready(reached, provisioned, TURNS)
        again = ensure_model(reached, device, gguf, receipt)
    if again["status"] == "failed":
        return again
    common: TurnsRequest = {
        "what": what,
        "gguf": receipt["path"],
        "threads": device.threads,
        "limits": requests.limits(device),
        "rest": requests.cooling(device),
        "workloads": requests.single_workloads(workloads),
        "repetitions": tune.repetitions,
        "timeout_s": sum(workload.timeout_s for workload in workloads.values()),
        "turns": [],
        "meter": _meter(device) if tune.objective == "energy" else None,
        "seed": what,
    }
    means: Means = {
        "llmpi": sha256_of_code(TURNS),
        "engine": provisioned["engine"],
        "gguf_sha256": receipt["sha256"],
    }
    blocks = Blocks(name, device, common, means, kept)
    processors = provisioned["machine"]["processors"]
    started = now()
    try:
        space = Space(
            runtime,
            levels_of(tune.space, processors),
            threads=device.threads or processors,
            longest_prompt_tokens=max(workload.prompt_tokens for workload in workloads.values()),
        )
        weights = _weights(tune, workloads)
        found = search(space, tune, weights, blocks.measure, seed=what)
    except CellError as error:
        return failed("tune", str(error))
    return {
        **found,
        "base": requests.runtime(runtime),
        "engine": provisioned["engine"],
        "machine": provisioned["machine"],
        "gguf_sha256": receipt["sha256"],
        "started": started,
        "ended": now(),
    }


class Means(TypedDict):
    """With what is measured."""

    llmpi: str | None
    engine: Engine
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
            CellError: the meter fails.
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
                reason = _no_energy(record)
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


def _meter(device: SingleDevice) -> MeterHere:
    found = requests.meter(device.meter)
    assert is_here(found), "a study that tunes for energy has such meters alone"
    return found


def _no_energy(record: Turns) -> str | None:
    """Why a turn that went well has no joules though they were wanted."""
    for turn in record["turns"]:
        if turn["status"] == "ok" and turn["energy"] and turn["energy"]["status"] == "none":
            return turn["energy"]["reason"]
    return None


def _weights(tune: Tune, workloads: Mapping[str, Workload]) -> dict[str, float]:
    """Of the workloads that are measured here and count; their sum is 1.

    Raises:
        CellError: there is none.
    """
    asked = tune.weights or dict.fromkeys(workloads, 1.0)
    found = {name: weight for name, weight in asked.items() if name in workloads}
    if not found:
        raise CellError("none of the workloads under tune.weights is measured here")
    return {name: weight / sum(found.values()) for name, weight in found.items()}
