"""Energy out of samples of power, over exactly the seconds that count."""

import statistics
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple, cast

from llmpi.device.machine.meters import RESOLUTION_W, TIERS
from llmpi.device.records import ConstantMeter, Meter, MeterElsewhere, MeterHere
from llmpi.engine.prompted import prompts
from llmpi.engine.records import (
    AnsweredQuestion,
    AnswersCell,
    AnswersEnergy,
    AnyRepetition,
    ConcurrentCell,
    ConversationCell,
    Energy,
    LoadedSession,
    MeasuredLevel,
    MeasuredPrefix,
    NoEnergy,
    PhaseEnergy,
    Prompted,
    SingleCell,
)

JOULES_PER_WH = 3600.0
MAY_FAIL = 0.25
"""With a larger share of its readings lost, what a meter says is not believed."""
LONG_GAP_STEPS, LONG_GAP_S = 10, 5.0
"""A gap of so many usual steps, and of so many seconds, is no line between its ends;"""
GAPS_MAY_TAKE = 0.25
"""of the seconds that count, such gaps may take this share."""
COUNTER_STEPS = 50
"""A counter that advances by so many of its steps in a window is within about 1 % there."""


class Window(NamedTuple):
    """Seconds on the clock that the samples are stamped with."""

    start: float
    end: float


class Samples(NamedTuple):
    """Stamps in seconds, rising; and for each the power in W, the counter's energy in J, or both.

    A list is empty where the meter has no such thing; `resolution_j` is the counter's last digit;
    `failed` tells of readings that are not among them.
    """

    times: Sequence[float]
    powers_w: Sequence[float]
    counter_j: Sequence[float]
    resolution_j: float = 0.0
    failed: str = ""


class NoEnergyError(Exception):
    """The samples do not cover a window; the message says how."""


def gathered(
    readings: Sequence[tuple[float, float | None, float | None]],
    failures: Sequence[str],
    resolution_j: float = 0.0,
) -> Samples | str:
    """Readings as samples, in which those that failed are gaps; or why they are no use.

    Args:
        readings: stamp, W or None, J of the counter or None.
        failures: what was wrong with each of the others.
    """
    count = len(readings) + len(failures)
    failed = f"the meter failed: {failures[-1]}" if failures else ""
    failed += f" ({len(failures)} of {count} readings)" if failures else ""
    if len(readings) < 2 or len(failures) > MAY_FAIL * count:
        return failed or "the meter gave fewer than two samples"
    times, powers, counters = zip(*sorted(readings, key=lambda one: one[0]), strict=True)
    return Samples(
        times,
        () if None in powers else powers,
        () if None in counters else counters,
        resolution_j,
        failed,
    )


def energy_j(samples: Samples, window: Window, *, by_counter: bool) -> float:
    """Joules in a window: the counter's difference, or power by the trapezoid rule.

    Between samples both are taken as straight lines.

    Raises:
        NoEnergyError: the window reaches beyond the samples.
    """
    times = samples.times
    if not times or window.start < times[0] or window.end > times[-1]:
        raise NoEnergyError("the meter's samples do not cover the whole measurement")
    if by_counter:
        start_j, end_j = (_at(times, samples.counter_j, end) for end in window)
        return end_j - start_j
    first, last = bisect_right(times, window.start), bisect_left(times, window.end)
    stamps = [window.start, *times[first:last], window.end]
    powers = [
        _at(times, samples.powers_w, window.start),
        *samples.powers_w[first:last],
        _at(times, samples.powers_w, window.end),
    ]
    return sum(
        (stamps[i + 1] - stamps[i]) * (powers[i] + powers[i + 1]) / 2
        for i in range(len(stamps) - 1)
    )


def counter_step_j(samples: Samples) -> float:
    """What the counter advances by: its last digit, or more where it is renewed more rarely.

    A counter that sometimes stands still between two samples is renewed more rarely than sampled.
    """
    pairs = zip(samples.counter_j, samples.counter_j[1:], strict=False)
    advances = [later - earlier for earlier, later in pairs]
    if min(advances, default=0.0) > 0:
        return samples.resolution_j
    return min((advance for advance in advances if advance > 0), default=float("inf"))


def prefers_counter(samples: Samples, windows: Sequence[Window]) -> bool:
    """Whether the counter is the better witness: the only one, or fine enough in every window.

    One that went back, as after a restart of the meter, is none.

    Raises:
        NoEnergyError: the only one is none.
    """
    counted = samples.counter_j
    is_one = bool(counted) and all(a <= b for a, b in pairwise(counted))
    if not samples.powers_w and not is_one:
        raise NoEnergyError("the meter's counter went back")
    if not samples.powers_w or not is_one:
        return is_one
    enough_j = COUNTER_STEPS * counter_step_j(samples)
    return all(energy_j(samples, window, by_counter=True) >= enough_j for window in windows)


class Joules(NamedTuple):
    """Of windows."""

    each: list[float]
    by_counter: bool


