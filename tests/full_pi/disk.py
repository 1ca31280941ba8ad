"""What stands on the disk of a board that is off, without a boot and without root."""

import tempfile
from pathlib import Path

from full_pi.tools import copy_sparse, run


def copied_from(disk: Path, path: str, into: Path) -> Path:
    """A copy in `into` of a file or folder, as the next boot will find it.

    Raises:
        FileNotFoundError: it is not there.
    """
    into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        replayed = Path(scratch) / "disk.img"
        copy_sparse(disk, replayed)
        run(["e2fsck", "-y", "-E", "journal_only", str(replayed)])
        run(["debugfs", "-R", f'rdump "{path}" "{into}"', str(replayed)])
    found = into / Path(path).name
    if not found.exists():
        raise FileNotFoundError(f"{path} on {disk}")
    return found
