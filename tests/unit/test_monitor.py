"""The monitor's parts: the machine's readings, a meter, the canary's figures, its config."""

import json
import math
import threading
import urllib.request
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from canary_service import EXPECTED, SAYS, serving
from prometheus_text import objections, samples, value
from support import PATIENCE_S, free_port

from llmpi.device import cli
from llmpi.device.machine import environment
from llmpi.device.monitor import process as monitor
from llmpi.device.monitor.canary_metrics import CanaryMetrics
from llmpi.device.monitor.config import Canary, Config, read_config
from llmpi.device.monitor.exposition import Metrics
from llmpi.device.monitor.machine_metrics import MachineMetrics
from llmpi.device.monitor.meter_metrics import Metering
from llmpi.device.records import HwmonMeter

LABELS = {"device": "pi5", "model": "m", "quant": "Q4_0", "release": "r7"}
FAILED = {
    "status": "failed",
    "reasons": ["F1 50.0 % < 80.0 %"],
    "em_pct": 25.0,
    "f1_pct": 50.0,
    "top1_agreement_pct": 87.5,
    "latency_s": 1.5,
    "tg_tps": 9.5,
    "pp_tps": 55.0,
}
UNANSWERED = {**dict.fromkeys(FAILED), "status": "failed", "reasons": ["HTTP status 503"]}


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(LABELS)


