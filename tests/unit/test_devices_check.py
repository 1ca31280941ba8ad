"""What `llmpi devices check` makes of what it sees."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support import until

from llmpi.device.machine import environment, surroundings
from llmpi.remote import check
from llmpi.remote.check import Finding, check_devices, table
from llmpi.remote.remedies import CLOCK_MAY_BE_OFF_S, remedies
from llmpi.study.devices import LocalDevice, SshDevice

LOCAL = LocalDevice(transport="local")
SSH = SshDevice(transport="ssh", host="pi")


def seen(**conditions: Any) -> dict[str, Any]:
    return {
        "machine": {"arch": "aarch64", "userland_bits": 64},
        "conditions": {
            "governor": "performance",
            "temperature_c": 45.0,
            "throttled": {"now": [], "since_boot": []},
            "load_1min": 0.1,
            **conditions,
        },
        "storage": {"free_bytes": 50e9, "medium": "NVMe"},
    }


def around(**more: Any) -> dict[str, Any]:
    return {
        "swaps": [],
        "swap_made_by": None,
        "busy": [],
        "memory_groups": False,
        "sudo": "asks",
        "fan_rpm": None,
        "compiler": None,
        "storage_speed": None,
        **more,
    }


QUIET = around()


def problems(
    seen: dict[str, Any], around: dict[str, Any] = QUIET, ahead_s: float = 0.0, **more: Any
) -> list[str]:
    return remedies(seen, around, ahead_s, SSH.model_copy(update=more))


def test_nothing_to_say() -> None:
    assert problems(seen()) == []


ZRAM = {"name": "/dev/zram0", "kind": "zram", "bytes": 2e9}
FILE = {"name": "/var/swap", "kind": "file", "bytes": 2e9}
SLOW = {"write_bytes_per_s": 1e7, "read_bytes_per_s": 2e7}


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (problems(seen(), ahead_s=3600.0), "its clock is +3600 s off this machine's"),
        (problems(seen(governor="ondemand")), "the frequency governor is ondemand"),
        (
            problems(seen(throttled={"now": ["throttled"], "since_boot": ["throttled"]})),
            "throttled now: more cooling",
        ),
        (
            problems(seen(throttled={"now": [], "since_boot": ["under-voltage"]})),
            "under-voltage since boot: a stronger power supply",
        ),
        (problems(seen(throttled=None, throttling_unseen="group video")), "group video"),
        (problems(seen(), cool_below_c=40.0), "warmer than cool_below_c (40)"),
        (problems({**seen(), "storage": {"free_bytes": 1e9, "medium": "NVMe"}}), "little room"),
        (problems({**seen(), "storage": {"free_bytes": 9e9, "medium": "SD card"}}), "an SD card"),
        (problems(seen(), around(storage_speed=SLOW)), "the store is slow (20 MB/s)"),
        (
            problems(seen(), around(swaps=[ZRAM, FILE], swap_made_by="rpi-swap")),
            "takes from the memory that is measured; for clear results: sudo swapoff -a; for good: "
            "Mechanism=none below [Main] in /etc/rpi/swap.conf",
        ),
        (
            problems(seen(), around(swaps=[FILE], swap_made_by="dphys-swapfile")),
            "slows down instead of failing; for clear results: sudo swapoff -a; for good: sudo "
            "systemctl disable --now dphys-swapfile",
        ),
        (
            problems(seen(), around(busy=[{"name": "chromium", "processors": 1.25}])),
            "chromium (1.2) processors' worth",
        ),
        (
            problems({**seen(), "machine": {"arch": "aarch64", "userland_bits": 32}}),
            "its userland has 32 bits, whatever its kernel (aarch64) has",
        ),
        (
            problems({**seen(), "machine": {"arch": "x86_64", "userland_bits": 64}}),
            "no C++ compiler: the engine for x86_64 is compiled there",
        ),
    ],
)
def test_problem(found: list[str], said: str) -> None:
    [problem] = found
    assert said in problem


def test_what_is_around(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Raspberry Pi OS 13 as its files tell."""
    for name, text in {
        "proc/swaps": "Filename\tType\tSize\tUsed\tPriority\n/dev/zram0 partition 2097136 0 100\n"
        "/var/swap file 102384 0 -2\n",
        "etc/rpi/swap.conf": "[Main]\n",
        "sys/fs/cgroup/cgroup.controllers": "cpuset cpu io pids\n",
        "sys/class/hwmon/hwmon3/fan1_input": "2841\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    for name in ("sys", "proc", "etc"):
        monkeypatch.setattr(surroundings, name.upper(), tmp_path / name)
    assert [swap["kind"] for swap in surroundings.swaps()] == ["zram", "file"]
    assert surroundings.swaps()[0]["bytes"] == 2097136 * 1024
    assert surroundings.swap_made_by() == "rpi-swap"
    assert surroundings.memory_groups() is False
    assert surroundings.fan_rpm() == 2841


def test_who_computes_is_named() -> None:
    spin = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        until(lambda: any(one["name"].startswith("python") for one in surroundings.busy()))
    finally:
        spin.kill()
        spin.wait()


def test_an_emmc_is_no_sd_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "SYS", tmp_path)
    device = tmp_path.stat().st_dev
    for kind, medium in (("MMC", "eMMC"), ("SD", "SD card")):
        disk = tmp_path / f"devices/mmc_host/mmc0/{kind}/block/mmcblk0"
        part = disk / "mmcblk0p2"
        part.mkdir(parents=True)
        (part / "partition").write_text("2\n")
        (disk / "device").mkdir()
        (disk / "device/type").write_text(f"{kind}\n")
        node = tmp_path / f"dev/block/{os.major(device)}:{os.minor(device)}"
        node.parent.mkdir(parents=True, exist_ok=True)
        node.unlink(missing_ok=True)
        node.symlink_to(part)
        assert environment.storage(tmp_path)["medium"] == medium


