"""The search for faster settings: noise, single changes, combinations, and a fresh confirmation.

Nothing here knows of devices: `measure` has a block measured, see `llmpi.tune.ledger`.
"""

import logging
import math
import random
from collections.abc import Mapping, Sequence

from llmpi.records import sha256_of_text
from llmpi.study.tuning import Tune
from llmpi.tune.ledger import Ledger, Measure
from llmpi.tune.proposals import Proposals
from llmpi.tune.records import Refusal, Searched, Stopped, Trial
from llmpi.tune.remaining import Belief, believe
from llmpi.tune.space import Setting, Space
from llmpi.tune.winner import confirm

log = logging.getLogger(__name__)

NOISE_BLOCKS = 4
AT_ONCE = 4
"""Challengers in a block, beside the base and the best setting so far."""
RACE_BLOCKS = 3
"""Blocks of a challenger that is not clearly beaten before."""
UPPER = 2.0
"""Standard deviations up to which a gain is held possible."""
FINALISTS = 3
WORTH = 0.02
"""An expected gain that is confirmed however noisy the machine is; smaller ones where that could
show them."""


def search(
    space: Space,
    tune: Tune,
    weights: Mapping[str, float],
    measure: Measure,
    seed: str,
) -> Searched:
    """Find settings that are faster than the base's, or show that none were found.

    With the same answers of `measure` it takes the same course.

    Args:
        weights: of the workloads, their sum 1.

    Raises:
        CellError: the base itself cannot be measured.
    """
    ledger = Ledger(space, tune, weights, measure, seed)
    for _ in range(NOISE_BLOCKS):
        ledger.calibrate()
    log.info("noise of a comparison: %.1f %%", 100 * math.expm1(ledger.noise_sd))
    early = _try_singles(ledger, seed)
    allowed = _sensible_levels(ledger)
    settings = [setting for setting in space.settings(allowed) if setting != space.base]
    proposals = Proposals(allowed, seed=int(sha256_of_text(seed)[:8], 16))
    stopped, left = (early, None) if early else _combine(ledger, settings, proposals)
    log.info("stopped after %d settings: %s", len(ledger.tried), stopped["kind"])
    trials = [_trial(ledger, setting) for setting in ledger.tried]
    result = confirm(ledger, _finalists(ledger, settings))
    return {
        "status": "ok",
        **result,
        "stopped": stopped,
        "remaining_pct": _pct(left),
        "noise_pct": 100 * math.expm1(ledger.noise),
        "searched": ledger.space.levels,
        "trials": trials,
        "took_s": ledger.spent_s,
        "blocks": ledger.blocks,
    }


def _try_singles(ledger: Ledger, seed: str) -> Stopped | None:
    """Try the base with one key changed, each key and level; which budget ended that early."""
    singles = ledger.space.singles()
    random.Random(f"llmpi singles {seed}").shuffle(singles)
    for start in range(0, len(singles), AT_ONCE):
        if over := _budget(ledger):
            return over
        _race(ledger, singles[start : start + AT_ONCE][: _trials_left(ledger)])
    return None


def _sensible_levels(ledger: Ledger) -> list[list[int]]:
    """The levels left to combine: what may not win by itself does not get better in company."""
    return [
        [level for level in range(count) if not _is_refused(ledger, key, level)]
        for key, count in enumerate(ledger.space.counts)
    ]


def _combine(
    ledger: Ledger, settings: Sequence[Setting], proposals: Proposals
) -> tuple[Stopped, float]:
    """Try combinations until that is over: why it is, and the logarithm of what may be left."""
    for setting in [s for s in settings if s in ledger.tried]:
        _tell(proposals, ledger, setting)
    while True:
        untried = [s for s in settings if s not in ledger.tried]
        if not untried:
            return {"kind": "all tried", "budget": None}, 0.0
        belief = _belief(ledger, untried)
        upper = belief.mean + UPPER * belief.sd
        left = float(upper.max()) - _best_gain(ledger)
        if left < ledger.noise:
            return {"kind": "nothing to gain", "budget": None}, left
        if over := _budget(ledger):
            return over, left
        count = min(AT_ONCE, _trials_left(ledger))
        likeliest = untried.pop(int(upper.argmax()))  # what keeps the search going
        group = [likeliest, *proposals.next(count - 1, untried.__contains__)]
        _race(ledger, group)
        for setting in group:
            _tell(proposals, ledger, setting)


