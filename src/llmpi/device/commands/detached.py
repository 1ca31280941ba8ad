"""`llmpi-device start`, `poll`, `cancel`, `forget`: measurements that outlive the connection."""

from pathlib import Path
from typing import Any

from llmpi.device.measure import detached


def start(request: dict[str, Any]) -> Any:
    """Start a measurement, detached."""
    return {"state": detached.start(Path(request["folder"]), request["run"], request["job"])}


def poll(request: dict[str, Any]) -> Any:
    """How a detached measurement goes."""
    return detached.poll(Path(request["folder"]), request["offset"])


def cancel(request: dict[str, Any]) -> Any:
    """End the detached measurements of a store; says how many ran."""
    return {"ended": sum(map(detached.cancel, detached.running(Path(request["jobs"]))))}


def forget(request: dict[str, Any]) -> Any:
    """Remove what is left of a detached measurement."""
    detached.forget(Path(request["folder"]))
    return {}
