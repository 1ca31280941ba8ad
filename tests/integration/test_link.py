"""Links that break, over a real OpenSSH server: what was sent is kept, what runs goes on."""

import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cut_proxy import CutProxy

from llmpi.errors import LlmpiError
from llmpi.records import is_ok, sha256_of
from llmpi.remote.benchmark import benchmark
from llmpi.remote.connection import connected
from llmpi.remote.deploy import put_model
from llmpi.remote.transfer import Rsync, Sftp
from llmpi.study.devices import SshDevice
from llmpi.study.measuring import Runtime, Workload

SIZE = 48_000_000
CHUNK = 4 << 20  # OpenSSH's window: what may be on its way when the link breaks
LONG = {"prompt_tokens": 16, "output_tokens": 300, "repetitions": 4, "warmup": 0}


@pytest.fixture
def link(sshd, tmp_path: Path) -> Iterator[CutProxy]:
    with CutProxy(sshd.port) as proxy:
        hosts = sshd.known_hosts.read_text().replace(f":{sshd.port} ", f":{proxy.port} ")
        (tmp_path / "known_hosts").write_text(hosts)
        yield proxy


@pytest.fixture
def spec(over_ssh, link: CutProxy, tmp_path: Path) -> dict[str, Any]:
    """The device of the finished study, behind a link that can be cut."""
    fields = over_ssh.config["devices"]["pi"]
    known_hosts = str(tmp_path / "known_hosts")
    device = {**fields, "port": link.port, "known_hosts": known_hosts, "reconnect_s": 60}
    return SshDevice.model_validate(device).model_dump()


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


# --- transfers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["rsync", "sftp"])
def test_cut_transfer_goes_on_where_it_stopped(
    spec: dict[str, Any], link: CutProxy, tmp_path: Path, way: str
) -> None:
    source = tmp_path / "big.gguf"
    source.write_bytes(os.urandom(SIZE))
    file, digest = f"cut-{way}/F16.gguf", sha256_of(source)

    def put() -> dict[str, Any]:
        with connected("pi", spec) as device:
            device.__dict__["_sender"] = Rsync(spec) if way == "rsync" else Sftp(device.connection)
            return put_model(device, source, file, digest, None)

    link.cut_after = SIZE * 6 // 10
    with pytest.raises(LlmpiError, match=r"sending big\.gguf broke off at .* of 48\.0 MB"):
        put()
    final = Path(spec["store"]) / "models" / file
    assert not final.exists()
    link.cut_after, link.up_bytes = None, 0
    receipt = put()
    assert link.up_bytes < SIZE * 4 // 10 + CHUNK
    assert receipt["sent_bytes"] < SIZE * 4 // 10 + CHUNK
    assert sha256_of(final) == digest
    assert [path.name for path in final.parent.iterdir() if path.name.endswith(".part")] == []


def test_larger_than_the_quota_is_said_before_a_byte_is_sent(
    over_ssh, spec: dict[str, Any], link: CutProxy
) -> None:
    gguf = over_ssh.folder / "results/gguf/smollm2-135m/F16.gguf"
    with connected("pi", spec) as device:
        before = link.up_bytes
        record = put_model(device, gguf, "m/F16.gguf", "0" * 64, 1_000_000)
    assert record["status"] == "failed"
    assert record["reason"] == "F16.gguf has 0.27 GB, more than the device's quota of 0.00 GB"
    assert link.up_bytes - before < 100_000