def test_real_devices_at_once() -> None:
    gone = SshDevice(transport="ssh", host="127.0.0.1", port=1, connect_timeout_s=2)
    here, there = check_devices({"here": LOCAL, "there": gone})
    assert here.facts["reachable"] == "yes"
    assert here.facts["host key"] == "needs none"
    assert here.facts["engine"].startswith("llama-cpp-python")
    assert abs(float(here.facts["clock"].removesuffix(" s"))) < CLOCK_MAY_BE_OFF_S
    assert there.facts == {"reachable": "no"}
    assert "127.0.0.1:1 cannot be reached" in there.problems[0]


def test_table() -> None:
    lines = table(
        [
            Finding("pi5", {"reachable": "yes", "arch": "aarch64"}, ["swap is on"]),
            Finding("pi4", {"reachable": "no"}, ["cannot be reached"]),
        ]
    ).splitlines()
    assert lines == [
        "device     pi5      pi4",
        "reachable  yes      no",
        "arch       aarch64",
        "pi5: swap is on",
        "pi4: cannot be reached",
    ]


PI = {
    **{"arch": "aarch64", "userland_bits": 64, "python": "3.11.2", "glibc": "2.17"},
    "hwcap": [0, 0],
}


@pytest.mark.parametrize(
    ("machine", "more", "said"),
    [
        (PI, {}, ["aarch64-linux-gnu-gcc is missing on this workstation"]),
        (PI, {"engine": "native"}, []),
        ({**PI, "arch": "x86_64"}, {}, []),
        ({**PI, "userland_bits": 32}, {}, []),
    ],
)
def test_a_cross_build_that_cannot_be_is_told(
    machine: dict[str, Any],
    more: dict[str, str],
    said: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    found = check._no_engine_for(machine, SSH.model_copy(update=more))
    assert [one.partition(";")[0] for one in found] == said


def test_a_store_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "mnt").touch()
    devices = {
        name: LOCAL.model_copy(update={"store": tmp_path / name / "llmpi"})
        for name in ("mnt", "home")
    }
    mnt, home = check_devices(devices)
    assert f"its store {tmp_path}/mnt/llmpi cannot be made" in mnt.problems[0]
    assert f"{tmp_path}/mnt is no folder" in mnt.problems[0]
    assert not any("store" in problem and "made" in problem for problem in home.problems)
    assert not (tmp_path / "home").exists()
