"""Have a device measure one workload of one model file that was deployed to it."""

import json
import logging
from typing import Any

from llmpi.errors import LlmpiError
from llmpi.records import Record, is_ok, now
from llmpi.remote.connection import connected

log = logging.getLogger(__name__)


def benchmark(
    name: str, spec: dict[str, Any], *, workload: dict[str, Any], receipt: Record
) -> Record:
    """Run `llmpi-device benchmark` there and return its record.

    An engine that dies is a result (status `failed`); a device that cannot be reached is not.

    Args:
        spec: the device's fields.
        workload: the fields of `llmpi.study.Workload`.
        receipt: of the file on the device, which was provisioned; a failed one is passed on.

    Raises:
        LlmpiError: the device or the way to it failed.
    """
    if not is_ok(receipt):
        return receipt
    job = {"gguf": receipt["path"], "threads": spec["threads"], "workload": workload}
    command = ["-m", "llmpi.device.cli", "benchmark", "--until-eof", json.dumps(job)]
    with connected(name, spec) as device:
        started = now()
        done = device.run([device.interpreter, *command], log=_tell)
    try:
        record = json.loads(done.stdout)
    except json.JSONDecodeError:
        raise LlmpiError(f"device {name}: no measurement came back: {done.stdout!r}") from None
    return {**record, "gguf_sha256": receipt["sha256"], "started": started, "ended": now()}


def _tell(line: str) -> None:
    """llmpi's own lines to the terminal, the engine's to the log."""
    if line.startswith("llmpi: "):
        log.info("%s", line.removeprefix("llmpi: "))
    else:
        log.debug("%s", line)
