"""The service on one device: installed, looked at, rolled back, removed. All over `Device`."""

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from llmpi.errors import LlmpiError
from llmpi.operate import host
from llmpi.operate.device_runtime import ask, install_runtime
from llmpi.operate.monitor_setup import monitor_config
from llmpi.operate.release import Release, service_of
from llmpi.operate.units import MONITOR, SERVICE, SOCKET, START_S, key_path, units
from llmpi.records import Record, is_ok, read_json
from llmpi.remote.connection import Device, connected
from llmpi.remote.deploy import put_model
from llmpi.remote.provision import Parts, provision
from llmpi.study.service import Service
from llmpi.study.study import Study

log = logging.getLogger(__name__)

SHORTEST_KEY = 16


class Before(NamedTuple):
    """What a device had before a rollout touched it."""

    state: Record
    units: dict[str, str | None]


@dataclass
class Installer:
    """Gives devices of a study their releases; knows how each of them was before."""

    study: Study
    releases: dict[str, Release]
    parts: Parts
    lock: Path
    """The server's pinned packages."""

    def __post_init__(self) -> None:
        self.service = service_of(self.study)
        self._key = read_key(self.service)
        self._before: dict[str, Before] = {}

    def update(self, name: str) -> list[str]:
        """Install or update the service on a device; what its canary objects to.

        Raises:
            LlmpiError: the device lacks something or failed.
        """
        spec, release = self._spec(name), self.releases[name]
        with connected(name, spec) as device:
            user = host.check(device, needs_memory_limit=self.service.memory_limit is not None)
            texts = self._units(device, user)
        provision(name, spec, self.parts)
        with connected(name, spec) as device:
            runtime = install_runtime(device, self.parts, self.lock)
            model = f"{release.settings['model']}/{release.settings['quant']}.gguf"
            receipt = put_model(device, release.gguf, model, release.sha256, spec["quota"])
            if not is_ok(receipt):
                return [receipt["reason"]]
            identity = release.id(runtime)
            monitor = self._monitor(device, release, identity, spec["meter"])
            put_release(device, release, identity, monitor)
            where = {"gguf": receipt["path"], "sha256": release.sha256, "runtime": runtime}
            ask(device, "add", release=identity, **where)
            self._before[name] = Before(ask(device, "state"), host.installed(device, list(texts)))
            changed = self._put_key(device)
            changed |= ask(device, "switch", release=identity)["current"] != identity
            return self._start(device, texts, changed) or accept(device, self.service)

    def undo(self, name: str) -> None:
        """Have a device as it was before `update`; nothing where that did not get far.

        Raises:
            LlmpiError: the device failed, or does not serve the old release any more.
        """
        if name not in self._before:
            return
        before = self._before[name]
        with connected(name, self._spec(name)) as device:
            links = {key: before.state[key] for key in ("current", "previous")}
            ask(device, "restore", **links)
            if before.state["current"] is None:
                take_down(device, self._patience_s)
                return
            objections = self._start(device, before.units, changed=True)
            if objections := objections or host.start_anew(device, MONITOR):
                raise LlmpiError(f"device {name}: {objections[0]}")

    def finish(self, name: str) -> None:
        """Remove what no release needs any more, when the whole rollout is good."""
        with connected(name, self._spec(name)) as device:
            ask(device, "prune")

    def _spec(self, name: str) -> dict[str, Any]:
        return self.study.devices[name].model_dump()

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
                key=self._key is not None,
                memory_limit=asked.memory_limit,
                drain_s=asked.drain_s,
            )
        }

    def _monitor(self, device: Device, release: Release, identity: str, meter: Record) -> Record:
        return monitor_config(
            read_json(release.expectation),
            release=identity,
            url=url(self.service),
            store=device.store,
            expect_file=f"{device.store}/service/current/expectation.json",
            key_file=key_path(device.store) if self._key else None,
            meter=meter,
        )

    def _put_key(self, device: Device) -> bool:
        """Whether the key on the device is another one now."""
        path = key_path(device.store)
        if self._key is None:
            device.run(["rm", "-f", "--", path])
            return False
        there = device.run(["cat", "--", path], check=False).stdout
        if there != self._key:
            host.put_text(device, self._key, path)
        return there != self._key

    def _start(self, device: Device, texts: dict[str, str | None], changed: bool) -> list[str]:
        rewritten = host.write(device, texts)
        serving = host.shown(device, SERVICE).get("ActiveState") == "active"
        if not (changed or rewritten) and serving:
            return []
        new_socket = SOCKET in rewritten
        return host.restart(
            device, SERVICE, SOCKET, new_socket=new_socket, timeout_s=self._patience_s
        )


def read_key(service: Service) -> str | None:
    """The API key of this machine's `key_file`.

    Raises:
        LlmpiError: the file is not there, or holds no good key.
    """
    if service.key_file is None:
        return None
    path = Path(service.key_file).expanduser()
    make = f"make one: (umask 077; openssl rand -hex 32 > {path})"
    try:
        key = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise LlmpiError(f"service.key_file {path}: {error.strerror}; {make}") from None
    if len(key) < SHORTEST_KEY or not key.isascii() or not key.isprintable() or " " in key:
        raise LlmpiError(
            f"service.key_file {path}: a key is one line of at least {SHORTEST_KEY} letters, "
            f"digits or signs; {make}"
        )
    return key


def put_release(device: Device, release: Release, identity: str, monitor: Record) -> None:
    """Have the files of a release on a device."""
    new = f"{device.store}/service/releases/.{identity}.new"
    for name, record in (("settings", release.settings), ("monitor", monitor)):
        host.put_text(device, json.dumps(record, indent=1) + "\n", f"{new}/{name}.json")
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
    done = device.run(command, check=False)
    try:
        record = json.loads(done.stdout)
    except json.JSONDecodeError:
        said = (done.stderr or done.stdout).strip().splitlines() or ["no message"]
        raise LlmpiError(f"device {device.name}: its canary failed: {said[-1]}") from None
    log.info("device %s: canary: %s", device.name, done.stdout.strip())
    return record["reasons"] if record["status"] != "passed" else []


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


def status(device: Device) -> Record:
    """What a device's service is doing: releases, systemd's view, and whether it answers."""
    unit = host.shown(device, SERVICE)
    if host.installed(device, [SERVICE])[SERVICE] is None:
        return {"state": "not installed", "current": None, "previous": None}
    links = ask(device, "state")
    return {
        "state": f"{unit['ActiveState']} ({unit['SubState']})",
        "current": links["current"],
        "previous": links["previous"],
        "since": unit["ActiveEnterTimestamp"],
        "restarts": int(unit["NRestarts"]),
        "memory_bytes": int(unit["MemoryCurrent"]) if unit["MemoryCurrent"].isdigit() else None,
    }


def roll_back(device: Device, service: Service) -> list[str]:
    """Serve the release before; what its canary objects to.

    Raises:
        LlmpiError: there is none, or the device failed.
    """
    ask(device, "roll_back")
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
