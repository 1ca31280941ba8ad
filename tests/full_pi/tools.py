"""Programs of the workstation."""

import os
import shutil
import subprocess
from pathlib import Path

PATH = os.environ["PATH"] + ":/usr/sbin:/sbin"  # where a user's own PATH may not lead
PACKAGE_OF = {
    "apt-get": "apt",
    "dpkg-deb": "dpkg",
    "fakeroot": "fakeroot",
    "depmod": "kmod",
    "cpio": "cpio",
    "mke2fs": "e2fsprogs",
    "ssh": "openssh-client",
    "qemu-system-aarch64": "qemu-system-arm",
}


def missing() -> list[str]:
    """What is to be installed before anything works."""
    return sorted({PACKAGE_OF[tool] for tool in PACKAGE_OF if not shutil.which(tool, path=PATH)})


def copy_sparse(source: Path, target: Path) -> None:
    """A disk's copy, which takes the room of what is on it."""
    run(["cp", "--sparse=always", "--reflink=auto", str(source), str(target)])


def run(command: list[str], **environment: str) -> str:
    """What a program of this machine says.

    Raises:
        SystemExit: it failed; with the end of what it said.
    """
    done = subprocess.run(
        command,
        env={**os.environ, "PATH": PATH, **environment},
        text=True,
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        said = (done.stderr or done.stdout)[-2000:]
        raise SystemExit(f"virtual-pi: {command[0]} failed: {said}")
    return done.stdout
