"""Make a device ready: its store, and a venv there with llmpi's own wheel and the engine."""

import logging
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from llmpi.code import sha256_of_code
from llmpi.device import install
from llmpi.device.machine import environment
from llmpi.device.records import Look
from llmpi.engine.records import Machine, Where
from llmpi.errors import LlmpiError
from llmpi.records import now, sha256_of, write_json
from llmpi.remote.connection import Device, ThisMachine, connected
from llmpi.remote.engine_wheels import Processor, engine_wheels
from llmpi.remote.records import InstalledEngine, Provisioned
from llmpi.remote.wheel import this_llmpi
from llmpi.study.devices import EngineWheel, SingleDevice, SshDevice

log = logging.getLogger(__name__)

MINIMUM_PYTHON = (3, 11)
MEASURES = "llmpi.device.measure.session"
"""What a device is made ready for: an edit of what this needs has it made ready anew. Who asks a
device for more brings it llmpi first (`install_llmpi`)."""
INSTALLER = Path(install.__file__)


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
    with connected(name, device) as reached:
        reached.make_folder(reached.store)
        if isinstance(device, SshDevice):
            _check_python(reached)
            _install_engine(reached, device, parts)
            install_llmpi(reached)
        described = reached.ask("describe", {}, Where, log=log.debug)
        return {
            "status": "ok",
            "device": name,
            "store": reached.store,
            "interpreter": reached.interpreter,
            "code_sha256": sha256_of_code(MEASURES),
            **described,
            "provisioned": now(),
        }


def probe(device: Device) -> Look:
    """`llmpi.device.machine.environment.everything` of a device that need not have llmpi.

    Raises:
        LlmpiError: the Python there is missing or too old.
    """
    _check_python(device)
    text = Path(environment.__file__).read_text(encoding="utf-8")
    told = device.run([device.python, "-I", "-c", text, device.store]).stdout
    return device.checked(told, Look, f"{device.python} there")


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


# --- the engine -----------------------------------------------------------------------------------


def _install_engine(device: Device, asked: SshDevice, parts: Parts) -> None:
    machine = probe(device)["machine"]
    how = asked.engine
    if how == "auto":
        how = "cross" if machine["arch"] == "aarch64" else "native"
    if how == "native":
        _build_there(device, parts)
        return
    own = Path(how.wheel) if isinstance(how, EngineWheel) else None
    if own is None and machine["arch"] != "aarch64":
        raise LlmpiError(
            f"device {device.name}: is {machine['arch']}; llmpi cross-builds for aarch64 only. "
            "Set 'engine: native' for it, or name a wheel."
        )
    processor = processor_of(machine)
    march = asked.march or processor.march
    wheels = engine_wheels(parts.lock, processor, march, parts.engines, own)
    _install_offline(device, wheels)


def processor_of(machine: Machine) -> Processor:
    """What decides which wheels a device can take."""
    return Processor(machine["arch"], machine["python"], machine["glibc"] or "", *machine["hwcap"])


def _install_offline(device: Device, wheels: Sequence[Path]) -> None:
    """A venv of `wheels` alone. pip is one of them: the device may have none."""
    venv, setup = f"{device.store}/venv", f"{device.store}/setup"
    key = sha256("".join(map(sha256_of, wheels)).encode()).hexdigest()
    folder = f"{setup}/wheels-{key[:12]}"
    if installed_engine(device) == key:
        return
    log.info("device %s: installing the engine from %d wheels", device.name, len(wheels))
    device.run(["rm", "-rf", "--", venv, _mark(device)])
    for wheel in wheels:
        if not _is_there(device, f"{folder}/{wheel.name}", wheel):
            device.put(wheel, f"{folder}/{wheel.name}")
    device.run([device.python, "-m", "venv", "--without-pip", venv], log=log.debug)
    names = [wheel.name for wheel in wheels]
    pip = next(name for name in names if name.startswith("pip-"))
    _pip_install(device, [f"./{pip}/pip"], folder, names)
    build = wheels[0].with_suffix(".json")
    if build.is_file():
        device.put(build, f"{venv}/llmpi-engine-build.json")
    _mark_installed(device, key)
    device.run(["rm", "-rf", "--", folder])


def _build_there(device: Device, parts: Parts) -> None:
    venv, setup = f"{device.store}/venv", f"{device.store}/setup"
    key = sha256_of(parts.lock)
    if installed_engine(device) == key:
        return
    log.info("device %s: installing the engine (compiled there, takes minutes)", device.name)
    device.run(["rm", "-rf", "--", venv, _mark(device)])
    device.run([device.python, "-m", "venv", venv], log=log.debug)
    there = {path: f"{setup}/{path.name}" for path in (INSTALLER, parts.lock)}
    tools = parts.lock.with_name("build.lock")
    for path, target in {**there, tools: f"{setup}/{tools.name}"}.items():
        device.put(path, target)
    device.run([device.interpreter, *there.values()], log=log.debug)
    _mark_installed(device, key)


def _mark(device: Device) -> str:
    """The file that says what is installed; written last, removed first."""
    return f"{device.store}/setup/engine.json"


def installed_engine(device: Device) -> str | None:
    """The key of the engine that a device has."""
    done = device.run(["cat", "--", _mark(device)], check=False)
    if done.status != 0:
        return None
    return device.checked(done.stdout, InstalledEngine, _mark(device))["key"]


def _mark_installed(device: Device, key: str) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        mark = Path(scratch) / "engine.json"
        installed: InstalledEngine = {"key": key, "installed": now()}
        write_json(mark, installed)
        device.put(mark, _mark(device))


# --- llmpi ----------------------------------------------------------------------------------------


def install_llmpi(device: Device) -> None:
    """Bring this very llmpi to a device that has the engine; nothing where it is there."""
    if isinstance(device, ThisMachine):
        return
    wheel, setup = this_llmpi(), f"{device.store}/setup"
    if _is_there(device, f"{setup}/{wheel.name}", wheel) and _runs(device):
        return
    log.info("device %s: installing %s", device.name, wheel.name)
    device.put(wheel, f"{setup}/new/{wheel.name}")
    _pip_install(device, ["-m", "pip"], f"{setup}/new", [wheel.name])
    device.run(["mv", "-f", "--", f"{setup}/new/{wheel.name}", f"{setup}/{wheel.name}"])


def _pip_install(device: Device, pip: Sequence[str], folder: str, names: Sequence[str]) -> None:
    """Install wheels that lie in `folder` there, without a network."""
    # By names relative to it: pip reads a path with a ';' in it as a requirement with a marker.
    inside = ["sh", "-c", 'cd -- "$1" && shift && exec "$@"', "sh", folder]
    options = ["--no-index", "--no-deps", "--force-reinstall", "--disable-pip-version-check"]
    install = [device.interpreter, *pip, "install", *options, *(f"./{name}" for name in names)]
    device.run([*inside, *install], log=log.debug)


def _runs(device: Device) -> bool:
    return device.run([device.interpreter, "-c", "import llmpi.device"], check=False).status == 0


def _is_there(device: Device, path: str, local: Path) -> bool:
    return device.sha256(path) == sha256_of(local)