def joules(samples: Samples, windows: Sequence[Window]) -> Joules:
    """
    Raises:
        NoEnergyError: the samples do not cover the windows, the meter was silent for too long, or
            shows no power; of readings that failed it tells, too.
    """
    try:
        by_counter = prefers_counter(samples, windows)
        each = [energy_j(samples, window, by_counter=by_counter) for window in windows]
        _check_gaps(samples, windows)
        _check_power(each, windows)
    except NoEnergyError as error:
        raise NoEnergyError("; ".join(filter(None, [str(error), samples.failed]))) from None
    return Joules(each, by_counter)


def _check_power(each: Sequence[float], windows: Sequence[Window]) -> None:
    """
    Raises:
        NoEnergyError: a meter that is wired the other way round, or to nothing.
    """
    seconds = sum(window.end - window.start for window in windows)
    if each and seconds > 0 and (min(each) < 0 or sum(each) <= 0):
        raise NoEnergyError(
            f"the meter shows {sum(each) / seconds:.3g} W, and no machine computes with none; "
            "look at its wiring"
        )


def _at(times: Sequence[float], values: Sequence[float], when: float) -> float:
    i = min(max(bisect_right(times, when), 1), len(times) - 1)
    span = times[i] - times[i - 1]
    share = (when - times[i - 1]) / span if span else 0.0
    return values[i - 1] + share * (values[i] - values[i - 1])


def add_energy(session: LoadedSession, samples: Samples | str, meter: Meter) -> None:
    """Give everything in a session that was measured its `energy`, see `energy_of`."""
    for found in measured(session):
        if found.cell["kind"] == "answers":
            done = found.cell["repetitions"]
            found.cell["energy"] = energy_of_answers(done, samples, meter)
            continue
        part = cast(SingleCell | MeasuredLevel | MeasuredPrefix, found.part)
        part["energy"] = energy_of(
            part["repetitions"],
            samples,
            meter,
            prompt_tokens=_prompt_tokens(found),
            conversations=found.conversations,
            idle=(found.cell["apart"] or session)["idle"],
        )


def _prompt_tokens(found: "Measured") -> float:
    """Of each prompt; of the turns of a conversation the mean."""
    if found.cell["kind"] in ("single", "concurrent"):
        return found.cell["workload"]["prompt_tokens"]
    conversations = cast(MeasuredPrefix, found.part)["repetitions"]
    return statistics.fmean(t["prompt_tokens"] for one in conversations for t in one["turns"])


class Measured(NamedTuple):
    """What was measured by itself: a cell's part with repetitions, which is the cell, or one for
    each number of conversations side by side, or for what is done with a prefix."""

    cell: SingleCell | ConcurrentCell | ConversationCell | AnswersCell
    part: SingleCell | MeasuredLevel | MeasuredPrefix | AnswersCell
    conversations: int


def measured(session: LoadedSession) -> Iterator[Measured]:
    """All that a session measured."""
    for cell in session["workloads"].values():
        if cell["status"] == "failed":
            continue
        if cell["kind"] == "single" or cell["kind"] == "answers":
            yield Measured(cell, cell, 1)
        elif cell["kind"] == "conversation":
            for part in cell["prefixes"]:
                if part["status"] == "ok":
                    yield Measured(cell, part, 1)
        else:
            for level in cell["levels"]:
                if level["status"] == "ok":
                    yield Measured(cell, level, level["conversations"])


def energy_of(
    repetitions: Sequence[AnyRepetition],
    samples: Samples | str,
    meter: Meter,
    *,
    prompt_tokens: float,
    conversations: int = 1,
    idle: tuple[float, float] | None = None,
) -> Energy:
    """The energy of what was repeated.

    Args:
        repetitions: stamped on the clock of `samples`.
        samples: or why there are none.
        prompt_tokens: of each of the `conversations`, which are side by side.
        idle: when the rest before them began and ended.
    """
    tier = TIERS.get(meter["kind"])
    if isinstance(samples, str):
        return {"status": "none", "tier": tier, "reason": samples}
    assert meter["kind"] != "none" and tier, "who has samples has a meter"
    done = prompts(repetitions)
    tokens: dict[str, list[float]] = {
        "pp": [conversations * prompt_tokens] * len(done),
        "tg": [conversations * len(one["itl_s"]) for one in done],
    }
    windows = {"pp": [_pp(one) for one in done], "tg": [_tg(one) for one in done]}
    try:
        each_of = len(done) // len(repetitions)
        phases = {
            phase: _phase(samples, windows[phase], tokens[phase], meter, each_of)
            for phase in windows
        }
    except NoEnergyError as error:
        return {"status": "none", "tier": tier, "reason": str(error)}
    times = _around(
        samples.times, [*windows["pp"], *windows["tg"], *([Window(*idle)] if idle else [])]
    )
    steps = [b - a for a, b in pairwise(times)]
    return {
        "status": "ok",
        "tier": tier,
        "meter": meter["kind"],
        "idle_power_w": _idle_power_w(samples, idle, meter),
        "samples": len(times),
        "sample_interval_s": statistics.median(steps),
        "longest_gap_s": max(steps),
        "pp": phases["pp"],
        "tg": phases["tg"],
    }


