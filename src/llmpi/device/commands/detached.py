"""`llmpi-device start`, `poll`, `cancel`, `forget`: measurements that outlive the connection."""

from pathlib import Path

from llmpi.device.measure import detached
from llmpi.device.records import (
    Cancelled,
    CancelRequest,
    ForgetRequest,
    Forgotten,
    Polled,
    PollRequest,
    Started,
    StartRequest,
)


def start(request: StartRequest) -> Started:
    """Start a measurement, detached."""
    return {"state": detached.start(Path(request["folder"]), request["run"], request["job"])}


def poll(request: PollRequest) -> Polled:
    """How a detached measurement goes."""
    return detached.poll(Path(request["folder"]), request["offset"])


def cancel(request: CancelRequest) -> Cancelled:
    """End the detached measurements of a store; says how many ran."""
    return {"ended": sum(map(detached.cancel, detached.all_of(Path(request["jobs"]))))}


def forget(request: ForgetRequest) -> Forgotten:
    """Remove what is left of a detached measurement."""
    detached.forget(Path(request["folder"]))
    return {}