def _race(ledger: Ledger, group: Sequence[Setting]) -> None:
    """Blocks of the group, the base and the best so far; who is clearly beaten drops out."""
    alive = list(group)
    for _ in range(RACE_BLOCKS):
        best = _best(ledger)
        ledger.try_out([*alive, *([best] if best and best not in alive else [])])
        alive = [s for s in alive if _may_win(ledger, s)]
        if not alive:
            break
    for setting in group:
        tried = ledger.tried[setting]
        said = f"{100 * math.expm1(tried.gain):+.1f} %" if tried.gains else "no gain measured"
        log.info("%s: %s%s", ledger.space.words(setting), said, _but(tried.refused))


def _but(refused: Refusal | None) -> str:
    return f"; refused: {refused['kind']}" if refused else ""


def _may_win(ledger: Ledger, setting: Setting) -> bool:
    tried = ledger.tried[setting]
    if tried.refused:
        return False
    others = [t.gain for s, t in ledger.sound.items() if s != setting]
    upper = tried.gain + UPPER * ledger.noise_sd / math.sqrt(len(tried.gains))
    return upper > max([0.0, *others]) + ledger.noise / 2


def _budget(ledger: Ledger) -> Stopped | None:
    """Which budget is spent."""
    if ledger.spent_s >= 60 * ledger.tune.minutes:
        return {"kind": "minutes", "budget": ledger.tune.minutes}
    if not _trials_left(ledger):
        return {"kind": "trials", "budget": ledger.tune.trials}
    return None


def _trials_left(ledger: Ledger) -> int:
    return max(0, ledger.tune.trials - len(ledger.tried))


def _is_refused(ledger: Ledger, key: int, level: int) -> bool:
    alone = ledger.tried.get(ledger.space.single(key, level))
    return bool(alone and alone.refused)


def _tell(proposals: Proposals, ledger: Ledger, setting: Setting) -> None:
    tried = ledger.tried[setting]
    gain = tried.gain if tried.gains else None
    proposals.tell(setting, gain, refused=bool(tried.refused))


def _best(ledger: Ledger) -> Setting | None:
    """The sound setting with the greatest gain above none."""
    found = {s: tried.gain for s, tried in ledger.sound.items() if tried.gain > 0}
    return max(found, key=found.__getitem__) if found else None


def _best_gain(ledger: Ledger) -> float:
    """What is to be expected of the best setting that was tried; the base gains nothing."""
    sound = list(ledger.sound)
    return max(0.0, float(_belief(ledger, sound).mean.max())) if sound else 0.0


def _belief(ledger: Ledger, settings: Sequence[Setting]) -> Belief:
    measured = {s: tried for s, tried in ledger.tried.items() if tried.gains}
    noise = [ledger.noise_sd / math.sqrt(len(tried.gains)) for tried in measured.values()]
    gains = [tried.gain for tried in measured.values()]
    return believe([ledger.space.base, *measured], [0.0, *gains], [0.0, *noise], settings)


def _finalists(ledger: Ledger, settings: Sequence[Setting]) -> list[Setting]:
    """Those to be expected fastest, tried or not, whose gain is worth a confirmation.

    The best of many measured gains is too good to be true: expectations are drawn to those of
    similar settings. Of those as good as the best the simplest is always among them.
    """
    possible = [s for s in settings if s not in ledger.tried or s in ledger.sound]
    if not possible:
        return []
    expected = dict(zip(possible, _belief(ledger, possible).mean, strict=True))
    order = sorted(possible, key=lambda setting: -expected[setting])
    as_good = [s for s in order if expected[s] > expected[order[0]] - ledger.noise / 2]
    simplest = min(as_good, key=lambda setting: len(ledger.space.changes(setting)))
    worth = min(ledger.noise / 2, WORTH)
    finalists = list(dict.fromkeys([order[0], simplest, *order]))[:FINALISTS]
    return [setting for setting in finalists if expected[setting] > worth]


def _trial(ledger: Ledger, setting: Setting) -> Trial:
    tried = ledger.tried[setting]
    return {
        "changes": ledger.space.changes(setting),
        "words": ledger.space.words(setting),
        "gain_pct": _pct(tried.gain) if tried.gains else None,
        "blocks": len(tried.gains),
        "refused": tried.refused,
        "agreement": tried.agreement,
        "peak_rss_bytes": tried.peak_rss_bytes,
    }


def _pct(gain: float | None) -> float | None:
    return None if gain is None else 100 * math.expm1(gain)
