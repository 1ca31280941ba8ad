"""`llmpi-device meter`."""

from llmpi.device.machine.metering import MeterError
from llmpi.device.machine.meters import open_meter, plausible
from llmpi.device.records import MeterFailure, MeterHere, MeterReading


def meter(request: MeterHere) -> MeterReading | MeterFailure:
    """Read a meter once."""
    try:
        read = open_meter(request)
        power_w, counter_j = plausible(*read())
    except MeterError as error:
        return {"error": str(error)}
    return {"power_w": power_w, "counter_j": counter_j}
