"""The blocks of a search and what they say of each setting.

A block gives the base and some settings one turn each, in a random order, shortly after one
another. Heat and drift then touch them alike, and only differences within a block are looked at.
"""

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist, fmean, median

from llmpi.device.records import TurnRequest
from llmpi.engine.records import CooledTurn, FailedTurn, Output, Turns
from llmpi.errors import CellError
from llmpi.study.tuning import Tune
from llmpi.tune.looks import Look, agreement, look
from llmpi.tune.records import Agreement, Block, BlockTurn, Phase, Refusal, TooMuchMemory
from llmpi.tune.space import Setting, Space

Measure = Callable[[list[TurnRequest]], Turns]
"""Has the turns measured, in order."""

SLOW, SPARE_S = 4.0, 10.0
"""A challenger's turn that takes `SLOW` times as long as the base's, and a little, is ended."""
WILD = 3.0


@dataclass
class Tried:
    """What is known of a setting; gains are natural logarithms of base time / its time."""

    gains: list[float] = field(default_factory=list)
    refused: Refusal | None = None
    agreement: Agreement | None = None
    peak_rss_bytes: int | None = None

    @property
    def gain(self) -> float:
        return fmean(self.gains)


class Ledger:
    """Has blocks measured, and keeps what they said.

    Args:
        space: of the settings.
        weights: of the workloads, their sum 1.
        measure: has a block measured.
        seed: of all random orders.
    """

    def __init__(
        self,
        space: Space,
        tune: Tune,
        weights: Mapping[str, float],
        measure: Measure,
        seed: str,
    ) -> None:
        self.space, self.tune = space, tune
        self.tried: dict[Setting, Tried] = {}
        self.base = Tried(gains=[0.0])
        self.blocks: list[Block] = []
        self.spent_s = 0.0
        self._weights, self._measure, self._seed = weights, measure, seed
        self._twins: list[float] = []
        self._output: Output | None = None
        self._base_took_s = 0.0

    @property
    def noise_sd(self) -> float:
        """Standard deviation of a setting's gain in one block: over all that came again, pooled.

        Differences that are wild among the others are cut off at `WILD` standard deviations, as
        the normal distribution's median tells it: a busy moment is not how it usually is.
        """
        residuals = [abs(gain) for gain in self._twins]  # the base against itself: their mean is 0
        for tried in self.tried.values():
            if (n := len(tried.gains)) > 1:
                residuals += [abs(g - tried.gain) * math.sqrt(n / (n - 1)) for g in tried.gains]
        most = WILD * median(residuals) / NormalDist().inv_cdf(0.75)
        return math.sqrt(fmean(min(residual, most) ** 2 for residual in residuals))

    @property
    def noise(self) -> float:
        """The least gain that the confirmation can be expected to show."""
        return 1.96 * self.noise_sd / math.sqrt(self.tune.confirm_blocks)

    @property
    def sound(self) -> dict[Setting, Tried]:
        """The settings that may win."""
        return {s: tried for s, tried in self.tried.items() if not tried.refused}

    def calibrate(self) -> None:
        """A block of the base and the base again: what differs there is noise."""
        looks = self._block([self.space.base, self.space.base], "noise")
        first, second = looks
        assert first and second
        self._twins.append(first.score - second.score)

    def compare(self, settings: Sequence[Setting], phase: Phase) -> dict[Setting, Look]:
        """A block of the base and `settings`: the looks at all that went well.

        Raises:
            CellError: the base itself cannot be measured.
        """
        turns = [self.space.base, *settings]
        order = random.Random(f"llmpi block {self._seed} {len(self.blocks)}").sample(
            turns, len(turns)
        )
        looks = dict(zip(order, self._block(order, phase), strict=True))
        return {setting: found for setting, found in looks.items() if found}

    def try_out(self, settings: Sequence[Setting]) -> None:
        """A block that counts as a trial of `settings`."""
        looks = self.compare(settings, "search")
        base = looks.pop(self.space.base)
        for setting, found in looks.items():
            self.tried[setting].gains.append(base.score - found.score)

    def _block(self, order: Sequence[Setting], phase: Phase) -> list[Look | None]:
        base = self.space.base
        seen = {s for s, tried in self.tried.items() if tried.agreement}
        asked: list[TurnRequest] = []
        for setting in order:
            known = setting in seen or (setting == base and self._output is not None)
            seen.add(setting)
            limit_s = None if setting == base else SLOW * self._base_took_s + SPARE_S
            runtime = self.space.runtime(setting)
            asked.append({"runtime": runtime, "check": not known, "timeout_s": limit_s})
        record = self._measure(asked)
        self.spent_s += record["took_s"]
        found = [
            look(turn, self._weights, self.tune.objective) if turn["status"] == "ok" else None
            for turn in record["turns"]
        ]
        self._check_base(order, found, record["turns"])
        for setting, turn, seen_now in zip(order, record["turns"], found, strict=True):
            if setting != base:
                self._judge(self.tried.setdefault(setting, Tried()), turn, seen_now)
        self._keep(order, found, record, phase)
        return found

    def _check_base(
        self,
        order: Sequence[Setting],
        found: Sequence[Look | None],
        turns: Sequence[CooledTurn | FailedTurn],
    ) -> None:
        for setting, seen, turn in zip(order, found, turns, strict=True):
            if setting != self.space.base:
                continue
            if seen is None:
                reason = _reason(turn)
                raise CellError(f"the runtime to start from cannot be measured: {reason}")
            self._base_took_s = max(self._base_took_s, seen.took_s)
            self._output = self._output or seen.output
            self.base.peak_rss_bytes = _greater(self.base.peak_rss_bytes, seen.peak_rss_bytes)
            if too_much := self._too_much(self.base):
                peak, most = too_much["peak_rss_bytes"], too_much["at_most_bytes"]
                raise CellError(
                    f"the runtime to start from takes {peak / 1e6:.1f} MB of memory, > "
                    f"{most / 1e6:.1f} MB; raise memory_at_most_bytes, or start from a leaner one"
                )

    def _judge(self, tried: Tried, turn: CooledTurn | FailedTurn, seen: Look | None) -> None:
        if seen is None:
            tried.refused = {"kind": "died", "reason": _reason(turn) or ""}
            return
        tried.peak_rss_bytes = _greater(tried.peak_rss_bytes, seen.peak_rss_bytes)
        if seen.output:
            assert self._output
            tried.agreement = agreement(self._output, seen.output)
        least = self.tune.agreement_at_least_pct
        if too_much := self._too_much(tried):
            tried.refused = too_much
        elif tried.agreement and tried.agreement["top1_pct"] < least:
            got = tried.agreement["top1_pct"]
            tried.refused = {"kind": "output", "top1_pct": got, "at_least_pct": least}

    def _too_much(self, tried: Tried) -> TooMuchMemory | None:
        most, peak = self.tune.memory_at_most_bytes, tried.peak_rss_bytes
        if most is None or peak is None or peak <= most:
            return None
        return {"kind": "memory", "peak_rss_bytes": peak, "at_most_bytes": most}

    def _keep(
        self,
        order: Sequence[Setting],
        found: Sequence[Look | None],
        record: Turns,
        phase: Phase,
    ) -> None:
        turns: list[BlockTurn] = [
            {
                "changes": self.space.words(setting),
                "costs": seen and seen.costs,
                "peak_rss_bytes": seen and seen.peak_rss_bytes,
                "reason": _reason(turn),
                "cooled": turn["cooled"],
            }
            for setting, seen, turn in zip(order, found, record["turns"], strict=True)
        ]
        self.blocks.append(
            {
                "phase": phase,
                "turns": turns,
                "before": record["before"],
                "after": record["after"],
                "took_s": record["took_s"],
            }
        )


def _reason(turn: CooledTurn | FailedTurn) -> str | None:
    return turn["reason"] if turn["status"] == "failed" else None


def _greater(a: int | None, b: int | None) -> int | None:
    return max((value for value in (a, b) if value is not None), default=None)
