"""Speed and temperature over the sustained phase, thinned for a picture."""

from collections.abc import Sequence

import numpy as np

from llmpi.study.runs import Run
from llmpi.summary.measured import Single
from llmpi.summary.records import Curve
from llmpi.summary.row import place

POINTS = 120
"""Of a curve, at most: a pixel or two apart in a picture."""


def curve(run: Run, measured: Single) -> Curve | None:
    """The sustained phase of a cell, neighbours averaged to at most `POINTS` points; None without
    one. Speeds and samples are both on the device's monotonic clock."""
    speeds, samples = measured.cell["sustained"], measured.session["samples"]
    if not speeds:
        return None
    start, end = speeds[0][0], speeds[-1][0] + 1
    throttled = [t - start for t, said in samples["throttled"] if said]
    heat = [sample for sample in samples["temperature_c"] if start <= sample[0] <= end]
    return {
        **place(run),
        "tg_tps": thinned(speeds, start),
        "temperature_c": thinned(heat, start),
        "throttled_s": [round(t, 1) for t in throttled if 0 <= t <= end - start],
    }


def thinned(curve: Sequence[tuple[float, float]], start: float = 0.0) -> list[list[float]]:
    """At most `POINTS` points: means of neighbours in time since `start` (to 0.01) and value (to
    0.001)."""
    if not curve:
        return []
    starts = np.arange(0, len(curve), -(-len(curve) // POINTS))
    counts = np.diff([*starts, len(curve)])
    points = np.asarray(curve, float) - (start, 0.0)
    at, value = (np.add.reduceat(points, starts) / counts[:, None]).T
    return [[*point] for point in zip(at.round(2).tolist(), value.round(3).tolist(), strict=True)]
