"""`llmpi-device`: what the workstation calls on the device. One JSON object on stdout."""

import argparse
import json
import sys
from collections.abc import Sequence
from typing import IO, Any

from llmpi.device import engine_info, environment
from llmpi.device.supervise import Death, OwnerGoneError, supervise


def benchmark(job: dict[str, Any], owner: IO[str] | None) -> dict[str, Any]:
    """The measurement, or the record of how the engine died."""
    outcome = supervise(
        "llmpi.device.measure",
        job,
        log=lambda line: print(line, file=sys.stderr, flush=True),
        timeout_s=job["workload"]["timeout_s"],
        owner=owner,
    )
    if not isinstance(outcome, Death):
        return outcome
    return {
        "status": "failed",
        "stage": "benchmark",
        "reason": outcome.reason,
        "log_tail": outcome.tail,
        "workload": job["workload"],
        "environment": {"machine": environment.machine(), "engine": engine_info.describe()},
    }


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="llmpi-device", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    bench = commands.add_parser("benchmark", help="measure one workload of one model file")
    bench.add_argument("job", help='JSON: {"gguf": path, "threads": n or null, "workload": {...}}')
    bench.add_argument(
        "--until-eof",
        action="store_true",
        help="stop when standard input ends: the workstation's way to say that it is gone",
    )
    commands.add_parser("describe", help="this machine and its engine")
    args = parser.parse_args(argv)
    if args.command == "describe":
        record = {"machine": environment.machine(), "engine": engine_info.describe()}
    else:
        try:
            record = benchmark(json.loads(args.job), sys.stdin if args.until_eof else None)
        except OwnerGoneError:
            print("llmpi-device: the connection is gone; stopped", file=sys.stderr)
            return 1
    print(json.dumps(record))
    return 0


if __name__ == "__main__":
    sys.exit(main())
