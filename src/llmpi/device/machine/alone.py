"""One measurement at a time on a machine, also against other users of llmpi there."""

import contextlib
import fcntl
import json
import os
import select
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from llmpi.engine.supervise import INTERRUPT, OwnerGoneError
from llmpi.user import user_name

PLACES = (Path("/run/lock"), Path("/tmp"))  # noqa: S108 - shared by all users on purpose
NAME = "llmpi-device.lock"
TRY_EVERY_S = 0.5
SAY_EVERY_S = 60


@contextlib.contextmanager
def machine_alone(what: str, *, wait: Callable[[str], None]) -> Iterator[None]:
    """Hold the machine's lock for the block; it also goes when this process dies.

    Args:
        what: is done meanwhile, for those who wait.
        wait: called again and again while another holds the lock, with who it is; may raise.
    """
    handle = _open()
    try:
        while not _take(handle):
            wait(holder(handle))
            time.sleep(TRY_EVERY_S)
        since = datetime.now(UTC).isoformat(timespec="seconds")
        me = {"user": user_name(), "pid": os.getpid(), "what": what, "since": since}
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps(me).encode(), 0)
        yield
    finally:
        os.close(handle)


def waiting(log: Callable[[str], None], owner: IO[str] | None) -> Callable[[str], None]:
    """For `machine_alone`: say once a minute who has the machine, and end with `owner`.

    Raises:
        OwnerGoneError: (what is returned) `owner` ended, or was told to.
    """
    said_at = -float(SAY_EVERY_S)

    def wait(holder: str) -> None:
        nonlocal said_at
        if time.monotonic() - said_at >= SAY_EVERY_S:
            log(f"llmpi: waiting; the machine is held by {holder}")
            said_at = time.monotonic()
        if owner is not None and select.select([owner], [], [], 0)[0]:
            said = os.read(owner.fileno(), 1024)
            if not said or INTERRUPT in said:
                raise OwnerGoneError

    return wait


def holder(handle: int) -> str:
    """Who holds the lock, in words."""
    try:
        me = json.loads(os.pread(handle, 4096, 0))
        text = f"{me['user']} since {me['since']}: {me['what']} (process {me['pid']})"
    except (ValueError, KeyError, TypeError):
        return "somebody"
    return "".join(c if c.isprintable() else "?" for c in text)[:300]


def _take(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _open() -> int:
    folder = next(place for place in PLACES if os.access(place, os.W_OK))
    path = folder / NAME
    try:
        # Where all may write, the kernel refuses O_CREAT on another user's file.
        return os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        os.fchmod(handle, 0o666)
        return handle
