"""`llmpi-device`: what the workstation calls on the device. One JSON object on stdout.

`canary`, `monitor`, `releases` and `serve` are for the device itself and take options instead of a
JSON object.
"""

import argparse
import json
import sys
from collections.abc import Sequence

from llmpi.device.commands import ANSWERING, OPERATING, function_of, main_of
from llmpi.device.machine.rights import NotPermittedError
from llmpi.engine.shown import shown
from llmpi.engine.supervise import OwnerGoneError


def main(argv: Sequence[str] | None = None) -> int:
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments and arguments[0] in OPERATING:
        return int(main_of(arguments[0])(arguments[1:]))
    args = _parser(asked=arguments[0] if arguments else "").parse_args(arguments)
    try:
        print(json.dumps(function_of(args.command)(args.request)))
    except OwnerGoneError:
        print("llmpi-device: the connection is gone; stopped", file=sys.stderr)
        return 1
    except NotPermittedError as error:
        print(shown(f"llmpi-device: {error}"), file=sys.stderr)
        return 1
    return 0


def _parser(asked: str) -> argparse.ArgumentParser:
    """Where a command is named, its module alone is loaded; `--help` takes the words of all."""
    parser = argparse.ArgumentParser(prog="llmpi-device", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in [asked] if asked in ANSWERING else ANSWERING:
        words = function_of(name).__doc__
        one = commands.add_parser(name, help=words, description=words)
        one.add_argument("request", nargs="?", type=json.loads, default={}, help="a JSON object")
    for name, (_, words) in OPERATING.items():
        commands.add_parser(name, help=words)
    return parser


if __name__ == "__main__":
    sys.exit(main())
