"""Give a provisioned device what a service runs with: a venv of its own, installed offline."""

import logging
from hashlib import sha256
from pathlib import Path

from llmpi.device import durable
from llmpi.operate import device_releases
from llmpi.records import sha256_of
from llmpi.remote.connection import Device
from llmpi.remote.engine_wheels import package_wheels
from llmpi.remote.provision import Parts, installed, probe, processor_of
from llmpi.remote.wheel import this_llmpi

log = logging.getLogger(__name__)


def install_runtime(device: Device, parts: Parts, lock: Path) -> str:
    """The key of a runtime that is there now: the device's engine and llmpi, and the server.

    Args:
        parts: what the device was provisioned with.
        lock: the server's pinned packages.

    Raises:
        LlmpiError: a package has no wheel for the device, or the device failed.
    """
    processor = processor_of(probe(device)["machine"])
    wheels = package_wheels(lock, parts.lock, processor, parts.engines)
    engine = installed(device)["engine"]
    assert engine is not None, "a provisioned device has one"
    made_of = [engine["key"], sha256_of(this_llmpi()), *map(sha256_of, wheels)]
    key = sha256("".join(made_of).encode()).hexdigest()[:12]
    if durable.is_whole(installed(device, f"{device.store}/service/runtimes/{key}")):
        return key
    log.info("device %s: installing the server from %d wheels", device.name, len(wheels))
    folder = f"{device.store}/setup/serving-{key}"
    for wheel in wheels:
        if device.sha256(f"{folder}/{wheel.name}") != sha256_of(wheel):
            device.put(wheel, f"{folder}/{wheel.name}")
    device_releases.make_runtime(device, key, wheels=folder)
    device.run(["rm", "-rf", "--", folder])
    return key
