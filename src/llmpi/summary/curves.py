"""Speed and temperature over the sustained phase, thinned for a picture."""

from collections.abc import Sequence
from statistics import mean

from llmpi.records import Record, is_ok
from llmpi.study.runs import Run

POINTS = 120
"""Of a curve, at most: a pixel or two apart in a picture."""

Curve = Sequence[tuple[float, float]]


def curve(run: Run, bench: Record) -> Record | None:
    """The sustained phase of a cell; None without one.

    Args:
        bench: the cell's record, with its session's conditions.

    Returns:
        `device`, `model`, `quant`, `runtime`, `workload`; `tg_tps` and `temperature_c`, each a list
        of [seconds since the phase began, tokens per second or degrees Celsius], where neighbours
        are averaged to at most `POINTS` points; `throttled_s`, the seconds at which the firmware
        said that it throttles.
    """
    if not is_ok(bench) or not bench["sustained"]:
        return None
    return {**run._asdict(), **_phase(bench)}


def _phase(cell: Record) -> Record:
    """The curve and what was sampled meanwhile; both on the device's monotonic clock."""
    speeds, samples = cell["sustained"], cell["samples"]
    start, end = speeds[0][0], speeds[-1][0] + 1
    during = [(t - start, c) for t, c in samples["temperature_c"] if start <= t <= end]
    throttled = [t - start for t, said in samples.get("throttled", []) if said]
    return {
        "tg_tps": thinned([(t - start, tps) for t, tps in speeds]),
        "temperature_c": thinned(during),
        "throttled_s": [round(t, 1) for t in throttled if 0 <= t <= end - start],
    }


def thinned(curve: Curve) -> list[list[float]]:
    """At most `POINTS` points: means of neighbours in time and value."""
    step = -(-len(curve) // POINTS) or 1
    parts = [curve[i : i + step] for i in range(0, len(curve), step)]
    return [[round(mean(t for t, _ in part), 2), mean(v for _, v in part)] for part in parts]
