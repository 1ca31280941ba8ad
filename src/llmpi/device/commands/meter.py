"""`llmpi-device meter`."""

from typing import Any

from llmpi.device.machine.meters import MeterError, open_meter


def meter(request: dict[str, Any]) -> Any:
    """Read a meter once."""
    try:
        read = open_meter(request)
        power_w, counter_j = read()
    except MeterError as error:
        return {"error": str(error)}
    return {"power_w": power_w, "counter_j": counter_j}
