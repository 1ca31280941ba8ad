"""The summary of made-up records: every number known, every failure shown."""

import csv
import json
from pathlib import Path

import made_records as made
import pytest
import small_results as small
from made_records import write
from small_results import CELL, EVIL, rows

from llmpi import layout
from llmpi.errors import LlmpiError
from llmpi.summary.flat import flat_rows, write_csv

pytestmark = pytest.mark.usefixtures("results")
BEHIND_SSH = {"pi": {"transport": "ssh", "host": "pi.local"}}


def test_measured_cell() -> None:
    row = rows()[0]
    assert (row["quant"], row["status"], row["reason"]) == ("F16", "ok", None)
    assert (row["pp_tps"], row["pp_min_tps"], row["pp_max_tps"]) == (100, 50, 200)
    tg = (row["tg_tps"], row["tg_min_tps"], row["tg_max_tps"])
    assert tg == pytest.approx((10, 5, 20))
    assert (row["itl_p50_s"], row["itl_max_s"], row["ttft_s"]) == (0.1, 0.2, 1.1)
    assert (row["tensors"], row["fallback_tensors"]) == (5, 0)
    assert row["lineage"] == ["Q4_1", "F16"]
    scored = row["quality"]["qa"]
    assert (scored["f1_pct"], scored["f1_low_pct"], scored["f1_high_pct"]) == (50, 45, 55)
    assert row["gates_failed"] == []
    assert row["tg_memory_share"] == pytest.approx(2e6 * 10 / 1e8)
    assert row["tg_at_depths_tps"] == [{"depth_tokens": 512, "tps": pytest.approx(5.0)}]
    assert row["sustained_first_last_tps"] == [12.0, 8.5]
    assert (row["cold_load_s"], row["warm_load_s"]) == (0.5, 0.25)


def test_energy_of_a_metered_cell() -> None:
    """9 tokens in 1.05 s at 8 W, 3 W at rest; 5 Wh are 18,000 J (arXiv 2504.02118)."""
    cell = {**small.chat(), "energy": made.metered(8.0, 8.0 * 1.05 / 9, idle_power_w=3.0)}
    write(layout.BENCH, small.bench({**cell, "marks": ["throttled"]}), **CELL)
    row = rows()[0]
    tps = 9 / 1.05
    assert row["tpj_board"] == pytest.approx(tps / 8) == pytest.approx(1 / row["tg_j_per_token"])
    assert row["tpj_above_idle"] == pytest.approx(tps / 5)
    assert row["words_per_battery"] == pytest.approx(tps / 1.5 * 18_000 / 8)
    assert (row["energy_tier"], row["hottest_c"]) == ("metered", 55.5)
    assert row["marks"] == ["throttled"]


def test_no_meter_no_joules() -> None:
    row = rows()[0]
    assert row["tg_j_per_token"] is None
    assert row["energy_reason"] == "the device has no meter"


def test_a_workload_measured_by_itself_has_its_own_circumstances() -> None:
    apart = made.circumstances(threads=1, cold_s=9.0)
    write(layout.BENCH, small.bench({**small.chat(), "apart": apart}), **CELL)
    assert (rows()[0]["threads"], rows()[0]["cold_load_s"]) == (1, 9.0)


def test_failed_cell_keeps_what_is_known() -> None:
    row = rows()[1]
    assert (row["status"], row["stage"], row["reason"]) == ("failed", "benchmark", EVIL)
    assert row["tg_tps"] is None
    assert row["quality"]["qa"]["f1_pct"] == 30
    [gate] = row["gates_failed"]
    assert (gate["metric"], gate["got_pct"], gate["at_least_pct"]) == ("f1", 30, 40)
    assert gate["why"] == "below"


def test_cell_that_was_not_run() -> None:
    row = rows()[2]
    assert (row["quant"], row["status"]) == ("Q2_K", "not run")
    assert row["quality"]["qa"]["status"] == "not run"
    assert [gate["why"] for gate in row["gates_failed"]] == ["not scored"]


