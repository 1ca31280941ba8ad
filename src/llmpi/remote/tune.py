"""Search faster settings for a model file on a device: the search here, its blocks measured there.

Every block is kept as soon as it is measured. A search that was broken off takes the same course
again, and finds its blocks instead of measuring them.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmpi.errors import CellError
from llmpi.records import Record, failed, is_ok, now, read_json, sha256_of_json, write_json
from llmpi.remote.benchmark import detached
from llmpi.remote.connection import connected
from llmpi.remote.deploy import ensure_model
from llmpi.remote.plugs import Timeline
from llmpi.script import tell
from llmpi.tune.search import search
from llmpi.tune.space import Space, levels_of

log = logging.getLogger(__name__)


def tune_runtime(
    name: str,
    spec: dict[str, Any],
    *,
    what: str,
    runtime: dict[str, Any],
    workloads: dict[str, dict[str, Any]],
    tune: dict[str, Any],
    provisioned: Record,
    receipt: Record,
    gguf: Path,
    kept: Path,
) -> Record:
    """The record of `llmpi.tune.search` for one variant on one device.

    Args:
        spec: the device's fields.
        what: names study and session, for whoever waits for the device; seeds all random orders.
        runtime: where the search starts, fields of `llmpi.study.Runtime`.
        workloads: id -> the fields of `llmpi.study.Workload`.
        tune: the fields of `llmpi.study.Tune`.
        provisioned: the receipt of the device: what it measures with.
        receipt: of the file on the device; a failed one is passed on.
        gguf: the file here, to be sent again if it is not there any more.
        kept: folder of the blocks measured so far.

    Raises:
        LlmpiError: the device or the way to it failed.
    """
    if not is_ok(receipt):
        return receipt
    with connected(name, spec) as device:
        again = ensure_model(device, spec, gguf, receipt)
    if not is_ok(again):
        return again
    job = {
        "what": what,
        "gguf": receipt["path"],
        "threads": spec["threads"],
        "limits": spec.get("limits"),
        "rest": {key: spec[key] for key in ("cool_below_c", "cool_limit_s")},
        "workloads": workloads,
        "repetitions": tune["repetitions"],
        "timeout_s": sum(workload["timeout_s"] for workload in workloads.values()),
    }
    means = {"llmpi": provisioned["wheel_sha256"], "engine": provisioned["engine"]}
    blocks = Blocks(name, spec, job, {**means, "gguf_sha256": receipt["sha256"]}, kept)
    processors = provisioned["machine"]["processors"]
    started = now()
    try:
        space = Space(
            runtime,
            levels_of(tune["space"], processors),
            threads=spec["threads"] or processors,
            longest_prompt_tokens=max(w["prompt_tokens"] for w in workloads.values()),
        )
        record = search(space, tune, _weights(tune, workloads), blocks.measure, seed=what)
    except CellError as error:
        record = failed("tune", str(error))
    return {
        **record,
        "from": runtime,
        "engine": provisioned["engine"],
        "machine": provisioned["machine"],
        "gguf_sha256": receipt["sha256"],
        "started": started,
        "ended": now(),
    }


class Blocks:
    """Has blocks measured, one after the other, each of them once.

    Args:
        job: what all blocks have in common, see `llmpi.device.measure.turns`.
        identity: what else decides what is measured.
        kept: their folder.
    """

    def __init__(
        self, name: str, spec: dict[str, Any], job: Record, identity: Record, kept: Path
    ) -> None:
        self._name, self._spec, self._job = name, spec, job
        self._identity, self._kept = identity, kept
        self._count = 0

    def measure(self, turns: list[Record]) -> Record:
        """
        Raises:
            LlmpiError: the device or the way to it failed.
        """
        self._count += 1
        seed = f"{self._job['what']} {self._count}"
        job = {**self._job, "seed": seed, "turns": turns}
        key = sha256_of_json({**job, **self._identity})[:16]
        path = self._kept / f"{key}.json"
        if path.is_file():
            log.info("block %d was measured before", self._count)
            return read_json(path)
        log.info("block %d: %d turns", self._count, len(turns))
        record = self._ask(job, key)
        write_json(path, record)
        return record

    def _ask(self, job: Record, key: str) -> Record:
        if self._spec["transport"] == "ssh":
            return detached(self._name, self._spec, job, key, Timeline())
        with connected(self._name, self._spec) as device:
            return device.ask("take_turns", job, log=tell)


def _weights(tune: Mapping[str, Any], workloads: Mapping[str, Any]) -> dict[str, float]:
    """Of the workloads that are measured here and count; their sum is 1.

    Raises:
        CellError: there is none.
    """
    asked = tune["weights"] or dict.fromkeys(workloads, 1.0)
    found = {name: weight for name, weight in asked.items() if name in workloads}
    if not found:
        raise CellError("none of the workloads under tune.weights is measured here")
    return {name: weight / sum(found.values()) for name, weight in found.items()}
