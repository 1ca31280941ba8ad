"""`llmpi devices check`: what stands in the way of a measurement on each device, and what to do."""

import logging
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from llmpi import layout
from llmpi.aligned import aligned
from llmpi.device.durable import is_whole
from llmpi.device.machine import surroundings
from llmpi.device.machine.meters import is_here
from llmpi.device.records import Look, MeterFailure, MeterReading, Speed, Surroundings
from llmpi.engine.progress import say
from llmpi.engine.records import Machine, Where
from llmpi.errors import LlmpiError
from llmpi.remote import requests
from llmpi.remote.connection import ThisMachine, connected
from llmpi.remote.engine_wheels import check_cross_build
from llmpi.remote.machine import Device, LinkError, noise_told
from llmpi.remote.provision import installed, made_how, probe, processor_of, wrong_userland
from llmpi.remote.remedies import remedies
from llmpi.remote.smart_plugs import open_plug
from llmpi.study.devices import SingleDevice, SshDevice
from llmpi.study.meters import Meter, Plug

log = logging.getLogger(__name__)


@dataclass
class Finding:
    """One device: what it is, and what is wrong with it."""

    device: str
    facts: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    seen: Look | None = None
    """What it told of itself; None where it could not be reached."""


def say_looking(devices: Iterable[str]) -> None:
    """For a person who waits for the table."""
    say(f"looking at {', '.join(devices)}: seconds, or minutes where a board is slow")


def check_devices(devices: Mapping[str, SingleDevice]) -> list[Finding]:
    """Look at all devices at once; one that cannot be reached is a finding, too."""
    with ThreadPoolExecutor(max_workers=16) as pool:
        return list(pool.map(check_device, devices, devices.values()))


def check_device(name: str, device: SingleDevice) -> Finding:
    """Reach one device and look at it; what goes wrong is what is found."""
    try:
        return _looked_at(name, device)
    except LlmpiError as error:
        reachable = "no" if isinstance(error, LinkError) else "refused"
        return Finding(
            name, {"reachable": reachable}, [str(error).removeprefix(f"device {name}: ")]
        )
    except Exception as error:  # ours to mend; the other devices are shown all the same
        log.exception("device %s", name)
        return Finding(name, {"reachable": "?"}, [f"llmpi broke here, report it: {error!r}"])


def _looked_at(name: str, device: SingleDevice) -> Finding:
    """
    Raises:
        LlmpiError: it cannot be reached, or answers what it should not.
    """
    with connected(name, device) as reached:
        seen = probe(reached)
        ahead_s = seen["time_s"] - time.time()  # the last thing it looked at
        told = reached.run_file(Path(surroundings.__file__), reached.store)
        around = reached.checked(told, Surroundings, surroundings.__name__)
        engine, damaged = _engine(reached)
        meter = _meter(reached, device.meter, installed=engine is not None)
        problems = (
            damaged + _store(reached) + _noise(reached) + remedies(seen, around, ahead_s, device)
        )
        if not engine:
            problems += _no_engine_for(seen["machine"], device)
        key = f"known, {reached.host_key}" if reached.host_key else "needs none"
    facts = {"reachable": "yes", "host key": key, **_facts(seen, around, ahead_s), "meter": meter}
    facts["engine"] = engine or "not yet"
    if meter.startswith("fails"):
        problems.append(f"its meter {meter}")
    return Finding(name, facts, problems, seen)


def _engine(reached: Device) -> tuple[str | None, list[str]]:
    """Which one it is, if it is there; and what is wrong with it."""
    if not isinstance(reached, ThisMachine):
        found = installed(reached)
        if damaged := [
            held for held in (found["engine"], found["llmpi"]) if held and held["damaged"]
        ]:
            count, [such_as, *_] = sum(held["damaged"] for held in damaged), damaged[0]["such_as"]
            return None, [
                f"{count} of its installed files are not as they were, such as {such_as}: a power "
                "cut or a bad disk; the next run installs them again"
            ]
        if not is_whole(found):
            return None, []
    engine = reached.ask("describe", {}, Where)["engine"]
    return f"{engine['name']} {engine['version']}", []


def _no_engine_for(machine: Machine, device: SingleDevice) -> list[str]:
    """Why the engine that it lacks cannot be cross-built, which takes minutes to fail by itself."""
    if not isinstance(device, SshDevice) or wrong_userland(
        machine["arch"], machine["userland_bits"]
    ):
        return []
    how = made_how(machine) if device.engine == "auto" else device.engine
    if how != "cross":
        return []
    processor = processor_of(machine)
    try:
        march = device.march or processor.march
        check_cross_build(march, processor.glibc, Path(layout.ENGINES))
    except LlmpiError as error:
        return [str(error)]
    return []


RC_FILES = (
    *("~/.bashrc", "~/.bash_profile", "~/.profile", "/etc/bash.bashrc", "/etc/profile"),
    *("~/.zshenv", "~/.zshrc", "/etc/zsh/zshenv", "~/.config/fish/config.fish", "~/.cshrc"),
    *("~/.tcshrc", "/etc/csh.cshrc", "~/.ssh/rc", "/etc/ssh/sshrc", "~/.bash_logout"),
)
"""What a login shell may read."""


