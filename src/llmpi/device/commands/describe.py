"""`llmpi-device describe`."""

from typing import Any

from llmpi.device.machine import environment
from llmpi.engine import info


def describe(_: dict[str, Any]) -> Any:
    """This machine and its engine."""
    return {"machine": environment.machine(), "engine": info.describe()}
