"""Every kind of meter replays a known power curve, at its own boundary and in its own format.

What is integrated must be the curve's energy within 2 %. The samplers, the clock and the HTTP
requests are the real ones.
"""

import itertools
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import stand_ins
from stand_ins import off_j, power_w, put, replaying, truth_j
from support import until

from llmpi.device.commands.meter import meter as meter_command
from llmpi.device.machine import environment
from llmpi.device.machine.energy import Samples, Window, energy_j, prefers_counter
from llmpi.device.machine.sampler import EDGE_READINGS, power, read, sampling
from llmpi.device.records import Meter
from llmpi.errors import LlmpiError
from llmpi.remote import requests
from llmpi.remote.check import check_device
from llmpi.remote.plugs import Timeline, plug_sampling
from llmpi.remote.smart_plugs import open_plug
from llmpi.study import meters
from llmpi.study.devices import LocalDevice
from llmpi.study.meters import CsvMeter, HwmonMeter, PmicMeter, RaplMeter, ShellyMeter, TasmotaMeter

SECONDS = 4.0


def sampled(meter: Meter, out: Path) -> tuple[Samples | str, Window]:
    with sampling(meter, out):
        until(lambda: len(read(out)) >= 3)  # the process is up
        start = time.monotonic()
        time.sleep(SECONDS)
        end = time.monotonic()
    return power(read(out)), Window(start, end)


def longest_gap_s(samples: Samples) -> float:
    return max(b - a for a, b in pairwise(samples.times))


def assert_true(samples: Samples | str, window: Window, *, late_s: float = 0.0) -> None:
    """Within 2 %, or what a machine too busy to look and to show in time makes of it."""
    assert isinstance(samples, Samples), samples
    by_counter = prefers_counter(samples, [window])
    joules = energy_j(samples, window, by_counter=by_counter)
    late_s += longest_gap_s(samples) / 2
    # A counter that is read late is off at either end by what is drawn meanwhile.
    at_ends = 2 * stand_ins.RANGE_W[1] * late_s
    off = at_ends if by_counter else off_j(window.end - window.start, late_s=late_s)
    assert joules == pytest.approx(truth_j(*window), rel=0.02, abs=off)


# --- on the device --------------------------------------------------------------------------------


def test_hwmon(tmp_path: Path) -> None:
    source = str(tmp_path / stand_ins.HWMON_FILE)
    meter = {"kind": "hwmon", "path": source, "shunt_ohm": None, "interval_s": 0.1}
    with stand_ins.hwmon(tmp_path) as shown:
        seen = sampled(meter, tmp_path / "out")
    assert_true(*seen, late_s=shown.late_s)


def test_rapl_wraps_around(tmp_path: Path) -> None:
    begun, wrap_uj = time.monotonic(), 20_000_000
    (tmp_path / "max_energy_range_uj").write_text(f"{wrap_uj}\n")
    counted = lambda at: int(truth_j(begun, at) * 1e6 + 15_000_000) % wrap_uj  # noqa: E731
    meter = requests.meter(RaplMeter(kind="rapl", path=str(tmp_path)))
    turn_s = wrap_uj / 1e6 / stand_ins.RANGE_W[1]
    for number in range(9):
        with replaying(lambda at: put(tmp_path / "energy_uj", f"{counted(at)}\n")) as shown:
            samples, window = sampled(meter, tmp_path / f"out{number}")
        assert isinstance(samples, Samples), samples
        # A machine that stands still for a whole turn loses it, as it may.
        if shown.late_s + longest_gap_s(samples) < 0.8 * turn_s:
            break
    assert_true(samples, window, late_s=shown.late_s)
    assert samples.counter_j[-1] > wrap_uj / 1e6, "it went round"


def test_pmic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rails as a Raspberry Pi 5 prints them; the user's line doubles what the chip sees."""
    rails = tmp_path / "rails"
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    meter = requests.meter(PmicMeter(kind="pmic", scale=2.0))
    tool, seen_as = tmp_path / "bin/vcgencmd", str(rails)
    with stand_ins.vcgencmd(tool, rails, rails_seen_as=seen_as, scale=2.0) as shown:
        seen = sampled(meter, tmp_path / "out")
    assert_true(*seen, late_s=shown.late_s)


