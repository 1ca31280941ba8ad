"""Under which conditions a measurement ran: what the machine is and how it feels just now.

Stdlib only and alone in its file: before llmpi is on a device, the workstation sends this text to
the Python there (`python -c TEXT STORE`), which prints `everything` as JSON.
"""

import ctypes
import json
import os
import platform
import re
import shutil
import struct
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llmpi.device.records import Look, Storage
    from llmpi.engine.records import Conditions, Machine, Throttled

SYS = Path("/sys")
PROC = Path("/proc")


def machine() -> "Machine":
    """What does not change while a measurement runs."""
    return {
        "arch": platform.machine(),
        "userland_bits": 8 * struct.calcsize("P"),
        "page_bytes": os.sysconf("SC_PAGE_SIZE"),
        "board": board() or None,
        "cpu": _cpu_model(),
        "cpu_features": _cpu_features(),
        "processors": len(os.sched_getaffinity(0)),
        "memory_bytes": _meminfo("MemTotal"),
        "swap_bytes": _meminfo("SwapTotal"),
        "kernel": f"{platform.system()} {platform.release()} {platform.version()}",
        "os": _os_name(),
        "python": platform.python_version(),
        "glibc": _glibc(),
        "hwcap": (_auxiliary(AT_HWCAP), _auxiliary(AT_HWCAP2)),
    }


def conditions() -> "Conditions":
    """What does change."""
    found: Conditions = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "governor": _text(SYS / "devices/system/cpu/cpu0/cpufreq/scaling_governor") or None,
        "frequency_hz": frequency_hz(),
        "temperature_c": temperature_c(),
        "throttled": throttled(),
        "load_1min": os.getloadavg()[0],
        "memory_available_bytes": memory_available_bytes(),
        "swap_free_bytes": _meminfo("SwapFree"),
    }
    if why := throttling_unseen():
        found["throttling_unseen"] = why
    return found


def throttled() -> "Throttled | None":
    """What the Raspberry Pi's firmware says of its power and heat; None where it says nothing."""
    try:
        return _throttled()
    except FirmwareError:
        return None


def throttling_unseen() -> str | None:
    """Why a Raspberry Pi's throttling cannot be seen; None where it can, and on other boards."""
    try:
        _throttled()
    except FirmwareError as error:
        return str(error) if shutil.which("vcgencmd") or "Raspberry Pi" in board() else None
    return None


def _throttled() -> "Throttled":
    """
    Raises:
        FirmwareError: the firmware does not say it.
    """
    said = firmware("get_throttled")
    found = re.search(r"throttled=0x([0-9a-fA-F]{1,16})\b", said)
    if not found:
        raise FirmwareError(f"vcgencmd get_throttled says {said[:80]!r}")
    bits = int(found.group(1), 16)
    return {
        "now": [name for i, name in enumerate(THROTTLED) if bits >> i & 1],
        "since_boot": [name for i, name in enumerate(THROTTLED) if bits >> 16 + i & 1],
    }


class FirmwareError(Exception):
    """The Raspberry Pi's firmware cannot be asked; the message is for a person."""


def firmware(request: str) -> str:
    """What the Raspberry Pi's firmware answers.

    Raises:
        FirmwareError: there is none, or it may not be asked, or it does not answer.
    """
    try:
        done = subprocess.run(
            ["vcgencmd", *request.split()],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=5,
            check=False,
        )
    except FileNotFoundError:
        raise FirmwareError(
            "vcgencmd is not there; on a Raspberry Pi: sudo apt install raspi-utils"
        ) from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise FirmwareError(f"vcgencmd {request}: {error}") from None
    if re.search(NOT_PERMITTED, done.stdout + done.stderr, re.IGNORECASE):
        raise FirmwareError(
            "vcgencmd may not open /dev/vcio: add the user to group video (sudo usermod -aG video "
            "USER) and log in anew"
        )
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()[:80]
        raise FirmwareError(f"vcgencmd {request} ended with status {done.returncode}: {said}")
    return done.stdout


def memory_available_bytes() -> int | None:
    """Without swapping, by the kernel's estimate."""
    return _meminfo("MemAvailable")


