"""Who may hold the lock of a machine."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from support import PATIENCE_S, only_root

from llmpi.device.machine import alone
from llmpi.device.machine.rights import NotPermittedError


@pytest.fixture
def lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(alone, "PLACES", (tmp_path,))
    return tmp_path / alone.NAME


def take(said: list[str] | None = None) -> None:
    def wait(holder: str) -> None:
        assert said is not None, holder
        said.append(holder)
        raise InterruptedError

    with alone.machine_alone("a measurement", wait=wait):
        pass


def test_it_is_for_its_owner_and_his_group(lock: Path) -> None:
    old = os.umask(0o077)
    try:
        take()
    finally:
        os.umask(old)
    found = lock.stat()
    assert (stat.S_IMODE(found.st_mode), found.st_uid) == (0o660, os.getuid())
    take()  # the file stays, and is free


def test_it_says_who_holds_it(lock: Path) -> None:
    said: list[str] = []
    with (
        alone.machine_alone("F16 of m", wait=lambda _: None),
        pytest.raises(InterruptedError),
    ):
        take(said)
    assert f"F16 of m (process {os.getpid()})" in said[0]


def test_another_users_is_not_ours_to_hold(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the kernel answers a user who is not of the group."""
    lock.touch()
    opened = os.open

    def refused(path: str | Path, *how: int) -> int:
        if Path(path) == lock:
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *how)

    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(NotPermittedError, match=r"is not of the group .*usermod -aG .*sudo rm"):
        take()


@pytest.mark.fault("two users of a board", by="who holds it is told; his lock stays")
def test_somebody_else(lock: Path) -> None:
    only_root("to be somebody else for once")
    take()
    lock.parent.chmod(0o777)
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from llmpi.device.machine import alone\n"
        "os.setgroups([]); os.setgid(54321); os.setuid(54321)\n"
        "alone.PLACES = (Path(sys.argv[1]),)\n"
        "try:\n"
        "    with alone.machine_alone('x', wait=print): pass\n"
        "except alone.NotPermittedError as error:\n"
        "    print(error)\n"
    )
    for folder in (lock.parent, *lock.parent.parents):
        if not folder.stat().st_mode & stat.S_IXOTH:
            folder.chmod(folder.stat().st_mode | stat.S_IXOTH)
    done = subprocess.run(
        [sys.executable, "-c", code, str(lock.parent)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert "this machine is measured by root, and 54321 is not of the group root" in done.stdout


@pytest.mark.fault("something else in the lock's place", by="its content, as before")
@pytest.mark.parametrize("kind", ["link", "hard link", "pipe", "folder"])
def test_what_is_no_lock_is_left_alone(lock: Path, kind: str) -> None:
    mine = lock.with_name("mine")
    mine.write_text("my text")
    match kind:
        case "link":
            lock.symlink_to(mine)
        case "hard link":
            lock.hardlink_to(mine)
        case "pipe":
            os.mkfifo(lock)
        case _:
            lock.mkdir()
    with pytest.raises(NotPermittedError, match="no lock of llmpi's"):
        take()
    assert mine.read_text() == "my text"


def test_who_waits_is_told_for_whom_and_how_that_ends() -> None:
    """Ctrl-C on the workstation ends no measurement on a board: an edited study waits for it."""
    said: list[str] = []
    wait = alone.waiting(said.append, None)
    wait("pi: F16 of m")
    wait("pi: F16 of m")
    [told] = said
    assert "held by pi: F16 of m" in told
    assert "llmpi devices cancel" in told
