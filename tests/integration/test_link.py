"""Links that break, over a real OpenSSH server: what was sent is kept, what runs goes on."""

import contextlib
import logging
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cut_proxy import CutProxy
from held import Hold
from sessions_over_ssh import MIDDLE, SHORT, cancel_all, command, measured, q4_0, runners, working
from support import PATIENCE_S, unavailable, until

from llmpi.errors import LlmpiError
from llmpi.records import is_ok, sha256_of
from llmpi.remote.connection import connected
from llmpi.remote.deploy import put_model
from llmpi.remote.machine import LinkError
from llmpi.remote.ssh_machine import SshMachine
from llmpi.remote.transfer import Rsync, Sftp
from llmpi.study.devices import SshDevice
from llmpi.study.meters import HwmonMeter

SIZE = 48_000_000
CHUNK = 4 << 20  # OpenSSH's window: what may be on its way when the link breaks


@pytest.fixture
def link(sshd, tmp_path: Path) -> Iterator[CutProxy]:
    with CutProxy(sshd.port) as proxy:
        hosts = sshd.known_hosts.read_text().replace(f":{sshd.port} ", f":{proxy.port} ")
        (tmp_path / "known_hosts").write_text(hosts)
        yield proxy


@pytest.fixture
def device(over_ssh, link: CutProxy, tmp_path: Path) -> Iterator[SshDevice]:
    """The device of the finished study with a store of its own, behind a link that can be cut."""
    fields = over_ssh.config["devices"]["pi"]
    store = tmp_path / "store"
    store.mkdir(mode=0o700)
    (store / "venv").symlink_to(Path(fields["store"]) / "venv")
    own = {"store": str(store), "port": link.port, "known_hosts": str(tmp_path / "known_hosts")}
    found = SshDevice.model_validate({**fields, **own, "reconnect_s": PATIENCE_S})
    yield found
    link.down, link.cut_after = False, None
    cancel_all(found)


@pytest.fixture
def shared_device(over_ssh) -> Iterator[SshDevice]:
    """The device of the finished study as it is."""
    found = SshDevice.model_validate(over_ssh.config["devices"]["pi"])
    yield found
    cancel_all(found)


@pytest.fixture
def receipt(over_ssh, device: SshDevice) -> dict[str, Any]:
    """Of a model in that store."""
    with connected("pi", device) as reached:
        gguf = q4_0(over_ssh)
        return put_model(reached, gguf, "smollm2-135m/Q4_0.gguf", sha256_of(gguf), None)


# --- transfers ------------------------------------------------------------------------------------


@pytest.mark.fault("link cut in an upload", by="hash of the file, bytes sent again")
@pytest.mark.parametrize("way", ["rsync", "rsync without AES", "sftp"])
def test_cut_transfer_goes_on_where_it_stopped(
    device: SshDevice, link: CutProxy, tmp_path: Path, way: str
) -> None:
    source = tmp_path / "big.gguf"
    source.write_bytes(os.urandom(SIZE))
    file, digest = f"cut-{way}/F16.gguf".replace(" ", "-"), sha256_of(source)

    def put() -> dict[str, Any]:
        with connected("pi", device) as reached:
            assert isinstance(reached, SshMachine)
            reached.__dict__["_sender"] = (
                Sftp(reached.connection) if way == "sftp" else Rsync(device, has_aes=way == "rsync")
            )
            return put_model(reached, source, file, digest, None)

    link.cut_after = SIZE * 6 // 10
    with pytest.raises(LlmpiError, match=r"sending big\.gguf broke off at .* of 48\.0 MB"):
        put()
    final = Path(device.store) / "models" / file
    assert not final.exists()
    until(lambda: not writers(final.parent))
    link.cut_after, link.up_bytes = None, 0
    receipt = put()
    assert link.up_bytes < SIZE * 4 // 10 + CHUNK
    assert receipt["sent_bytes"] < SIZE * 4 // 10 + CHUNK
    assert sha256_of(final) == digest
    assert [path.name for path in final.parent.iterdir() if path.name.endswith(".part")] == []


