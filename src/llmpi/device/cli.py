"""`llmpi-device`: what the workstation calls on the device."""

import argparse
import json
import sys
from collections.abc import Sequence

from llmpi.device.commands import ANSWERING, OPERATING, function_of, main_of
from llmpi.device.machine.rights import NotPermittedError
from llmpi.engine.help_text import add_command, described
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


ABOUT = (
    "What llmpi's workstation calls on the device.\n"
    "Most commands take a JSON object and print one. canary, monitor, releases and serve look\n"
    "after a service on the device itself, and take options.",
    "llmpi-device describe",
)
ASKED = "Asked by the workstation: takes one JSON object, prints one."
FROM_FILE = '"$(cat request.json)"'
REQUESTS = {
    "describe": "",
    "meter": '\'{"kind": "pmic"}\'',
    "cancel": '\'{"jobs": "/home/pi/.llmpi/jobs"}\'',
}
"""What an example asks with, where it is short."""


def _parser(asked: str) -> argparse.ArgumentParser:
    """Where a command is named, its module alone is loaded; `--help` takes the words of all."""
    parser = argparse.ArgumentParser(prog="llmpi-device", **described(*ABOUT))
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in [asked] if asked in ANSWERING else ANSWERING:
        words = " ".join(function_of(name).__doc__.split("\n\n")[0].split())
        example = f"llmpi-device {name} {REQUESTS.get(name, FROM_FILE)}".rstrip()
        one = add_command(commands, name, f"{words}\n{ASKED}", example)
        one.add_argument("request", nargs="?", type=json.loads, default={}, help="a JSON object")
    for name, (_, words) in OPERATING.items():
        commands.add_parser(name, help=words)
    return parser


if __name__ == "__main__":
    sys.exit(main())
