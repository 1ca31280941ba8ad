"""Make a device ready: its store, and a venv there with llmpi's own wheel and the engine."""

import json
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from llmpi.code import PACKAGE, code_of
from llmpi.device import commands, durable, install
from llmpi.device.machine import environment
from llmpi.device.records import Installed, Look
from llmpi.engine.records import Machine, Where
from llmpi.errors import LlmpiError
from llmpi.records import now, sha256_of
from llmpi.remote.connection import connected
from llmpi.remote.machine import DURABLE, Device
from llmpi.remote.records import Preparation, Provisioned
from llmpi.script import tell
from llmpi.study.devices import EngineWheel, SingleDevice, SshDevice

if TYPE_CHECKING:
    from llmpi.remote.engine_wheels import Processor

log = logging.getLogger(__name__)

MINIMUM_PYTHON = (3, 11)
PLUMBING = [
    *Path(durable.__file__).parent.glob("*.py"),
    *Path(commands.__file__).parent.glob("*.py"),
]
"""How a device is asked, whatever for."""
INSTALLER = Path(install.__file__)
LOOK_S = 600
"""All files of the venv are read, from the slowest of cards."""
INSTALL_S = 3600
BUILD_S = 6 * 3600


@dataclass(frozen=True)
class Parts:
    """What of this machine a device is made ready with."""

    lock: Path
    """The device's pinned packages, the engine among them."""
    engines: Path
    """Folder of the wheels made for devices."""


def provision(name: str, device: SingleDevice, parts: Parts) -> Provisioned:
    """Provision a device; quick where nothing changed.

    This machine has everything but its store.

    Raises:
        LlmpiError: the device lacks something, or the way to it failed.
    """
    preparation = _preparation(device, parts) if isinstance(device, SshDevice) else None
    with connected(name, device) as reached:
        reached.make_folder(reached.store)
        if preparation:
            _make_ready(reached, preparation)
        described = reached.ask("describe", {}, Where, log=log.debug)
        return {
            "status": "ok",
            "device": name,
            "store": reached.store,
            "interpreter": reached.interpreter,
            "preparation": preparation,
            **described,
            "provisioned": now(),
        }


def ensure_ready(device: Device, provisioned: Provisioned, *runs: str) -> None:
    """Have a device as it was provisioned: a power cut or a worn card may have taken files since.

    It is given this very llmpi where another one is there, but for edits of what it is not asked
    for now: a measurement that still runs there is to be left alone.

    Args:
        runs: the modules that it is asked for.

    Raises:
        LlmpiError: see `provision`.
    """
    preparation = provisioned["preparation"]
    if preparation is None:
        return
    device.python = preparation["python"]
    found = installed(device)
    if not durable.is_whole(found) or not _has(device, runs):
        device.make_folder(device.store)
        _make_ready(device, preparation)


def installed(device: Device, venv: str | None = None) -> Installed:
    """What is installed there, as its files are now.

    Args:
        venv: its folder; by default the one that measures.

    Raises:
        LlmpiError: the Python there is missing or too old.
    """
    _check_python(device)
    said = device.run_file(DURABLE, "look", venv or _venv(device), timeout_s=LOOK_S)
    return device.checked(said, Installed, "what is installed there")


def _preparation(device: SshDevice, parts: Parts) -> Preparation:
    own = device.engine
    return {
        "python": device.python,
        "engine": {"wheel": str(own.wheel)} if isinstance(own, EngineWheel) else own,
        "march": device.march,
        "lock": str(parts.lock),
        "engines": str(parts.engines),
    }


def _make_ready(device: Device, how: Preparation) -> None:
    found = installed(device)
    for part, held in (("the engine", found["engine"]), ("llmpi", found["llmpi"])):
        if held and held["damaged"]:
            log.warning(
                "device %s: %d files of %s are not as they were installed, such as %s: a power cut "
                "or a bad disk; installing it again",
                *(device.name, held["damaged"], part, held["such_as"][0]),
            )
    _install_engine(device, how, found)
    _install_llmpi(device, found)


def probe(device: Device) -> Look:
    """`llmpi.device.machine.environment.everything` of a device that need not have llmpi.

    Raises:
        LlmpiError: the Python there is missing or too old.
    """
    _check_python(device)
    told = device.run_file(Path(environment.__file__), device.store)
    return device.checked(told, Look, f"{device.python} there")


def _check_python(device: Device) -> None:
    code = "import sys;print(*sys.version_info[:2])"
    done = device.run([device.python, "-I", "-c", code], check=False)
    found = re.fullmatch(r"(\d{1,3}) (\d{1,3})\n", done.stdout) if done.status == 0 else None
    version = tuple(map(int, found.groups())) if found else ()
    if version < MINIMUM_PYTHON:
        has = f"is Python {'.'.join(map(str, version))}" if version else "does not run"
        raise LlmpiError(
            f"device {device.name}: {device.python} {has}; llmpi needs Python 3.11 or later there "
            "(Raspberry Pi OS 12 and later have it). Name another one as 'python' in the config."
        )


def wrong_userland(arch: str, bits: int) -> str | None:
    """Why llmpi cannot work in it; None where it can."""
    if bits >= 64:
        return None
    return (
        f"its userland has {bits} bits, whatever its kernel ({arch}) has: no engine is built for "
        "it. Install the 64-bit Raspberry Pi OS"
    )


# --- the engine -----------------------------------------------------------------------------------


