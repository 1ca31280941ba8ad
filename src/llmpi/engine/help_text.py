"""What a command says of itself: a line where commands are listed; more in its own help."""

import argparse
from collections.abc import Sequence
from typing import TypedDict


class Described(TypedDict):
    """What `ArgumentParser` takes."""

    description: str
    epilog: str
    formatter_class: type[argparse.HelpFormatter]


def described(text: str, example: str) -> Described:
    """
    Args:
        text: lines, printed as they are; the first one stands alone where commands are listed.
        example: a whole command that its own parser takes.
    """
    formatter = argparse.RawDescriptionHelpFormatter
    return {"description": text, "epilog": f"Example: {example}", "formatter_class": formatter}


def add_command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    text: str,
    example: str,
    parents: Sequence[argparse.ArgumentParser] = (),
) -> argparse.ArgumentParser:
    """A command among `commands`; see `described`."""
    listed = text.partition("\n")[0]
    more = described(text, example)
    return commands.add_parser(name, help=listed, parents=list(parents), **more)