def test_device_out_of_space(
    over_ssh, spec: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store on a disk of 50 MB; its Python is the finished study's."""
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=50m", "none", str(small)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip("this user may mount no disk")
    try:
        (small / "venv").symlink_to(Path(spec["store"]) / "venv")
        gguf = over_ssh.folder / "results/gguf/smollm2-135m/Q4_0.gguf"
        with (
            connected("pi", {**spec, "store": str(small)}) as device,
            pytest.raises(LlmpiError) as caught,
        ):
            put_model(device, gguf, "m/Q4_0.gguf", sha256_of(gguf), None)
        assert re.fullmatch(
            rf"device pi: Q4_0\.gguf needs 0\.09 GB more at {small}, where 0\.05 GB are free and "
            r"llmpi's own files take 0\.00 GB\. Make room there, or name a store on a larger "
            r"disk\.",
            str(caught.value),
        )
        assert list((small / "models/m").iterdir()) == []
    finally:
        subprocess.run(["umount", str(small)], check=True)


# --- measurements ---------------------------------------------------------------------------------


def measured(over_ssh, spec: dict[str, Any], what: str, **workload: Any) -> dict[str, Any]:
    """A session of one workload, `chat`."""
    settings = Workload.model_validate({**LONG, **workload}).model_dump()
    return benchmark(
        "pi",
        spec,
        what=what,
        runtime=Runtime().model_dump(),
        workloads={"chat": settings},
        provisioned=over_ssh.json("devices/pi.json"),
        receipt=over_ssh.json("deploy/pi/smollm2-135m/Q4_0.json"),
        gguf=over_ssh.folder / "results/gguf/smollm2-135m/Q4_0.gguf",
    )


def runners() -> list[str]:
    done = subprocess.run(
        ["pgrep", "-f", r"llmpi\.device\.(jobs|measure) /"],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.split()


def test_link_lost_in_a_measurement(
    over_ssh, spec: dict[str, Any], link: CutProxy, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    outcome: list[dict[str, Any]] = []
    worker = threading.Thread(target=lambda: outcome.append(measured(over_ssh, spec, "lost link")))
    worker.start()
    wait_for(lambda: "[1/4] chat" in caplog.text)
    link.down = True
    link.cut()
    wait_for(lambda: "trying again" in caplog.text)
    assert runners(), "it goes on there"
    link.down = False
    worker.join(120)
    assert is_ok(outcome[0])
    assert len(outcome[0]["workloads"]["chat"]["repetitions"]) == 4
    assert caplog.text.count("loaded in") == 1, "one run only"
    assert runners() == []


def test_two_studies_take_turns(
    over_ssh, spec: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    records: dict[str, dict[str, Any]] = {}
    workers = [
        threading.Thread(target=lambda w=what: records.update({w: measured(over_ssh, spec, w)}))
        for what in ("one: cell", "two: cell")
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(180)
    spans = sorted(
        (record["environment"]["before"]["at"], record["environment"]["after"]["at"])
        for record in records.values()
    )
    assert spans[0][1] <= spans[1][0]
    assert "waiting; the machine is held by" in caplog.text


def test_damaged_file_is_sent_again_before_it_is_measured(over_ssh, spec: dict[str, Any]) -> None:
    receipt = over_ssh.json("deploy/pi/smollm2-135m/Q4_0.json")
    with Path(receipt["path"]).open("r+b") as file:
        file.seek(5000)
        file.write(b"damage")
    assert is_ok(measured(over_ssh, spec, "damaged", output_tokens=4, repetitions=1))
    assert sha256_of(Path(receipt["path"])) == receipt["sha256"]


def test_meter_that_disappears_leaves_the_speed(
    over_ssh, spec: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    source = tmp_path / "power1_input"
    source.write_text("5000000\n")
    meter = {"kind": "hwmon", "chip": "ina219", "path": str(source), "interval_s": 0.05}
    outcome: list[dict[str, Any]] = []
    metered = {**spec, "meter": meter}
    worker = threading.Thread(target=lambda: outcome.append(measured(over_ssh, metered, "meter")))
    worker.start()
    wait_for(lambda: "[1/4] chat" in caplog.text)
    source.unlink()
    worker.join(120)
    [record] = outcome
    assert is_ok(record)
    chat = record["workloads"]["chat"]
    assert len(chat["repetitions"]) == 4
    assert chat["energy"]["status"] == "none"
    assert chat["energy"]["reason"].startswith(f"the meter failed: {source}")


def test_metered_measurement(over_ssh, spec: dict[str, Any], tmp_path: Path) -> None:
    source = tmp_path / "power1_input"
    source.write_text("5000000\n")
    meter = {"kind": "hwmon", "chip": "ina219", "path": str(source), "interval_s": 0.05}
    metered = {**spec, "meter": meter, "idle_s": 1.0}
    record = measured(over_ssh, metered, "metered", output_tokens=64)
    energy = record["workloads"]["chat"]["energy"]
    assert energy["status"] == "ok", energy
    assert energy["idle_power_w"] == pytest.approx(5.0)
    assert energy["tg"]["power_w"] == pytest.approx(5.0)


def test_cancelled_leaves_no_process(over_ssh, spec: dict[str, Any]) -> None:
    outcome: list[str] = []

    def work() -> None:
        try:
            measured(over_ssh, spec, "cancelled", repetitions=100)
        except LlmpiError as error:
            outcome.append(str(error))

    worker = threading.Thread(target=work)
    worker.start()
    wait_for(lambda: len(runners()) == 2)
    with connected("pi", spec) as device:
        assert device.ask("cancel", {"jobs": f"{device.store}/jobs"}) == {"ended": 1}
    assert runners() == []
    worker.join(60)
    assert "ended without a record" in outcome[0]


def test_killed_workstation_collects_what_ran_on(over_ssh, tmp_path: Path) -> None:
    """Snakemake dies of SIGKILL in mid-measurement and is started again: one run, its record."""
    work = over_ssh.clone(tmp_path / "work")
    work.config["workloads"]["chat"] = LONG
    work.config["quants"] = ["Q4_0"]
    work.write()
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(work.folder / "Snakefile")]
    command += ["--cores", "2", "--configfile", "config/study.yaml", "--", "measured"]
    said = (tmp_path / "said").open("w")
    process = subprocess.Popen(
        command, cwd=work.folder, start_new_session=True, stdout=said, stderr=said
    )
    wait_for(lambda: len(runners()) == 2)
    started_first = runners()
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert runners() == started_first, "it goes on there"
    work.snakemake("--unlock")
    work.snakemake("--", "measured")
    log = work.folder / "logs/benchmark_device/over-ssh/pi/smollm2-135m/Q4_0/default.log"
    assert log.read_text().count("llmpi.device.measure.process") <= 1
    record = work.json("bench/over-ssh/pi/smollm2-135m/Q4_0/default.json")
    assert len(record["workloads"]["chat"]["repetitions"]) == 4
    assert record["environment"]["before"]["at"] < record["started"], "begun before the restart"
    assert runners() == []