def _noise(reached: Device) -> list[str]:
    """What a login shell prints that should be silent, and where to silence it."""
    if not reached.noise:
        return []
    word = max(reached.noise.split(), key=len)
    files = [file.replace("~", reached.home, 1) for file in RC_FILES]
    done = reached.run(["grep", "-lsF", "-e", word, *files], check=False)
    found = done.stdout.split("\n")[:-1] or ["one of the files that it reads, such as ~/.bashrc"]
    return [
        f"{noise_told(reached.noise)} ({', '.join(found)}), which slows transfers down. "
        "In bash, above what prints there: [[ $- == *i* ]] || return"
    ]


WHERE_IT_ENDS = (
    'at=$1; until [ -e "$at" ]; do at=$(dirname -- "$at"); done; '
    '[ -d "$at" ] && [ -w "$at" ] && [ -x "$at" ] || printf "%s" "$at"'
)
"""Prints what of a path is there and lets nothing be made in it; nothing where all is well."""


def _store(reached: Device) -> list[str]:
    """What keeps its store from being made: the first run would end on that."""
    at = reached.run(["sh", "-c", WHERE_IT_ENDS, "sh", reached.store]).stdout
    if not at:
        return []
    return [
        f"its store {reached.store} cannot be made or written to: {at} is no folder of its user's. "
        "Make it there (sudo install -d -o USER FOLDER; a disk has to be mounted first), or name "
        "another as 'store'; by default it is ~/.llmpi"
    ]


def _meter(reached: Device, meter: Meter, *, installed: bool) -> str:
    """What it reads now."""
    asked = requests.meter(meter)
    power_w: float | None
    if is_here(asked):
        if not installed:
            return f"{meter.kind}, not asked before the engine is there"
        answer = reached.ask("meter", asked, MeterReading | MeterFailure)
        if "error" in answer:
            return f"fails: {answer['error']}"
        power_w = answer["power_w"]
    elif isinstance(meter, Plug):
        try:
            power_w, _ = open_plug(meter)()
        except LlmpiError as error:
            return f"fails: {error}"
    else:
        return meter.kind
    return meter.kind if power_w is None else f"{meter.kind}, {power_w:.2f} W now"


def _facts(seen: Look, around: Surroundings, ahead_s: float) -> dict[str, str]:
    machine, now, storage = seen["machine"], seen["conditions"], seen["storage"]
    throttled = now["throttled"]
    since_boot = throttled and (", ".join(throttled["since_boot"]) or "never")
    return {
        "board": machine["board"] or machine["cpu"] or "?",
        "arch": f"{machine['arch']}, userland of {machine['userland_bits']} bits",
        "pages": f"{machine['page_bytes'] // 1024} KB",
        "os": machine["os"] or "?",
        "python": machine["python"],
        "free": f"{storage['free_bytes'] / 1e9:.1f} GB on {storage['medium'] or 'a disk'}",
        "disk": _disk(around["storage_speed"]),
        "memory": _gb(machine["memory_bytes"]),
        "swap": ", ".join(f"{s['kind']} {s['bytes'] / 1e9:.1f} GB" for s in around["swaps"])
        or "none",
        "memory groups": "on" if around["memory_groups"] else MEMORY_GROUPS_OFF,
        "sudo": SUDO[around["sudo"]],
        "governor": now["governor"] or "?",
        "temperature": f"{now['temperature_c']:.0f} °C" if now["temperature_c"] else "?",
        "fan": "?" if around["fan_rpm"] is None else f"{around['fan_rpm']} rpm",
        "throttled": since_boot or "?",
        "load": f"{now['load_1min']:.1f}",
        "clock": f"{ahead_s:+.1f} s",
    }


MEMORY_GROUPS_OFF = "off; a service's memory_limit needs cgroup_enable=memory in cmdline.txt"
SUDO = {
    None: "none",
    "free": "without a password",
    "asks": "asks for a password; a service needs none: sudo visudo",
}


def _disk(speed: Speed | None) -> str:
    if speed is None:
        return "?"
    read, write = (speed[way] / 1e6 for way in ("read_bytes_per_s", "write_bytes_per_s"))
    return f"reads {read:.0f}, writes {write:.0f} MB/s"


def _gb(size_bytes: int | None) -> str:
    return "?" if size_bytes is None else f"{size_bytes / 1e9:.1f} GB"


def table(findings: list[Finding]) -> str:
    """The findings as text: a column for each device, then what to do."""
    keys = list(dict.fromkeys(key for finding in findings for key in finding.facts))
    columns = [["device", *keys]] + [
        [finding.device, *(finding.facts.get(key, "") for key in keys)] for finding in findings
    ]
    lines = aligned([*zip(*columns, strict=True)], texts=range(len(columns)))
    for finding in findings:
        lines += [f"{finding.device}: {problem}" for problem in finding.problems]
    return "\n".join(lines)
