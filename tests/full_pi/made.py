"""The image of today's recipe, made once; a step that was finished is not done again."""

import contextlib
import fcntl
import hashlib
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from support import caches

from full_pi import image, packages, recipe, tools
from full_pi.board import Board
from full_pi.image import Image

TOOLS = ("qemu-system-aarch64", "fakeroot", "debugfs", "aarch64-linux-gnu-g++")
"""What a test with a board needs here."""


@contextlib.contextmanager
def board(folder: Path, port: int | None = None) -> Iterator[Board]:
    """A board that is off, with the disk in `folder`, or a new one; off again behind the block."""
    found = Board(built(cache_folder()), folder, port=port)
    try:
        yield found
    finally:
        if found.is_on:
            found.cut_power()


def cache_folder() -> Path:
    return caches() / "llmpi/full-pi"


def built(cache: Path) -> Image:
    """Takes some minutes where it is not there.

    Raises:
        SystemExit: a tool is missing or failed, with what to do.
    """
    sources = [Path(module.__file__) for module in (recipe, packages, image)]
    key = hashlib.sha256(b"".join(map(Path.read_bytes, sources))).hexdigest()[:12]
    found = Image(cache / f"{recipe.SUITE}-{key}")
    found.folder.mkdir(parents=True, exist_ok=True)
    with (found.folder / ".flock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not found.disk.exists():
            _make(found)
    return found


def _make(made: Image) -> None:
    if missing := tools.missing():
        raise SystemExit(f"virtual-pi: apt-get install {' '.join(missing)}")
    begun = time.monotonic()

    def say(text: str) -> None:
        print(f"virtual-pi: {time.monotonic() - begun:4.0f} s: {text}", file=sys.stderr, flush=True)

    fresh, settling = made.folder / "fresh.img", made.folder / "settling"
    if not fresh.exists():
        say("downloading Debian 13 for arm64 (150 MB)")
        archives = packages.downloaded(made.folder / "apt")
        say(f"{len(archives)} packages, onto a disk")
        image.unpack(made, archives, fresh)
        shutil.rmtree(made.folder / "apt")
    say("its first boot (minutes)")
    shutil.rmtree(settling, ignore_errors=True)
    first = Board(made, settling, disk=fresh)
    first.boot()
    first.run("sh", "-c", recipe.SETTLE, user="root")
    first.shut_down()
    first.disk.rename(made.disk)
    shutil.rmtree(settling)
    fresh.unlink()
    say(f"made: {made.folder}")
