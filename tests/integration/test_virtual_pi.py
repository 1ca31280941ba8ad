"""The whole DAG on a real aarch64 userland: cross-built engine, no compiler, no network there."""

import os
import re
from pathlib import Path
from typing import Any

import pytest
from stand_ins import off_j, truth_j
from support import ROOT
from virtual_pi import HWMON_METER, USER, VirtualPi, cache_folder, share_engines

from llmpi.remote.connection import connected
from llmpi.remote.provision import Parts, provision
from llmpi.study.devices import SshDevice

pytestmark = pytest.mark.long

STORE = "~/a store; $(touch pwned)"


@pytest.fixture(scope="module")
def measured(finished, pi: VirtualPi, tmp_path_factory: pytest.TempPathFactory):
    """One variant of the finished study, measured there with a few tokens."""
    work = finished.clone(tmp_path_factory.mktemp("virtual-pi") / "work")
    work.config = {**work.config, "study": "arm", "quants": ["Q4_0"], "quality": {}}
    work.config["workloads"] = {"chat": {"prompt_tokens": 8, "output_tokens": 4, "repetitions": 1}}
    work.config["devices"] = {"pi5": pi.device(store=STORE, meter={"kind": "pmic"}, idle_s=3)}
    share_engines(work.folder)
    work.summarized()
    return work


def test_measured_on_aarch64(measured) -> None:
    [row] = measured.summary()
    assert (row["device"], row["status"], row["reason"]) == ("pi5", "ok", None)
    environment = measured.json("bench/arm/pi5/smollm2-135m/Q4_0/default.json")["environment"]
    assert environment["machine"]["arch"] == "aarch64"
    assert {"NEON", "DOTPROD"} <= set(environment["engine"]["features"])
    assert environment["engine"]["build_flags"]["march"] == "armv8.2-a+dotprod+fp16"


def test_energy_is_the_replayed_curves(measured) -> None:
    session = measured.json("bench/arm/pi5/smollm2-135m/Q4_0/default.json")
    chat = session["workloads"]["chat"]
    energy = chat["energy"]
    assert (energy["status"], energy["tier"]) == ("ok", "pmic")

    def truth(start: float, end: float) -> Any:
        """Within 2 %, or half an interval's worth: a slow tool reads early or late in its call."""
        off = off_j(end - start, late_s=energy["longest_gap_s"] / 2)
        return pytest.approx(truth_j(start, end), rel=0.02, abs=off)

    start, end = session["idle"]
    assert energy["idle_power_w"] * (end - start) == truth(start, end)
    [repetition] = chat["repetitions"]
    start, first = repetition["start_s"], repetition["start_s"] + repetition["ttft_s"]
    assert energy["pp"]["energy_j"] == [truth(start, start + repetition["pp_s"])]
    assert energy["tg"]["energy_j"] == [truth(first, first + sum(repetition["itl_s"]))]
    assert session["environment"]["before"]["throttled"]["since_boot"], "its firmware was asked"


def test_its_other_meters_answer(pi: VirtualPi) -> None:
    from llmpi.remote.check import check_devices

    meters = {"hwmon": HWMON_METER, "shelly": {"kind": "shelly", "url": pi.plug_url}}
    findings = check_devices(
        {
            name: SshDevice.model_validate(pi.device(store=STORE, meter=meter))
            for name, meter in meters.items()
        }
    )
    for finding in findings:
        assert finding.problems == [p for p in finding.problems if "meter" not in p]
        assert re.fullmatch(rf"{finding.device}, \d+\.\d\d W now", finding.facts["meter"])
        assert finding.facts["engine"].startswith("llama-cpp-python")


def test_engine_is_the_workstations_version(measured, finished) -> None:
    there = measured.json("devices/pi5.json")["engine"]
    here = finished.json("devices/here.json")["engine"]
    assert (there["version"], there["llama_cpp_commit"]) == (
        here["version"],
        here["llama_cpp_commit"],
    )


def test_device_has_no_compiler_no_pip_and_no_network(pi: VirtualPi) -> None:
    with connected("pi5", SshDevice.model_validate(pi.device())) as device:
        assert device.run(["sh", "-c", "command -v cc gcc g++ pip3"], check=False).stdout == ""
        assert device.run(["python3", "-m", "pip"], check=False).status != 0
        resolve = "import socket; socket.getaddrinfo('pypi.org', 443)"
        assert device.run(["python3", "-c", resolve], check=False).status != 0


def test_store_is_private_and_its_name_harmless(measured, pi: VirtualPi) -> None:
    store = pi.home / STORE.removeprefix("~/")
    assert store.stat().st_mode & 0o777 == 0o700
    assert not (pi.home / "pwned").exists()
    assert not list(Path(os.fspath(store)).rglob("*.part"))


def test_second_provisioning_installs_nothing(measured) -> None:
    measured.snakemake("--forcerun", "provision_device", "--", "results/devices/pi5.json")
    log = (measured.folder / "logs/provision_device/pi5.log").read_text()
    assert "installing" not in log


def test_engine_of_ones_own(measured, pi: VirtualPi) -> None:
    own = next((cache_folder() / "engines").glob("*-armv8.2-a*/*.whl"))
    device = pi.device(store="~/own", engine={"wheel": str(own)})
    parts = Parts(lock=ROOT / "envs/device.lock", engines=cache_folder() / "engines")
    record = provision("own", SshDevice.model_validate(device), parts)
    assert record["interpreter"] == f"/home/{USER}/own/venv/bin/python"
    assert "DOTPROD" in record["engine"]["features"]
