"""Energy out of samples: exact where the power is a line, refused where the samples end."""

import csv
import math
from typing import Any

import made_records as made
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import ROOT

from llmpi.device.machine.energy import (
    NoEnergyError,
    Samples,
    Window,
    add_energy,
    counter_step_j,
    energy_j,
    energy_of,
    energy_of_answers,
    gathered,
    prefers_counter,
    tokens_per_joule,
    words_per_battery,
)
from llmpi.device.records import ConstantMeter, HwmonMeter, Meter, MeterElsewhere

PAPER = ROOT / "src/llmpi/summary/paper.csv"

steps = st.lists(st.floats(0.01, 2), min_size=3, max_size=40)
shares = st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted)


def stamps(gaps: list[float]) -> list[float]:
    times = [100.0]
    for gap in gaps:
        times.append(times[-1] + gap)
    return times


def window(times: list[float], ends: list[float]) -> Window:
    span = times[-1] - times[0]
    return Window(*(min(times[0] + share * span, times[-1]) for share in ends))


@given(steps, shares, st.floats(0, 20), st.floats(0, 3))
def test_a_straight_line_is_integrated_exactly(
    gaps: list[float], ends: list[float], base: float, slope: float
) -> None:
    times = stamps(gaps)
    seconds = window(times, ends)
    samples = Samples(times, [base + slope * (t - 100) for t in times], [])
    middle = (seconds.start + seconds.end) / 2 - 100
    truth = (seconds.end - seconds.start) * (base + slope * middle)
    assert energy_j(samples, seconds, by_counter=False) == pytest.approx(truth, abs=1e-6)


@given(steps, shares, st.floats(0, 20))
def test_a_counter_is_its_difference(gaps: list[float], ends: list[float], power: float) -> None:
    times = stamps(gaps)
    seconds = window(times, ends)
    samples = Samples(times, [], [1e6 + power * (t - 100) for t in times])
    truth = power * (seconds.end - seconds.start)
    assert energy_j(samples, seconds, by_counter=True) == pytest.approx(truth, abs=1e-6)


@given(steps, st.floats(0, 1))
def test_windows_add_up(gaps: list[float], share: float) -> None:
    times = stamps(gaps)
    samples = Samples(times, [5.0 + (i * 7 % 3) for i in range(len(times))], [])
    middle = times[0] + share * (times[-1] - times[0])
    parts = [Window(times[0], middle), Window(middle, times[-1])]
    whole = energy_j(samples, Window(times[0], times[-1]), by_counter=False)
    assert sum(energy_j(samples, part, by_counter=False) for part in parts) == pytest.approx(whole)


@pytest.mark.parametrize("ends", [(99.9, 101.0), (100.5, 103.1)])
def test_beyond_the_samples_is_no_number(ends: tuple[float, float]) -> None:
    samples = Samples([100.0, 101.0, 103.0], [1.0, 1.0, 1.0], [])
    with pytest.raises(NoEnergyError):
        energy_j(samples, Window(*ends), by_counter=False)


HWMON: HwmonMeter = {
    "kind": "hwmon",
    "accuracy_pct": None,
    "chip": "ina219",
    "address": None,
    "shunt_ohm": None,
    "path": None,
    "interval_s": 0.1,
}
SHELLY: MeterElsewhere = {"kind": "shelly", "accuracy_pct": None}
REPETITIONS = [made.repetition(1.0, [0.5] * 4, start_s, first_s=0.0) for start_s in (10.0, 15.0)]
"""Each: pp for 1 s, then 4 tokens of 0.5 s."""


def energy(samples: Samples | str, meter: Meter) -> Any:
    return energy_of(REPETITIONS, samples, meter, prompt_tokens=10, idle=(0.0, 5.0))


def test_a_whole_measurement() -> None:
    times = [float(t) for t in range(21)]
    powers = [3.0 if t < 8 else 9.0 for t in times]
    found = energy(Samples(times, powers, []), {**HWMON, "accuracy_pct": 2.0})
    assert (found["status"], found["tier"], found["idle_power_w"]) == ("ok", "metered", 3.0)
    assert found["pp"]["j_per_token"] == pytest.approx(0.9)
    assert found["tg"]["energy_j"] == pytest.approx([18.0, 18.0])
    assert found["tg"]["power_w"] == pytest.approx(9.0)
    assert found["tg"]["j_per_token"] == pytest.approx(4.5)
    assert found["tg"]["uncertainty_j_per_token"] == pytest.approx(0.09)
    assert (found["sample_interval_s"], found["longest_gap_s"]) == (1.0, 1.0)


