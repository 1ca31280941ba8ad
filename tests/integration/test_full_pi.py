"""A whole virtual Pi: a study to its end, and a clock that jumps (power: `test_power_cuts`)."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import stand_ins
from full_pi import made
from full_pi.board import Board
from support import heed_ctrl_c, needed
from virtual_pi import share_engines

pytestmark = pytest.mark.long

JOBS = ".llmpi/jobs"
BEGUN = f"until [ -s ~/{JOBS}/*/runner.json ]; do sleep 0.2; done"


@pytest.fixture(scope="module", autouse=True)
def _tools() -> None:
    for tool in made.TOOLS:
        needed(tool)


@pytest.fixture(scope="module")
def plug_url() -> Iterator[str]:
    with stand_ins.plugs() as url:
        yield url


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Board]:
    """The one that the study is measured on."""
    with made.board(tmp_path_factory.mktemp("board")) as found:
        found.boot()
        yield found


@pytest.fixture(scope="module")
def studied(new, board: Board, plug_url: str, tmp_path_factory: pytest.TempPathFactory):
    """A study of one variant, from nothing to its measurement."""
    work = small(new, tmp_path_factory.mktemp("full-pi") / "work", board, plug_url)
    work.snakemake("--", "measured")
    return work


def small(new, folder: Path, board: Board, plug_url: str):
    """A study of few tokens on a board, of which it gives up at once where it loses it."""
    work = new(folder, "full")
    meter = {"kind": "shelly", "url": plug_url}
    work.config["devices"] = {"pi": board.device(meter=meter, idle_s=3, reconnect_s=1)}
    work.config["quants"] = ["Q4_0"]
    work.config["workloads"] = {"chat": {"prompt_tokens": 8, "output_tokens": 4, "repetitions": 1}}
    share_engines(work.folder)
    return work.write()


def test_study_to_its_report(studied, board: Board) -> None:
    studied.snakemake()
    [row] = studied.summary()
    assert (row["status"], row["reason"]) == ("ok", None)
    assert row["quality"]["field"]["status"] == "ok"
    energy = measured(studied)["workloads"]["chat"]["energy"]
    assert (energy["status"], energy["tier"]) == ("ok", "metered")
    assert (studied.folder / "results/report/full/index.html").is_file()
    assert board.run("ls", JOBS).split() == []


def test_what_ran_is_the_pi_of_today(studied, board: Board) -> None:
    environment = measured(studied)["environment"]
    machine, engine = environment["machine"], environment["engine"]
    assert machine["os"] == "Debian GNU/Linux 13 (trixie)"
    assert machine["python"].startswith("3.13.")
    assert machine["glibc"] == "2.41"
    assert "-arm64-16k " in machine["kernel"]
    assert board.run("getconf", "PAGESIZE").strip() == "16384"
    assert board.run("cat", "/proc/1/comm").strip() == "systemd"
    assert board.run("systemctl", "is-system-running").strip() == "running"
    assert {"NEON", "DOTPROD"} <= set(engine["features"])


@pytest.mark.fault("a clock eight days ahead", by="the record is collected")
def test_clock_that_jumped_eight_days_before_the_record_was_collected(
    studied, board: Board, tmp_path: Path
) -> None:
    """It is collected, not measured again."""
    work = another(studied, tmp_path / "work", "late")
    with measuring(work) as first:
        board.run("sh", "-c", BEGUN)
        os.killpg(first.pid, signal.SIGINT)
        assert first.wait() != 0
    board.run("sh", "-c", f"until [ -s ~/{JOBS}/*/out.json ]; do sleep 1; done")
    board.run("date", "--set", "8 days", user="root")
    jumped = datetime.now(UTC) + timedelta(days=7)
    work.snakemake("--", "measured")
    assert datetime.fromisoformat(measured(work)["environment"]["after"]["at"]) < jumped


def another(studied, folder: Path, name: str):
    """A study that has everything but its measurement."""
    work = studied.clone(folder)
    work.config["study"] = name
    return work.write()


@contextlib.contextmanager
def measuring(work) -> Iterator[subprocess.Popen[bytes]]:
    """`snakemake`, beside the block."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(work.folder / "Snakefile")]
    command += ["--cores", "2", "--configfile", "config/study.yaml", "--", "measured"]
    process = subprocess.Popen(
        command,
        cwd=work.folder,
        start_new_session=True,
        preexec_fn=heed_ctrl_c,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def measured(work) -> dict[str, Any]:
    """The record of its one session."""
    return work.json(f"bench/{work.config['study']}/pi/smollm2-135m/Q4_0/default.json")
