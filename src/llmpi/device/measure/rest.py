"""Before a measurement: the machine cools down, rests, and says how it is."""

import time
from typing import NamedTuple

from llmpi.device.machine import environment
from llmpi.device.records import Cooling, Rest
from llmpi.engine.progress import say
from llmpi.engine.records import Conditions, Cooled


class Rested(NamedTuple):
    """What a session's record says of it."""

    cooled: Cooled | None
    idle: tuple[float, float] | None
    """From when to when, on the monotonic clock; None where no rest was asked for."""
    before: Conditions


def rested(asked: Rest) -> Rested:
    """Wait until the machine is cool, then leave it idle."""
    cooled = cool_down(asked)
    start = time.monotonic()
    time.sleep(asked["idle_s"])
    idle = (start, start + asked["idle_s"]) if asked["idle_s"] else None
    return Rested(cooled, idle, environment.conditions())


def cool_down(asked: Cooling) -> Cooled | None:
    """Wait until the machine is cool: how long that took, and whether it is now."""
    below_c, limit_s = asked["cool_below_c"], asked["cool_limit_s"]
    if below_c is None:
        return None
    start = time.monotonic()
    while True:
        temperature_c = environment.temperature_c()
        waited_s = time.monotonic() - start
        cool = temperature_c is not None and temperature_c < below_c
        if cool or temperature_c is None or waited_s >= limit_s:
            return {"waited_s": waited_s, "cool": cool, "temperature_c": temperature_c}
        say(f"cooling down to {below_c:g} degrees: {temperature_c:.1f} °C")
        time.sleep(min(5.0, limit_s - waited_s))