def storage(path: Path) -> "Storage":
    """The medium below `path`, or below its nearest parent that exists."""
    while not path.exists():
        path = path.parent
    device = path.stat().st_dev
    usage = shutil.disk_usage(path)
    node = SYS / f"dev/block/{os.major(device)}:{os.minor(device)}"
    where = str(node.resolve()) if node.exists() else ""
    is_emmc = "/mmc_host/" in where and _text(_disk_of(where) / "device/type") == "MMC"
    mmc = "eMMC" if is_emmc else "SD card"
    kinds = {"/nvme": "NVMe", "/mmcblk": mmc, "/usb": "USB", "/virtual/": "virtual"}
    return {
        "free_bytes": usage.free,
        "size_bytes": usage.total,
        "medium": next((name for part, name in kinds.items() if part in where), None),
        "device": Path(where).name or None,
    }


def _disk_of(node: str) -> Path:
    """The disk itself, of a partition."""
    path = Path(node)
    return path.parent if (path / "partition").exists() else path


def everything(store: Path) -> "Look":
    """The machine, how it feels, its storage, its tools, and what time it has."""
    return {
        "machine": machine(),
        "conditions": conditions(),
        "storage": storage(store.expanduser()),
        "tools": {tool: shutil.which(tool) for tool in ("rsync", "vcgencmd")},
        "time_s": time.time(),
    }


# Bits of `vcgencmd get_throttled`: 0-3 now, 16-19 since boot (Raspberry Pi documentation).
THROTTLED = ("under-voltage", "frequency capped", "throttled", "soft temperature limit")

NOT_PERMITTED = "can't open device file|VCHI initialization failed"
"""What vcgencmd of today and of earlier says to a user outside group video."""

AT_HWCAP, AT_HWCAP2 = 16, 26  # getauxval(3), Linux


def _auxiliary(kind: int) -> int:
    """The kernel's word on the processor; the truth under emulation too, unlike /proc/cpuinfo."""
    getauxval = ctypes.CDLL(None).getauxval
    getauxval.restype = ctypes.c_ulong
    return int(getauxval(ctypes.c_ulong(kind)))


def _glibc() -> str | None:
    name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    return version if name == "glibc" else None


def _os_name() -> str | None:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME")
    except OSError:
        return None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _cpuinfo(*keys: str) -> str | None:
    for key in keys:
        found = re.search(rf"^{key}\s*:\s*(.+)$", _text(PROC / "cpuinfo"), re.MULTILINE)
        if found:
            return found.group(1)
    return None


def board() -> str:
    """What a Raspberry Pi calls itself; nothing on others."""
    return _text(SYS / "firmware/devicetree/base/model").rstrip("\0")


def _cpu_model() -> str | None:
    part = _cpuinfo("CPU part")  # Arm names no model, only numbers
    return _cpuinfo("model name") or (f"Arm implementer part {part}" if part else None)


def _cpu_features() -> list[str]:
    return sorted((_cpuinfo("flags", "Features") or "").split())


def _meminfo(key: str) -> int | None:
    found = re.search(rf"^{key}:\s+(\d+) kB", _text(PROC / "meminfo"), re.MULTILINE)
    return int(found.group(1)) * 1024 if found else None


def throttled_meanwhile(before: "Conditions", after: "Conditions") -> bool:
    """Whether the firmware says so before or after, or remembers something new since."""
    then, now = before["throttled"], after["throttled"]
    if not then or not now:
        return False
    new = set(now["since_boot"]) - set(then["since_boot"])
    return bool(then["now"] or now["now"] or new)


def frequency_files() -> list[Path]:
    """One for each processor that tells."""
    return sorted((SYS / "devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_cur_freq"))


def frequency_hz(files: "Sequence[Path] | None" = None) -> list[int] | None:
    """
    Args:
        files: of `frequency_files`, for whoever asks again and again.
    """
    found = frequency_files() if files is None else files
    return [int(text) * 1000 for file in found if (text := _text(file)).isdigit()] or None


def temperature_files() -> list[Path]:
    """One for each thermal zone."""
    return [*(SYS / "class/thermal").glob("thermal_zone*/temp")]


def temperature_c(files: "Sequence[Path] | None" = None) -> float | None:
    """The hottest thermal zone, in degrees Celsius.

    Args:
        files: of `temperature_files`, for whoever asks again and again.
    """
    found = temperature_files() if files is None else files
    values = [int(text) / 1000 for file in found if (text := _text(file)).lstrip("-").isdigit()]
    return max(values, default=None)


if __name__ == "__main__":
    print(json.dumps(everything(Path(sys.argv[1]))))
