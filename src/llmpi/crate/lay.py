"""Lay somebody else's study beside one's own."""

import os
from pathlib import Path

from llmpi import layout
from llmpi.crate.archive import CrateError
from llmpi.crate.verify import opened, verify_opened

BENCH = Path(layout.BENCH).parents[3]
"""Of a study."""


def lay(archive: Path, name: str | None) -> Path:
    """Verify a study's file and lay what is in it into a folder of its own.

    Args:
        name: what it is to be called here; by default as its study is.

    Returns:
        The folder, below `results/imported`.

    Raises:
        CrateError: the file is not sound, or there is something of that name.
    """
    above = Path(layout.IMPORTED).parent
    above.mkdir(parents=True, exist_ok=True)
    with opened(archive, beside=above) as found:
        called = name or found.study.study
        target = Path(layout.at(layout.IMPORTED, name=called))
        for there in (target, Path(layout.at(str(BENCH), study=called))):
            if os.path.lexists(there):
                raise CrateError(f"{there} is there already: name this one another with --as NAME")
        verify_opened(archive, found)
        found.folder.rename(target)
    return target
