"""Whether a search found anything: the finalists against the base once more, on fresh blocks.

The gains that made them finalists do not count: the best of many is lucky, too.
"""

import math
from collections.abc import Sequence

from llmpi.tune.interval import Interval, signed_rank_interval
from llmpi.tune.ledger import Ledger
from llmpi.tune.looks import Look
from llmpi.tune.records import Confirmed, Finalist, MetricGain, Ratio
from llmpi.tune.space import Setting

ERROR = 0.05
"""Probability that any finalist that is no faster than the base passes."""

Block = dict[Setting, Look]


def confirm(ledger: Ledger, finalists: Sequence[Setting]) -> Confirmed:
    """Measure the finalists against the base, and choose.

    A finalist passes if the interval of its gain lies above none; the intervals share `ERROR`
    (Bonferroni). Of those that pass, and that the fresh blocks cannot tell from the fastest one,
    the one that changes least wins. Where none passes, the base stays.
    """
    alive, blocks = list(finalists), []
    for _ in range(ledger.tune.confirm_blocks if finalists else 0):
        blocks.append(ledger.compare(alive, "confirmation"))
        alive = [s for s in alive if not ledger.tried[s].refused]
        if not alive:
            break
    error = ERROR / max(1, len(finalists))
    gains = {s: signed_rank_interval(_gains(blocks, ledger, s), error) for s in alive}
    winner = _choose(ledger, blocks, gains, error)
    space, tried = ledger.space, ledger.tried.get(winner) if winner else None
    chosen = winner or space.base
    return {
        "tuned": winner is not None,
        "runtime": space.runtime(chosen),
        "changes": space.changes(chosen),
        "words": space.words(chosen),
        "changes_output": winner is not None and _changes_output(ledger, winner),
        "agreement": tried.agreement if tried else None,
        "peak_rss_bytes": {
            "base": ledger.base.peak_rss_bytes,
            "tuned": (tried or ledger.base).peak_rss_bytes,
        },
        "gain": None if winner is None else _ratio(gains[winner]),
        "metrics": [] if winner is None else _metrics(ledger, blocks, winner),
        "confidence_pct": 100 * (1 - error),
        "confirm_blocks": len(blocks),
        "finalists": [_finalist(ledger, s, gains.get(s), winner) for s in finalists],
    }


def _choose(
    ledger: Ledger, blocks: Sequence[Block], gains: dict[Setting, Interval], error: float
) -> Setting | None:
    passed = [setting for setting, gain in gains.items() if gain.low > 0]
    if not passed:
        return None
    fastest = max(passed, key=lambda setting: gains[setting].middle)

    def as_fast(setting: Setting) -> bool:
        behind = [block[setting].score - block[fastest].score for block in blocks]
        return setting == fastest or signed_rank_interval(behind, error).low <= 0

    def changed(setting: Setting) -> tuple[bool, int]:
        return _changes_output(ledger, setting), len(ledger.space.changes(setting))

    return min(filter(as_fast, passed), key=changed)


def _gains(blocks: Sequence[Block], ledger: Ledger, setting: Setting) -> list[float]:
    base = ledger.space.base
    return [block[base].score - block[setting].score for block in blocks]


def _metrics(ledger: Ledger, blocks: Sequence[Block], setting: Setting) -> list[MetricGain]:
    """Each metric of each workload, the winner's against the base's; 95 % intervals."""
    base = ledger.space.base
    return [
        {
            "workload": workload,
            "metric": metric,
            **_ratio(
                signed_rank_interval(
                    [
                        math.log(b[base].costs[workload][metric])
                        - math.log(b[setting].costs[workload][metric])
                        for b in blocks
                    ],
                    ERROR,
                )
            ),
        }
        for workload, costs in blocks[0][base].costs.items()
        for metric in costs
    ]


def _finalist(
    ledger: Ledger, setting: Setting, gain: Interval | None, winner: Setting | None
) -> Finalist:
    return {
        "words": ledger.space.words(setting),
        "gain": gain and _ratio(gain),
        "refused": ledger.tried[setting].refused,
        "changes_output": _changes_output(ledger, setting),
        "won": setting == winner,
    }


def _changes_output(ledger: Ledger, setting: Setting) -> bool:
    found = ledger.tried[setting].agreement
    return bool(found and found["top1_pct"] < 100)


def _ratio(gain: Interval) -> Ratio:
    return {
        "ratio": math.exp(gain.middle),
        "low": math.exp(gain.low),
        "high": math.exp(gain.high),
    }
