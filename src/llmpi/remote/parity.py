"""Have a device predict the text of the parity check with a model file deployed to it."""

from pathlib import Path

from llmpi.device.records import PredictRequest
from llmpi.engine.records import Failed, Predicted, Predictions
from llmpi.remote.connection import connected
from llmpi.remote.deploy import ensure_model
from llmpi.remote.provision import ensure_ready
from llmpi.remote.records import Provisioned, Receipt
from llmpi.script import tell
from llmpi.study.devices import SingleDevice

PREDICT_S = 24 * 3600
"""Most of it waiting for the machine, which others may have."""


def predict_there(
    name: str,
    device: SingleDevice,
    *,
    what: str,
    provisioned: Provisioned,
    receipt: Receipt,
    gguf: Path,
) -> Predictions | Failed:
    """What `llmpi.device.measure.parity` predicts there.

    An engine that dies is a result. It is short and changes nothing, so it hangs on the connection:
    where that breaks, the device ends it, and Snakemake tries again.

    Args:
        what: it is for, for whoever waits for the device.
        provisioned: the receipt of the device.
        receipt: of the file on the device.
        gguf: the file here, to be sent again if it is not there any more.

    Raises:
        LlmpiError: the device or the way to it failed.
    """
    with connected(name, device) as reached:
        ensure_ready(reached, provisioned, "llmpi.device.measure.parity")
        again = ensure_model(reached, device, gguf, receipt)
        if again["status"] == "failed":
            return again
        job: PredictRequest = {"what": what, "gguf": receipt["path"], "threads": device.threads}
        answer = reached.ask("predict", job, Predicted | Failed, log=tell, timeout_s=PREDICT_S)
    if answer["status"] == "failed":
        return answer
    return {**answer, "gguf_sha256": receipt["sha256"]}
