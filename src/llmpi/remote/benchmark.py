"""Have a device measure the workloads of one model file that was deployed to it.

On a device behind SSH the measurement is detached: it goes on when the link is lost or the
workstation dies, and whoever asks for the same session again gets its record.
"""

import contextlib
import logging
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from typing_extensions import TypeForm

from llmpi.code import sha256_of_code
from llmpi.device.machine.energy import add_energy
from llmpi.device.records import (
    EndpointRequest,
    Forgotten,
    MeasuredBy,
    Polled,
    PollRequest,
    SessionAnswer,
    SessionRequest,
    Started,
    StartRequest,
    TurnsRequest,
)
from llmpi.engine.records import Failed, Runtime, SessionRecord
from llmpi.errors import LlmpiError
from llmpi.records import RecordError, now, sha256_of_json
from llmpi.remote import requests
from llmpi.remote.connection import Device, connected
from llmpi.remote.deploy import ensure_model
from llmpi.remote.link import LinkError
from llmpi.remote.plugs import Timeline, plug_sampling
from llmpi.remote.provision import ensure_ready
from llmpi.remote.records import Provisioned, Receipt
from llmpi.script import tell
from llmpi.study.devices import SingleDevice, SshDevice
from llmpi.study.measuring import AnyWorkload

log = logging.getLogger(__name__)

SESSION = "llmpi.device.measure.session"
"""The module that has it measured there."""
POLL_EVERY_S = 2.0
Measured = TypeVar("Measured")


@contextlib.contextmanager
def benchmark(
    name: str,
    device: SingleDevice,
    *,
    what: str,
    runtime: Runtime,
    workloads: Mapping[str, AnyWorkload],
    measured_by: MeasuredBy,
    provisioned: Provisioned,
    receipt: Receipt,
    gguf: Path,
    kept: Path,
    endpoint: EndpointRequest | None = None,
) -> Iterator[SessionRecord | Failed]:
    """The block is given the record of one session, measured there; then the device forgets it.

    What goes wrong before the block's good end loses nothing: the device still has the record. An
    engine that dies is a result (status `failed`); a device that cannot be reached is not.

    Args:
        what: names study and session, for whoever waits for the device, and the job among others.
        workloads: by id.
        measured_by: what measures them in a session.
        provisioned: the receipt of the device: what it measures with.
        receipt: of the file on the device.
        gguf: the file here, to be sent again if it is not there any more.
        kept: file for what a plug says meanwhile, should this process end before the measurement.
        endpoint: who is measured in the place of llmpi's engine.

    Raises:
        LlmpiError: the device, the endpoint or the way to it failed.
    """
    job: SessionRequest = {
        "what": what,
        "gguf": receipt["path"],
        "threads": device.threads,
        "limits": requests.limits(device),
        "runtime": runtime,
        "workloads": requests.workloads(workloads),
        "meter": requests.meter(device.meter),
        "rest": requests.rest(device),
        "others_at_most_pct": device.others_at_most_pct,
        "measured_by": measured_by,
    }
    if endpoint:
        job["endpoint"] = endpoint
    runs = (SESSION, measured_by)
    means = {"llmpi": [*map(sha256_of_code, runs)], "engine": provisioned["engine"]}
    identity = {**job, **means, "gguf_sha256": receipt["sha256"]}
    started, timeline = now(), Timeline()
    with contextlib.ExitStack() as held:
        with plug_sampling(device.meter, kept) as plug:
            with connected(name, device) as reached:
                ensure_ready(reached, provisioned, *runs)
                again = ensure_model(reached, device, gguf, receipt)
            if again["status"] == "failed":
                yield again
                return
            key = sha256_of_json(identity)[:16]
            if isinstance(device, SshDevice):
                there = detached(name, device, SESSION, job, SessionAnswer, key, timeline)
                answer = held.enter_context(there)
            else:
                with connected(name, device) as reached:
                    answer = reached.ask("measure", job, SessionAnswer, log=tell, timeout_s=None)
        if answer["status"] == "failed" and answer["stage"] == "endpoint":
            held.close()  # the device forgets it, and the next run asks again
            raise LlmpiError(f"device {name}: {answer['reason']}")
        sha256, ended = receipt["sha256"], now()
        record: SessionRecord
        if answer["status"] == "failed":
            record = {**answer, "gguf_sha256": sha256, "started": started, "ended": ended}
        else:
            answer["clock"]["ahead_s"] = timeline.skew_s
            if plug:
                add_energy(answer, plug.samples(answer["clock"], timeline.skew_s), job["meter"])
            record = {**answer, "gguf_sha256": sha256, "started": started, "ended": ended}
        yield record
        if plug:
            plug.forget()


@contextlib.contextmanager
def detached(
    name: str,
    device: SshDevice,
    run: str,
    job: SessionRequest | TurnsRequest,
    kind: TypeForm[Measured],
    key: str,
    timeline: Timeline,
) -> Iterator[Measured]:
    """Start the job or find it running, and follow it to its end over as many links as it takes.

    The block is given its record; once the block has ended well, the device forgets it.

    Args:
        run: the module of `llmpi.device.measure` that does it there.
        kind: of its record.
        key: its name there.
        timeline: hears the device's clock meanwhile.

    Raises:
        LlmpiError: the device or the way to it failed.
    """
    offset = 0
    lost_at: float | None = None
    record: Measured | None = None
    while record is None:
        try:
            with connected(name, device) as reached:
                folder = f"{reached.store}/jobs/{key}"
                asked: StartRequest = {"folder": folder, "run": run, "job": job}
                reached.ask("start", asked, Started)
                while record is None:
                    heard: PollRequest = {"folder": folder, "offset": offset}
                    answer = reached.ask("poll", heard, Polled)
                    timeline.heard(time.time(), answer["time_s"])
                    offset, lost_at = answer["offset"], None
                    for line in answer["log"].splitlines():
                        tell(line)
                    if answer["state"] == "running":
                        time.sleep(POLL_EVERY_S)
                    else:
                        record = _collected(reached, folder, answer, kind)
        except LinkError as error:
            lost_at = lost_at or time.monotonic()
            if time.monotonic() - lost_at > device.reconnect_s:
                raise LinkError(
                    f"{error}\nA measurement that runs there goes on; run again to collect it."
                ) from error
            log.info("%s\ntrying again for %g s", error, device.reconnect_s)
            time.sleep(POLL_EVERY_S)

    yield record
    try:
        with connected(name, device) as reached:
            _forget(reached, folder)
    except LlmpiError as error:
        log.warning(
            "%s\nThe record is here, but the device does not know it: asked for the same again, it "
            "gives this one instead of measuring, unless %s is removed there",
            *(error, folder),
        )


def _collected(reached: Device, folder: str, answer: Polled, kind: TypeForm[Measured]) -> Measured:
    """
    Raises:
        LlmpiError: there is no record, or none that fits: it is of no use to anybody.
    """
    if answer["record"] is None:
        with contextlib.suppress(LinkError):
            _forget(reached, folder)
        raise LlmpiError(
            f"device {reached.name}: the measurement ended without a record; the device may have "
            "been restarted, or the measurement cancelled. Run again."
        )
    try:
        return reached.checked(answer["record"], kind, "the record of its measurement")
    except RecordError:
        with contextlib.suppress(LinkError):
            _forget(reached, folder)
        raise


def _forget(reached: Device, folder: str) -> None:
    reached.ask("forget", {"folder": folder}, Forgotten)
