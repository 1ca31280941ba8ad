"""`llmpi export`, `verify` and `import`. What they do is imported when asked for."""

import argparse
import re
from pathlib import Path

from llmpi.engine.help_text import add_command
from llmpi.study.fields import SLUG

EXPORT = (
    "Write a finished study as one file, for others to check and to compare with.\n"
    "It is an RO-Crate: raw records, config, summary, decision and page, each with its hash.\n"
    "Models and data are named by hash and source, and are not in it. The same study gives the\n"
    "same bytes. Nothing is run.",
    "llmpi export --configfile config/pi.yaml --redact",
)
VERIFY = (
    "Check a study's file: every hash, and all that follows from its records.\n"
    "It is unpacked in a temporary folder, summary, decision and page are computed again from the\n"
    "raw records, and what was changed is named: file and field. The status is 1 if anything was.",
    "llmpi verify pi.crate.zip",
)
IMPORT = (
    "Verify a study's file and lay it beside your own, for `llmpi compare`.\n"
    "It comes into results/imported/NAME, never over anything.",
    "llmpi import pi.crate.zip --as theirs",
)


def add_to(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    shared: argparse.ArgumentParser,
) -> None:
    """Add the three to the commands of `llmpi`."""
    command = add_command(commands, "export", *EXPORT, parents=[shared])
    command.set_defaults(run=export)
    command.add_argument(
        "--out", type=Path, metavar="FILE", help="the file; default: STUDY.crate.zip"
    )
    command.add_argument(
        "--redact",
        action="store_true",
        help="take out hosts, users, paths, serial numbers and hardware addresses",
    )
    command = add_command(commands, "verify", *VERIFY)
    command.set_defaults(run=verify)
    command.add_argument("file", type=Path, metavar="FILE", help="what `llmpi export` wrote")
    command = add_command(commands, "import", *IMPORT)
    command.set_defaults(run=lay)
    command.add_argument("file", type=Path, metavar="FILE", help="what `llmpi export` wrote")
    command.add_argument(
        "--as", dest="name", type=_id, metavar="NAME", help="its name here; default: its study's"
    )


def export(args: argparse.Namespace) -> int:
    """Export a study.

    Raises:
        LlmpiError: it is not finished, or something of it is not as it should be.
    """
    from llmpi.crate.export import export
    from llmpi.study.file import load_study

    out = args.out or Path(f"{load_study(args.config).study}.crate.zip")
    digest = export(args.config, out, redact=args.redact)
    print(f"{out}: {out.stat().st_size:,} bytes, SHA-256 {digest}")
    return 0


def verify(args: argparse.Namespace) -> int:
    """Verify a study's file.

    Raises:
        LlmpiError: something in it was changed.
    """
    from llmpi.crate.verify import verify
    from llmpi.records import sha256_of

    found = verify(args.file)
    redacted = ", redacted" if found["redacted"] else ""
    print(
        f"{args.file}: study {found['study']}{redacted}, summarized {found['summarized']} by llmpi "
        f"{found['llmpi']}: {len(found['files'])} files are what they were; summary, decision and "
        f"page follow from the records. SHA-256 {sha256_of(args.file)}"
    )
    return 0


def lay(args: argparse.Namespace) -> int:
    """Import a study's file.

    Raises:
        LlmpiError: it is not sound, or something of its name is there.
    """
    from llmpi.crate.lay import lay

    folder = lay(args.file, args.name)
    print(f"{folder}\nCompare it: llmpi compare {folder.name} MY-STUDY")
    return 0


def _id(text: str) -> str:
    if not re.fullmatch(SLUG, text):
        raise argparse.ArgumentTypeError("should be lower-case letters and digits, such as theirs")
    return text
