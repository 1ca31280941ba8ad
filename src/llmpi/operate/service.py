"""The service on one device: installed, looked at, rolled back, removed. All over `Device`."""

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from llmpi.device.monitor.config import Canary, Config
from llmpi.device.monitor.records import CanaryResult
from llmpi.device.records import MeterHere
from llmpi.device.service.keys import FORM, Given, as_text, parse
from llmpi.device.service.records import Releases
from llmpi.errors import LlmpiError
from llmpi.operate import device_releases, host
from llmpi.operate.device_runtime import install_runtime
from llmpi.operate.release import Release
from llmpi.operate.units import MONITOR, SERVICE, SOCKET, START_S, key_path, keys_path, units
from llmpi.records import RecordError, check
from llmpi.remote import requests
from llmpi.remote.connection import connected
from llmpi.remote.deploy import deployed_parts, put_model
from llmpi.remote.machine import Device
from llmpi.remote.provision import Parts, provision
from llmpi.study.devices import SshDevice
from llmpi.study.meters import Meter
from llmpi.study.service import Service

log = logging.getLogger(__name__)

CANARY_S = 3600
"""For all its questions."""


class Before(NamedTuple):
    """What a device had before a rollout touched it."""

    releases: Releases
    units: dict[str, str | None]


@dataclass
class Installer:
    """Gives devices of a study their releases; knows how each of them was before."""

    service: Service
    devices: Mapping[str, SshDevice]
    releases: Mapping[str, Release]
    parts: Parts
    lock: Path
    """The server's pinned packages."""

    def __post_init__(self) -> None:
        self._keys = read_keys(self.service)
        self._before: dict[str, Before] = {}

    def update(self, name: str) -> list[str]:
        """Install or update the service on a device; what its canary objects to.

        Raises:
            LlmpiError: the device lacks something or failed.
        """
        release = self.releases[name]
        with connected(name, self.devices[name]) as device:
            user = host.check(device, needs_memory_limit=self.service.memory_limit is not None)
            texts = self._units(device, user)
        provision(name, self.devices[name], self.parts)
        with connected(name, self.devices[name]) as device:
            runtime = install_runtime(device, self.devices[name], self.parts, self.lock)
            model = f"{release.settings['model']}/{release.settings['quant']}.gguf"
            quota = self.devices[name].quota
            receipt = put_model(device, release.gguf, model, release.sha256, quota, release.parts)
            if receipt["status"] == "failed":
                return [receipt["reason"]]
            identity = release.id(runtime)
            put_release(device, release, identity, self._monitor(device, release, identity))
            models = deployed_parts(receipt)
            device_releases.add(device, identity, models=models, runtime=runtime)
            self._before[name] = Before(
                device_releases.state(device), host.installed(device, list(texts))
            )
            changed = self._put_keys(device)
            changed |= device_releases.switch(device, identity)["current"] != identity
            return self._start(device, texts, changed) or accept(device, self.service)

    def undo(self, name: str) -> None:
        """Have a device as it was before `update`; nothing where that did not get far.

        Raises:
            LlmpiError: the device failed, or does not serve the old release any more.
        """
        if name not in self._before:
            return
        before = self._before[name]
        with connected(name, self.devices[name]) as device:
            device_releases.restore(device, before.releases)
            if before.releases["current"] is None:
                take_down(device, self._patience_s)
                return
            objections = self._start(device, before.units, changed=True)
            if objections := objections or host.start_anew(device, MONITOR):
                raise LlmpiError(f"device {name}: {objections[0]}")

    def finish(self, name: str) -> str | None:
        """Remove what no release needs any more, when the whole rollout is good; the release."""
        with connected(name, self.devices[name]) as device:
            device_releases.prune(device)
            return device_releases.state(device)["current"]

    @property
    def _patience_s(self) -> int:
        return patience_s(self.service)

    def _units(self, device: Device, user: str) -> dict[str, str | None]:
        asked = self.service
        return {
            **units(
                store=device.store,
                user=user,
                host=asked.host,
                port=asked.port,
                key=self._keys is not None,
                memory_limit=asked.memory_limit,
                drain_s=asked.drain_s,
            )
        }

    def _monitor(self, device: Device, release: Release, identity: str) -> Config:
        return Config(
            device=device.name,
            model=release.settings["model"],
            quant=release.settings["quant"],
            release=identity,
            store=device.store,
            canary=Canary(
                url=url(self.service),
                expect=f"{device.store}/service/current/expectation.json",
                key_file=key_path(device.store) if self._keys else None,
            ),
            meter=read_there(self.devices[device.name].meter),
        )

    def _put_keys(self, device: Device) -> bool:
        """Whether the keys on the device are others now."""
        paths = (key_path(device.store), keys_path(device.store))
        if self._keys is None:
            device.run(["rm", "-f", "--", *paths])
            return False
        changed = False
        for path, text in zip(paths, (self._keys[0].key, as_text(self._keys)), strict=True):
            if device.run(["cat", "--", path], check=False).stdout != text:
                host.put_text(device, text, path)
                changed = True
        return changed

    def _start(self, device: Device, texts: dict[str, str | None], changed: bool) -> list[str]:
        rewritten = host.write(device, texts)
        serving = host.unit_state(device, SERVICE).active == "active"
        if not (changed or rewritten) and serving:
            return []
        new_socket = SOCKET in rewritten
        return host.restart(
            device, SERVICE, SOCKET, new_socket=new_socket, timeout_s=self._patience_s
        )