def _install_engine(device: Device, how: Preparation, found: Installed) -> None:
    machine = probe(device)["machine"]
    if why := wrong_userland(machine["arch"], machine["userland_bits"]):
        raise LlmpiError(f"device {device.name}: {why}")
    lock, engine = Path(how["lock"]), how["engine"]
    if engine == "auto":
        engine = made_how(machine)
    if engine == "native":
        _build_there(device, lock, found)
        return
    from llmpi.remote.engine_wheels import engine_wheels

    own = None if engine == "cross" else Path(engine["wheel"])
    if own is None and machine["arch"] != "aarch64":
        raise LlmpiError(
            f"device {device.name}: is {machine['arch']}; llmpi cross-builds for aarch64 only. "
            "Set 'engine: native' for it, or name a wheel."
        )
    processor = processor_of(machine)
    march = how["march"] or processor.march
    wheels = engine_wheels(lock, processor, march, Path(how["engines"]), own)
    _install_offline(device, wheels, found)


def made_how(machine: Machine) -> Literal["cross", "native"]:
    """How an engine is made for a device whose config does not say."""
    return "cross" if machine["arch"] == "aarch64" else "native"


def processor_of(machine: Machine) -> "Processor":
    """What decides which wheels a device can take."""
    from llmpi.remote.engine_wheels import Processor

    return Processor(machine["arch"], machine["python"], machine["glibc"] or "", *machine["hwcap"])


def _install_offline(device: Device, wheels: Sequence[Path], found: Installed) -> None:
    """A venv of `wheels` alone. pip is one of them: the device may have none."""
    key = sha256("".join(map(sha256_of, wheels)).encode()).hexdigest()
    if _holds(found, "engine", key):
        return
    log.info("device %s: installing the engine from %d wheels", device.name, len(wheels))
    venv, folder = _no_venv(device, found), f"{device.store}/setup/wheels-{key[:12]}"
    for wheel in wheels:
        if device.sha256(f"{folder}/{wheel.name}") != sha256_of(wheel):
            device.put(wheel, f"{folder}/{wheel.name}")
    command = [device.python, "-m", "venv", "--without-pip", venv]
    device.run(command, log=log.debug, timeout_s=INSTALL_S)
    names = [wheel.name for wheel in wheels]
    pip = next(name for name in names if name.startswith("pip-"))
    _pip_install(device, [f"./{pip}/pip"], folder, names)
    build = wheels[0].with_suffix(".json")
    if build.is_file():
        device.put(build, f"{venv}/llmpi-engine-build.json")
    _seal(device, "engine", key)
    device.run(["rm", "-rf", "--", folder])


def _build_there(device: Device, lock: Path, found: Installed) -> None:
    key = sha256_of(lock)
    if _holds(found, "engine", key):
        return
    log.info("device %s: installing the engine (compiled there, takes minutes)", device.name)
    venv, setup = _no_venv(device, found), f"{device.store}/setup"
    device.run([device.python, "-m", "venv", venv], log=log.debug, timeout_s=INSTALL_S)
    there = {path: f"{setup}/{path.name}" for path in (INSTALLER, lock)}
    tools = lock.with_name("build.lock")
    for path, target in {**there, tools: f"{setup}/{tools.name}"}.items():
        device.put(path, target)
    command = [device.interpreter, *there.values()]
    device.run(command, log=tell, timeout_s=BUILD_S)
    _seal(device, "engine", key)


def _no_venv(device: Device, found: Installed) -> str:
    """Where the venv is to be, empty; llmpi goes with the engine it stood beside."""
    device.run(["rm", "-rf", "--", _venv(device)], timeout_s=INSTALL_S)
    found["engine"] = found["llmpi"] = None
    return _venv(device)


# --- llmpi ----------------------------------------------------------------------------------------


def _install_llmpi(device: Device, found: Installed) -> None:
    """Bring this very llmpi to a device that has the engine; nothing where it is there."""
    from llmpi.remote.wheel import this_llmpi

    wheel = this_llmpi()
    key = sha256_of(wheel)
    if _holds(found, "llmpi", key):
        return
    log.info("device %s: installing %s", device.name, wheel.name)
    folder = f"{device.store}/setup/new"
    device.put(wheel, f"{folder}/{wheel.name}")
    device.run_file(DURABLE, "unseal", _venv(device), "llmpi")
    _pip_install(device, ["-m", "pip"], folder, [wheel.name])
    _seal(device, "llmpi", key)
    device.run(["rm", "-rf", "--", folder])


# --- both -----------------------------------------------------------------------------------------


def _venv(device: Device) -> str:
    return f"{device.store}/venv"


def _has(device: Device, runs: Sequence[str]) -> bool:
    """Whether the llmpi there is this one, as far as `runs` need it."""
    needed = {*PLUMBING, *(file for module in runs for file in code_of(module))}
    here = {str(file.relative_to(PACKAGE.parent)): sha256_of(file) for file in sorted(needed)}
    said = device.run_file(DURABLE, "has", _venv(device), json.dumps(here))
    return device.checked(said, bool, "whether it has this llmpi")


def _holds(found: Installed, part: Literal["engine", "llmpi"], key: str) -> bool:
    held = found[part]
    return held is not None and held["key"] == key and not held["damaged"]


def _seal(device: Device, part: str, key: str) -> None:
    device.run_file(DURABLE, "seal", _venv(device), part, key, timeout_s=LOOK_S)


def _pip_install(device: Device, pip: Sequence[str], folder: str, names: Sequence[str]) -> None:
    """Install wheels that lie in `folder` there, without a network."""
    # By names relative to it: pip reads a path with a ';' in it as a requirement with a marker.
    inside = ["sh", "-c", 'cd -- "$1" && shift && exec "$@"', "sh", folder]
    options = ["--no-index", "--no-deps", "--force-reinstall", "--disable-pip-version-check"]
    install = [device.interpreter, *pip, "install", *options, *(f"./{name}" for name in names)]
    device.run([*inside, *install], log=log.debug, timeout_s=INSTALL_S)