@pytest.mark.fault("readings that are none", by="the longest gap")
def test_readings_that_are_none_are_gaps(tmp_path: Path) -> None:
    """A driver that sometimes fails, or says what cannot be."""
    source, count = tmp_path / "power1_input", itertools.count()
    bad = {3: "", 17: "nan\n", 31: "5e300\n", 44: "busy\n"}

    def write(at: float) -> None:
        put(source, bad.get(next(count) % 60, f"{power_w(at) * 1e6:.0f}\n"))

    meter = requests.meter(HwmonMeter(kind="hwmon", path=str(source), interval_s=0.02))
    for number in range(9):
        with replaying(write) as shown:
            samples, window = sampled(meter, tmp_path / f"out{number}")
        if shown.late_s < 0.7:  # else what is none may have stood there for a fourth of the time
            break
    assert_true(samples, window, late_s=shown.late_s + 0.05)


@pytest.mark.fault("a reading that is none, at either end", by="the curve's energy")
def test_what_is_measured_lies_between_readings(tmp_path: Path) -> None:
    meter_file = tmp_path / "power1_input"
    meter = requests.meter(HwmonMeter(kind="hwmon", path=str(meter_file), interval_s=0.2))
    for number in range(9):
        samples, window = measured_between(meter, meter_file, out := tmp_path / f"out{number}")
        told = ["p" in one for one in read(out) if {"p", "error"} & one.keys()]
        # Behind ten that fail it is not waited for: then the machine was too busy to mend it.
        if any(told[:EDGE_READINGS]) and any(told[-EDGE_READINGS:]):
            break
    seconds = window.end - window.start
    assert energy_j(samples, window, by_counter=False) == pytest.approx(5 * seconds)


def measured_between(meter: Meter, source: Path, out: Path) -> tuple[Samples, Window]:
    """By a meter that fails before and behind, and is mended once a reading failed."""
    put(source, "busy\n")

    def count(what: str) -> int:
        return sum(what in sample for sample in read(out))

    def failed() -> int:
        return count("error")

    def later() -> threading.Thread:
        """Once a reading failed."""
        before = failed()

        def mend() -> None:
            until(lambda: failed() > before)
            put(source, "5000000\n")

        thread = threading.Thread(target=mend)
        thread.start()
        return thread

    first = later()
    with sampling(meter, out):
        start = time.monotonic()
        first.join()
        # So many that those that fail, ten more at most, are the fourth part that may.
        until(lambda: count("p") >= 3 * (failed() + EDGE_READINGS))
        put(source, "busy\n")
        end = time.monotonic()
        last = later()
    last.join()
    samples = power(read(out))
    assert isinstance(samples, Samples), samples
    return samples, Window(start, end)


