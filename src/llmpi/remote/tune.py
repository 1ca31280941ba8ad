"""Search faster settings for a model file on a device: the search here, its blocks measured there.

Every block is kept as soon as it is measured. A search that was broken off takes the same course
again, and finds its blocks instead of measuring them.
"""

from collections.abc import Mapping
from pathlib import Path

from llmpi.code import sha256_of_code
from llmpi.device.machine.meters import is_here
from llmpi.device.records import MeterHere
from llmpi.errors import CellError
from llmpi.records import failed, now
from llmpi.remote import requests
from llmpi.remote.blocks import TURNS, Blocks, Means
from llmpi.remote.connection import connected
from llmpi.remote.deploy import ensure_model
from llmpi.remote.provision import ensure_ready
from llmpi.remote.records import Provisioned, Receipt
from llmpi.study.devices import SingleDevice
from llmpi.study.measuring import Runtime, Workload
from llmpi.study.tuning import Tune
from llmpi.tune.records import TunedRecord
from llmpi.tune.search import search
from llmpi.tune.space import Space, levels_of


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
    meter = _meter(device) if tune.objective == "energy" else None
    common = requests.turns(what, receipt["path"], device, workloads, tune.repetitions, meter)
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


def _meter(device: SingleDevice) -> MeterHere:
    found = requests.meter(device.meter)
    assert is_here(found), "a study that tunes for energy has such meters alone"
    return found


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
