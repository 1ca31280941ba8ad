"""systemd on a device: whether the service can be there, its units, and its state."""

import logging
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from llmpi.errors import LlmpiError
from llmpi.operate.sudo import lacking
from llmpi.remote.machine import Device, Done

log = logging.getLogger(__name__)

FOLDER = "/etc/systemd/system"
SHOWN = ("ActiveState", "SubState", "NRestarts", "MemoryCurrent", "ActiveEnterTimestamp")
CMDLINE = "add 'cgroup_enable=memory' to the line in /boot/firmware/cmdline.txt and reboot"


def check(device: Device, *, needs_memory_limit: bool) -> str:
    """The user the service will run as, where all that it needs is there.

    Raises:
        LlmpiError: what is missing, and what to do.
    """
    if device.run(["systemctl", "--version"], check=False).status != 0:
        raise LlmpiError(f"device {device.name}: has no systemd; a service needs it")
    user = device.run(["id", "-un"]).stdout.strip()
    if user == "root":
        raise LlmpiError(
            f"device {device.name}: a service must not run as root, and it runs as the SSH user; "
            "name another 'user' for the device, one with sudo"
        )
    if lacks := lacking(device, user):
        raise LlmpiError(lacks)
    seen = device.run(
        ["sh", "-c", "cat /sys/fs/cgroup/cgroup.controllers; ls /sys/fs/cgroup"], check=False
    )
    if "memory" not in seen.stdout.split():
        message = f"device {device.name}: its kernel limits no memory; {CMDLINE}"
        if needs_memory_limit:
            raise LlmpiError(message)
        log.warning("%s. Until then a service may take all there is.", message)
    return user


def sudo(device: Device, *argv: str, check: bool = True, timeout_s: int = 120) -> Done:
    """Run a command as root; as `Device.run` otherwise."""
    return device.run(["sudo", "-n", *argv], check=check, timeout_s=timeout_s)


def installed(device: Device, names: Sequence[str]) -> dict[str, str | None]:
    """Texts of unit files; None for one that is not there."""
    found = {}
    for name in names:
        done = device.run(["cat", "--", f"{FOLDER}/{name}"], check=False)
        found[name] = done.stdout if done.status == 0 else None
    return found


def write(device: Device, units: Mapping[str, str | None]) -> list[str]:
    """Make unit files what they should be (None: not there); the names of those that changed."""
    before = installed(device, list(units))
    changed = [name for name, text in units.items() if before[name] != text]
    for name in changed:
        text = units[name]
        if text is None:
            sudo(device, "rm", "-f", "--", f"{FOLDER}/{name}")
            continue
        there = f"{device.store}/service/units/{name}"
        put_text(device, text, there)
        place = ("install", "-m", "644", "-o", "root", "-g", "root", "--")
        sudo(device, *place, there, f"{FOLDER}/{name}")
    if changed:
        device.run(["sync"])
        sudo(device, "systemctl", "daemon-reload")
    return changed


def put_text(device: Device, text: str, path: str) -> None:
    """Put a small text there, for this user alone."""
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "text"
        file.touch(mode=0o600)
        file.write_text(text, encoding="utf-8")
        device.put(file, path)
    device.run(["chmod", "600", "--", path])


def restart(
    device: Device, service: str, socket: str, *, new_socket: bool, timeout_s: int
) -> list[str]:
    """Start the service anew and wait until it serves; what is wrong, if it does not.

    Its socket stays open meanwhile, unless it is to be another one.
    """
    sudo(device, "systemctl", "reset-failed", service, socket, check=False)
    if new_socket:
        sudo(device, "systemctl", "stop", service, socket, check=False, timeout_s=timeout_s)
    sudo(device, "systemctl", "enable", "--quiet", socket)
    done = sudo(device, "systemctl", "start", socket, check=False)
    if done.status != 0:
        return [f"{socket} does not start: {done.stderr.strip()}"]
    return start_anew(device, service, timeout_s=timeout_s)


def start_anew(device: Device, unit: str, *, timeout_s: int = 120) -> list[str]:
    """Restart a unit, and have it started at boot; what is wrong, if it does not start."""
    sudo(device, "systemctl", "enable", "--quiet", unit)
    done = sudo(device, "systemctl", "restart", unit, check=False, timeout_s=timeout_s)
    if done.status == 0:
        return []
    return [f"{unit} does not start: {_last_words(device, unit) or done.stderr.strip()}"]


def stop(device: Device, *names: str, timeout_s: int) -> None:
    """Stop units and have them stopped after a reboot, too; units that are not there are."""
    for name in names:
        off = ("systemctl", "disable", "--quiet", "--now", name)
        sudo(device, *off, check=False, timeout_s=timeout_s)


def logs(device: Device, unit: str, lines: int) -> str:
    """The last lines that a unit wrote, with times."""
    options = ("--lines", str(lines), "--no-pager", "--output", "short-iso")
    return sudo(device, "journalctl", "--unit", unit, *options).stdout


def _last_words(device: Device, unit: str) -> str:
    """The last line that the unit's own process wrote; "" if it wrote none."""
    options = ("--lines", "1", "--no-pager", "--output", "cat")
    done = sudo(device, "journalctl", f"_SYSTEMD_UNIT={unit}", *options, check=False)
    return done.stdout.strip()


class UnitState(NamedTuple):
    """What systemd says of a unit."""

    active: str
    """Such as `active`."""
    sub: str
    """Such as `running`."""
    since: str | None
    """When it became active."""
    restarts: int
    memory_bytes: int | None


def unit_state(device: Device, unit: str) -> UnitState:
    """A unit that is not there is inactive."""
    done = device.run(["systemctl", "show", unit, f"--property={','.join(SHOWN)}"])
    said = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    restarts = said.get("NRestarts", "0")
    if not {"ActiveState", "SubState"} <= said.keys() or not re.fullmatch(r"\d{1,9}", restarts):
        raise LlmpiError(f"device {device.name}: systemctl show {unit} says {done.stdout[:200]!r}")
    memory = said.get("MemoryCurrent", "")  # "[not set]" where it does not run
    return UnitState(
        active=said["ActiveState"],
        sub=said["SubState"],
        since=said.get("ActiveEnterTimestamp") or None,
        restarts=int(restarts),
        memory_bytes=int(memory) if re.fullmatch(r"[0-9]{1,18}", memory) else None,
    )
