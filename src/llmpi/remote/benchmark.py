"""Have a device measure the workloads of one model file that was deployed to it.

On a device behind SSH the measurement is detached: it goes on when the link is lost or the
workstation dies, and whoever asks for the same session again gets its record.
"""

import contextlib
import logging
import time
from pathlib import Path
from typing import Any

from llmpi.device.machine.energy import add_energy
from llmpi.errors import LlmpiError
from llmpi.records import Record, is_ok, now, sha256_of_json
from llmpi.remote.connection import ANSWER_S, Device, LinkError, connected
from llmpi.remote.deploy import ensure_model
from llmpi.remote.plugs import Timeline, plug_sampling
from llmpi.script import tell

log = logging.getLogger(__name__)

POLL_EVERY_S = 2.0


def benchmark(
    name: str,
    spec: dict[str, Any],
    *,
    what: str,
    runtime: dict[str, Any],
    workloads: dict[str, dict[str, Any]],
    provisioned: Record,
    receipt: Record,
    gguf: Path,
) -> Record:
    """The record of one session, measured there.

    An engine that dies is a result (status `failed`); a device that cannot be reached is not.

    Args:
        spec: the device's fields.
        what: names study and session, for whoever waits for the device, and the job among others.
        runtime: the fields of `llmpi.study.Runtime`.
        workloads: id -> the fields of `llmpi.study.Workload`.
        provisioned: the receipt of the device: what it measures with.
        receipt: of the file on the device; a failed one is passed on.
        gguf: the file here, to be sent again if it is not there any more.

    Raises:
        LlmpiError: the device or the way to it failed.
    """
    if not is_ok(receipt):
        return receipt
    job = {
        "what": what,
        "gguf": receipt["path"],
        "threads": spec["threads"],
        "limits": spec.get("limits"),
        "runtime": runtime,
        "workloads": workloads,
        "meter": spec["meter"],
        "rest": {key: spec[key] for key in ("idle_s", "cool_below_c", "cool_limit_s")},
    }
    means = {"llmpi": provisioned["wheel_sha256"], "engine": provisioned["engine"]}
    identity = {**job, **means, "gguf_sha256": receipt["sha256"]}
    started, timeline = now(), Timeline()
    with plug_sampling(spec["meter"]) as plug:
        with connected(name, spec) as device:
            again = ensure_model(device, spec, gguf, receipt)
            if not is_ok(again):
                return again
            if device.is_local:
                record = device.ask("measure", job, log=tell)
        if spec["transport"] == "ssh":
            record = detached(name, spec, job, sha256_of_json(identity)[:16], timeline)
    if is_ok(record):
        record["clock"] |= {"ahead_s": timeline.skew_s}
        if plug:
            samples = plug.samples(record["clock"], timeline.skew_s)
            add_energy(record, samples, spec["meter"])
    return {**record, "gguf_sha256": receipt["sha256"], "started": started, "ended": now()}


def detached(
    name: str, spec: dict[str, Any], job: dict[str, Any], key: str, timeline: Timeline
) -> Record:
    """Start the job or find it running, and follow it to its end over as many links as it takes."""
    offset = 0
    lost_at: float | None = None
    while True:
        try:
            with connected(name, spec) as device:
                folder = f"{device.store}/jobs/{key}"
                device.ask("start", {"folder": folder, "job": job}, timeout_s=ANSWER_S)
                while True:
                    request = {"folder": folder, "offset": offset}
                    answer = device.ask("poll", request, timeout_s=ANSWER_S)
                    timeline.heard(time.time(), answer["time_s"])
                    offset, lost_at = answer["offset"], None
                    for line in answer["log"].splitlines():
                        tell(line)
                    if answer["state"] != "running":
                        return _collected(device, folder, answer)
                    time.sleep(POLL_EVERY_S)
        except LinkError as error:
            lost_at = lost_at or time.monotonic()
            if time.monotonic() - lost_at > spec["reconnect_s"]:
                raise LinkError(
                    f"{error}\nA measurement that runs there goes on; run again to collect it."
                ) from error
            log.info("%s\ntrying again for %g s", error, spec["reconnect_s"])
            time.sleep(POLL_EVERY_S)


def _collected(device: Device, folder: str, answer: Record) -> Record:
    with contextlib.suppress(LinkError):  # then it is forgotten when it is old
        device.ask("forget", {"folder": folder}, timeout_s=ANSWER_S)
    if answer["state"] != "done":
        raise LlmpiError(
            f"device {device.name}: the measurement ended without a record; the device may have "
            "been restarted, or the measurement cancelled. Run again."
        )
    return answer["record"]
