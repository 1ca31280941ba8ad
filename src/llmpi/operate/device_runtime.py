"""Give a provisioned device what a service runs with: a venv of its own, installed offline.

Beside the engine and llmpi it has the engine's own server, llama-server, which is built here.
"""

import logging
from hashlib import sha256
from pathlib import Path

from llmpi.device import durable
from llmpi.errors import LlmpiError
from llmpi.operate import device_releases
from llmpi.records import sha256_of
from llmpi.remote.engine_wheels import Processor, package_wheels
from llmpi.remote.machine import Device
from llmpi.remote.provision import Parts, installed, probe, processor_of
from llmpi.remote.server_wheel import PROGRAM, cross_server
from llmpi.remote.wheel import this_llmpi
from llmpi.study.devices import SshDevice

log = logging.getLogger(__name__)


def install_runtime(device: Device, how: SshDevice, parts: Parts, lock: Path) -> str:
    """The key of a runtime that is there now: the device's engine and llmpi, and the server.

    Args:
        parts: what the device was provisioned with.
        lock: the server's pinned packages.

    Raises:
        LlmpiError: the server cannot be made for the device, a package has no wheel for it, or the
            device failed.
    """
    processor = processor_of(probe(device)["machine"])
    wheels = [
        *package_wheels(lock, parts.lock, processor, parts.engines),
        server_wheel(device.name, how, parts, processor),
    ]
    engine = installed(device)["engine"]
    assert engine is not None, "a provisioned device has one"
    made_of = [engine["key"], sha256_of(this_llmpi()), *map(sha256_of, wheels)]
    key = sha256("".join(made_of).encode()).hexdigest()[:12]
    if durable.is_whole(installed(device, f"{device.store}/service/runtimes/{key}")):
        return key
    log.info(
        "device %s: installing %s and %d wheels more (%.0f MB, once; a minute or two on a Pi)",
        *(device.name, PROGRAM, len(wheels) - 1, sum(w.stat().st_size for w in wheels) / 1e6),
    )
    folder = f"{device.store}/setup/serving-{key}"
    for wheel in wheels:
        if device.sha256(f"{folder}/{wheel.name}") != sha256_of(wheel):
            device.put(wheel, f"{folder}/{wheel.name}")
    device_releases.make_runtime(device, key, wheels=folder)
    device.run(["rm", "-rf", "--", folder])
    return key


def server_wheel(name: str, how: SshDevice, parts: Parts, processor: Processor) -> Path:
    """The wheel of llama-server for a device: the config's, else one built here.

    It is built here also for a device whose engine was compiled there, which took a Pi long enough.

    Raises:
        LlmpiError: it cannot be built here, with what to do.
    """
    if how.server_wheel:
        return Path(how.server_wheel)
    try:
        march = how.march or processor.march
        return cross_server(parts.lock, processor, march, parts.engines)
    except LlmpiError as error:
        raise LlmpiError(f"device {name}: {error}") from None
