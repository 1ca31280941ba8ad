"""Make a device ready: its store, and a venv there with llmpi's own wheel and the engine."""

import json
import logging
from pathlib import Path
from typing import Any

from llmpi.errors import LlmpiError
from llmpi.records import Record, now, sha256_of
from llmpi.remote.connection import Device, connected

log = logging.getLogger(__name__)

MINIMUM_PYTHON = (3, 11)


def provision(
    name: str, spec: dict[str, Any], *, wheel: Path | None, lock: Path, installer: Path
) -> Record:
    """Provision a device; quick where nothing changed.

    Args:
        wheel: of llmpi, for a device that is not this machine.
        lock: the device's pinned packages, the engine among them.
        installer: `llmpi/device/install.py`, which runs on the device before llmpi is there.

    Returns:
        Receipt: `store` and `interpreter` (paths on the device), `machine`, `engine`.
    """
    with connected(name, spec) as device:
        device.make_folder(device.store)
        if wheel is not None:
            _check_python(device)
            _install(device, wheel, lock, installer)
        describe = [device.interpreter, "-m", "llmpi.device.cli", "describe"]
        described = device.run(describe, log=log.debug)
        return {
            "status": "ok",
            "device": name,
            "store": device.store,
            "interpreter": device.interpreter,
            "wheel_sha256": sha256_of(wheel) if wheel else None,
            "lock_sha256": sha256_of(lock),
            **json.loads(described.stdout),
            "provisioned": now(),
        }


def _check_python(device: Device) -> None:
    code = "import sys;print(*sys.version_info[:2])"
    done = device.run([device.python, "-c", code], check=False)
    version = tuple(int(part) for part in done.stdout.split()) if done.status == 0 else ()
    if version < MINIMUM_PYTHON:
        has = f"is Python {'.'.join(map(str, version))}" if version else "does not run"
        raise LlmpiError(
            f"device {device.name}: {device.python} {has}; llmpi needs Python 3.11 or later there "
            "(Raspberry Pi OS 12 has it). Name another one as 'python' in the config."
        )


def _install(device: Device, wheel: Path, lock: Path, installer: Path) -> None:
    """Install what is not there yet; what is there is told by a file written last."""
    venv = f"{device.store}/venv"
    setup = f"{device.store}/setup"
    if not _is_there(device, f"{setup}/{lock.name}", lock):
        log.info("device %s: installing the engine (compiled there, takes minutes)", device.name)
        device.run(["rm", "-rf", "--", venv, f"{setup}/{lock.name}"])
        device.run([device.python, "-m", "venv", venv], log=log.debug)
        device.put(installer, f"{setup}/{installer.name}")
        device.put(lock, f"{setup}/{lock.name}.new")
        device.run(
            [device.interpreter, f"{setup}/{installer.name}", f"{setup}/{lock.name}.new"],
            log=log.debug,
        )
        device.run(["mv", "-f", "--", f"{setup}/{lock.name}.new", f"{setup}/{lock.name}"])
    if not _is_there(device, f"{setup}/{wheel.name}", wheel):
        log.info("device %s: installing %s", device.name, wheel.name)
        fresh = f"{setup}/new/{wheel.name}"
        device.put(wheel, fresh)
        pip = [
            device.interpreter,
            "-m",
            "pip",
            "install",
            "--no-deps",
            "--force-reinstall",
            "--no-index",
        ]
        device.run([*pip, fresh], log=log.debug)
        device.run(["mv", "-f", "--", fresh, f"{setup}/{wheel.name}"])


def _is_there(device: Device, path: str, local: Path) -> bool:
    return device.sha256(path) == sha256_of(local)
