"""What a power cut or a worn card takes on a device is brought again by the next command."""

import contextlib
import os
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import stand_ins
from held import Hold
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sessions_over_ssh import MIDDLE, cancel_all, measured, q4_0, runners, working
from support import first_of, until

from llmpi.device.durable import is_whole, look
from llmpi.records import is_ok, sha256_of
from llmpi.remote.connection import connected
from llmpi.remote.deploy import put_model
from llmpi.remote.provision import ensure_ready
from llmpi.study.devices import SshDevice
from llmpi.study.meters import ShellyMeter


@pytest.fixture
def device(over_ssh) -> SshDevice:
    return SshDevice.model_validate(over_ssh.config["devices"]["pi"])


@pytest.fixture
def receipt(over_ssh, device: SshDevice):
    with connected("pi", device) as reached:
        gguf = q4_0(over_ssh)
        return put_model(reached, gguf, "smollm2-135m/Q4_0.gguf", sha256_of(gguf), None)


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


@pytest.mark.fault(
    "files lost on the board", by="hashes of the installation; the next snakemake measures"
)
@pytest.mark.parametrize("part", first_of(["llmpi", "engine"]))
def test_the_next_snakemake_heals_a_board(over_ssh, device, tmp_path: Path, part: str) -> None:
    """Almost all files of llmpi are empty; the receipt here says that the board is ready."""
    work = over_ssh.clone(tmp_path / "work")
    work.config["quants"] = ["Q4_0"]
    work.config["workloads"]["chat"] |= {"prompt_tokens": 20 if part == "llmpi" else 24}
    venv = Path(device.store) / "venv"
    [package] = venv.glob("lib/python*/site-packages/llmpi")
    for path in [venv / "pyvenv.cfg"] if part == "engine" else files(package)[4:]:
        os.truncate(path, 0)
    said = work.write().snakemake("--", "measured").stdout
    assert re.search(r"files? of .* not as they were installed, such as .*: a power cut", said)
    assert is_ok(work.json("bench/over-ssh/pi/smollm2-135m/Q4_0/default.json"))
    assert is_whole(look(venv))


@pytest.mark.fault("any file of llmpi lost or cut short", by="hashes of the installation")
@given(place=st.integers(0, 999), share=st.sampled_from([0, 0.5]))
@settings(max_examples=3, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_lost_of_llmpi_is_brought_again(over_ssh, device, place, share) -> None:
    venv = Path(device.store) / "venv"
    [packages] = venv.glob("lib/python*/site-packages")
    ours = [*packages.glob("llmpi*"), venv / "llmpi-llmpi.sealed"]
    there = [path for one in ours for path in (files(one) or [one])]  # more, once they are compiled
    lost = there[place * len(there) // 1000]
    os.truncate(lost, int(lost.stat().st_size * share))
    with connected("pi", device) as reached:
        ensure_ready(reached, over_ssh.json("devices/pi.json"))
        assert reached.run([*reached.llmpi_device, "describe"]).status == 0
    assert is_whole(look(venv)), lost


def jobs(device: SshDevice) -> list[Path]:
    return sorted((Path(device.store) / "jobs").glob("*"))


@pytest.mark.fault("a job cut short", by="the record of another run")
@pytest.mark.parametrize("share", [0, 0.5])
def test_a_job_of_which_nothing_is_left_is_measured_again(
    over_ssh, device, receipt, hold: Hold, share: float
) -> None:
    what = f"cut at {share}"
    with hold.at(said=MIDDLE), working(over_ssh, device, receipt, what) as outcome:
        hold.wait(lambda: not outcome)
        [job] = jobs(device)
        for pid in runners(device):
            with contextlib.suppress(ProcessLookupError):  # it died with another
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(FileNotFoundError):  # who asked for the job has forgotten it
            for path in files(job):
                os.truncate(path, int(path.stat().st_size * share))
        until(lambda: not runners(device))
        hold.go_on()
    assert "ended without a record" in str(outcome[0])
    job.mkdir(exist_ok=True)
    for name in ("request.json", "runner.json", "out.json"):
        (job / name).write_text("")
    assert is_ok(measured(over_ssh, device, receipt, what))
    assert jobs(device) == []


@pytest.mark.fault("a job of no bytes, cancelled", by="jobs that are left: none")
def test_cancel_copes_with_a_job_of_no_bytes(device: SshDevice) -> None:
    job = Path(device.store) / "jobs/torn"
    job.mkdir(parents=True)
    for name in ("request.json", "runner.json", "out.json"):
        (job / name).write_text("")
    assert cancel_all(device) == 0
    assert jobs(device) == []


@pytest.mark.fault(
    "workstation stopped before it wrote a record", by="the record is collected, then forgotten"
)
def test_a_record_is_forgotten_once_it_is_written(over_ssh, device, receipt) -> None:
    """What goes wrong here after a measurement loses no joule, nor is it measured twice."""
    seen: list[dict[str, Any]] = []

    def write(record: dict[str, Any]) -> None:
        seen.append(record)
        raise OSError("no space left")

    with stand_ins.plugs() as url:
        plug = ShellyMeter(kind="shelly", url=url, interval_s=0.2)
        metered = device.model_copy(update={"meter": plug})
        with pytest.raises(OSError, match="no space left"):
            measured(over_ssh, metered, receipt, "kept", write=write)
        [job] = jobs(device)
        long_ago = time.time() - 400 * 24 * 3600
        os.utime(job, (long_ago, long_ago))
        again = measured(over_ssh, metered, receipt, "kept")
    [first, second] = (one["workloads"]["chat"] for one in (seen[0], again))
    assert second["repetitions"] == first["repetitions"]
    assert first["energy"]["status"] == second["energy"]["status"] == "ok", second["energy"]
    assert jobs(device) == []
    assert not list(over_ssh.folder.glob("meter*"))