def read_there(meter: Meter) -> MeterHere | None:
    """The meter, if the device itself reads it: the workstation does not watch a service."""
    asked = requests.meter(meter)
    if asked["kind"] == "pmic" or asked["kind"] == "hwmon" or asked["kind"] == "rapl":
        return asked
    return None


def read_key(service: Service) -> str | None:
    """The first API key of this machine's `key_file`, which may ask as often as it likes.

    Raises:
        LlmpiError: as `read_keys`.
    """
    keys = read_keys(service)
    return keys[0].key if keys else None


def read_keys(service: Service) -> list[Given] | None:
    """The API keys of this machine's `key_file`.

    Raises:
        LlmpiError: the file is not there, or holds something else; the message holds no key.
    """
    if service.key_file is None:
        return None
    make = "make one: (umask 077; openssl rand -hex 32 > FILE)"
    try:
        return parse(Path(service.key_file).read_text(encoding="utf-8"))
    except OSError as error:
        raise LlmpiError(f"service.key_file: {error.strerror}; {make}") from None
    except ValueError:
        raise LlmpiError(f"service.key_file: {FORM}; {make}") from None


def put_release(device: Device, release: Release, identity: str, monitor: Config) -> None:
    """Have the files of a release on a device."""
    new = f"{device.store}/service/releases/.{identity}.new"
    for name, content in (("settings", release.settings), ("monitor", asdict(monitor))):
        host.put_text(device, json.dumps(content, indent=1) + "\n", f"{new}/{name}.json")
    device.put(release.expectation, f"{new}/expectation.json")


def accept(device: Device, service: Service) -> list[str]:
    """Look at what is served now; where it is good, have it looked after from here on."""
    # Not before: the monitor's own canary would stand in the way of this one.
    return canary(device, service) or host.start_anew(device, MONITOR)


def canary(device: Device, service: Service) -> list[str]:
    """What the canary of the release that is served objects to; it runs on the device.

    Raises:
        LlmpiError: it could not run.
    """
    current = f"{device.store}/service/current"
    command = [f"{current}/runtime/bin/llmpi-device", "canary", "--url", url(service)]
    command += ["--expect", f"{current}/expectation.json"]
    command += ["--timeout", f"{service.canary_timeout_s:g}"]
    if service.key_file:
        command += ["--key-file", key_path(device.store)]
    done = device.run(command, check=False, timeout_s=CANARY_S)
    try:
        result = check(done.stdout, CanaryResult, "its answer")
    except RecordError as error:
        said = done.stderr.strip().splitlines() or [str(error)]
        raise LlmpiError(f"device {device.name}: its canary failed: {said[-1]}") from None
    log.info("device %s: canary: %s", device.name, done.stdout.strip())
    return result["reasons"]


def url(service: Service) -> str:
    """Where the service is reached from its own device."""
    address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(service.host, service.host)  # noqa: S104
    return (
        f"http://[{address}]:{service.port}"
        if ":" in address
        else f"http://{address}:{service.port}"
    )


def patience_s(service: Service) -> int:
    """Longest time from an order to restart to a service that serves, or has failed."""
    return service.drain_s + START_S + 60


class Status(NamedTuple):
    """What a device's service is doing."""

    releases: Releases
    unit: host.UnitState


def status(device: Device) -> Status | None:
    """None where no service is installed."""
    if host.installed(device, [SERVICE])[SERVICE] is None:
        return None
    return Status(device_releases.state(device), host.unit_state(device, SERVICE))


def roll_back(device: Device, service: Service) -> list[str]:
    """Serve the release before; what its canary objects to.

    Raises:
        LlmpiError: there is none, or the device failed.
    """
    device_releases.roll_back(device)
    timeout_s = patience_s(service)
    return host.restart(device, SERVICE, SOCKET, new_socket=False, timeout_s=timeout_s) or canary(
        device, service
    )


def remove(device: Device, service: Service) -> None:
    """Leave nothing of the service on a device; engine and models stay for measuring."""
    take_down(device, patience_s(service))
    device.run(["rm", "-rf", "--", f"{device.store}/service"])


def take_down(device: Device, timeout_s: int) -> None:
    """Stop the service and remove its units."""
    host.stop(device, MONITOR, SOCKET, SERVICE, timeout_s=timeout_s)
    host.write(device, dict.fromkeys((MONITOR, SERVICE, SOCKET)))
