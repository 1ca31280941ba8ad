"""`llmpi-device describe`."""

from llmpi.device.machine import environment
from llmpi.engine import info
from llmpi.engine.records import Where


def describe(_: object) -> Where:
    """This machine and its engine."""
    return {"machine": environment.machine(), "engine": info.describe()}
