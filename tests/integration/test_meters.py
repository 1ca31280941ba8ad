"""Every kind of meter replays a known power curve, at its own boundary and in its own format.

What is integrated must be the curve's energy within 2 %. The samplers, the clock and the HTTP
requests are the real ones.
"""

import json
import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from llmpi.device.energy import Samples, Window, energy_j
from llmpi.device.sampler import power, read, sampling
from llmpi.remote.plugs import Timeline, plug_sampling

SECONDS = 4.0
PERIOD_S = 3.0


def power_w(at: float) -> float:
    """The curve: between 5 and 11 W."""
    return 8 + 3 * math.sin(2 * math.pi * at / PERIOD_S)


def truth_j(start: float, end: float) -> float:
    """Its integral."""
    turn = 2 * math.pi / PERIOD_S
    return 8 * (end - start) - 3 / turn * (math.cos(turn * end) - math.cos(turn * start))


@pytest.fixture
def replay(tmp_path: Path) -> Iterator[Callable[[Callable[[float], None]], None]]:
    """Call a function with the monotonic time, a hundred times a second, until the test ends."""
    end = threading.Event()

    def start(write: Callable[[float], None]) -> None:
        def loop() -> None:
            while not end.wait(0.01):
                write(time.monotonic())

        write(time.monotonic())
        threading.Thread(target=loop, daemon=True).start()

    yield start
    end.set()


def put(path: Path, text: str) -> None:
    """As the kernel's files are: whole whenever they are read."""
    partial = path.with_name(f".{path.name}")
    partial.write_text(text)
    partial.replace(path)


def sampled(meter: dict[str, Any], out: Path) -> tuple[Samples | str, Window]:
    with sampling(meter, out):
        deadline = time.monotonic() + 20
        while len(read(out)) < 3 and time.monotonic() < deadline:  # the process is up
            time.sleep(0.05)
        start = time.monotonic()
        time.sleep(SECONDS)
        end = time.monotonic()
    return power(read(out)), Window(start, end)


def assert_true(samples: Samples | str, window: Window) -> None:
    assert isinstance(samples, Samples), samples
    assert energy_j(samples, window) == pytest.approx(truth_j(*window), rel=0.02)


# --- on the device --------------------------------------------------------------------------------


def test_hwmon(tmp_path: Path, replay) -> None:
    chip = tmp_path / "hwmon2"
    chip.mkdir()
    (chip / "name").write_text("ina219\n")
    replay(lambda at: put(chip / "power1_input", f"{power_w(at) * 1e6:.0f}\n"))
    meter = {"kind": "hwmon", "chip": "ina219", "path": str(chip / "power1_input")}
    assert_true(*sampled({**meter, "interval_s": 0.1}, tmp_path / "out"))


def test_rapl_wraps_around(tmp_path: Path, replay) -> None:
    begun, wrap_uj = time.monotonic(), 20_000_000
    (tmp_path / "max_energy_range_uj").write_text(f"{wrap_uj}\n")
    counted = lambda at: int(truth_j(begun, at) * 1e6 + 15_000_000) % wrap_uj  # noqa: E731
    replay(lambda at: put(tmp_path / "energy_uj", f"{counted(at)}\n"))
    meter = {"kind": "rapl", "path": str(tmp_path), "interval_s": 0.1}
    samples, window = sampled(meter, tmp_path / "out")
    assert_true(samples, window)
    assert isinstance(samples, Samples)
    assert samples.counter_j[-1] > wrap_uj / 1e6, "it went round"