def test_csv_is_what_the_rows_say(tmp_path: Path) -> None:
    write_csv(tmp_path / "summary.csv", flat_rows(small.study(), rows()))
    with (tmp_path / "summary.csv").open(newline="") as file:
        first, died, missing = csv.DictReader(file)
    assert [row["quant"] for row in (first, died, missing)] == ["F16", "Q4_0", "Q2_K"]
    assert (died["reason"], died["tg_tps"]) == (EVIL, "")
    assert float(first["pp_tps"]) == 100
    assert (first["lineage"], first["tg_at_depths_tps"]) == ("Q4_1 > F16", "512: 5.0")
    assert (first["sustained_first_last_tps"], first["qa_f1_pct"]) == ("12.0; 8.5", "50.0")
    assert died["gates_failed"] == "qa f1: 30.0 % < 40 %"
    assert missing["gates_failed"] == "qa f1: not scored"


def test_summary_holds_no_passages() -> None:
    summary, _ = small.summary()
    assert "secret" not in json.dumps(summary)
    assert summary["provenance"]["config"]["study"] == "s"


def test_workload_that_died_beside_one_that_lived() -> None:
    long = {**made.failed(EVIL), "workload": made.workload(9), "levels": []}
    write(layout.BENCH, made.session({"chat": small.chat(), "long": long}), **CELL)
    workloads = {w: {"prompt_tokens": 100, "output_tokens": 4} for w in ("chat", "long")}
    chat_row, long_row = rows(workloads=workloads)[:2]
    assert (chat_row["workload"], chat_row["status"]) == ("chat", "ok")
    assert (long_row["workload"], long_row["status"]) == ("long", "failed")
    assert (long_row["reason"], long_row["tg_tps"]) == (EVIL, None)


def test_a_sweep_without_a_single_conversation_says_so() -> None:
    with pytest.raises(LlmpiError, match="no cell of a workload of the kind single"):
        small.summary(exclude=[{"workload": "chat"}])


def test_a_session_that_lacks_a_workload_says_so() -> None:
    workloads = {w: {"prompt_tokens": 100, "output_tokens": 4} for w in ("chat", "long")}
    chat_row, long_row = rows(workloads=workloads)[:2]
    assert (chat_row["status"], long_row["status"]) == ("ok", "failed")
    assert long_row["reason"] == "workloads.long: its session has no such cell"


def check_parity(reason: str | None) -> None:
    write(layout.PARITY, made.parity(reason), **CELL)


def test_quality_is_transferred_to_a_device_that_agrees() -> None:
    check_parity(None)
    row = rows(devices=BEHIND_SSH)[0]
    assert (row["parity_top1_pct"], row["parity_kl_nats"]) == (97.5, 0.0031)
    assert (row["parity_reason"], row["gates_failed"]) == (None, [])


def test_quality_is_not_transferred_to_a_device_that_computes_another_model(
    tmp_path: Path,
) -> None:
    check_parity(f"another model {EVIL}")
    row = rows(devices=BEHIND_SSH)[0]
    assert row["parity_reason"] == f"another model {EVIL}"
    assert row["quality"]["qa"]["f1_pct"] == 50, "what the workstation scored stays"
    write_csv(tmp_path / "summary.csv", flat_rows(small.study(devices=BEHIND_SSH), [row]))
    with (tmp_path / "summary.csv").open(newline="") as file:
        [read] = csv.DictReader(file)
    assert read["gates_failed"] == f"parity: another model {EVIL}"


def test_parity_that_was_not_checked_is_not_taken_for_granted() -> None:
    there, here = rows(devices=BEHIND_SSH)[0], rows()[0]
    assert there["parity_reason"] == "no record; it was not run yet"
    assert here["parity_reason"] is None, "the engine that is timed is the one that is scored"
    nothing_scored = rows(devices=BEHIND_SSH, quality={}, gates=[])[0]
    assert nothing_scored["parity_reason"] is None
