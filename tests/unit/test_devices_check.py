"""What `llmpi devices check` makes of what it sees."""

from typing import Any

import pytest

from llmpi.remote import check
from llmpi.remote.check import Finding, check_devices, table
from llmpi.study.devices import LocalDevice, SshDevice

LOCAL = LocalDevice(transport="local")


def seen(**conditions: Any) -> dict[str, Any]:
    return {
        "machine": {"swap_bytes": 0, "memory_bytes": 8e9},
        "conditions": {
            "governor": "performance",
            "temperature_c": 45.0,
            "throttled": {"now": [], "since_boot": []},
            **conditions,
        },
        "storage": {"free_bytes": 50e9, "medium": "NVMe"},
    }


def problems(seen: dict[str, Any], ahead_s: float = 0.0, **more: Any) -> list[str]:
    return check._problems(seen, ahead_s, LOCAL.model_copy(update=more))


def test_nothing_to_say() -> None:
    assert problems(seen()) == []


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (problems(seen(), ahead_s=3600.0), "its clock is +3600 s off this machine's"),
        (problems(seen(governor="ondemand")), "the frequency governor is ondemand"),
        (
            problems(seen(throttled={"now": ["throttled"], "since_boot": []})),
            "throttled now: check power supply and cooling",
        ),
        (
            problems(seen(throttled={"now": [], "since_boot": ["under-voltage"]})),
            "under-voltage since boot",
        ),
        (problems(seen(), cool_below_c=40.0), "warmer than cool_below_c (40)"),
        (problems({**seen(), "storage": {"free_bytes": 1e9, "medium": "NVMe"}}), "little room"),
        (problems({**seen(), "storage": {"free_bytes": 9e9, "medium": "SD card"}}), "an SD card"),
        (problems({**seen(), "machine": {"swap_bytes": 1e8}}), "swap is on"),
    ],
)
def test_problem(found: list[str], said: str) -> None:
    [problem] = found
    assert said in problem


def test_real_devices_at_once() -> None:
    gone = SshDevice(transport="ssh", host="127.0.0.1", port=1, connect_timeout_s=2)
    here, there = check_devices({"here": LOCAL, "there": gone})
    assert here.facts["reachable"] == "yes"
    assert here.facts["host key"] == "needs none"
    assert here.facts["engine"].startswith("llama-cpp-python")
    assert abs(float(here.facts["clock"].removesuffix(" s"))) < check.CLOCK_MAY_BE_OFF_S
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
