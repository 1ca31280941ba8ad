"""Whether a device's engine computes the model whose quality was scored on the workstation."""

import logging
import math
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from llmpi.accidents import supervise
from llmpi.device.measure.parity import SINGLE_TOKENS, TIMEOUT_S
from llmpi.device.records import ModelFile
from llmpi.engine.records import Failed, Position, Predicted, Predictions
from llmpi.engine.supervise import Death
from llmpi.quality.agreement import KL_AT_MOST_NATS, TOP1_AT_LEAST_PCT
from llmpi.quality.records import Parity, ParitySide, VariantFile
from llmpi.records import failed

log = logging.getLogger(__name__)


def predict_here(
    gguf: Path, manifest: VariantFile | Failed, *, threads: int
) -> Predictions | Failed:
    """What this machine's engine predicts.

    Args:
        manifest: of `gguf`; a failed one is passed on.

    Raises:
        AccidentError: the memory or the disk did not suffice.
    """
    if manifest["status"] != "ok":
        return manifest
    job: ModelFile = {"gguf": str(gguf), "threads": threads}
    found = supervise(
        "llmpi.device.measure.parity",
        job,
        writes=Predicted,
        log=lambda line: log.debug("%s", line),
        timeout_s=TIMEOUT_S,
    )
    if isinstance(found, Death):
        return found.failed("parity")
    return {**found, "gguf_sha256": manifest["sha256"]}


def compare(workstation: Predictions | Failed, device: Predictions | Failed) -> Parity | Failed:
    """Hold the device's predictions for the text against the workstation's.

    Args:
        workstation, device: of `predict_here` and `llmpi.remote.parity.predict_there`; a failed
            one is passed on.
    """
    if workstation["status"] != "ok":
        return failed(workstation["stage"], f"on the workstation: {workstation['reason']}")
    if device["status"] != "ok":
        return failed(device["stage"], f"on the device: {device['reason']}")
    pairs: list[tuple[Position, Position]] = []
    if workstation["tokens"] == device["tokens"]:
        pairs = list(zip(workstation["positions"], device["positions"], strict=True))
    kl_nats = [lumped_kl(*pair) for pair in pairs]
    same = [here["tokens"][0] == there["tokens"][0] for here, there in pairs]
    measured = _measured(kl_nats, same) if pairs else None
    reason = _objection(measured) if measured else OTHER_TOKENS
    return {
        "status": "ok",
        "agrees": reason is None,
        "reason": reason,
        "top1_pct": measured and measured.top1_pct,
        "kl_nats": measured and measured.kl_nats,
        "kl_max_nats": measured and measured.kl_max_nats,
        "kl_batched_nats": measured and measured.kl_batched_nats,
        "kl_single_nats": measured and measured.kl_single_nats,
        "tolerance": {"kl_nats": KL_AT_MOST_NATS, "top1_pct": TOP1_AT_LEAST_PCT},
        "positions": [
            {"kl_nats": float(f"{kl:.6g}"), "same_top1": is_same}
            for kl, is_same in zip(kl_nats, same, strict=True)
        ],
        "workstation": _side(workstation),
        "device": _side(device),
    }


OTHER_TOKENS = "the device's engine makes other tokens of the same text: is it another version?"


def _side(ran: Predictions) -> ParitySide:
    return {
        "gguf_sha256": ran["gguf_sha256"],
        "tokens_sha256": ran["tokens_sha256"],
        "settings": ran["settings"],
        "engine": ran["engine"],
        "machine": ran["machine"],
    }


class _Measured(NamedTuple):
    """See `llmpi.quality.records.Parity`."""

    top1_pct: float
    kl_nats: float
    kl_max_nats: float
    kl_batched_nats: float
    kl_single_nats: float


def _measured(kl_nats: Sequence[float], same: Sequence[bool]) -> _Measured:
    return _Measured(
        top1_pct=100 * fmean(same),
        kl_nats=fmean(kl_nats),
        kl_max_nats=max(kl_nats),
        kl_batched_nats=fmean(kl_nats[:-SINGLE_TOKENS]),
        kl_single_nats=fmean(kl_nats[-SINGLE_TOKENS:]),
    )


def _objection(measured: _Measured) -> str | None:
    """Generation has kernels of its own: they must not hide behind those of the prompt."""
    kl_nats = max(measured.kl_batched_nats, measured.kl_single_nats)
    said = []
    if kl_nats > KL_AT_MOST_NATS:
        said.append(f"KL divergence {kl_nats:.3g} nats > {KL_AT_MOST_NATS:g}")
    if measured.top1_pct < TOP1_AT_LEAST_PCT:
        said.append(f"top-1 agreement {measured.top1_pct:.1f} % < {TOP1_AT_LEAST_PCT:g} %")
    return f"the device computes another model: {', '.join(said)}" if said else None


def lumped_kl(p: Position, q: Position) -> float:
    """The least KL(P || Q), in nats, of which both heads and tails can be: a lower bound of it.

    Tokens in both heads are classes of their own, all others are lumped together: no partition
    raises a divergence (data processing inequality; Cover, Thomas, Elements of Information Theory,
    2nd ed., 2.7.1, the log sum inequality). Of the lump, what only P's head holds is split off
    where it shows more: there Q gives each token at most the least of its own head.
    """
    of_p, of_q = (dict(zip(r["tokens"], r["logprobs"], strict=True)) for r in (p, q))
    p_rest, q_rest = math.exp(p["rest_logprob"]), math.exp(q["rest_logprob"])
    both, only_p, only_q = of_p.keys() & of_q.keys(), of_p.keys() - of_q, of_q.keys() - of_p
    kl = sum(_term(math.exp(of_p[token]), math.exp(of_q[token])) for token in both)
    p_only, q_lump = _mass(of_p, only_p), _mass(of_q, only_q) + q_rest
    # The least divergence is where Q splits the lump as P does, or as near to that as may be.
    q_only = min(len(only_p) * math.exp(q["logprobs"][-1]), q_rest)
    if p_only:
        q_only = min(q_only, q_lump * p_only / (p_only + p_rest))
    return kl + _term(p_only, q_only) + _term(p_rest, q_lump - q_only)


def _mass(logprobs: dict[int, float], tokens: Iterable[int]) -> float:
    return sum(math.exp(logprobs[token]) for token in tokens)


def _term(p: float, q: float) -> float:
    """What a class adds to a KL divergence; `q - p`, zero in sum, keeps rounding errors small."""
    return p * math.log(p / max(q, sys.float_info.min)) + q - p if p > 0 else q