@pytest.mark.fault("firmware that may not be asked", by="the reason, with its remedy")
def test_vcgencmd_that_may_not_be_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "bin/vcgencmd"
    tool.parent.mkdir()
    tool.write_text(
        '#!/bin/sh\necho "Can\'t open device file: /dev/vcio" >&2\n'
        "echo 'Try creating a device file with: sudo mknod /dev/vcio c 100 0' >&2\nexit 255\n"
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    told = "vcgencmd may not open /dev/vcio: add the user to group video (sudo usermod -aG video"
    assert meter_command(requests.meter(PmicMeter(kind="pmic")))["error"].startswith(told)
    now = environment.conditions()
    assert now["throttled"] is None
    assert now["throttling_unseen"].startswith(told)
    finding = check_device("here", LocalDevice(transport="local", store=str(tmp_path / "store")))
    assert any(one.startswith(f"its throttling cannot be seen: {told}") for one in finding.problems)


@pytest.mark.fault("a meter that disappears from the kernel", by="energy none, with its reason")
def test_meter_that_disappears(tmp_path: Path) -> None:
    source = tmp_path / "power1_input"
    source.write_text("5000000\n")
    meter = requests.meter(HwmonMeter(kind="hwmon", path=str(source), interval_s=0.05))
    out = tmp_path / "out"
    with sampling(meter, out):
        until(lambda: len(read(out)) >= 5)
        source.unlink()
        until(lambda: any("error" in sample for sample in read(out)))
        failed_at = next(sample["t"] for sample in read(out) if "error" in sample)
        # The other sensors go on.
        until(lambda: any("c" in sample and sample["t"] > failed_at for sample in read(out)))
        until(lambda: isinstance(power(read(out)), str))
    said = f"the meter failed: {source}: [Errno 2] No such file or directory: '{source}' ("
    assert str(power(read(out))).startswith(said)


def test_no_such_chip(tmp_path: Path) -> None:
    meter = requests.meter(HwmonMeter(kind="hwmon", chip="ina999"))
    out = tmp_path / "out"
    with sampling(meter, out):
        until(lambda: read(out))
    assert "no chip named 'ina999' with a power1_input" in str(power(read(out)))


# --- at the workstation ---------------------------------------------------------------------------


@pytest.fixture
def plug() -> Iterator[str]:
    with stand_ins.plugs() as url:
        yield url


AHEAD_S = 3600.0
"""The device's clock is an hour off."""
CLOCK = {"monotonic_s": 0.0, "wall_s": 0.0}
TOO_FEW = "the meter gave fewer than two samples"


def polled(
    meter: meters.Meter, tmp_path: Path, while_on: Callable[[], None] = lambda: None
) -> None:
    """A device whose wall clock is an hour ahead is measured, and its energy must be right."""
    timeline = Timeline()
    with plug_sampling(meter, tmp_path / "kept") as plug:
        assert plug
        until(lambda: meter.kind == "csv" or isinstance(plug.samples(CLOCK, 0.0), Samples))
        start = time.monotonic()
        for _ in range(4):
            timeline.heard(now := time.time(), now + AHEAD_S)
            time.sleep(SECONDS / 4)
        end = time.monotonic()
        clock = {"monotonic_s": time.monotonic(), "wall_s": time.time() + AHEAD_S}
    while_on()
    assert timeline.skew_s == pytest.approx(AHEAD_S, abs=0.01)
    assert_true(plug.samples(clock, timeline.skew_s), Window(start, end))


def shelly(url: str) -> ShellyMeter:
    return ShellyMeter(kind="shelly", url=url, interval_s=0.2)


def test_tasmota(plug: str, tmp_path: Path) -> None:
    polled(TasmotaMeter(kind="tasmota", url=plug, interval_s=0.2), tmp_path)


def test_shelly(plug: str, tmp_path: Path) -> None:
    polled(shelly(plug), tmp_path)


@pytest.mark.parametrize("first_generation", [False, True], ids=["second", "first"])
@pytest.mark.parametrize("last", [0, 1], ids=["one channel", "two channels"])
def test_shelly_with_a_password(tmp_path: Path, first_generation: bool, last: int) -> None:
    (tmp_path / "password").write_text(f"{stand_ins.PASSWORD}\n")
    asked = {"kind": "shelly", "interval_s": 0.2, "switch": last}
    with stand_ins.plugs(
        password=stand_ins.PASSWORD, first_generation=first_generation, channels=last + 1
    ) as url:
        named = ShellyMeter.model_validate(
            {**asked, "url": url, "password_file": str(tmp_path / "password")}
        )
        polled(named, tmp_path)
        with pytest.raises(LlmpiError, match="it asks for a user and password: 'user:'"):
            open_plug(ShellyMeter.model_validate({**asked, "url": url}))()
        (tmp_path / "password").write_text("jokar")
        with pytest.raises(LlmpiError, match="refuses this user and password"):
            open_plug(named)()


@pytest.mark.parametrize("last", [0, 1], ids=["one channel", "two channels"])
def test_tasmota_with_a_password(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, last: int
) -> None:
    (tmp_path / "password").write_text(stand_ins.PASSWORD)
    channel = {"channel": 2} if last else {}
    asked = {"kind": "tasmota", "interval_s": 0.2, **channel}
    with stand_ins.plugs(password=stand_ins.PASSWORD, channels=last + 1) as url:
        named = {**asked, "url": url, "password_file": str(tmp_path / "password")}
        polled(TasmotaMeter.model_validate(named), tmp_path)
        with pytest.raises(LlmpiError, match="it asks for a user and password: 'user:'"):
            open_plug(TasmotaMeter.model_validate({**asked, "url": url}))()
        if last:
            with pytest.raises(LlmpiError, match="has 2 channels: name one, such as 'channel: 1'"):
                open_plug(TasmotaMeter.model_validate({**named, "channel": None}))()
    with pytest.raises(LlmpiError) as gone:
        open_plug(TasmotaMeter.model_validate(named))()
    assert "joker" not in caplog.text + str(gone.value)


@pytest.mark.fault(
    "workstation killed while a plug is polled", by="joules against the plug's curve"
)
def test_what_a_plug_said_outlives_who_heard_it(tmp_path: Path, plug: str) -> None:
    """The process that polls dies in the midst, with half a line written; another goes on."""
    kept = tmp_path / "results/kept"
    start = time.monotonic()
    with plug_sampling(shelly(plug), kept) as first:
        assert first
        until(lambda: len(first._rows) > 8)
    kept.write_text(f"{kept.read_text()}[17")
    with plug_sampling(shelly(plug), kept) as second:
        assert second
        end = time.monotonic()
    samples = second.samples({"monotonic_s": time.monotonic(), "wall_s": time.time()}, 0.0)
    assert isinstance(samples, Samples)
    assert len(samples.times) > len(first._rows)
    assert_true(samples, Window(max(start, samples.times[0]), end))
    second.forget()
    assert not kept.exists()


def test_a_counter_that_began_anew_with_the_device_counts(tmp_path: Path) -> None:
    """A power cut took a session, and the plug with it; the next session's counter only rises."""
    kept = tmp_path / "kept"
    for _ in range(2):
        switched_on = time.time()
        before = len(kept.read_text().splitlines()) if kept.exists() else 0
        with (
            stand_ins.plugs(load=1000) as url,
            plug_sampling(shelly(url), kept) as plug,
        ):
            assert plug
            until(lambda had=before, now=plug: len(now._rows) > had + 3)
    clock = {"monotonic_s": time.time() - switched_on, "wall_s": time.time()}
    samples = plug.samples(clock, 0.0)
    assert isinstance(samples, Samples), samples
    assert before and len(samples.times) == len(plug._rows) - before
    assert prefers_counter(samples, [Window(samples.times[0], samples.times[-1])])


@pytest.mark.parametrize("first_generation", [False, True], ids=["second", "first"])
def test_a_switch_that_is_not_there(first_generation: bool) -> None:
    with stand_ins.plugs(first_generation=first_generation) as url:
        read = open_plug(ShellyMeter(kind="shelly", url=url, switch=3))
        with pytest.raises(LlmpiError, match="has no switch 3"):
            read()


@pytest.mark.fault("a plug that drops answers", by="the longest gap")
def test_dropped_answers_are_gaps(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with stand_ins.plugs(drops=lambda number: number % 7 == 3) as url:
        polled(TasmotaMeter(kind="tasmota", url=url, interval_s=0.2), tmp_path)
    assert caplog.text.count("the meter failed") == 1


@pytest.mark.fault("a plug that drops most answers", by="energy none, with its reason")
def test_too_many_dropped_answers_are_no_energy(tmp_path: Path) -> None:
    with (
        stand_ins.plugs(drops=lambda number: number % 2 == 1) as url,
        plug_sampling(shelly(url), tmp_path / "kept") as plug,
    ):
        assert plug
        until(lambda: len(plug._rows) > 5)
    said = str(plug.samples(CLOCK, 0.0))
    assert re.fullmatch(rf"the meter failed: {url}: .* \(\d+ of \d+ readings\)", said)


def test_plug_whose_counter_is_the_better_witness(tmp_path: Path) -> None:
    """At kilowatts the counter's digits are fine enough; the power shown is a fifth too large."""
    with (
        stand_ins.plugs(load=1000, shows=1.2) as url,
        plug_sampling(shelly(url), tmp_path / "kept") as plug,
    ):
        assert plug
        until(lambda: isinstance(plug.samples(CLOCK, 0.0), Samples))
        start = time.monotonic()
        time.sleep(SECONDS)
        window = Window(start, time.monotonic())
        clock = {"monotonic_s": time.monotonic(), "wall_s": time.time()}
    samples = plug.samples(clock, 0.0)
    assert isinstance(samples, Samples), samples
    assert samples.resolution_j == pytest.approx(3.6)
    assert prefers_counter(samples, [window])
    joules = energy_j(samples, window, by_counter=True)
    # A busy machine asks early or late: what is drawn meanwhile is missing, or too much, at an end.
    off = 1000 * stand_ins.RANGE_W[1] * longest_gap_s(samples)
    assert joules == pytest.approx(1000 * truth_j(*window), rel=0.02, abs=off)


@pytest.mark.fault("a clock that is off", by="joules against an undisturbed clock")
def test_clock_that_is_off_through_the_whole_dag(over_ssh, sshd_ahead, tmp_path: Path) -> None:
    """The device's clock is a year behind, and a plug is polled from here; see `polled` for one
    that is an hour ahead."""
    ahead_s = -365 * 24 * 3600
    work = over_ssh.clone(tmp_path / "work")
    store = work.config["devices"]["pi"]["store"]
    with stand_ins.plugs() as url:
        plugged = {"meter": {"kind": "shelly", "url": url, "interval_s": 0.2}, "idle_s": 1}
        work.config |= {"quants": ["Q4_0"], "quality": {}}
        work.config["devices"] = {"pi": {**sshd_ahead(ahead_s).device(Path(store)), **plugged}}
        work.config["workloads"]["chat"] |= {"prompt_tokens": 300, "output_tokens": 200}
        work.write().snakemake("--", "measured")
    session = work.json("bench/over-ssh/pi/smollm2-135m/Q4_0/default.json")
    assert session["clock"]["ahead_s"] == pytest.approx(ahead_s, abs=1)
    chat = session["workloads"]["chat"]
    assert chat["energy"]["status"] == "ok", chat["energy"]
    for repetition, joules in zip(
        chat["repetitions"], chat["energy"]["tg"]["energy_j"], strict=True
    ):
        start = repetition["start_s"] + repetition["ttft_s"]
        seconds = sum(repetition["itl_s"])
        off = off_j(seconds, late_s=chat["energy"]["longest_gap_s"] / 2)
        assert joules == pytest.approx(truth_j(start, start + seconds), rel=0.02, abs=off)
    command = [sys.executable, "-m", "llmpi.cli", "devices", "check"]
    asked = time.monotonic()
    done = subprocess.run(
        [*command, "--configfile", "config/study.yaml"],
        cwd=work.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    took_s = time.monotonic() - asked
    assert "known, ssh-ed25519" in done.stdout
    [off] = re.findall(r"pi: its clock is ([+-]\d+) s off this machine's", done.stdout)
    # By one answer, which is as old as the command at most.
    assert int(off) == pytest.approx(ahead_s, abs=1 + took_s)


@pytest.mark.parametrize("iso", [False, True], ids=["seconds", "iso"])
def test_csv(tmp_path: Path, iso: bool) -> None:
    from datetime import UTC, datetime

    path = tmp_path / "usb.csv"
    begun = time.monotonic()

    def write() -> None:
        """The user saves the meter's log; its own clock is 10 s slow."""
        now, wall = time.monotonic(), time.time()
        with path.open("w", encoding="utf-8-sig") as file:
            file.write("Timestamp,Voltage(V),Power(W)\n")
            at = begun - 1
            while at < now + 1:
                stamp = wall - now + at - 10
                text = datetime.fromtimestamp(stamp, UTC).isoformat() if iso else f"{stamp:.3f}"
                file.write(f"{text},5.1,{power_w(at):.4f}\n")
                at += 0.1

    meter = CsvMeter(
        kind="csv",
        path=str(path),
        time_column="Timestamp",
        power_column="Power(W)",
        offset_s=10.0,
    )
    polled(meter, tmp_path, write)


@pytest.mark.parametrize("content", [None, b"\xff"])
def test_a_password_file_that_cannot_be_read(tmp_path: Path, content: bytes | None) -> None:
    """It is told which plug's it is, not where it lies."""
    file = tmp_path / "password"
    if content is not None:
        file.write_bytes(content)
    meter = TasmotaMeter(kind="tasmota", url="http://127.0.0.1:9", password_file=str(file))
    with pytest.raises(LlmpiError, match=r"password_file of http://127\.0\.0\.1:9: ") as error:
        open_plug(meter)
    assert str(tmp_path) not in str(error.value)


@pytest.mark.fault("a plug that is gone", by="the reason")
def test_plug_that_is_gone(tmp_path: Path) -> None:
    meter = ShellyMeter(kind="shelly", url="http://127.0.0.1:9", interval_s=0.2)
    with plug_sampling(meter, tmp_path / "kept") as plug:
        assert plug
        until(lambda: plug.samples(CLOCK, 0.0) != TOO_FEW)
    said = plug.samples(CLOCK, 0.0)
    assert str(said).startswith("the meter failed: http://127.0.0.1:9: ConnectError: ")
