"""One memory bandwidth a device: what else runs only ever lowers what is read."""

from collections.abc import Mapping

import made_records as made
import pytest
import small_results as small
from hypothesis import given
from hypothesis import strategies as st
from made_records import write
from small_results import CELL, rows

from llmpi import layout
from llmpi.engine.records import Session as SessionRecord
from llmpi.results import NotRun
from llmpi.study.runs import Session
from llmpi.summary.bandwidth import memory_rates


def session(rate: float, **machine: str) -> SessionRecord:
    found = made.session({}, memory_read_bytes_per_s=rate)
    found["environment"]["machine"] = {**found["environment"]["machine"], **machine}  # type: ignore[typeddict-item]
    return found


def place(device: str, number: int) -> Session:
    return Session(device, "m", f"Q{number}", "default")


@given(st.lists(st.floats(1e8, 1e11), min_size=1, max_size=8))
def test_all_sessions_of_a_device_have_its_best(rates: list[float]) -> None:
    found = memory_rates({place("pi", i): session(rate) for i, rate in enumerate(rates)})
    assert [*found.values()] == [max(rates)] * len(rates)


def test_another_machine_has_another_best() -> None:
    limited = {**session(9e9), "limits": {"memory": 1_000_000_000, "cpus": None}}
    not_run: NotRun = {"status": "not run", "reason": "no such file"}
    asked: Mapping[Session, SessionRecord | NotRun] = {
        place("pi", 0): session(5e9),
        place("pi", 1): session(4e9),
        place("pi", 2): session(8e9, kernel="another"),
        place("pi", 3): limited,
        place("pi", 4): {**session(1e9), "bandwidth": None},
        place("pi", 5): not_run,
        place("other", 0): session(7e9),
    }
    found = memory_rates(asked)
    assert [found.get(one) for one in asked] == [5e9, 5e9, 8e9, 9e9, None, None, 7e9]


@pytest.mark.usefixtures("results")
def test_shares_of_two_cells_compare() -> None:
    """The same speed of the same file is the same share, whatever ran beside a session's read."""
    chat = {"chat": small.chat()}
    write(layout.BENCH, made.session(chat, memory_read_bytes_per_s=1e8), **CELL)
    noisy = made.session(chat, memory_read_bytes_per_s=4e7)
    write(layout.BENCH, noisy, **{**CELL, "quant": "Q4_0"})
    first, second, _ = rows()
    assert first["memory_read_bytes_per_s"] == second["memory_read_bytes_per_s"] == 1e8
    assert first["tg_memory_share"] == second["tg_memory_share"]