@pytest.fixture
def pi(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A board that tells everything, at the boundary of the kernel and the firmware."""
    sys, proc = tmp_path / "sys", tmp_path / "proc"
    files = {
        sys / "class/thermal/thermal_zone0/temp": "61250\n",
        sys / "devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "2400000\n",
        sys / "devices/system/cpu/cpu1/cpufreq/scaling_cur_freq": "1500000\n",
        proc / "meminfo": "MemTotal: 8000 kB\nMemAvailable: 2000 kB\nSwapTotal: 500 kB\n"
        "SwapFree: 400 kB\n",
        proc / "vmstat": "pswpin 3\npswpout 5\n",
    }
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(environment, "SYS", sys)
    monkeypatch.setattr(environment, "PROC", proc)
    monkeypatch.setattr(environment, "firmware", lambda request: "throttled=0x50005\n")


def test_the_machine_in_base_units(pi: None, metrics: Metrics, tmp_path: Path) -> None:
    metrics.registry.register(MachineMetrics(LABELS, tmp_path))
    text = metrics.page().decode()
    assert objections(text) == []
    assert value(text, "llmpi_temperature_celsius", **LABELS) == 61.25
    assert value(text, "llmpi_cpu_frequency_hertz", cpu="0") == 2.4e9
    assert value(text, "llmpi_cpu_frequency_hertz", cpu="1") == 1.5e9
    assert value(text, "llmpi_throttled", reason="under-voltage") == 1
    assert value(text, "llmpi_throttled", reason="frequency capped") == 0
    assert value(text, "llmpi_throttled", reason="throttled") == 1
    assert value(text, "llmpi_throttled_since_boot", reason="throttled") == 1
    assert value(text, "llmpi_memory_size_bytes") == 8000 * 1024
    assert value(text, "llmpi_memory_available_bytes") == 2000 * 1024
    assert value(text, "llmpi_swap_free_bytes") == 400 * 1024
    assert value(text, "llmpi_swapped_in_bytes_total") == 3 * 4096
    assert 0 < value(text, "llmpi_disk_free_bytes") <= value(text, "llmpi_disk_size_bytes")


def test_what_a_machine_does_not_tell_is_left_out(
    monkeypatch: pytest.MonkeyPatch, metrics: Metrics, tmp_path: Path
) -> None:
    monkeypatch.setattr(environment, "SYS", tmp_path)
    monkeypatch.setattr(environment, "PROC", tmp_path)
    monkeypatch.setattr(environment, "firmware", lambda request: "")
    metrics.registry.register(MachineMetrics(LABELS, tmp_path))
    names = {name for name, _ in samples(metrics.page().decode())}
    assert names == {"llmpi_disk_size_bytes", "llmpi_disk_free_bytes"}


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_power_is_integrated_and_a_failure_is_a_gap(metrics: Metrics, tmp_path: Path) -> None:
    source, clock = tmp_path / "power1_input", Clock()
    metering = Metering(metrics, {"kind": "hwmon", "path": str(source), "shunt_ohm": None}, clock)
    for at, watts in ((100, "4000000"), (102, "6000000"), (103, None), (110, "5000000")):
        clock.now = at
        source.unlink(missing_ok=True)
        if watts:
            source.write_text(watts)
        metering.sample()
    clock.now = 112
    metering.sample()
    text = metrics.page().decode()
    assert objections(text) == []
    assert value(text, "llmpi_energy_joules_total", tier="metered", **LABELS) == 10 + 10
    assert value(text, "llmpi_power_watts", tier="metered") == 5
    assert value(text, "llmpi_meter_failures_total") == 1


def test_a_counter_is_taken_as_it_is(metrics: Metrics, tmp_path: Path) -> None:
    counter, clock = tmp_path / "energy_uj", Clock()
    (tmp_path / "max_energy_range_uj").write_text("9000000")
    metering = Metering(metrics, {"kind": "rapl", "path": str(tmp_path)}, clock)
    for at, energy_uj in ((100, "2000000"), (104, "8000000"), (105, "1000000")):
        clock.now = at
        counter.write_text(energy_uj)
        metering.sample()
    text = metrics.page().decode()
    assert value(text, "llmpi_energy_joules_total", tier="estimated") == 6 + 2
    assert value(text, "llmpi_power_watts") == 2


def test_a_canary_is_shown_in_base_units(metrics: Metrics) -> None:
    singing = CanaryMetrics(metrics)
    text = metrics.page().decode()
    assert objections(text) == []
    assert math.isnan(value(text, "llmpi_canary_passed")), "none yet: no verdict"
    singing.ended(FAILED, at=1.8e9)
    text = metrics.page().decode()
    assert value(text, "llmpi_canary_exact_match_ratio", **LABELS) == 0.25
    assert value(text, "llmpi_canary_f1_ratio") == 0.5
    assert value(text, "llmpi_canary_top1_agreement_ratio") == 0.875
    assert value(text, "llmpi_canary_latency_seconds") == 1.5
    assert value(text, "llmpi_canary_token_generation_tokens_per_second") == 9.5
    assert value(text, "llmpi_canary_passed") == 0
    assert value(text, "llmpi_canary_last_run_timestamp_seconds") == 1.8e9
    assert value(text, "llmpi_canary_runs_total", outcome="failed") == 1


def test_no_answer_leaves_no_old_figure(metrics: Metrics) -> None:
    singing = CanaryMetrics(metrics)
    singing.ended(FAILED, at=1.0)
    singing.ended(UNANSWERED, at=2.0)
    text = metrics.page().decode()
    assert math.isnan(value(text, "llmpi_canary_f1_ratio"))
    assert value(text, "llmpi_canary_answered") == 0
    assert value(text, "llmpi_canary_runs_total", outcome="unanswered") == 1


def config_in(folder: Path, **more: Any) -> dict[str, Any]:
    expect = folder / "expect.json"
    expect.write_text(json.dumps(EXPECTED))
    canary = {"url": "http://127.0.0.1:1", "expect": str(expect), "interval_s": 0.1}
    return {**LABELS, "store": str(folder), "canary": canary, "listen": "127.0.0.1:0", **more}


def written(folder: Path, config: Any) -> Path:
    path = folder / "monitor.json"
    path.write_text(json.dumps(config))
    return path


def test_what_the_workstation_writes_is_read_as_it_was(tmp_path: Path) -> None:
    meter: HwmonMeter = {
        "kind": "hwmon",
        "chip": "ina219",
        "address": None,
        "shunt_ohm": None,
        "path": None,
        "interval_s": 0.1,
        "accuracy_pct": None,
    }
    config = Config(
        device="pi5",
        model="m",
        quant="Q4_0",
        release="r7",
        store="/srv/llmpi",
        canary=Canary("http://127.0.0.1:8080", expect="/srv/llmpi/expect.json"),
        meter=meter,
    )
    assert read_config(written(tmp_path, asdict(config))) == config


def test_the_whole_monitor_serves_what_it_sees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its thread, its server, a service behind it."""
    address = f"127.0.0.1:{free_port()}"
    source = tmp_path / "power1_input"
    source.write_text("5000000")
    config = config_in(
        tmp_path,
        listen=address,
        meter={"kind": "hwmon", "path": str(source), "shunt_ohm": None},
        meter_interval_s=0.05,
    )
    end = threading.Event()
    sung, metered = threading.Event(), threading.Event()
    ended, sample = CanaryMetrics.ended, Metering.sample

    def heard(self: CanaryMetrics, record: Any, at: float) -> None:
        ended(self, record, at)
        sung.set()

    def read(self: Metering) -> None:
        sample(self)
        metered.set()

    monkeypatch.setattr(CanaryMetrics, "ended", heard)
    monkeypatch.setattr(Metering, "sample", read)
    with serving(SAYS) as url:
        config["canary"]["url"] = url
        stop = monitor.start(read_config(written(tmp_path, config)), end)
        try:
            assert sung.wait(PATIENCE_S) and metered.wait(PATIENCE_S)
            with urllib.request.urlopen(f"http://{address}/metrics") as answer:
                text = answer.read().decode()
        finally:
            end.set()
            stop()
    assert objections(text) == []
    assert value(text, "llmpi_canary_passed", **LABELS) == 1
    assert value(text, "llmpi_power_watts", tier="metered") == 5
    assert {dict(labels).get("release") for _, labels in samples(text)} == {"r7"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"listen": "9711"}, "listen"),
        ({"meter": {"kind": "tasmota", "url": "http://plug"}}, "tasmota"),
        ({"interval": 5}, "'interval'"),
        ({"canary": {"url": "http://x"}}, "'expect'"),
        ({"canary": {"url": "http://x", "expect": "/e", "every": 1}}, "'every'"),
        ({"canary": 5}, "canary"),
        ({"canary": {"url": "pi:80", "expect": "/e"}}, "url: 'pi:80'"),
        ({"release": 7}, "release: 7 is no"),
        ({"meter_interval_s": 0}, "meter_interval_s: must be above 0"),
        ({"meter_interval_s": "fast"}, "meter_interval_s: 'fast' is no"),
    ],
)
def test_a_wrong_config_names_its_key(
    change: Any, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, config_in(tmp_path) | change)
    assert cli.main(["monitor", "--config", str(path)]) == 2
    error = capsys.readouterr().err
    assert str(path) in error
    assert said in error


def test_a_missing_expectation_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = config_in(tmp_path)
    (tmp_path / "expect.json").unlink()
    assert cli.main(["monitor", "--config", str(written(tmp_path, config))]) == 2
    assert "expect.json" in capsys.readouterr().err
