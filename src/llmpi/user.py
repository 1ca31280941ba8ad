"""Who runs this."""

import getpass
import os


def user_name() -> str:
    """The user's name; a number where there is no passwd entry, as in many a container."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
