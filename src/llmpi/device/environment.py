"""Under which conditions a measurement ran: what the machine is and how it feels just now."""

import os
import platform
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

SYS = Path("/sys")
PROC = Path("/proc")


def machine() -> dict[str, Any]:
    """What does not change while a measurement runs. Sizes in bytes."""
    return {
        "arch": platform.machine(),
        "board": _text(SYS / "firmware/devicetree/base/model").rstrip("\0") or None,
        "cpu": _cpu_model(),
        "cpu_features": _cpu_features(),
        "processors": len(os.sched_getaffinity(0)),
        "memory_bytes": _meminfo("MemTotal"),
        "swap_bytes": _meminfo("SwapTotal"),
        "kernel": f"{platform.system()} {platform.release()} {platform.version()}",
        "python": platform.python_version(),
    }


def conditions() -> dict[str, Any]:
    """What does change; None where the machine does not tell."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "governor": _text(SYS / "devices/system/cpu/cpu0/cpufreq/scaling_governor") or None,
        "frequency_hz": _frequency_hz(),
        "temperature_c": _temperature_c(),
        "load_1min": os.getloadavg()[0],
        "memory_available_bytes": _meminfo("MemAvailable"),
    }


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


def _cpuinfo(*keys: str) -> str | None:
    for key in keys:
        found = re.search(rf"^{key}\s*:\s*(.+)$", _text(PROC / "cpuinfo"), re.MULTILINE)
        if found:
            return found.group(1)
    return None


def _cpu_model() -> str | None:
    part = _cpuinfo("CPU part")  # Arm names no model, only numbers
    return _cpuinfo("model name") or (f"Arm implementer part {part}" if part else None)


def _cpu_features() -> list[str]:
    return sorted((_cpuinfo("flags", "Features") or "").split())


def _meminfo(key: str) -> int | None:
    found = re.search(rf"^{key}:\s+(\d+) kB", _text(PROC / "meminfo"), re.MULTILINE)
    return int(found.group(1)) * 1024 if found else None


def _frequency_hz() -> list[int] | None:
    files = sorted((SYS / "devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_cur_freq"))
    return [int(text) * 1000 for file in files if (text := _text(file)).isdigit()] or None


def _temperature_c() -> float | None:
    """The hottest thermal zone, in degrees Celsius."""
    files = (SYS / "class/thermal").glob("thermal_zone*/temp")
    values = [int(text) / 1000 for file in files if (text := _text(file)).lstrip("-").isdigit()]
    return max(values, default=None)
