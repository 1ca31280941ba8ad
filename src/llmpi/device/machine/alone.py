"""One measurement at a time on a machine, also against other users of llmpi there."""

import contextlib
import fcntl
import grp
import json
import os
import pwd
import select
import stat
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from llmpi.device.machine.rights import NotPermittedError
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

    Raises:
        NotPermittedError: the lock is not ours to take.
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
            log(
                f"llmpi: waiting; the machine is held by {holder}. "
                "A measurement of your own that is not wanted any more: llmpi devices cancel"
            )
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
    """The lock's file. Whoever made it decides by his group who else measures here: a file that all
    may open could be held by anybody, for as long as he likes.

    Raises:
        NotPermittedError: it is another's, and we are not of its group; or it is no file of ours.
    """
    folder = next(place for place in PLACES if os.access(place, os.W_OK))
    path = folder / NAME
    how = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        # Where all may write, the kernel refuses O_CREAT on another user's file.
        handle = os.open(path, how)
    except FileNotFoundError:
        with contextlib.suppress(FileExistsError):  # somebody else was faster
            handle = os.open(path, how | os.O_CREAT | os.O_EXCL, 0o660)
            os.fchmod(handle, 0o660)
            return handle
        return _open()
    except OSError as error:
        raise NotPermittedError(_of_another(path, error)) from None
    found = os.fstat(handle)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
        os.close(handle)
        raise NotPermittedError(f"{path} is no lock of llmpi's; have it removed: sudo rm {path}")
    return handle


def _of_another(path: Path, error: OSError) -> str:
    """Whose it is, and what to do."""
    try:
        found = path.lstat()
    except OSError:
        return f"{path} cannot be opened: {error.strerror}"
    if not stat.S_ISREG(found.st_mode):
        return f"{path} is no lock of llmpi's; have it removed: sudo rm {path}"
    owner = _or(found.st_uid, lambda: pwd.getpwuid(found.st_uid).pw_name)
    group = _or(found.st_gid, lambda: grp.getgrgid(found.st_gid).gr_name)
    return (
        f"this machine is measured by {owner}, and {user_name()} is not of the group {group}: "
        f"sudo usermod -aG {group} {user_name()}, or, where {owner} measures no more, sudo rm "
        f"{path}"
    )


def _or(number: int, name: Callable[[], str]) -> str:
    """A name; where there is none, its number."""
    try:
        return name()
    except KeyError:
        return str(number)
