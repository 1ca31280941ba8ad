"""`llmpi questions`: a task out of your own questions. What it does is imported when asked for."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from llmpi.engine.help_text import add_command

if TYPE_CHECKING:
    from llmpi.start.own_task import Own

ABOUT = (
    "Make a task of your own question and answer pairs, and say what it can decide.\n"
    "The pairs are a CSV as spreadsheets save it, with the columns question, answer (answer 2,\n"
    "... where several are right) and, if you like, tags: an ab task. With a column passage, or\n"
    "with document and --documents, it becomes a squad task, in which an empty answer says that\n"
    "the passage has none. What is wrong is told by its line. No file is written over another;\n"
    "the lines for the config are printed.",
    "llmpi questions pairs.csv --out config/data/own.jsonl",
)


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `questions` to the commands of `llmpi`."""
    command = add_command(commands, "questions", *ABOUT)
    command.set_defaults(run=run)
    command.add_argument("table", type=Path, metavar="CSV", help="the pairs")
    command.add_argument(
        "--documents", type=Path, metavar="FOLDER", help="of the texts (.txt, .md) they are about"
    )
    command.add_argument(
        "--examples",
        type=int,
        default=2,
        choices=range(9),
        metavar="N",
        help="of ab: the first so many pairs are shown before each question, not asked; "
        "default: %(default)s",
    )
    command.add_argument(
        "--language", default="en", metavar="CODE", help="of the questions; default: %(default)s"
    )
    command.add_argument("--encoding", help="of the table, where it is not UTF-8: cp1252, cp932")
    command.add_argument(
        "--out", type=Path, help="the task's file; default: config/data/, by the table's name"
    )


def run(args: argparse.Namespace) -> int:
    """
    Raises:
        LlmpiError: the table cannot be made a task, or its file is there already.
    """
    from llmpi.start.own_task import make

    own = make(
        args.table,
        args.out,
        documents=args.documents,
        examples=args.examples,
        language=args.language,
        encoding=args.encoding,
    )
    print(_told(own))
    return 0


def _told(own: "Own") -> str:
    from llmpi.decide.beforehand import ahead
    from llmpi.start.can_tell import told
    from llmpi.start.config_text import as_plain, demo_study, flow

    worked = f", behind {own.examples} worked examples" if own.examples else ""
    asked = f"{own.asked} question{'s' * (own.asked != 1)}"
    lines = [f"{own.path}: {asked}{worked}", *(f"  {note}" for note in own.notes)]
    lines += [
        "",
        "In the config:",
        "",
        "quality:",
        f"  {own.name}: {flow(as_plain(own.settings))}",
        "",
    ]
    lines += [*told(ahead(demo_study(own.name, own.settings)))]
    lines += ["Reckoned for four quantizations of a model beside its F16; llmpi plan takes yours."]
    return "\n".join(lines)
