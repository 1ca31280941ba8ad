"""`llmpi suggest`: models that suit a board. What it does is imported when asked for."""

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from llmpi.engine.help_text import add_command
from llmpi.errors import LlmpiError
from llmpi.quant_types import width_order
from llmpi.study.devices import Preset, Storage

if TYPE_CHECKING:
    from llmpi.plan.suggest import Suggested, Suggestion

ABOUT = (
    "Say which models suit a board and a need, before anything is downloaded.\n"
    "The planner's ranges of a shipped, dated catalogue: what fits, how fast, how many joules and\n"
    "seconds an answer. With --take a line of it becomes a config. The status is 1 if nothing\n"
    "suits.",
    "llmpi suggest --board pi5-8gb --need chat",
)
NEEDS = ("chat", "extraction", "questions")
"""Those of `llmpi.plan.suggest`; a test holds them together."""


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `suggest` to the commands of `llmpi`."""
    command = add_command(commands, "suggest", *ABOUT)
    command.set_defaults(run=run)
    command.add_argument("--board", required=True, choices=get_args(Preset), help="which it is")
    command.add_argument("--need", choices=NEEDS, default=NEEDS[0], help="default: %(default)s")
    command.add_argument("--storage", choices=get_args(Storage), help="where its files lie")
    command.add_argument(
        "--answer-s-at-most", type=_seconds, metavar="S", help="what an answer may take, seconds"
    )
    as_what = command.add_mutually_exclusive_group()
    as_what.add_argument("--json", action="store_true", help="for machines, with every source")
    as_what.add_argument("--take", metavar="MODEL/QUANT", help="make a config of this line")
    command.add_argument(
        "--host", default="raspberrypi.local", help="of that config; default: %(default)s"
    )
    command.add_argument("--user", help="of that host; default: what ~/.ssh/config says")
    command.add_argument(
        "--out", type=Path, default=Path("config/my.yaml"), help="the config; default: %(default)s"
    )


def run(args: argparse.Namespace) -> int:
    """
    Raises:
        LlmpiError: what is to be taken does not fit, or its config is there already.
    """
    from llmpi.plan.suggest import suggest
    from llmpi.plan.suggest_text import Asking, as_json, table

    found = suggest(
        args.board, args.need, storage=args.storage, answer_s_at_most=args.answer_s_at_most
    )
    if args.take:
        _take(args, found)
        return 0
    asked = Asking(args.board, args.need, args.storage, args.answer_s_at_most)
    print((as_json if args.json else table)(found, asked))
    return int(not found.suits)


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError("should be seconds, above 0")
    return value


def _take(args: argparse.Namespace, found: "Suggested") -> None:
    from llmpi.start.config_text import Asked, study_of, write

    taken = _named(found, args.take)
    fitting = [one.quant for one in [*found.suits, *found.too_slow] if one.model == taken.model]
    device = {"transport": "ssh", "host": args.host, "user": args.user, "preset": args.board,
              "storage": args.storage}  # fmt: skip
    asked = Asked(
        study=study_of(args.out),
        models=[taken.model],
        quants=sorted(fitting, key=width_order),
        devices={"pi": {key: value for key, value in device.items() if value is not None}},
        need=args.need,
    )
    write(asked, args.out)
    print(args.out)


def _named(found: "Suggested", name: str) -> "Suggestion":
    by_name = {one.name: one for one in [*found.suits, *found.too_slow]}
    if name not in by_name:
        large = any(one.name == name for one in found.too_large)
        why = "is too large for this board" if large else "is no line of the catalogue"
        raise LlmpiError(f"--take: {name} {why}; there are: {', '.join(by_name)}")
    return by_name[name]
