"""A virtual Raspberry Pi in a chroot: Debian 12 for aarch64 under qemu-user, behind a real sshd.

Raspberry Pi OS 12, which is legacy, is the same userland; `full_pi` has today's, and a kernel. What
runs here is real aarch64 code, translated: right, and some thirty times slower than a board. It has
no compiler. What it lacks of a board's hardware is stood in for: its `vcgencmd`, an INA219 and two
smart plugs replay a power curve. Needs root, and from apt: debootstrap, qemu-user-static.

    make virtual-pi-chroot   builds it once, starts it and says how a config names it
"""

import argparse
import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import stand_ins
import yaml
from support import caches, free_port, until

USER = "pi"
PACKAGES = ("openssh-server", "python3", "rsync", "procps")
SUITE = "bookworm"
PLUGS = ("tasmota", "shelly")
METERS = Path("/srv/meters")  # there
HWMON_METER = {"kind": "hwmon", "path": f"{METERS}/{stand_ins.HWMON_FILE}"}
CPU = "cortex-a76"  # a Raspberry Pi 5's
QEMU = "/usr/bin/qemu-aarch64-static"
BINFMT = Path("/proc/sys/fs/binfmt_misc")
# ELF, 64 bit, little endian, for EM_AARCH64 (0xb7); F opens the interpreter now, so that it works
# inside a chroot that does not hold it.
MAGIC = (
    r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00:"
    r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"
)
# In namespaces of its own: what is mounted and started here ends with it.
START = """\
mount -t proc proc "$1/proc" && mount --rbind /dev "$1/dev" && mount -t tmpfs tmpfs "$1/run" &&
mkdir -p "$1/run/sshd" && exec chroot "$1" /usr/sbin/sshd -D -e -f /etc/ssh/virtual_pi
"""
SSHD_CONFIG = """\
Port {port}
ListenAddress 127.0.0.1
HostKey /etc/ssh/ssh_host_ed25519_key
PasswordAuthentication no
PermitRootLogin no
UsePAM no
Subsystem sftp internal-sftp
SetEnv QEMU_CPU={cpu}
"""


@dataclass(frozen=True)
class VirtualPi:
    """A running one."""

    root: Path
    port: int
    identity_file: Path
    known_hosts: Path
    plug_url: str
    """Where the two smart plugs answer."""

    @property
    def home(self) -> Path:
        """Home folder of `USER`, seen from this machine."""
        return self.root / "home" / USER

    def device(self, **more: object) -> dict[str, object]:
        """Its entry under `devices:` in a config."""
        return {
            "transport": "ssh",
            "host": "127.0.0.1",
            "port": self.port,
            "user": USER,
            "identity_file": str(self.identity_file),
            "known_hosts": str(self.known_hosts),
            **more,
        }


@contextlib.contextmanager
def running(cache: Path, port: int | None = None) -> Iterator[VirtualPi]:
    """Build it into `cache` where it is not there yet, and run it.

    Raises:
        SystemExit: not root, or a tool is missing, with what to install.
    """
    root = build(cache)
    register_qemu()
    command = [
        "setpriv",
        "--pdeathsig",
        "KILL",
        "unshare",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "sh",
        "-c",
        START,
        "sh",
    ]
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    tool, meters = root / "usr/bin/vcgencmd", root / METERS.relative_to("/")
    with (
        stand_ins.vcgencmd(tool, meters / "rails", rails_seen_as=f"{METERS}/rails"),
        stand_ins.hwmon(meters),
        stand_ins.plugs() as plug_url,
        (cache / "sshd.log").open("w") as log,
    ):
        pi = _keys(root, cache, port or free_port(), plug_url)
        process = subprocess.Popen([*command, str(root)], stderr=log, env=environment)
        try:
            _wait(pi.port, process, cache / "sshd.log")
            yield pi
        finally:
            process.kill()
            process.wait()