def test_spread_between_repetitions_is_uncertainty() -> None:
    times = [0.0, 12.999, 13.0, 20.0]
    samples = Samples(times, [8.0, 8.0, 10.0, 10.0], [])
    tg = energy(samples, HWMON)["tg"]
    assert tg["j_per_token"] == pytest.approx(4.5, rel=1e-3)
    # Standard error of 4 and 5 J: their deviation is 0.707, over the root of 2.
    assert tg["uncertainty_j_per_token"] == pytest.approx(0.5, rel=1e-2)


def test_an_answer_that_ends_early_has_its_own_tokens() -> None:
    """As an endpoint's may, which cannot be told to go on."""
    short, whole = made.repetition(1.0, [0.5], 10.0, first_s=0.0), REPETITIONS[1]
    samples = Samples([float(t) for t in range(21)], [9.0] * 21, [])
    for done in ([short, whole], [whole, short]):
        done = sorted(done, key=lambda one: one["start_s"])
        found: Any = energy_of(done, samples, HWMON, prompt_tokens=10, idle=(0.0, 5.0))
        assert found["tg"]["j_per_token"] == pytest.approx(4.5)


@pytest.mark.fault("a meter that is wired the wrong way round, or to nothing", by="no joules")
@pytest.mark.parametrize("power_w", [0.0, -7.5])
def test_a_meter_without_power_gives_no_joules(power_w: float) -> None:
    """And the speeds stay: with such joules the cell would have failed where it is summarized."""
    samples = Samples([0.0, 20.0], [power_w] * 2, [])
    found = energy(samples, HWMON)
    assert found["status"] == "none"
    assert f"the meter shows {power_w:g} W" in found["reason"]
    answered = [made.answered_question(0, 2.0)]
    samples = Samples([0.0, 500.0], [power_w] * 2, [])
    assert energy_of_answers(answered, samples, HWMON)["status"] == "none"


def test_no_samples_no_joules() -> None:
    found = energy("the meter failed: gone", HWMON)
    assert found == {"status": "none", "tier": "metered", "reason": "the meter failed: gone"}
    short = energy(Samples([0.0, 16.0], [5.0, 5.0], []), HWMON)
    assert short["reason"] == "the meter's samples do not cover the whole measurement"


def test_a_stated_wattage_is_an_estimate() -> None:
    meter: ConstantMeter = {
        "kind": "constant",
        "accuracy_pct": None,
        "power_w": 8.0,
        "idle_power_w": 3.5,
    }
    found = energy(Samples([0.0, 20.0], [8.0, 8.0], []), meter)
    assert (found["tier"], found["idle_power_w"]) == ("estimated", 3.5)
    assert found["tg"]["power_w"] == pytest.approx(8.0)


