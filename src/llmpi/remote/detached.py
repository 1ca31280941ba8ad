"""Measurements behind SSH, which go on when the link is lost or the workstation dies: who asks for
the same again gets its record (`llmpi.device.measure.detached`)."""

import contextlib
import logging
import time
from collections.abc import Iterator
from typing import TypeVar

from typing_extensions import TypeForm

from llmpi.device.records import (
    Forgotten,
    Polled,
    PollRequest,
    RatesRequest,
    SessionRequest,
    Started,
    StartRequest,
    TurnsRequest,
)
from llmpi.errors import LlmpiError
from llmpi.records import RecordError
from llmpi.remote.connection import connected
from llmpi.remote.machine import Device, LinkError
from llmpi.remote.plugs import Timeline
from llmpi.script import tell
from llmpi.study.devices import SshDevice

log = logging.getLogger(__name__)

POLL_EVERY_S = 2.0
Measured = TypeVar("Measured")


@contextlib.contextmanager
def detached(
    name: str,
    device: SshDevice,
    run: str,
    job: SessionRequest | TurnsRequest | RatesRequest,
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
