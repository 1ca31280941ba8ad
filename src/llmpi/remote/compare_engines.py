"""Have a device measure a model file with several engines in turns, and hold them together."""

from collections.abc import Mapping
from pathlib import Path

from llmpi.code import sha256_of_code
from llmpi.engine.records import Runtime
from llmpi.errors import CellError
from llmpi.records import failed, now
from llmpi.remote import requests
from llmpi.remote.blocks import TURNS, Blocks, Means
from llmpi.remote.connection import connected
from llmpi.remote.deploy import ensure_model
from llmpi.remote.install_engines import ensure_engines
from llmpi.remote.provision import ensure_ready
from llmpi.remote.records import InstalledEngines, Provisioned, Receipt
from llmpi.study.devices import SingleDevice
from llmpi.study.measuring import Workload
from llmpi.tune.engines import hold_engines
from llmpi.tune.records import ComparedEnginesRecord

REPETITIONS = 3
"""Of each workload in each turn; their median counts."""


def compare_engines(
    name: str,
    device: SingleDevice,
    *,
    what: str,
    runtime: Runtime,
    workloads: Mapping[str, Workload],
    provisioned: Provisioned,
    installed: InstalledEngines,
    receipt: Receipt,
    gguf: Path,
    kept: Path,
) -> ComparedEnginesRecord:
    """All engines that are installed for it, each held against the first.

    Args:
        what: names study and session, for whoever waits for the device; seeds all random orders.
        workloads: by id.
        provisioned: the receipt of the device: what it measures with otherwise.
        receipt: of the file on the device.
        gguf: the file here, to be sent again if it is not there any more.
        kept: folder of the blocks measured so far.

    Raises:
        LlmpiError: the device or the way to it failed.
    """
    with connected(name, device) as reached:
        ensure_ready(reached, provisioned, TURNS)
        ensure_engines(reached, installed)
        again = ensure_model(reached, device, gguf, receipt)
    if again["status"] == "failed":
        return again
    common = requests.turns(what, receipt["path"], device, workloads, REPETITIONS)
    engines = {one: found["engine"] for one, found in installed["engines"].items()}
    means: Means = {
        "llmpi": sha256_of_code(TURNS),
        "engine": [*engines.values()],
        "gguf_sha256": receipt["sha256"],
    }
    blocks = Blocks(name, device, common, means, kept)
    folders = {one: found["folder"] for one, found in installed["engines"].items()}
    started = now()
    try:
        found = hold_engines(
            folders,
            runtime,
            [*workloads],
            blocks.measure,
            device.others_at_most_pct,
            seed=what,
        )
    except CellError as error:
        return failed("engines", str(error))
    return {
        "status": "ok",
        **found,
        "engines": engines,
        "runtime": runtime,
        "machine": provisioned["machine"],
        "gguf_sha256": receipt["sha256"],
        "started": started,
        "ended": now(),
    }
