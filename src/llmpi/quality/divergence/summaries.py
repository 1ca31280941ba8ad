"""Numbers with their standard errors, out of what each position of a text gave."""

import math

import numpy as np

from llmpi.quality.divergence.log_probs import Values
from llmpi.quality.divergence.records import DivergenceSummary, Estimate, PerplexitySummary
from llmpi.quality.records import Resampling

RESAMPLING: Resampling = {"resamples": 1000, "seed": 0}
QUANTITIES = ("nll", "reference_nll", "kld", "same_top1")
"""What a position gives: nats, nats, nats, and 0 or 1. Without a reference, only the first."""


def summarize_alone(values: Values) -> PerplexitySummary:
    """
    Args:
        values: [1, chunks, positions], negative log-likelihoods in nats.
    """
    return {"perplexity": _exponential(values[0])}


def summarize(values: Values) -> DivergenceSummary:
    """Every number with its standard error.

    Args:
        values: [quantities, chunks, positions], the quantities as in `QUANTITIES`.

    Returns:
        Standard errors of means are llama-perplexity's, over positions, and carried on to their
        exponentials to first order; those of the median and the 99th percentile are of a bootstrap
        over chunks.
    """
    nll, reference_nll, kld, same = values
    median, p99 = _quantiles(kld, (0.5, 0.99))
    share = same.mean()
    return {
        "perplexity": _exponential(nll),
        "reference_perplexity": _exponential(reference_nll),
        # Paired: llama-perplexity's var(a) + var(b) - 2 cov(a, b) is the variance of a - b.
        "ln_perplexity_ratio": _mean(nll - reference_nll),
        "perplexity_ratio": _exponential(nll - reference_nll),
        "kld_mean_nats": _mean(kld),
        "kld_median_nats": median,
        "kld_p99_nats": p99,
        "top1_agreement_pct": _estimate(
            100 * share, 100 * math.sqrt(share * (1 - share) / (same.size - 1))
        ),
    }


def _estimate(value: float, standard_error: float | None) -> Estimate:
    return {
        "value": float(value),
        "standard_error": None if standard_error is None else float(standard_error),
    }


def _mean(values: Values) -> Estimate:
    return _estimate(values.mean(), _standard_error(values))


def _standard_error(values: Values) -> float:
    return float(values.std() / math.sqrt(values.size - 1))


def _exponential(values: Values) -> Estimate:
    """exp of the mean; its standard error by the delta method."""
    factor = math.exp(values.mean())
    return _estimate(factor, factor * _standard_error(values))


def _quantiles(values: Values, fractions: tuple[float, ...]) -> list[Estimate]:
    """Quantiles of [chunks, positions]; positions of a chunk are not independent, chunks are."""
    found = np.quantile(values, fractions)
    if len(values) == 1:
        return [_estimate(value, None) for value in found]
    shape = RESAMPLING["resamples"], len(values)
    draws = np.random.default_rng(RESAMPLING["seed"]).integers(len(values), size=shape)
    spread = np.array([np.quantile(values[draw], fractions) for draw in draws]).std(axis=0)
    return [_estimate(*pair) for pair in zip(found, spread, strict=True)]