def energy_of_answers(
    answers: Sequence[AnsweredQuestion], samples: Samples | str, meter: Meter
) -> AnswersEnergy | NoEnergy:
    """The energy of each answer, its prompt included; arguments as of `energy_of`."""
    tier = TIERS.get(meter["kind"])
    if isinstance(samples, str):
        return {"status": "none", "tier": tier, "reason": samples}
    assert tier, "who has samples has a meter"
    try:
        found = joules(samples, [whole(one) for one in answers])
    except NoEnergyError as error:
        return {"status": "none", "tier": tier, "reason": str(error)}
    return {"status": "ok", "tier": tier, "meter": meter["kind"], "energy_j": found.each}


def whole(repetition: Prompted) -> Window:
    """From the beginning of its prompt to its last token."""
    return Window(_pp(repetition).start, _tg(repetition).end)


def _around(times: Sequence[float], windows: Sequence[Window]) -> Sequence[float]:
    """Those from the first window to the last, and one on either side."""
    first = bisect_right(times, min(window.start for window in windows))
    last = bisect_left(times, max(window.end for window in windows))
    return times[max(0, first - 1) : last + 1]


def _idle_power_w(
    samples: Samples,
    idle: tuple[float, float] | None,
    meter: MeterHere | ConstantMeter | MeterElsewhere,
) -> float | None:
    if meter["kind"] == "constant":
        return meter["idle_power_w"]
    try:
        return _phase(samples, [Window(*idle)], [1], meter)["power_w"] if idle else None
    except NoEnergyError:
        return None


def _check_gaps(samples: Samples, windows: Sequence[Window]) -> None:
    """
    Raises:
        NoEnergyError: the meter was silent for too long.
    """
    times = samples.times
    steps = [b - a for a, b in pairwise(times)]
    long_s = max(LONG_GAP_STEPS * statistics.median(steps), LONG_GAP_S)
    gaps = [Window(at, at + step) for at, step in zip(times, steps, strict=False) if step > long_s]
    silent_s = sum(
        max(0.0, min(gap.end, window.end) - max(gap.start, window.start))
        for gap in gaps
        for window in windows
    )
    if silent_s > GAPS_MAY_TAKE * sum(window.end - window.start for window in windows):
        raise NoEnergyError(f"the meter was silent for {silent_s:.0f} s of the measurement")


def _phase(
    samples: Samples,
    windows: Sequence[Window],
    tokens: Sequence[float],
    meter: MeterHere | ConstantMeter | MeterElsewhere,
    each_of: int = 1,
) -> PhaseEnergy:
    """
    Args:
        tokens: of each window; an endpoint may end an answer before the others.
        each_of: so many windows in a row are of one repetition.
    """
    seconds, count = sum(window.end - window.start for window in windows), len(windows)
    if not all(tokens) or not seconds > 0:
        raise NoEnergyError("there is nothing to be metered")
    energies, by_counter = joules(samples, windows)
    per_token = [
        sum(energies[at : at + each_of]) / sum(tokens[at : at + each_of])
        for at in range(0, count, each_of)
    ]
    mean = statistics.fmean(per_token)
    spread = statistics.stdev(per_token) / len(per_token) ** 0.5 if len(per_token) > 1 else 0.0
    each = statistics.fmean(tokens)
    accuracy = mean * (meter["accuracy_pct"] or 0.0) / 100
    if by_counter:
        # Both ends of a window are rounded to a step: its energy is uniform within it, twice.
        resolution = counter_step_j(samples) / 6**0.5 / count**0.5 / each
    else:
        resolution = RESOLUTION_W.get(meter["kind"], 0.0) / 12**0.5 * seconds / count / each
    return {
        "by": "counter" if by_counter else "power",
        "energy_j": energies,
        "power_w": sum(energies) / seconds,
        "j_per_token": mean,
        "uncertainty_j_per_token": (spread**2 + accuracy**2 + resolution**2) ** 0.5,
    }


def _pp(repetition: Prompted) -> Window:
    start = repetition["start_s"]
    return Window(start, start + repetition["pp_s"])


def _tg(repetition: Prompted) -> Window:
    start = repetition["start_s"] + repetition["ttft_s"]
    return Window(start, start + sum(repetition["itl_s"]))


# --- what is derived ------------------------------------------------------------------------------


def tokens_per_joule(tps: float, power_w: float, idle_power_w: float = 0.0) -> float | None:
    """TPJ: the whole board's, or with the idle power subtracted the paper's (arXiv 2504.02118).

    None where the power is not above the idle power.
    """
    return tps / (power_w - idle_power_w) if power_w > idle_power_w else None


def words_per_battery(
    tps: float, power_w: float, battery_wh: float, tokens_per_word: float
) -> float:
    """W/BL, words per battery life: how many words a full battery generates (arXiv 2504.02118)."""
    return tps / tokens_per_word * battery_wh * JOULES_PER_WH / power_w
