"""`llmpi compare`: one study against another. What it does is imported when asked for."""

import argparse
from pathlib import Path

from llmpi.aligned import in_width
from llmpi.engine.help_text import add_command

ABOUT = (
    "Say what became worse from one study to another, beyond doubt.\n"
    "Another date, engine or firmware: `cp -r results/bench/pi results/bench/pi-before`, measure\n"
    "anew, compare. Cells of the same name and workload are held against each other. The status\n"
    "is 1 if a figure is worse by more than --at-most-pct beyond doubt, a score by more than its\n"
    "margin, if a cell fails now, or if nothing of the two could be judged.",
    "llmpi compare pi-before pi --page compared.html",
)

MEASURED = "a study, its folder .../results/bench/A, an imported one, or a file of `llmpi export`"


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `compare` to the commands of `llmpi`."""
    command = add_command(commands, "compare", *ABOUT)
    command.set_defaults(run=run)
    command.add_argument("before", metavar="A", help=MEASURED)
    command.add_argument("after", metavar="B", help="the one that is held against it")
    command.add_argument(
        "--at-most-pct",
        type=_share,
        default=5.0,
        metavar="PCT",
        help="what is put up with: so much less speed, or more joules; default: %(default)g",
    )
    command.add_argument("--json", action="store_true", help="for machines: docs/records.md")
    command.add_argument("--page", type=Path, metavar="FILE", help="and a page, as this file")


def run(args: argparse.Namespace) -> int:
    """Compare; 1 if something is worse, or nothing could be judged.

    Raises:
        LlmpiError: nothing was measured of one of them.
    """
    from llmpi.compare.compare import compare
    from llmpi.compare.measured import measured
    from llmpi.compare.page import write_page
    from llmpi.compare.text import as_json, as_text

    found = compare(measured(args.before), measured(args.after), at_most_pct=args.at_most_pct)
    if args.page:
        write_page(found, args.page)
    print(as_json(found) if args.json else in_width(as_text(found)))
    return int(found["regressions"] > 0 or not found["judged"])


def _share(text: str) -> float:
    value = float(text)
    if not 0 < value < 100:
        raise argparse.ArgumentTypeError("should be above 0 and below 100")
    return value