def writers(folder: Path) -> list[str]:
    """Processes that have a file of the folder open: their ends of the link may outlive it."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            if folder in entry.readlink().parents:
                found.append(str(entry))
    return found


@pytest.mark.fault("workstation killed in an upload", by="hash of the file, bytes sent again")
def test_killed_in_an_upload_the_next_snakemake_goes_on(
    over_ssh, device: SshDevice, link: CutProxy, tmp_path: Path
) -> None:
    work = over_ssh.clone(tmp_path / "work")
    work.config |= {
        "quants": ["Q4_0"],
        "devices": {"pi": device.model_dump(mode="json", exclude_unset=True)},
    }
    work.write()
    path = work.folder / "results/deploy/pi/smollm2-135m/Q4_0.json"
    path.unlink()
    size = q4_0(work).stat().st_size
    link.stall_after = size * 6 // 10
    with killed(work, tmp_path, "deployed") as process:
        until(lambda: link.stalled.is_set() or process.poll() is not None)
        assert process.poll() is None, "it ended before that moment"
    link.go_on()
    final = Path(device.store) / "models/smollm2-135m/Q4_0.gguf"
    until(lambda: not writers(final.parent))
    assert not final.exists()
    work.snakemake("--unlock")
    work.snakemake("--", "deployed")
    sent = work.json("deploy/pi/smollm2-135m/Q4_0.json")["sent_bytes"]
    assert 0 < sent < size * 4 // 10 + CHUNK
    assert sha256_of(final) == sha256_of(q4_0(work))


@contextlib.contextmanager
def killed(work, tmp_path: Path, target: str) -> Iterator[subprocess.Popen[bytes]]:
    """`snakemake`, which dies of SIGKILL at the end of the block."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(work.folder / "Snakefile")]
    command += ["--cores", "2", "--configfile", "config/study.yaml", "--", target]
    with (tmp_path / "said").open("w") as said:
        process = subprocess.Popen(
            command, cwd=work.folder, start_new_session=True, stdout=said, stderr=said
        )
        try:
            yield process
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.mark.fault("a file larger than the quota", by="the reason, bytes sent: none")
def test_larger_than_the_quota_is_said_before_a_byte_is_sent(
    over_ssh, device: SshDevice, link: CutProxy
) -> None:
    gguf = over_ssh.folder / "results/gguf/smollm2-135m/F16.gguf"
    with connected("pi", device) as reached:
        before = link.up_bytes
        record = put_model(reached, gguf, "m/F16.gguf", "0" * 64, 1_000_000)
    assert record["status"] == "failed"
    assert record["reason"] == "F16.gguf has 0.27 GB, more than the device's quota of 0.00 GB"
    assert link.up_bytes - before < 100_000


