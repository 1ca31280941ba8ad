"""Have a device predict the text of the parity check with a model file deployed to it."""

from pathlib import Path
from typing import Any

from llmpi.records import Record, is_ok
from llmpi.remote.connection import connected
from llmpi.remote.deploy import ensure_model
from llmpi.script import tell


def predict_there(
    name: str, spec: dict[str, Any], *, what: str, receipt: Record, gguf: Path
) -> Record:
    """The record of `llmpi.device.measure.parity.predict`, made there, and the `gguf_sha256`.

    An engine that dies is a result. It is short and changes nothing, so it hangs on the connection:
    where that breaks, the device ends it, and Snakemake tries again.

    Args:
        spec: the device's fields.
        what: it is for, for whoever waits for the device.
        receipt: of the file on the device; a failed one is passed on.
        gguf: the file here, to be sent again if it is not there any more.

    Raises:
        LlmpiError: the device or the way to it failed.
    """
    if not is_ok(receipt):
        return receipt
    with connected(name, spec) as device:
        again = ensure_model(device, spec, gguf, receipt)
        if not is_ok(again):
            return again
        job = {"what": what, "gguf": receipt["path"], "threads": spec["threads"]}
        return {**device.ask("predict", job, log=tell), "gguf_sha256": receipt["sha256"]}
