"""`llmpi-device`: what the workstation calls on the device. One JSON object on stdout.

`canary` and `monitor` are for the device itself and take options instead of a JSON object.
"""

import argparse
import importlib
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from llmpi.device import store
from llmpi.device.machine import environment, meters
from llmpi.device.machine.limits import NotPermittedError
from llmpi.device.measure import detached as jobs
from llmpi.device.measure import parity
from llmpi.device.measure import session as cell
from llmpi.device.measure import turns as block
from llmpi.engine import info as engine_info
from llmpi.engine.supervise import OwnerGoneError

Request = dict[str, Any]


def describe(_: Request) -> Any:
    """This machine and its engine."""
    return {"machine": environment.machine(), "engine": engine_info.describe()}


def expect(request: Request) -> Any:
    """Make room for a model file, and say what is there of it."""
    try:
        return store.expect(Path(request.pop("store")), **request)
    except store.QuotaError as error:
        return {"quota": str(error)}
    except store.NoRoomError as error:
        return {"no_room": str(error)}


def accept(request: Request) -> Any:
    """Check a model file that has arrived and give it its name."""
    return {"sound": store.accept(Path(request["store"]), request["name"], request["sha256"])}


def use(request: Request) -> Any:
    """Whether a model file is still the one that was taken in."""
    return {"sound": store.use(Path(request["path"]), request["sha256"])}


def meter(request: Request) -> Any:
    """Read a meter once."""
    try:
        read = meters.open_meter(request)
        power_w, counter_j = read()
    except meters.MeterError as error:
        return {"error": str(error)}
    return {"power_w": power_w, "counter_j": counter_j}


def measure(request: Request) -> Any:
    """Measure a cell here and now, until standard input ends."""
    return cell.run(request, log=_to_stderr, owner=sys.stdin)


def take_turns(request: Request) -> Any:
    """Measure settings of the engine in turns, here and now, until standard input ends."""
    return block.run(request, log=_to_stderr, owner=sys.stdin)


def predict(request: Request) -> Any:
    """What a model predicts here for the text of the parity check."""
    return parity.run(request, log=_to_stderr, owner=sys.stdin)


def start(request: Request) -> Any:
    """Start measuring a cell, detached."""
    return {"state": jobs.start(Path(request["folder"]), request["job"])}


def poll(request: Request) -> Any:
    """How a detached measurement goes."""
    return jobs.poll(Path(request["folder"]), request["offset"])


def cancel(request: Request) -> Any:
    """End the detached measurements of a store; says how many ran."""
    return {"ended": sum(map(jobs.cancel, jobs.running(Path(request["jobs"]))))}


def forget(request: Request) -> Any:
    """Remove what is left of a detached measurement."""
    jobs.forget(Path(request["folder"]))
    return {}


COMMANDS: dict[str, Callable[[Request], Any]] = {
    command.__name__: command
    for command in (
        describe,
        expect,
        accept,
        use,
        meter,
        measure,
        take_turns,
        predict,
        start,
        poll,
        cancel,
        forget,
    )
}


# What looks after a running service, each a module with a `main`. Loaded by name: a
# measurement needs none of it, and an edit there redoes no measurement.
OPERATING = {
    "canary": ("monitor.canary", "Ask a running service a fixed question set"),
    "monitor": ("monitor.process", "Export the machine and the canary to Prometheus"),
    "releases": ("service.releases", "Make, switch or remove releases of the service"),
    "serve": ("service.serve", "Serve a release over HTTP, until told to stop"),
}


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments and arguments[0] in OPERATING:
        module, _ = OPERATING[arguments[0]]
        return importlib.import_module(f"llmpi.device.{module}").main(arguments[1:])
    parser = argparse.ArgumentParser(prog="llmpi-device", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        one = commands.add_parser(name, help=command.__doc__, description=command.__doc__)
        one.add_argument("request", nargs="?", type=json.loads, default={}, help="a JSON object")
    for name, (_, words) in OPERATING.items():
        commands.add_parser(name, help=words)
    args = parser.parse_args(arguments)
    try:
        print(json.dumps(COMMANDS[args.command](args.request)))
    except OwnerGoneError:
        print("llmpi-device: the connection is gone; stopped", file=sys.stderr)
        return 1
    except NotPermittedError as error:
        print(f"llmpi-device: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
