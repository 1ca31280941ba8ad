"""What the service of a device carries, load by load, out of the times of each request.

A percentile is of so many answers that at least one lies beyond it: a 99th needs 100.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from llmpi.device.service.records import Carried, ServedRequest, ServiceBench
from llmpi.engine.records import Failed, Tier
from llmpi.records import RecordError, failed, read
from llmpi.summary.percentiles import percentile

PER_MINUTE = 60.0


def read_benches(paths: Iterable[Path]) -> dict[str, ServiceBench | Failed]:
    """By device, of the files that are there; one that does not fit its type has failed."""
    found: dict[str, ServiceBench | Failed] = {}
    for path in paths:
        try:
            found[path.stem] = read(path, ServiceBench)
        except RecordError as error:
            found[path.stem] = failed("record", str(error))
    return found


class Quantiles(NamedTuple):
    """Seconds; None where there are too few answers."""

    p50: float | None
    p95: float | None
    p99: float | None


class CarriedLoad(NamedTuple):
    """A load, and what became of it."""

    carried: Carried
    answered: int
    refused: dict[int, int]
    """By status."""
    failed: int
    reasons: list[str]
    """Of the failures, each once, the commonest first."""
    ttft_s: Quantiles
    whole_s: Quantiles
    span_s: float
    """From the first request to the last end."""
    answered_per_min: float
    output_tps: float | None
    """Tokens of all answers together; None where the service does not count them."""
    cached_pct: float | None
    """Of the prompts' tokens, those out of a cache; None where that cannot be told."""
    j_per_answer: float | None
    """Of the whole board, all that happened meanwhile included."""
    tier: Tier | None
    no_energy: str | None
    """Why there are no joules."""
    throttled: bool

    @property
    def asked(self) -> int:
        return len(self.carried["requests_made"])

    @property
    def is_whole(self) -> bool:
        """Every request was answered, and there was one."""
        return 0 < self.answered == self.asked


def quantiles(values: Iterable[float]) -> Quantiles:
    """The median, and what 95 and 99 of 100 keep to."""
    found = sorted(values)
    if not found:
        return Quantiles(None, None, None)
    return Quantiles(
        percentile(found, 50),
        percentile(found, 95) if len(found) >= 20 else None,
        percentile(found, 99) if len(found) >= 100 else None,
    )


def carried_loads(bench: ServiceBench) -> list[CarriedLoad]:
    """In the order in which a reader looks for them: clients, then requests a second."""
    return sorted(map(carried_load, bench["loads"]), key=_order)


def _order(one: CarriedLoad) -> tuple[bool, float]:
    load = one.carried["load"]
    return (True, load["per_s"]) if load["kind"] == "open" else (False, load["clients"])


def carried_load(carried: Carried) -> CarriedLoad:
    made = carried["requests_made"]
    answered = [one for one in made if one["outcome"] == "answered"]
    lost = [one for one in made if one["outcome"] == "failed"]
    refused = Counter(one["status"] or 0 for one in made if one["outcome"] == "refused")
    span_s = _span_s(made)
    energy = carried["energy"]
    return CarriedLoad(
        carried=carried,
        answered=len(answered),
        refused=dict(sorted(refused.items())),
        failed=len(lost),
        reasons=[
            reason for reason, _ in Counter(one["reason"] or "" for one in lost).most_common()
        ],
        ttft_s=quantiles(one["ttft_s"] for one in answered if one["ttft_s"] is not None),
        whole_s=quantiles(one["whole_s"] for one in answered),
        span_s=span_s,
        answered_per_min=PER_MINUTE * len(answered) / span_s if span_s else 0.0,
        output_tps=_rate(answered, span_s),
        cached_pct=_cached_pct(carried, answered),
        j_per_answer=energy["energy_j"] / len(answered)
        if energy["status"] == "ok" and answered
        else None,
        tier=energy["tier"],
        no_energy=None if energy["status"] == "ok" else energy["reason"],
        throttled=_throttled(carried),
    )


def most_without_refusal(loads: Sequence[CarriedLoad]) -> CarriedLoad | None:
    """The one with the most answers a minute among those all of whose requests were answered."""
    whole = [one for one in loads if one.is_whole]
    return max(whole, key=lambda one: one.answered_per_min, default=None)


def _span_s(made: Sequence[ServedRequest]) -> float:
    if not made:
        return 0.0
    return max(one["start_s"] + one["whole_s"] for one in made) - min(
        one["start_s"] for one in made
    )


def _rate(answered: Sequence[ServedRequest], span_s: float) -> float | None:
    told = [one["output_tokens"] for one in answered if one["output_tokens"] is not None]
    return sum(told) / span_s if told and len(told) == len(answered) and span_s else None


def _cached_pct(carried: Carried, answered: Sequence[ServedRequest]) -> float | None:
    """Of what was asked only whole answers are counted by the service, and only they are told."""
    told = [one["prompt_tokens"] for one in answered if one["prompt_tokens"] is not None]
    computed = carried["computed_prompt_tokens"]
    if computed is None or not told or len(told) < len(carried["requests_made"]):
        return None
    return max(0.0, 100 * (1 - computed / sum(told)))


def _throttled(carried: Carried) -> bool:
    """Whether the firmware says so before or after, or remembers something new since."""
    before, after = carried["before"]["throttled"], carried["after"]["throttled"]
    if not before or not after:
        return False
    return bool(before["now"] or after["now"] or {*after["since_boot"]} - {*before["since_boot"]})
