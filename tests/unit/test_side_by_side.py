"""What conversations side by side gave: rates, energy, and how many are fast enough."""

import made_records as made
import pytest

from llmpi.device.machine.energy import Samples, add_energy
from llmpi.engine.records import ConcurrentRepetition, Session, SessionRecord
from llmpi.study.runs import Session as SessionId
from llmpi.study.study import Study
from llmpi.summary.concurrency import concurrency
from llmpi.summary.records import ConcurrentCell, Row

USERS = {
    "kind": "concurrent",
    "conversations": [1, 4, 8, 16],
    "system_tokens": 5,
    "prompt_tokens": 3,
    "output_tokens": 4,
    "per_user_tps_at_least": 4,
}
ID = SessionId("pi", "m", "Q4_0", "default")
CHAT: Row = {**made.row("pi", "Q4_0", 11.0), "tpj_board": 1.5}


def study(**more: object) -> Study:
    return Study.model_validate(
        {
            "study": "s",
            "models": {"m": {"source": {"path": "m.gguf"}}},
            "quants": ["Q4_0"],
            "devices": {"pi": {"transport": "local"}},
            "workloads": {
                "chat": {"prompt_tokens": 8, "output_tokens": 8},
                "users": {**USERS, **more},
            },
        }
    )


def done(count: int, step_s: float) -> ConcurrentRepetition:
    return {
        "system_s": 0.5,
        "start_s": 100.0,
        "pp_s": 1.0,
        "ttft_each_s": [1.0] * (count - 1) + [2.0],
        "ttft_s": 2.0,
        "itl_s": [step_s] * 4,
    }


def session() -> Session:
    """8 conversations throttled it; 16 found no memory."""
    steps_s = {1: 0.1, 4: 0.2, 8: 0.25}
    asked = {**made.side_by_side((1, 4, 8, 16)), "prompt_tokens": 3, "system_tokens": 5}
    cell = made.concurrent_cell(asked, {n: done(n, s) for n, s in steps_s.items()}, "out of memory")
    eight = cell["levels"][2]
    assert eight["status"] == "ok"
    eight["marks"] = ["throttled"]
    return {**made.session({"users": cell}), "idle": None}


def found(record: SessionRecord, rows: list[Row], **more: object) -> ConcurrentCell:
    [cell] = concurrency(study(**more), {ID: record}, rows)
    return cell


def test_the_energy_of_a_step_is_shared_by_its_conversations() -> None:
    record = session()
    meter = {"kind": "hwmon", "accuracy_pct": None, "path": None, "interval_s": 1.0}
    add_energy(record, Samples([99.0, 110.0], [8.0, 8.0], []), meter)
    alone, four, *_ = (level["energy"] for level in record["workloads"]["users"]["levels"][:3])
    assert alone["tg"]["j_per_token"] == pytest.approx(8.0 * 0.1)
    assert four["tg"]["j_per_token"] == pytest.approx(8.0 * 0.2 / 4)
    assert four["pp"]["j_per_token"] == pytest.approx(8.0 * 1.0 / (4 * 3))
    levels = found(record, [CHAT])["levels"]
    assert levels[1]["tpj_board"] == pytest.approx(4 / 0.2 / 8)
    assert levels[1]["tpj_above_idle"] is None


def test_rates_and_the_largest_number_that_is_fast_enough() -> None:
    cell = found(session(), [CHAT])
    one, four, eight, sixteen = cell["levels"]
    assert (one["tg_tps"], one["per_user_tps"]) == pytest.approx((10, 10))
    assert (four["tg_tps"], four["per_user_tps"]) == pytest.approx((20, 5))
    assert four["pp_tps"] == pytest.approx(4 * 3 / 1.0)
    assert (four["ttft_s"], four["ttft_max_s"], four["system_s"]) == (1.0, 2.0, 0.5)
    assert (four["kv_bytes"], four["tpj_board"]) == (1_000_000, None)
    assert eight["meets"], "4 tokens/s are 4 tokens/s"
    assert eight["marks"] == ["throttled"]
    assert cell["largest"] == 4, "a level with a mark is out of comparisons"
    assert (sixteen["status"], sixteen["reason"]) == ("failed", "out of memory")
    assert cell["single"] == {"workload": "chat", "tg_tps": 11.0, "tpj_board": 1.5}


@pytest.mark.parametrize(("least", "largest"), [(None, None), (6, 1), (1e9, None)])
def test_largest_number_at_other_rates(least: float | None, largest: int | None) -> None:
    cell = found(session(), [], per_user_tps_at_least=least)
    assert (cell["largest"], cell["single"]) == (largest, None)


def test_a_session_that_died_says_why() -> None:
    cell = found(made.failed("the engine died of SIGSEGV"), [])
    assert (cell["status"], cell["reason"]) == ("failed", "the engine died of SIGSEGV")
    assert cell["levels"] == []