@pytest.mark.fault("disk full on the device", by="the reason; what is left there")
def test_device_out_of_space(
    over_ssh, device: SshDevice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
        unavailable("this user may mount no disk")
    try:
        (small / "venv").symlink_to(Path(device.store) / "venv")
        gguf = over_ssh.folder / "results/gguf/smollm2-135m/Q4_0.gguf"
        with (
            connected("pi", device.model_copy(update={"store": str(small)})) as reached,
            pytest.raises(LlmpiError) as caught,
        ):
            put_model(reached, gguf, "m/Q4_0.gguf", sha256_of(gguf), None)
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


@pytest.mark.fault(
    "link lost in mid-measurement", by="engine starts: one; all repetitions are there"
)
def test_link_lost_in_a_measurement(
    over_ssh, device, receipt, link: CutProxy, hold: Hold, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with hold.at(said=MIDDLE), working(over_ssh, device, receipt, "lost link") as outcome:
        hold.wait(lambda: not outcome)
        until(lambda: MIDDLE in caplog.text)
        link.down = True
        link.cut()
        until(lambda: "trying again" in caplog.text)
        assert runners(device), "it goes on there"
        hold.go_on()
        until(lambda: not runners(device))
        link.down = False
    [record] = outcome
    assert is_ok(record)
    assert len(record["workloads"]["chat"]["repetitions"]) == 4
    assert caplog.text.count("loaded in") == 1, "one run only"


@pytest.mark.fault("link cut at connect", by="engine starts: one; all repetitions are there")
@pytest.mark.parametrize("at", ["before", "in the handshake"])
def test_link_cut_at_connect(
    over_ssh, device, receipt, link: CutProxy, caplog: pytest.LogCaptureFixture, at: str
) -> None:
    caplog.set_level(logging.INFO)
    link.down, link.cut_after = at == "before", link.up_bytes + 500
    with pytest.raises(LinkError):
        measured(over_ssh, device, receipt, "cut at connect")
    link.down, link.cut_after = False, None
    assert len(measured(over_ssh, device, receipt, "cut")["workloads"]["chat"]["repetitions"]) == 4
    assert caplog.text.count("loaded in") == 1


@pytest.mark.fault("link cut at start", by="engine starts: one; all repetitions are there")
def test_link_cut_at_start(
    over_ssh, device, receipt, link: CutProxy, hold: Hold, caplog: pytest.LogCaptureFixture
) -> None:
    """It has begun there, and nobody was told."""
    caplog.set_level(logging.INFO)
    with (
        hold.at(named="runner.json"),
        working(over_ssh, device, receipt, "cut at start") as outcome,
    ):
        hold.wait(lambda: not outcome)
        link.cut()
        until(lambda: "trying again" in caplog.text)
        hold.go_on()
    [record] = outcome
    assert len(record["workloads"]["chat"]["repetitions"]) == 4
    assert caplog.text.count("loaded in") == 1, "one run only"


@pytest.mark.fault("link cut at collect", by="engine starts: one; all repetitions are there")
def test_link_cut_when_there_is_a_record(
    over_ssh, device, receipt, link: CutProxy, hold: Hold, caplog: pytest.LogCaptureFixture
) -> None:
    """It is written when nobody can come for it."""
    caplog.set_level(logging.INFO)
    with (
        hold.at(named="out.json"),
        working(over_ssh, device, receipt, "cut at collect") as outcome,
    ):
        hold.wait(lambda: not outcome)
        link.down = True
        link.cut()
        until(lambda: "trying again" in caplog.text)
        hold.go_on()
        until(lambda: not runners(device))
        link.down = False
    [record] = outcome
    assert len(record["workloads"]["chat"]["repetitions"]) == 4
    assert caplog.text.count("loaded in") == 1
    assert list((Path(device.store) / "jobs").iterdir()) == []


@pytest.mark.fault("link cut behind the record", by="the record, twice the same")
def test_link_cut_before_the_device_forgets(
    over_ssh, device, receipt, link: CutProxy, caplog: pytest.LogCaptureFixture
) -> None:
    def cut(_: object) -> None:
        link.down = True
        link.cut()

    first = measured(over_ssh, device, receipt, "not forgotten", write=cut)
    assert "The record is here, but the device does not know it" in caplog.text
    link.down = False
    second = measured(over_ssh, device, receipt, "not forgotten")
    assert second["workloads"] == first["workloads"]
    assert list((Path(device.store) / "jobs").iterdir()) == []


@pytest.mark.fault(
    "disk full here at a record", by="the record is collected, not measured again; jobs left: none"
)
def test_no_room_here_for_a_record(over_ssh, shared_device, tmp_path: Path) -> None:
    """The study's records lie on a disk of a megabyte, which is taken."""
    work = over_ssh.clone(tmp_path / "work")
    work.config |= {"quants": ["Q4_0"], "study": "full"}
    work.config["workloads"]["chat"] = SHORT
    small = work.folder / "results/bench/full"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(small)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        unavailable("this user may mount no disk")
    try:
        with contextlib.suppress(OSError), (small / "filler").open("wb") as filler:
            filler.write(bytes(2 << 20))
        done = work.write().snakemake("--", "measured", check=False)
        assert done.returncode != 0
        record = "results/bench/full/pi/smollm2-135m/Q4_0/default.json"
        assert "error: the disk is full" in done.stdout
        failed = datetime.now(UTC).isoformat(timespec="seconds")
        assert not list(small.rglob("*.json"))
        (small / "filler").unlink()
        work.snakemake("--", "measured")
        measured_once = work.json(record.removeprefix("results/"))
    finally:
        subprocess.run(["umount", str(small)], check=True)
    assert len(measured_once["workloads"]["chat"]["repetitions"]) == 4
    assert measured_once["environment"]["after"]["at"] <= failed <= measured_once["ended"]
    assert not list((Path(shared_device.store) / "jobs").iterdir())


@pytest.mark.fault("two studies at once on a board", by="times of the two measurements: apart")
def test_two_studies_take_turns(
    over_ssh, device, receipt, hold: Hold, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with (
        hold.at(said=MIDDLE),
        working(over_ssh, device, receipt, "one: cell") as one,
        working(over_ssh, device, receipt, "two: cell") as two,
    ):
        hold.wait(lambda: not (one and two))
        until(lambda: "waiting; the machine is held by" in caplog.text)
        hold.go_on()
    spans = sorted(
        (record["environment"]["before"]["at"], record["environment"]["after"]["at"])
        for record in (*one, *two)
    )
    assert spans[0][1] <= spans[1][0]


@pytest.mark.fault("a file that changed on the device", by="its hash")
def test_damaged_file_is_sent_again_before_it_is_measured(over_ssh, device, receipt) -> None:
    with Path(receipt["path"]).open("r+b") as file:
        file.seek(5000)
        file.write(b"damage")
    assert is_ok(measured(over_ssh, device, receipt, "damaged", repetitions=1))
    assert sha256_of(Path(receipt["path"])) == receipt["sha256"]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A chip's file that says 5 W."""
    path = tmp_path / "power1_input"
    path.write_text("5000000\n")
    return path


def metered(device: SshDevice, source: Path, **more: object) -> SshDevice:
    meter = HwmonMeter(kind="hwmon", path=str(source), interval_s=0.05)
    return device.model_copy(update={"meter": meter, **more})


@pytest.mark.fault(
    "a meter that disappears", by="all repetitions are there; energy none, with its reason"
)
def test_meter_that_disappears_leaves_the_speed(
    over_ssh, device, receipt, source: Path, hold: Hold
) -> None:
    with (
        hold.at(said=MIDDLE),
        working(over_ssh, metered(device, source), receipt, "meter") as outcome,
    ):
        hold.wait(lambda: not outcome)
        source.unlink()
        until(lambda: "error" in samples(source))
        hold.go_on()
    [record] = outcome
    assert is_ok(record)
    chat = record["workloads"]["chat"]
    assert len(chat["repetitions"]) == 4
    assert chat["energy"]["status"] == "none"
    assert chat["energy"]["reason"].startswith(f"the meter failed: {source}")


def samples(source: Path) -> str:
    """What the process that reads the meter has written so far."""
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    asked = f'"path": "{source}"'
    [out] = {line[-1] for line in map(command, pids) if asked in " ".join(line[-2:-1])}
    return Path(out).read_text()


def test_metered_measurement(over_ssh, device, receipt, source: Path) -> None:
    record = measured(over_ssh, metered(device, source, idle_s=1.0), receipt, "metered")
    energy = record["workloads"]["chat"]["energy"]
    assert energy["status"] == "ok", energy
    assert energy["idle_power_w"] == pytest.approx(5.0)
    assert energy["tg"]["power_w"] == pytest.approx(5.0)


@pytest.mark.fault("cancelled by hand", by="processes that are left: none")
def test_cancelled_leaves_no_process(over_ssh, device, receipt, hold: Hold) -> None:
    with hold.at(said=MIDDLE), working(over_ssh, device, receipt, "cancelled") as outcome:
        hold.wait(lambda: not outcome)
        assert cancel_all(device) == 1
        until(lambda: not runners(device))
    assert "ended without a record" in str(outcome[0])


@pytest.mark.fault(
    "workstation killed in mid-measurement", by="engine starts: one; its record is collected"
)
def test_killed_workstation_collects_what_ran_on(
    over_ssh, shared_device, hold: Hold, tmp_path: Path
) -> None:
    """Snakemake dies of SIGKILL in mid-measurement and is started again: one run, its record."""
    work = over_ssh.clone(tmp_path / "work")
    work.config["workloads"]["chat"] = SHORT
    work.config["quants"] = ["Q4_0"]
    work.write()
    with hold.at(said=MIDDLE):
        with killed(work, tmp_path, "measured") as process:
            hold.wait(lambda: process.poll() is None)
            started_first = runners(shared_device)
        then = datetime.now(UTC).isoformat(timespec="seconds")
        assert runners(shared_device) == started_first, "it goes on there"
        hold.go_on()
        work.snakemake("--unlock")
        work.snakemake("--", "measured")
    record = work.json("bench/over-ssh/pi/smollm2-135m/Q4_0/default.json")
    assert len(record["workloads"]["chat"]["repetitions"]) == 4
    assert record["environment"]["before"]["at"] <= then <= record["started"], "begun before"
    until(lambda: not runners(shared_device))