def plug(step_j: float) -> Samples:
    """A plug at 9 W that shows 9.4 W; its counter advances by whole steps."""
    times = [float(t) for t in range(31)]
    counter = [1e5 + step_j * (9 * t // step_j) for t in times]
    return Samples(times, [9.4] * len(times), counter, step_j)


def test_a_fine_counter_is_believed_before_the_power() -> None:
    tg = energy(plug(0.1), SHELLY)["tg"]
    assert tg["by"] == "counter"
    assert tg["energy_j"] == pytest.approx([18.0, 18.0], abs=0.1)


def test_a_coarse_counter_is_not() -> None:
    """Steps of 3.6 J, 0.001 Wh: a window of 18 J sees five of them."""
    tg = energy(plug(3.6), SHELLY)["tg"]
    assert tg["by"] == "power"
    assert tg["energy_j"] == pytest.approx([18.8, 18.8])
    # Shown to 0.1 W: uniform within it, over 2 s and 4 tokens.
    assert tg["uncertainty_j_per_token"] == pytest.approx(0.1 / 12**0.5 * 2 / 4)


def test_a_counter_that_is_renewed_rarely_is_not() -> None:
    """Fine digits, but new ones every ten seconds only."""
    times = [float(t) for t in range(31)]
    counter = [9.0 * (t // 10 * 10) for t in times]
    samples = Samples(times, [9.4] * len(times), counter, 0.001)
    assert counter_step_j(samples) == pytest.approx(90.0)
    assert energy(samples, SHELLY)["tg"]["by"] == "power"


def test_a_counter_that_stands_still_is_not_believed() -> None:
    still = Samples([0.0, 10.0, 20.0], [5.0, 5.0, 5.0], [7.0, 7.0, 7.0])
    assert not prefers_counter(still, [Window(1.0, 15.0)])


def test_every_measured_workload_gets_its_energy_and_no_failed_one() -> None:
    one = {"kind": "single", "apart": None, "workload": {"prompt_tokens": 10}}
    failed = {"status": "failed"}
    session: Any = {
        "idle": (0.0, 5.0),
        "workloads": {"a": {"status": "ok", **one, "repetitions": REPETITIONS}, "b": failed},
    }
    add_energy(session, Samples([0.0, 20.0], [8.0, 8.0], []), HWMON)
    assert session["workloads"]["a"]["energy"]["idle_power_w"] == pytest.approx(8.0)
    assert session["workloads"]["b"] == {"status": "failed"}


def test_the_papers_27_points() -> None:
    """Their TPJ is above an idle power of 3.31 W, their W/BL of the whole board, at 5 Wh."""
    with PAPER.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 27
    for row in rows:
        tps, power_w = float(row["tps"]), float(row["total_power_w"])
        half = 0.005  # both are printed with two digits
        tpj = [tokens_per_joule(tps + i * half, power_w - i * half, 3.31) or 0 for i in (-1, 1)]
        assert tpj[0] - half <= float(row["tpj_idle_subtracted"]) <= tpj[1] + half, row
        words = [words_per_battery(tps + i * half, power_w - i * half, 5.0, 1.5) for i in (-1, 1)]
        assert words[0] - 0.5 <= float(row["words_per_battery"]) <= words[1] + 0.5, row


def test_power_at_rest_gives_no_tokens_per_joule() -> None:
    assert tokens_per_joule(10.0, 3.0, 3.0) is None


# --- meters that stumble --------------------------------------------------------------------------


def test_a_long_silence_is_no_energy() -> None:
    """Both prompts were processed in it."""
    times = [t / 10 for t in [*range(101), *range(170, 220)]]  # from 10 s to 17 s
    found = energy(Samples(times, [5.0] * len(times), []), HWMON)
    assert found["status"] == "none"
    assert found["reason"] == "the meter was silent for 2 s of the measurement"


def test_a_short_one_is_a_gap_that_is_told() -> None:
    times = [t / 10 for t in [*range(125), *range(140, 220)]]
    found = energy(Samples(times, [5.0] * len(times), []), HWMON)
    assert found["status"] == "ok"
    assert found["longest_gap_s"] == pytest.approx(1.6)


def test_readings_that_failed_explain_what_is_not_covered() -> None:
    failed = "the meter failed: no chip (3 of 40 readings)"
    found = energy(Samples([0.0, 5.0, 11.0], [5.0] * 3, [], 0.0, failed), HWMON)
    assert found["reason"] == f"the meter's samples do not cover the whole measurement; {failed}"


def test_a_rest_that_the_meter_did_not_see_costs_the_idle_power_alone() -> None:
    times = [t / 10 for t in range(80, 220)]
    found = energy(Samples(times, [5.0] * len(times), []), HWMON)
    assert (found["status"], found["idle_power_w"]) == ("ok", None)


def test_a_counter_that_went_back_is_no_witness() -> None:
    times = [float(t) for t in range(21)]
    back = [t if t < 12 else t - 12 for t in times]
    both = energy(Samples(times, [5.0] * 21, back), SHELLY)
    assert (both["status"], both["tg"]["by"]) == ("ok", "power")
    alone = energy(Samples(times, [], back), HWMON)
    assert (alone["status"], alone["reason"]) == ("none", "the meter's counter went back")


readings = st.lists(
    st.tuples(st.floats(0, 1e3), st.floats(-1e5, 1e5) | st.none(), st.floats(0, 1e9) | st.none()),
    max_size=12,
)


@given(readings, st.lists(st.just("bad"), max_size=4))
def test_whatever_was_read_the_speed_is_not_lost(
    read: list[tuple[float, float | None, float | None]], failures: list[str]
) -> None:
    found = energy(gathered(read, failures), HWMON)
    assert found["status"] == "none" or math.isfinite(found["tg"]["j_per_token"])


def test_gaps_far_from_the_measurement_are_not_its_own() -> None:
    """A plug's readings of an earlier attempt, an hour before."""
    times = [t / 2 - 3600 for t in range(10)] + [t / 2 for t in range(44)]
    found = energy(Samples(times, [5.0] * len(times), []), SHELLY)
    assert (found["longest_gap_s"], found["samples"]) == (0.5, 37)
