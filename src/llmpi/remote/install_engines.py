"""The engines of a comparison on a device: each in a folder of its own, laid over the venv there.

Llmpi, the interpreter and all other packages are the same for each; the engine alone differs. One
that cannot be run as llmpi runs it is refused by name, before anything is measured.
"""

import json
import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path

from llmpi.engine.laid_over import BUILD_NAME
from llmpi.engine.records import Binding, Engine, Failed
from llmpi.errors import LlmpiError
from llmpi.records import sha256_of
from llmpi.remote.connection import connected
from llmpi.remote.engine_wheels import cross_wheel, native_wheel
from llmpi.remote.machine import Device
from llmpi.remote.provision import INSTALL_S, ensure_ready, processor_of
from llmpi.remote.records import InstalledEngine, InstalledEngines, Provisioned
from llmpi.study.devices import EngineWheel, SingleDevice, SshDevice
from llmpi.study.engines import ComparedEngine

log = logging.getLogger(__name__)

ENGINE_S = 180
"""An engine is loaded and asked, from the slowest of cards."""


def install_engines(
    name: str,
    device: SingleDevice,
    asked: Mapping[str, ComparedEngine],
    provisioned: Provisioned,
    cache: Path,
) -> InstalledEngines:
    """Have each of them on the device; quick where nothing changed.

    Args:
        asked: by name.
        cache: folder of the wheels made for devices.

    Raises:
        LlmpiError: one cannot be made, or cannot be run as llmpi runs it; the device or the way to
            it failed.
    """
    made = {one: _wheel(one, how, device, provisioned, cache) for one, how in asked.items()}
    with connected(name, device) as reached:
        ensure_ready(reached, provisioned, "llmpi.engine.binding")
        standard = _ask(reached, None, "the installed engine")
        engines = {one: _installed(reached, one, wheel, standard) for one, wheel in made.items()}
    return {"status": "ok", "device": name, "engines": engines}


def ensure_engines(device: Device, installed: InstalledEngines) -> None:
    """Have them as they were installed: a power cut or a worn card may have taken files since.

    Raises:
        LlmpiError: as `install_engines`; or it is another one by now.
    """
    for name, one in installed["engines"].items():
        found = _binding(device, one["folder"])
        if found["status"] == "ok" and found["engine"] == one["engine"]:
            continue
        if one["folder"] is None or one["wheel"] is None:
            raise LlmpiError(
                f"device {device.name}: engine {name} is not the one any more that was there when "
                "the engines were installed; run again with --forcerun install_engines"
            )
        log.warning("device %s: engine %s is not as it was installed: again", device.name, name)
        _lay(device, Path(one["wheel"]), one["folder"])
        if _ask(device, one["folder"], name)["engine"] != one["engine"]:
            raise LlmpiError(
                f"device {device.name}: engine {name} is another one than its wheel {one['wheel']} "
                "was before; run again with --forcerun install_engines"
            )


# --- made here ------------------------------------------------------------------------------------


def _wheel(
    name: str, asked: ComparedEngine, device: SingleDevice, provisioned: Provisioned, cache: Path
) -> Path | None:
    """None where the engine that is installed is the one that is asked for."""
    if asked.wheel:
        return Path(asked.wheel)
    assert asked.version
    own_make = isinstance(device, SshDevice) and isinstance(device.engine, EngineWheel)
    same = asked.version == provisioned["engine"]["version"] and not asked.cmake_args
    if same and not own_make:
        return None
    log.info("engine %s: llama-cpp-python %s", name, asked.version)
    if device.is_here:
        return native_wheel(asked.version, asked.cmake_args, cache)
    assert isinstance(device, SshDevice)
    machine = provisioned["machine"]
    if machine["arch"] != "aarch64":
        raise LlmpiError(
            f"engines.{name}: device {provisioned['device']} is {machine['arch']}, and llmpi "
            "cross-builds for aarch64 only. Name a wheel of it that was built for the device."
        )
    processor = processor_of(machine)
    march = device.march or processor.march
    return cross_wheel(asked.version, asked.cmake_args, processor, march, cache)


# --- there ----------------------------------------------------------------------------------------


def _installed(device: Device, name: str, wheel: Path | None, standard: Binding) -> InstalledEngine:
    if wheel is None:
        engine = _usable(device, name, standard, standard)
        return {"folder": None, "wheel": None, "wheel_sha256": None, "engine": engine}
    sha256 = sha256_of(wheel)
    folder = f"{device.store}/engines/{sha256[:16]}"
    found = _binding(device, folder)
    if found["status"] == "failed":
        log.info("device %s: installing engine %s from %s", device.name, name, wheel.name)
        _lay(device, wheel, folder)
        found = _ask(device, folder, name)
    engine = _usable(device, name, found, standard)
    return {"folder": folder, "wheel": str(wheel), "wheel_sha256": sha256, "engine": engine}


def _lay(device: Device, wheel: Path, folder: str) -> None:
    """A wheel's content in a folder, which takes its name when all of it is there."""
    partial, there = f"{folder}.part", f"{device.store}/setup/{wheel.name}"
    device.run(["rm", "-rf", "--", partial, folder], timeout_s=INSTALL_S)
    device.put(wheel, there)
    # A wheel is a zip; pip would read a path with a ';' in it as a requirement with a marker.
    unpack = [device.python, "-I", "-m", "zipfile", "-e", there, partial]
    device.run(unpack, log=log.debug, timeout_s=INSTALL_S)
    beside = wheel.with_suffix(".json")
    build = json.loads(beside.read_text(encoding="utf-8")) if beside.is_file() else None
    with tempfile.TemporaryDirectory() as scratch:
        told = Path(scratch) / BUILD_NAME
        told.write_text(json.dumps(build), encoding="utf-8")
        device.put(told, f"{partial}/{BUILD_NAME}")
    device.run(["sh", "-c", 'sync && mv -- "$1" "$2" && sync', "sh", partial, folder])
    device.run(["rm", "-f", "--", there])


def _ask(device: Device, folder: str | None, name: str) -> Binding:
    found = _binding(device, folder)
    if found["status"] == "failed":
        raise LlmpiError(f"device {device.name}: engine {name}: {found['reason']}")
    return found


def _binding(device: Device, folder: str | None) -> Binding | Failed:
    return device.ask("binding", {"engine": folder}, Binding | Failed, timeout_s=ENGINE_S)


def _usable(device: Device, name: str, found: Binding, standard: Binding) -> Engine:
    """The engine, if what llmpi sets in it is there, and is what it is in the installed one.

    Raises:
        LlmpiError: it is not, with what.
    """
    common = found["fields"].keys() & standard["fields"].keys()
    other = sorted(key for key in common if found["fields"][key] != standard["fields"][key])
    wrong = [
        *(f"it lacks {key}" for key in found["lacks"]),
        *(f"{key} is {found['fields'][key]} there, not {standard['fields'][key]}" for key in other),
    ]
    if wrong or found["engine"] is None:
        raise LlmpiError(
            f"device {device.name}: engine {name} cannot be run as llmpi runs one: "
            f"{'; '.join(wrong)}. Take it out of 'engines', or name a newer version."
        )
    return found["engine"]
