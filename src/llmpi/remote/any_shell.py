"""A command for whatever shell a user logs in with.

`ssh` hands one text to the login shell, and fish, csh and sh do not read it alike. So it holds only
what all of them do: a word without special characters stands as it is, and between single quotes
everything but `'`, `\\`, `!` and a line's end. The command itself is read by sh.
"""

import re
import shlex
from collections.abc import Sequence


def for_any_shell(argv: Sequence[str]) -> str:
    """These arguments as a text that every login shell makes the same command of."""
    command = shlex.join(argv)
    if re.fullmatch(r"[\w./ -]+", command, re.ASCII):
        return command
    return f"""exec sh -c 'eval "$(printf %b "$0")"' '{_escaped(command)}'"""


def _escaped(text: str) -> str:
    """As printf's %b reads it (POSIX): a backslash, a zero, three octal digits."""
    return re.sub(r"['\\!\n\r]", lambda found: f"\\0{ord(found[0]):03o}", text)
