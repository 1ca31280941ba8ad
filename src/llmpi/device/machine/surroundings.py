"""What else a machine does and has that could spoil a measurement, for `llmpi devices check`.

Stdlib only and alone in its file: the workstation sends this text to the Python there
(`python -c TEXT STORE`), which prints `everything` as JSON.
"""

import json
import mmap
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Literal

    from llmpi.device.records import Busy, Speed, Surroundings, Swap, SwapMaker

SYS = Path("/sys")
PROC = Path("/proc")
ETC = Path("/etc")

WATCHED_S = 0.5
TRIED_BYTES = 32 << 20
"""Written to the store and read again: enough for an SD card to show itself, and no wear."""


def everything(store: Path) -> "Surroundings":
    """All of it; takes a second or two."""
    return {
        "swaps": swaps(),
        "swap_made_by": swap_made_by(),
        "busy": busy(),
        "memory_groups": memory_groups(),
        "sudo": sudo(),
        "fan_rpm": fan_rpm(),
        "compiler": next(filter(None, map(shutil.which, ("c++", "g++", "clang++"))), None),
        "storage_speed": storage_speed(store.expanduser()),
    }


def swaps() -> "list[Swap]":
    """Where pages may go."""
    found: list[Swap] = []
    for line in _text(PROC / "swaps").splitlines()[1:]:
        name, kind, size_kib, *_ = line.split()
        is_zram = Path(name).name.startswith("zram")
        found.append(
            {
                "name": name,
                "kind": "zram" if is_zram else "file" if kind == "file" else "partition",
                "bytes": int(size_kib) * 1024,
            }
        )
    return found


def swap_made_by() -> "SwapMaker | None":
    """What turns it on at every start: `rpi-swap` since Raspberry Pi OS 13, `dphys-swapfile`
    before; None where nothing that is known does."""
    makers: dict[SwapMaker, Path] = {
        "rpi-swap": ETC / "rpi/swap.conf",
        "dphys-swapfile": ETC / "dphys-swapfile",
        "zram-generator": ETC / "systemd/zram-generator.conf",
    }
    for name, file in makers.items():
        if file.exists():
            return name
    in_fstab = re.search(r"^[^#\s]\S*\s+\S+\s+swap\s", _text(ETC / "fstab"), re.MULTILINE)
    return "fstab" if in_fstab else None


def busy() -> "list[Busy]":
    """Who else computes, the busiest first: those with a tenth of a processor or more."""
    before, start = _ticks(), time.monotonic()
    time.sleep(WATCHED_S)
    passed = (time.monotonic() - start) * os.sysconf("SC_CLK_TCK")
    shares = {
        pid: (name, (ticks - before[pid][1]) / passed)
        for pid, (name, ticks) in _ticks().items()
        if pid in before and pid != os.getpid()
    }
    return [
        {"name": name, "processors": round(share, 2)}
        for name, share in sorted(shares.values(), key=lambda one: -one[1])
        if share >= 0.1
    ]


def _ticks() -> dict[int, tuple[str, int]]:
    found = {}
    for stat in PROC.glob("[0-9]*/stat"):
        name, _, rest = _text(stat).partition("(")[2].rpartition(")")
        if len(fields := rest.split()) > 12:
            found[int(stat.parent.name)] = (name, int(fields[11]) + int(fields[12]))
    return found


def memory_groups() -> bool:
    """Whether the kernel can bound a service's memory; a Pi's does not by default."""
    controllers = _text(SYS / "fs/cgroup/cgroup.controllers").split()
    return "memory" in controllers or (SYS / "fs/cgroup/memory").is_dir()


def sudo() -> 'Literal["free", "asks"] | None':
    """`free`, `asks` for a password, or None where there is none."""
    if os.geteuid() == 0:
        return "free"
    if not shutil.which("sudo"):
        return None
    done = subprocess.run(
        ["sudo", "-n", "true"], capture_output=True, stdin=subprocess.DEVNULL, timeout=10
    )
    return "asks" if done.returncode else "free"


def fan_rpm() -> int | None:
    """Of the fastest fan that is seen."""
    files = (SYS / "class/hwmon").glob("hwmon*/fan*_input")
    values = [int(text) for file in files if (text := _text(file)).isdigit()]
    return max(values, default=None)


def storage_speed(store: Path) -> "Speed | None":
    """To and from the medium below the store, past the page cache; None where nothing can be
    written there, or the file system has no direct access."""
    folder = store
    while not folder.is_dir():
        folder = folder.parent
    path = folder / f".llmpi-speed-{os.getpid()}"
    try:
        return _speed(path)
    except OSError:
        return None
    finally:
        path.unlink(missing_ok=True)


def _speed(path: Path) -> "Speed":
    block = mmap.mmap(-1, 1 << 20)  # on a page's boundary, as direct access asks for
    block.write(os.urandom(len(block)))
    times = []
    for how in (os.O_WRONLY | os.O_CREAT | os.O_EXCL, os.O_RDONLY):
        handle = os.open(path, how | os.O_DIRECT, 0o600)
        try:
            start = time.monotonic()
            for _ in range(TRIED_BYTES // len(block)):
                os.writev(handle, [block]) if how & os.O_WRONLY else os.readv(handle, [block])
            os.fsync(handle)
            times.append(time.monotonic() - start)
        finally:
            os.close(handle)
    return {"write_bytes_per_s": TRIED_BYTES / times[0], "read_bytes_per_s": TRIED_BYTES / times[1]}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


if __name__ == "__main__":
    print(json.dumps(everything(Path(sys.argv[1]))))
