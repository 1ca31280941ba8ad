"""The names of hosts in `~/.ssh/config`, to choose a board from.

Names alone: what they mean only `ssh` knows (`llmpi.remote.openssh`).
"""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

KEYWORD = re.compile(r"\s*(\w+)\s*(?:=|\s)\s*(.*)")
DEEPEST = 16
"""As many files may include one another as `ssh` puts up with."""


def hosts(config: Path) -> list[str]:
    """Those without a pattern, in the order of the file and of what it includes; none where there
    is no such file."""
    return list(dict.fromkeys(_hosts(config, config.parent, DEEPEST)))


def _hosts(config: Path, home: Path, deeper: int) -> Iterator[str]:
    try:
        lines = config.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        found = KEYWORD.fullmatch(line)
        keyword = found[1].lower() if found else ""
        if found and keyword == "host":
            yield from (name for name in _words(found[2]) if not set(name) & set("*?!"))
        elif found and keyword == "include" and deeper:
            for pattern in _words(found[2]):
                # Absolute, from the home folder, or beside the first file: ssh_config(5).
                path = Path(pattern).expanduser()
                for file in sorted(Path("/").glob(str((home / path).absolute())[1:])):
                    yield from _hosts(file, home, deeper - 1)


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text, comments=True)
    except ValueError:  # a quote that does not end, which `ssh` refuses
        return []
