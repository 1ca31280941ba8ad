"""Power, speed and joules of a session are of one average: each follows from the two others, and
all of them from the meter's samples."""

from collections.abc import Sequence

import made_records as made
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmpi.decide.cost import Running, _measured, _running
from llmpi.device.machine.energy import Samples, Window, add_energy
from llmpi.device.records import HwmonMeter
from llmpi.engine.records import ConcurrentRepetition, Session
from llmpi.study.measuring import ConcurrentWorkload, Workload
from llmpi.study.study import Battery
from llmpi.summary.concurrency import _level
from llmpi.summary.groups import by_class
from llmpi.summary.measured import Single
from llmpi.summary.records import CellEnergy, Row
from llmpi.summary.row import _energy

METER: HwmonMeter = {
    "kind": "hwmon",
    "accuracy_pct": None,
    "chip": "",
    "address": None,
    "shunt_ohm": None,
    "path": None,
    "interval_s": 0.1,
}
PROMPT, TOKENS = 100, 4
EXACT = 1e-9


def joules(samples: Samples, windows: Sequence[Window]) -> float:
    """The area below the straight lines between the samples."""
    total = 0.0
    for start, end in windows:
        inside = [t for t in samples.times if start < t < end]
        at = np.array([start, *inside, end])
        total += float(np.trapezoid(np.interp(at, samples.times, samples.powers_w), at))
    return total


def session(seconds: Sequence[tuple[float, float]], powers_w: Sequence[float]) -> tuple:
    """A session whose repetitions took so long for their prompt and for each of their tokens, its
    samples, and the seconds of both phases."""
    at, repetitions = 100.0, []
    for pp_s, token_s in seconds:
        repetitions.append(made.repetition(pp_s, [token_s] * TOKENS, start_s=at))
        at += pp_s + 0.1 + TOKENS * token_s + 0.3
    cell = made.cell(repetitions, made.workload(PROMPT, TOKENS, len(repetitions)))
    found: Session = {**made.session({"chat": cell}), "idle": (90.0, 99.0)}
    times = np.linspace(89.0, at + 1, max(2, len(powers_w)) * 40)
    samples = Samples([*times.tolist()], [*np.resize(powers_w, len(times)).tolist()], [])
    add_energy(found, samples, METER)
    pp = [Window(r["start_s"], r["start_s"] + r["pp_s"]) for r in repetitions]
    tg = [
        Window(start, start + sum(r["itl_s"]))
        for r in repetitions
        for start in [r["start_s"] + r["ttft_s"]]
    ]
    return found, samples, {"pp": pp, "tg": tg}


def energy(found: Session) -> CellEnergy:
    cell = found["workloads"]["chat"]
    assert cell["status"] == "ok" and cell["kind"] == "single"
    return _energy(Single(cell, found), Battery())


def row(found: CellEnergy, device: str = "pi") -> Row:
    return {**made.row(device), **found}


SECONDS = st.floats(0.05, 3)
REPETITIONS = st.lists(st.tuples(SECONDS, SECONDS), min_size=1, max_size=6)
POWERS = st.lists(st.floats(2, 20), min_size=1, max_size=9)


@given(REPETITIONS, POWERS)
def test_all_of_it_follows_from_the_samples(
    seconds: list[tuple[float, float]], powers_w: list[float]
) -> None:
    found, samples, windows = session(seconds, powers_w)
    shown = energy(found)
    for phase, tokens in (("pp", PROMPT), ("tg", TOKENS)):
        whole_j = joules(samples, windows[phase])
        took_s = sum(end - start for start, end in windows[phase])
        power_w, tps = shown[f"{phase}_power_w"], shown[f"{phase}_mean_tps"]
        per_token_j = shown[f"{phase}_j_per_token"]
        assert power_w * took_s == pytest.approx(whole_j, rel=EXACT)
        assert per_token_j * tokens * len(seconds) == pytest.approx(whole_j, rel=EXACT)
        assert tps * per_token_j == pytest.approx(power_w, rel=EXACT)
    assert shown["tpj_board"] * shown["tg_j_per_token"] == pytest.approx(1, rel=EXACT)
    battery = Battery()
    words = battery.wh * 3600 / shown["tg_j_per_token"] / battery.tokens_per_word
    assert shown["words_per_battery"] == pytest.approx(words, rel=EXACT)


@given(REPETITIONS)
def test_a_meter_of_12_w_is_12_w_in_the_money(seconds: list[tuple[float, float]]) -> None:
    """However far the repetitions are apart: with their medians it was 12.5 W, and 32."""
    found, _, _ = session(seconds, [12.0])
    runs = _running({**row(energy(found)), "boards": ["pi"]})
    assert isinstance(runs, Running)
    figures = _measured("", runs, Workload(prompt_tokens=PROMPT, output_tokens=TOKENS))
    assert figures["busy_power_w"]["value"] == pytest.approx(12.0, rel=EXACT)


@given(st.lists(st.tuples(REPETITIONS, POWERS), min_size=2, max_size=4))
def test_equal_boards_as_one_close_too(
    boards: list[tuple[list[tuple[float, float]], list[float]]],
) -> None:
    shown = [energy(session(seconds, powers_w)[0]) for seconds, powers_w in boards]
    names = [f"b{i}" for i in range(len(boards))]
    [one] = by_class([row(e, n) for e, n in zip(shown, names, strict=True)], {"shelf": names})
    assert one["tg_mean_tps"] * one["tg_j_per_token"] == pytest.approx(one["tg_power_w"], rel=EXACT)
    assert one["tpj_board"] * one["tg_j_per_token"] == pytest.approx(1, rel=EXACT)
    words = [e["words_per_battery"] * e["tg_j_per_token"] for e in shown]
    assert one["words_per_battery"] * one["tg_j_per_token"] == pytest.approx(words[0], rel=EXACT)


def test_side_by_side_it_closes_too() -> None:
    def done(step_s: float, start_s: float) -> ConcurrentRepetition:
        times = {"system_s": 0.0, "start_s": start_s, "pp_s": 1.0, "ttft_s": 1.0}
        return {**times, "ttft_each_s": [1.0] * 2, "itl_s": [step_s] * 4}

    asked = made.side_by_side((2,))
    cell = made.concurrent_cell(asked, {2: done(0.1, 100.0)})
    [level] = cell["levels"]
    assert level["status"] == "ok"
    level["repetitions"] = [
        done(step_s, 100.0 + 20 * i) for i, step_s in enumerate((0.1, 2.5, 0.2))
    ]
    found: Session = {**made.session({"users": cell}), "idle": None}
    add_energy(found, Samples([99.0, 200.0], [12.0, 12.0], []), METER)
    shown = _level(level, ConcurrentWorkload.model_validate(asked))
    assert shown["tpj_board"] * shown["tg_j_per_token"] == pytest.approx(1, rel=EXACT)
