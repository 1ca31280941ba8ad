"""What the settings that were not tried may still gain: a bound that lets a search end.

A Gaussian process over settings (Rasmussen, Williams, *Gaussian Processes for Machine Learning*,
2006, 2.2 and 5.4.1). Two settings are the more alike the fewer keys they differ in; how much a key
matters is learned: its correlation is chosen by the likelihood of what was measured.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from llmpi.tune.space import Setting

CORRELATIONS = (0.3, 0.6, 0.8, 0.9, 0.97, 0.99, 0.999)
SCALES = (0.05, 0.1, 0.3, 1.0)
"""Standard deviations of the gains over the whole space, in natural logarithms."""
SWEEPS = 3


class Belief(NamedTuple):
    """Of each setting: expected gain and its standard deviation, natural logarithms."""

    mean: np.ndarray
    sd: np.ndarray


def believe(
    tried: Sequence[Setting],
    gains: Sequence[float],
    noise_sd: Sequence[float],
    settings: Sequence[Setting],
) -> Belief:
    """What is to be expected of `settings`, given what was measured.

    Args:
        tried: different settings, at least one.
        gains: their mean gains over the base, natural logarithms.
        noise_sd: standard errors of these.
    """
    y, variance = np.array(gains), np.square(noise_sd) + 1e-12
    same = _same(tried, tried)
    correlations, scale = _likeliest(same, y, variance)
    inverse = np.linalg.inv(_kernel(same, correlations, scale) + np.diag(variance))
    across = _kernel(_same(settings, tried), correlations, scale)
    mean = across @ inverse @ y
    left = scale**2 - np.einsum("ij,jk,ik->i", across, inverse, across)
    return Belief(mean, np.sqrt(np.maximum(left, 0)))


def _same(a: Sequence[Setting], b: Sequence[Setting]) -> np.ndarray:
    """Shape (a, b, keys): where two settings have the same level."""
    return np.array(a)[:, None, :] == np.array(b)[None, :, :]


def _kernel(same: np.ndarray, correlations: np.ndarray, scale: float) -> np.ndarray:
    return scale**2 * np.where(same, 1.0, correlations).prod(axis=2)


def _likeliest(same: np.ndarray, y: np.ndarray, variance: np.ndarray) -> tuple[np.ndarray, float]:
    """Each key's correlation and the scale under which `y` is the likeliest; key by key."""
    keys = same.shape[2]
    best = (-np.inf, np.full(keys, 0.9), 0.1)
    for _ in range(SWEEPS):
        before = best[0]
        for scale in SCALES:
            best = max(best, _scored(same, y, variance, best[1], scale), key=_score)
        for k in range(keys):
            for correlation in CORRELATIONS:
                other = best[1].copy()
                other[k] = correlation
                best = max(best, _scored(same, y, variance, other, best[2]), key=_score)
        if best[0] <= before:
            break
    return best[1], best[2]


def _score(found: tuple[float, np.ndarray, float]) -> float:
    return found[0]


def _scored(
    same: np.ndarray, y: np.ndarray, variance: np.ndarray, correlations: np.ndarray, scale: float
) -> tuple[float, np.ndarray, float]:
    """The log marginal likelihood, but for a constant, and what it is of."""
    covariance = _kernel(same, correlations, scale) + np.diag(variance)
    _, log_determinant = np.linalg.slogdet(covariance)
    fit = y @ np.linalg.solve(covariance, y)
    return -0.5 * float(fit + log_determinant), correlations, scale
