"""A board with a disk of its own, that is switched on and off, or loses its power."""

import shlex
import subprocess
from pathlib import Path

from support import free_port, until

from full_pi import recipe
from full_pi.disk import copied_from
from full_pi.image import Image
from full_pi.tools import copy_sparse

SSH_S = 60
"""An emulated board may take so long to shake hands."""
SSH_FAILED = 255
UNWRITTEN = "sysctl.vm.dirty_expire_centisecs=60000"
"""Some twenty times slower than a Pi, it keeps what it writes in memory twenty times as long before
the disk has it: as much work is lost with its power."""


class Board:
    """Off until `boot`; what its disk holds stays."""

    def __init__(
        self, image: Image, folder: Path, *, disk: Path | None = None, port: int | None = None
    ) -> None:
        """Files of its own lie in `folder`: what it says, and its disk.

        Args:
            disk: what its disk is a copy of where it has none yet; by default the image's.
            port: on loopback, where its SSH server is reached; by default a free one.
        """
        self.image, self.folder = image, folder
        self.disk = folder / "disk.img"
        self.known_hosts = folder / "known_hosts"
        self.port = port or free_port()
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        if not self.disk.exists():
            copy_sparse(disk or image.disk, self.disk)
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {image.host_key}\n")

    def device(self, **more: object) -> dict[str, object]:
        """Its entry under `devices:` in a config."""
        return {
            "transport": "ssh",
            "host": "127.0.0.1",
            "port": self.port,
            "user": recipe.USER,
            "identity_file": str(self.image.identity_file),
            "known_hosts": str(self.known_hosts),
            "connect_timeout_s": SSH_S,
            **more,
        }

    def boot(
        self,
        *,
        cpu: str = "cortex-a76",
        memory_mb: int = 2048,
        smp: int = 2,
        clock: str = "utc",
        kernel_options: str = "cgroup_disable=memory",
    ) -> None:
        """Switch it on, until it lets in by SSH.

        Args:
            cpu: by default a Raspberry Pi 5's. It must know pages of 16 KB: with the cortex-a72 of
                a Pi 4 and the cortex-a53 of a Zero 2 W the kernel does not begin.
            clock: what its clock shows then, as 2026-12-31T23:59:00; by default this machine's.
            kernel_options: by default those of Raspberry Pi OS.
        """
        assert self._process is None, "it is on"
        self.folder.joinpath("console.log").touch()
        emulator = ["qemu-system-aarch64", "-M", "virt", "-cpu", cpu, "-smp", str(smp)]
        emulator += ["-m", str(memory_mb), "-accel", "tcg,thread=multi", "-rtc", f"base={clock}"]
        emulator += ["-kernel", str(self.image.kernel), "-initrd", str(self.image.initrd)]
        emulator += ["-append", f"console=ttyAMA0 panic=5 quiet {UNWRITTEN} {kernel_options}"]
        # What the board has flushed is with this machine's kernel, and outlives the emulator.
        emulator += ["-drive", f"if=none,id=disk,format=raw,cache=unsafe,file={self.disk}"]
        emulator += ["-device", "virtio-blk-pci,drive=disk"]
        forward = f"hostfwd=tcp:127.0.0.1:{self.port}-:22"
        emulator += ["-netdev", f"user,id=net,restrict=on,{forward}"]
        emulator += ["-device", "virtio-net-pci,netdev=net,romfile="]
        emulator += ["-device", "virtio-rng-pci", "-display", "none", "-monitor", "none"]
        emulator += ["-serial", f"file:{self.folder / 'console.log'}"]
        with (self.folder / "emulator.log").open("w") as log:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *emulator],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for who would shut it down
            )
        until(self._lets_in, self._said)

    def run(self, *argv: str, user: str = recipe.USER, check: bool = True) -> str:
        """What a command says that `user`, or root, runs there; again where no hand was shaken."""
        done = until(lambda: self._reached(user, shlex.join(argv)), self._said)
        assert not check or done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
        return done.stdout

    def cut_power(self) -> None:
        """What it had not written to its disk is gone."""
        assert self._process is not None, "it is off"
        self._process.kill()
        self._process.wait()
        self._process = None

    def reboot(self) -> None:
        """Have it start itself again, until it lets in by SSH."""
        before = self._boot_id()
        self._ssh("root", "systemctl reboot")
        until(lambda: self._boot_id() not in ("", before), self._said)

    def _boot_id(self) -> str:
        return self._ssh(recipe.USER, "cat /proc/sys/kernel/random/boot_id").stdout.strip()

    def shut_down(self) -> None:
        """Switch it off as one should."""
        assert self._process is not None, "it is off"
        self._ssh("root", "systemctl poweroff")
        until(lambda: self._process.poll() is not None, self._said)
        self._process = None

    def look(self, path: str, into: Path) -> Path:
        """A copy in `into` of a file or folder on its disk, as its next boot will find it.

        Raises:
            FileNotFoundError: it is not there.
        """
        assert self._process is None, "a disk in use cannot be read"
        return copied_from(self.disk, path, into)

    @property
    def is_on(self) -> bool:
        return self._process is not None

    def _lets_in(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"the emulator ended: {self._said()}"
        return self._ssh(recipe.USER, "true").returncode == 0

    def _reached(self, user: str, command: str) -> subprocess.CompletedProcess[str] | None:
        """None where it did not shake hands in time."""
        assert self._process is not None, "it is off"
        assert self._process.poll() is None, f"the emulator ended: {self._said()}"
        done = self._ssh(user, command)
        return None if done.returncode == SSH_FAILED else done

    @property
    def ssh(self) -> list[str]:
        """The command that reaches it, without the user."""
        return [
            *("ssh", "-F", "none", "-p", str(self.port), "-i", str(self.image.identity_file)),
            *("-o", "IdentitiesOnly=yes", "-o", f"UserKnownHostsFile={self.known_hosts}"),
            "127.0.0.1",
        ]

    def ssh_config(self, name: str) -> str:
        """What makes it a host for `ssh`, as ssh_config(5) has it."""
        return (
            f"Host {name}\n  HostName 127.0.0.1\n  Port {self.port}\n  User {recipe.USER}\n"
            f'  IdentityFile "{self.image.identity_file}"\n  IdentitiesOnly yes\n'
            f'  UserKnownHostsFile "{self.known_hosts}"\n'
        )

    def _ssh(self, user: str, command: str) -> subprocess.CompletedProcess[str]:
        options = ["-l", user, "-o", "BatchMode=yes", "-o", f"ConnectTimeout={SSH_S}"]
        return subprocess.run(
            [*self.ssh, *options, command],
            stdin=subprocess.DEVNULL,
            text=True,
            capture_output=True,
            check=False,
        )

    def _said(self) -> str:
        return "".join(
            (self.folder / name).read_text(errors="replace")
            for name in ("emulator.log", "console.log")
        )
