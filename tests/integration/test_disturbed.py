"""Other programs beside a measurement: its marks, and a decision all the same."""

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture
def busy() -> Iterator[None]:
    """A loop on each of the processors, and more patient than the measurement."""
    command = [sys.executable, "-c", "while True: pass"]
    loops = [subprocess.Popen(command) for _ in os.sched_getaffinity(0)]
    yield
    for loop in loops:
        loop.kill()
        loop.wait()


def repetitions(session: dict[str, Any]) -> list[dict[str, Any]]:
    return session["workloads"]["chat"]["repetitions"]


@pytest.mark.usefixtures("busy")
def test_beside_a_busy_loop_all_is_marked_and_the_decision_provisional(copy) -> None:
    copy.config |= {"quants": ["Q4_0"], "quality": {}, "constraints": {"prefer": "speed"}}
    copy.config["devices"]["here"]["others_at_most_pct"] = 5
    rows = copy.summarized()
    assert [row["marks"] for row in rows] == [["disturbed"]]
    assert all(row["others_pct"] > 5 and row["set_aside"] for row in rows)
    copy.snakemake("--", "results/report/small/recommendation.json")
    for decision in copy.json("report/small/recommendation.json")["decisions"]:
        assert decision["pick"] and decision["standing"] == "provisional"
        assert "disturbed" in decision["provisional_by"]


def test_what_is_marked_is_what_the_printed_shares_say(copy) -> None:
    """Whatever else the machine does."""
    copy.config |= {"quants": ["Q4_0"], "quality": {}}
    copy.config["devices"]["here"]["others_at_most_pct"] = 5
    [row] = copy.summarized()
    session = copy.json("bench/small/here/smollm2-135m/Q4_0/default.json")
    shares = [done["contention"]["others_pct"] for done in repetitions(session)]
    assert row["others_pct"] == max(shares)
    assert ("disturbed" in row["marks"]) == (max(shares) > 5)
    log = (
        copy.folder / "logs/benchmark_device/small/here/smollm2-135m/Q4_0/default.log"
    ).read_text()
    assert all(f"others had {share:.1f} % of the processors" in log for share in shares)
