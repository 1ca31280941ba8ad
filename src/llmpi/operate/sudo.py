"""sudo on a device: what is to be run once where it asks for a password.

Raspberry Pi OS asks since April 2026. llmpi is told no password, so a person runs one line.
"""

import re
import shlex
import time
from collections.abc import Callable, Mapping

from llmpi.errors import LlmpiError
from llmpi.remote.connection import connected
from llmpi.remote.machine import Device
from llmpi.study.devices import SshDevice

RULE = "/etc/sudoers.d/llmpi"
LOOK_S = 3.0


def lacking(device: Device, user: str) -> str | None:
    """Why a user of a device cannot write and start units yet, and what to do; None if sudo asks
    for nothing."""
    if device.run(["sudo", "-n", "true"], check=False).status == 0:
        return None
    needs = f"device {device.name}: writing and starting units needs sudo without a password"
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", user):
        return f"{needs}, whose rules cannot name {user!r}; name another 'user' for the device"
    return (
        f"{needs}. Run this once there, which asks for it (or as root, if {user} has no sudo):\n"
        f"  {once(user)}\n"
        f"The service itself runs without it; `sudo rm {RULE}` takes it back."
    )


def once(user: str) -> str:
    """The line that a person runs there."""
    write = f'umask 227; echo "{user} ALL=(ALL) NOPASSWD: ALL" > {RULE}'
    return f"sudo sh -c {shlex.quote(write)}"


def ready(
    devices: Mapping[str, SshDevice],
    say: Callable[[str], None],
    *,
    waits: bool,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Go on when sudo asks on none of the devices any more. Of one that cannot be reached, or whose
    user is root, its own stage tells.

    Args:
        waits: whether somebody is there who runs what is to be run; the run can be broken off.

    Raises:
        LlmpiError: nobody is, and it asks somewhere.
    """
    told = {name: said for name, device in devices.items() if (said := _told(name, device))}
    if not told:
        return
    if not waits:
        again = "Then run `llmpi service install` again."
        raise LlmpiError("\n".join([*told.values(), again]))
    for said in told.values():
        say(said)
    say("Waiting until that is done (Ctrl-C ends this; nothing was changed) ...")
    while told:
        sleep(LOOK_S)
        told = {name: said for name in told if (said := _told(name, devices[name]))}


def _told(name: str, reached: SshDevice) -> str | None:
    try:
        with connected(name, reached) as device:
            user = device.run(["id", "-un"]).stdout.strip()
            return None if user == "root" else lacking(device, user)
    except LlmpiError:
        return None
