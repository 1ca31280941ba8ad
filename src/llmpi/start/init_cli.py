"""`llmpi init`: a first config. What it does is imported when asked for."""

import argparse
from pathlib import Path

from llmpi.engine.help_text import add_command
from llmpi.start.suggest_cli import NEEDS

ABOUT = (
    "Write a first config for your boards: it asks, or takes flags.\n"
    "Boards are hosts as `ssh` knows them; each is looked at as by `llmpi devices check`, and the\n"
    "config says what was found. It is validated, commented, and never written over another.\n"
    "--demo-on measures the demo's model on one board: the first number from your own Pi.",
    "llmpi init --board raspberrypi.local --need chat --out config/my.yaml",
)


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `init` to the commands of `llmpi`."""
    command = add_command(commands, "init", *ABOUT)
    command.set_defaults(run=run)
    boards = command.add_mutually_exclusive_group()
    boards.add_argument(
        "--board",
        action="append",
        default=[],
        metavar="HOST",
        help="a host, or `here` (may be given again); default: it asks (~/.ssh/config, mDNS)",
    )
    boards.add_argument("--demo-on", metavar="HOST", help="measure the demo's model there at once")
    command.add_argument("--user", help="on the boards; default: what ~/.ssh/config says")
    command.add_argument("--need", choices=NEEDS, help="default: it asks, or the first")
    command.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="ID",
        help="of `llmpi suggest` (may be given again); default: the largest that suits",
    )
    command.add_argument("--tps-at-least", type=float, metavar="TPS", help="tokens per second")
    command.add_argument("--memory-at-most", metavar="SIZE", help="such as 4G")
    command.add_argument(
        "--language", action="append", default=[], metavar="CODE", help="of the report: en, ja"
    )
    own = command.add_mutually_exclusive_group()
    own.add_argument(
        "--questions",
        type=Path,
        metavar="CSV",
        help="your own questions and answers, made a task as by `llmpi questions`",
    )
    own.add_argument("--squad-file", metavar="FILE", help="the same as SQuAD has them")
    command.add_argument("--no-check", action="store_true", help="reach no board")
    command.add_argument(
        "--out", type=Path, default=Path("config/my.yaml"), help="the config; default: %(default)s"
    )


def run(args: argparse.Namespace) -> int:
    """
    Raises:
        LlmpiError: no board is named, or the config is there already.
    """
    from llmpi.start.init import init

    return init(args)
