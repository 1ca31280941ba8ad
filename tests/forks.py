"""What the forks of a process that has imported much begin with: `support` and `forked_training`
have such processes."""

import os
import sys
from collections.abc import Mapping, Sequence


def become(cwd: str, env: Mapping[str, str], out: int, err: int, argv: Sequence[str]) -> None:
    """As a command would be started: there, in this environment, with these two open files."""
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    for source, target in ((os.open(os.devnull, os.O_RDONLY), 0), (out, 1), (err, 2)):
        os.dup2(source, target)
    sys.argv = [*argv]


def pythons(env: Mapping[str, str]) -> dict[str, str]:
    """What Python itself reads as it starts: a fork would not."""
    return {name: value for name, value in env.items() if name.startswith("PYTHON")}
