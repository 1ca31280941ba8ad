"""What `llmpi service` does."""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

from llmpi import layout
from llmpi.errors import LlmpiError
from llmpi.operate import bench, device_releases, host, room, service, sudo
from llmpi.operate.release import devices_of, release_for, service_of
from llmpi.operate.rollout import roll_out, split
from llmpi.operate.units import SERVICE
from llmpi.remote.connection import connected
from llmpi.remote.machine import Device
from llmpi.remote.provision import Parts
from llmpi.study.devices import SshDevice
from llmpi.study.file import load_study
from llmpi.study.service import Service
from llmpi.study.study import Study

SERVER_LOCK = Path("envs/serve.lock")


def run(args: argparse.Namespace) -> int:
    """Do what was asked; 1 where it did not come out well on some device."""
    study = load_study(args.config)
    devices = devices_of(study, args.device)
    if args.action == "install":
        return install(study, devices)
    if args.action == "bench":
        return bench.run(study, devices, args)
    failed = 0
    for name, reached in devices.items():
        try:
            with connected(name, reached) as device:
                failed += _act(args, device, service_of(study), study.study)
        except LlmpiError as error:  # the others are looked at all the same
            print(f"llmpi: {error}", file=sys.stderr)
            failed += 1
    return min(1, failed)


def _act(args: argparse.Namespace, device: Device, asked: Service, study: str) -> int:
    """Do it on one device; 1 where it did not come out well."""
    name = device.name
    if args.action == "status":
        found = service.status(device)
        bench.seen(study, name, found and found.releases["current"])
        print(f"{name}: {_words(found)}")
    elif args.action == "logs":
        print(f"--- {name}\n{host.logs(device, SERVICE, args.lines)}", end="")
    elif args.action == "remove":
        service.remove(device, asked)
        bench.seen(study, name, None)
        print(f"{name}: removed")
    else:
        objections = service.roll_back(device, asked)
        bench.seen(study, name, device_releases.state(device)["current"])
        print(f"{name}: {'; '.join(objections) or 'rolled back'}")
        return int(bool(objections))
    return 0


def install(study: Study, devices: Mapping[str, SshDevice]) -> int:
    """Roll the study's release out; 0 where every device serves it."""
    # All are looked for before the first device is touched.
    releases = {name: release_for(study, name) for name in devices}
    for name, release in releases.items():
        room.check(study, name, release)
    sudo.ready(devices, _say, waits=sys.stdin.isatty() and sys.stdout.isatty())
    asked = service_of(study)
    installer = service.Installer(asked, devices, releases, _parts(), SERVER_LOCK)
    stages = split(list(devices), asked.stages)
    result = roll_out(stages, installer.update, installer.undo, say=_say)
    for name in result.updated:
        try:
            bench.seen(study.study, name, installer.finish(name))
        except LlmpiError as error:  # it serves; the next update removes them
            _say(f"{name}: its old releases are still there: {error}")
    untouched = devices.keys() - {*result.updated, *result.rolled_back, *result.stuck}
    if not result.good:
        print(
            f"llmpi: the release failed on {', '.join(result.objections)}; rolled back: "
            f"{', '.join(result.rolled_back) or 'none'}; never touched: "
            f"{', '.join(sorted(untouched)) or 'none'}",
            file=sys.stderr,
        )
    for name, reason in result.stuck.items():
        print(f"llmpi: {name} could not be rolled back, look at it: {reason}", file=sys.stderr)
    return int(not result.good)


def _parts() -> Parts:
    """What devices are made ready with.

    Raises:
        LlmpiError: not in the project's folder.
    """
    lock = Path("envs/device.lock")
    for file in (lock, SERVER_LOCK):
        if not file.is_file():
            raise LlmpiError(f"{file} is not here; run llmpi service in the project's own folder")
    return Parts(lock=lock, engines=Path(layout.ENGINES))


def _words(status: service.Status | None) -> str:
    if status is None:
        return "not installed"
    releases, unit = status
    memory = unit.memory_bytes
    return (
        f"{unit.active} ({unit.sub}) since {unit.since or 'never'}, "
        f"release {releases['current']}, before it {releases['previous'] or 'none'}, "
        f"{unit.restarts} restarts, "
        + (f"{memory / 1e6:.0f} MB" if memory is not None else "memory unknown")
    )


def _say(line: str) -> None:
    print(line, flush=True)