def test_pmic(tmp_path: Path, replay, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rails as a Raspberry Pi 5 prints them; half of the curve on each of two, then a line."""

    def write(at: float) -> None:
        amperes = power_w(at) / 2 / 2  # the user's line doubles what the chip sees
        put(
            tmp_path / "rails",
            f"   3V3_SYS_A current(1)={amperes / 3.3:.8f}A\n"
            f"  VDD_CORE_A current(7)={amperes / 0.75:.8f}A\n"
            "     EXT5V_V volt(24)=5.15000000V\n"
            "   3V3_SYS_V volt(9)=3.30000000V\n"
            "  VDD_CORE_V volt(15)=0.75000000V\n"
            "      BATT_V volt(25)=0.00000000V\n",
        )

    replay(write)
    tool = tmp_path / "bin/vcgencmd"
    tool.parent.mkdir()
    tool.write_text(
        f'#!/bin/sh\ncase "$1" in pmic_read_adc) cat "{tmp_path}/rails";; '
        "get_throttled) echo throttled=0x50000;; esac\n"
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    meter = {"kind": "pmic", "scale": 2.0, "offset_w": 0.0, "interval_s": 0.2}
    assert_true(*sampled(meter, tmp_path / "out"))


def test_meter_that_disappears(tmp_path: Path, replay) -> None:
    source = tmp_path / "power1_input"
    source.write_text("5000000\n")
    meter = {"kind": "hwmon", "chip": "ina219", "path": str(source), "interval_s": 0.05}
    out = tmp_path / "out"
    with sampling(meter, out):
        while len(read(out)) < 5:
            time.sleep(0.05)
        source.unlink()
        time.sleep(1.5)
    assert power(read(out)) == (
        f"the meter failed: {source}: [Errno 2] No such file or directory: '{source}'"
    )
    last = [sample["t"] for sample in read(out) if "c" in sample][-1]
    failed_at = next(sample["t"] for sample in read(out) if "error" in sample)
    assert last > failed_at, "the other sensors go on"


def test_no_such_chip(tmp_path: Path) -> None:
    meter = {"kind": "hwmon", "chip": "ina999", "path": None, "interval_s": 0.1}
    out = tmp_path / "out"
    with sampling(meter, out):
        while not read(out):
            time.sleep(0.05)
    assert "0 chips named 'ina999' with a power1_input" in str(power(read(out)))


# --- at the workstation ---------------------------------------------------------------------------


@pytest.fixture
def plug() -> Iterator[str]:
    """The two smart plugs' answers, in the documented formats."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            watts = power_w(time.monotonic())
            if self.path == "/cm?cmnd=Status%2010":
                # Tasmota shows whole watts.
                energy = {"Total": 1.234, "Power": round(watts), "Voltage": 230}
                answer: Any = {"StatusSNS": {"Time": "2026-01-01T00:00:00", "ENERGY": energy}}
            elif self.path == "/rpc/Switch.GetStatus?id=1":
                answer = {"id": 1, "output": True, "apower": round(watts, 1), "voltage": 230.1}
            else:
                self.send_error(404)
                return
            body = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


AHEAD_S = 3600.0
"""The device's clock is an hour off."""


def polled(meter: dict[str, Any], while_on: Callable[[], None] = lambda: None) -> None:
    """A device whose wall clock is an hour ahead is measured, and its energy must be right."""
    timeline = Timeline()
    with plug_sampling(meter) as plug:
        assert plug
        time.sleep(0.5)
        start = time.monotonic()
        for _ in range(4):
            asked = time.time()
            timeline.heard(asked, time.time(), time.time() + AHEAD_S)
            time.sleep(SECONDS / 4)
        end = time.monotonic()
        clock = {"monotonic_s": time.monotonic(), "wall_s": time.time() + AHEAD_S}
    while_on()
    assert timeline.skew_s == pytest.approx(AHEAD_S, abs=0.01)
    assert_true(plug.samples(clock, timeline.skew_s), Window(start, end))


def test_tasmota(plug: str) -> None:
    polled({"kind": "tasmota", "url": plug, "interval_s": 0.2})


def test_shelly(plug: str) -> None:
    polled({"kind": "shelly", "url": plug, "switch": 1, "interval_s": 0.2})


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

    meter = {
        "kind": "csv",
        "path": str(path),
        "time_column": "Timestamp",
        "power_column": "Power(W)",
        "offset_s": 10.0,
        "interval_s": 1,
    }
    polled(meter, write)


def test_plug_that_is_gone() -> None:
    meter = {"kind": "shelly", "url": "http://127.0.0.1:9", "switch": 0, "interval_s": 0.2}
    with plug_sampling(meter) as plug:
        assert plug
        time.sleep(0.5)
    said = plug.samples({"monotonic_s": 0.0, "wall_s": 0.0}, 0.0)
    assert str(said).startswith("the meter failed: http://127.0.0.1:9: URLError(ConnectionRefused")