def build(cache: Path) -> Path:
    """The root folder of the virtual Pi; built once, which takes some minutes."""
    root = cache / f"{SUITE}-{'-'.join(PACKAGES)}"
    if root.is_dir():
        return root
    for tool in ("debootstrap", "unshare", "ssh-keygen", QEMU):
        if not shutil.which(tool, path=os.environ["PATH"] + ":/usr/sbin:/sbin"):
            raise SystemExit(
                f"virtual-pi: {tool} is missing; apt-get install debootstrap qemu-user-static "
                "openssh-client"
            )
    if os.geteuid() != 0:
        raise SystemExit(
            "virtual-pi: debootstrap and chroot need root: sudo make virtual-pi-chroot"
        )
    register_qemu()
    print("virtual-pi: building Debian 12 for aarch64, once (takes minutes)", flush=True)
    partial = root.with_suffix(".part")
    shutil.rmtree(partial, ignore_errors=True)
    partial.parent.mkdir(parents=True, exist_ok=True)
    bootstrap = ["debootstrap", "--arch=arm64", "--variant=minbase"]
    _run([*bootstrap, f"--include={','.join(PACKAGES)}", SUITE, str(partial)])
    _run(["chroot", str(partial), "useradd", "-m", "-s", "/bin/bash", "-p", "*", USER])
    partial.rename(root)
    return root


def register_qemu() -> None:
    """Let the kernel run aarch64 programs."""
    if not (BINFMT / "register").exists():
        _run(["mount", "-t", "binfmt_misc", "binfmt_misc", str(BINFMT)])
    if not (BINFMT / "qemu-aarch64").exists():
        (BINFMT / "register").write_text(f":qemu-aarch64:M::{MAGIC}:{QEMU}:F")


def _keys(root: Path, cache: Path, port: int, plug_url: str) -> VirtualPi:
    """A key that is let in, the host's known key, and the server's settings."""
    key = cache / "user_key"
    if not key.exists():
        _run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)])
    ssh = root / "home" / USER / ".ssh"
    ssh.mkdir(mode=0o700, exist_ok=True)
    shutil.copyfile(f"{key}.pub", ssh / "authorized_keys")
    _run(["chroot", str(root), "chown", "-R", f"{USER}:", f"/home/{USER}"])
    (root / "etc/resolv.conf").write_text("")  # it has no internet: names do not resolve there
    (root / "etc/ssh/virtual_pi").write_text(SSHD_CONFIG.format(port=port, cpu=CPU))
    kind, public = (root / "etc/ssh/ssh_host_ed25519_key.pub").read_text().split()[:2]
    known_hosts = cache / "known_hosts"
    known_hosts.write_text(f"[127.0.0.1]:{port} {kind} {public}\n")
    return VirtualPi(root, port, key, known_hosts, plug_url)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, text=True, capture_output=True, check=False)
    if done.returncode != 0:
        said = (done.stderr or done.stdout)[-2000:]
        raise SystemExit(f"virtual-pi: {command[0]} failed: {said}")


def _wait(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    def answers() -> bool:
        if process.poll() is not None:
            raise SystemExit(f"virtual-pi: sshd did not start: {log.read_text()}")
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", port)) == 0

    until(answers, log.read_text)


def share_engines(study: Path) -> None:
    """Have a study, by its folder, what was built for boards before, and what it builds kept."""
    engines = cache_folder() / "engines"
    engines.mkdir(parents=True, exist_ok=True)
    (study / "results").mkdir(exist_ok=True)
    (study / "results/engines").symlink_to(engines)


def cache_folder() -> Path:
    return caches() / "llmpi/virtual-pi"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=2222, help="on loopback (default: %(default)s)")
    args = parser.parse_args()
    with running(cache_folder(), args.port) as pi:
        print("virtual-pi: runs. In a config:\n")
        device = pi.device(meter={"kind": "pmic"}, idle_s=5)
        print(yaml.safe_dump({"devices": {"virtual-pi": device}}, sort_keys=False))
        print("Its other meters, which show the same curve of 5 to 11 W:")
        for meter in (HWMON_METER, *({"kind": k, "url": pi.plug_url} for k in PLUGS)):
            print(yaml.safe_dump({"meter": meter}, default_flow_style=True, width=200), end="")
        print(
            f"\nBy hand: ssh -i {pi.identity_file} -o UserKnownHostsFile={pi.known_hosts} "
            f"-p {pi.port} {USER}@127.0.0.1\nCtrl-C ends it.",
            flush=True,
        )
        with contextlib.suppress(KeyboardInterrupt):
            while True:
                time.sleep(3600)


if __name__ == "__main__":
    sys.exit(main())
