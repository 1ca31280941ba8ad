"""Speed and temperature over the sustained phase, thinned for a picture."""

from collections.abc import Sequence
from itertools import chain

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
    together = -(-len(curve) // POINTS)
    starts = np.arange(0, len(curve), together)
    counts = np.full((len(starts), 1), together)
    counts[-1] = len(curve) - starts[-1]
    points = np.fromiter(chain.from_iterable(curve), float, 2 * len(curve)).reshape(-1, 2)
    means = np.add.reduceat(points - (start, 0.0), starts) / counts
    means[:, 0].round(2, out=means[:, 0])
    means[:, 1].round(3, out=means[:, 1])
    found: list[list[float]] = means.tolist()
    return found
