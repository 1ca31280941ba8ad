"""A device that is this machine once more: Debian's systemd as its process 1, behind a real sshd.

A copy-on-write view of this machine's root with processes, mounts, control groups, host name and
network of its own. Native speed; everything written is forgotten at the end. Needs root, systemd,
sudo, iproute2, openssh-server, and its python3 in /usr/bin.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from support import until

USER = "pi"
PYTHON = "/usr/bin/python3"
CGROUPS = Path("/sys/fs/cgroup")
NET = "10.231.{number}."

# In namespaces of its own, all but the network's: that is moved in from outside.
START = """\
set -eu
root=$1/root
mount --make-rprivate /
mount -t tmpfs tmpfs "$1" && mkdir "$1/upper" "$1/work" "$root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
if [ -f /sys/fs/cgroup/cgroup.controllers ]; then
  mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
else
  mount -t tmpfs -o mode=755 tmpfs "$root/sys/fs/cgroup"
  mkdir "$root/sys/fs/cgroup/unified" "$root/sys/fs/cgroup/systemd"
  mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup/unified"
  mount -t cgroup -o none,name=systemd cgroup "$root/sys/fs/cgroup/systemd"
  for name in memory cpu cpuacct pids; do
    mkdir "$root/sys/fs/cgroup/$name"
    mount -t cgroup -o $name cgroup "$root/sys/fs/cgroup/$name"
  done
fi
for folder in run tmp dev; do mount -t tmpfs -o mode=755 tmpfs "$root/$folder"; done
chmod 1777 "$root/tmp"
for node in null zero full random urandom tty; do
  touch "$root/dev/$node" && mount --bind "/dev/$node" "$root/dev/$node"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
hostname "$2"
"$3" "$root"
cd "$root"
mkdir -p .outside && pivot_root . .outside && cd / && umount -l /.outside
# systemd hands a service its credentials by a mount that must reach it.
mount --make-rshared /
exec env -i container=llmpi PATH=/usr/sbin:/usr/bin:/sbin:/bin \\
  /lib/systemd/systemd --system --unit=board.target --show-status=0
"""
FURNISH = """\
set -eu
root=$1
find "$root/etc/systemd/system" -mindepth 1 -delete
for unit in systemd-udevd systemd-timesyncd systemd-networkd systemd-resolved; do
  ln -s /dev/null "$root/etc/systemd/system/$unit.service"
done
cp "{folder}"/*.service "{folder}"/*.target "$root/etc/systemd/system/"
chroot "$root" useradd --create-home --shell /bin/bash --password '*' {user}
echo '{user} ALL=(ALL) NOPASSWD: ALL' > "$root/etc/sudoers.d/llmpi"
chmod 440 "$root/etc/sudoers.d/llmpi"
install -d -m 700 "$root/home/{user}/.ssh"
install -m 600 "{folder}/user_key.pub" "$root/home/{user}/.ssh/authorized_keys"
chroot "$root" chown -R {user}: "/home/{user}/.ssh"
install -m 600 "{folder}/host_key" "{folder}/sshd_config" "$root/etc/ssh/"
"""
SSHD = """\
[Service]
ExecStartPre=/bin/mkdir -p /run/sshd
ExecStart=/usr/sbin/sshd -D -e -f /etc/ssh/sshd_config
"""
SSHD_CONFIG = """\
HostKey /etc/ssh/host_key
PasswordAuthentication no
UsePAM no
Subsystem sftp internal-sftp
"""
TARGET = "[Unit]\nRequires=basic.target sshd-here.service multi-user.target\nAfter=basic.target\n"


@dataclass(frozen=True)
class SystemdDevice:
    """A running one."""

    name: str
    address: str
    pid: int
    """Of its process 1."""
    identity_file: Path
    known_hosts: Path

    def spec(self, **more: object) -> dict[str, object]:
        """Its entry under `devices:` in a config."""
        return {
            "transport": "ssh",
            "host": self.address,
            "user": USER,
            "identity_file": str(self.identity_file),
            "known_hosts": str(self.known_hosts),
            "python": PYTHON,
            **more,
        }

    def run(self, *argv: str, check: bool = True) -> str:
        """What a command says that root runs there."""
        enter = ["nsenter", "--target", str(self.pid), "--all", "--root", "--wd=/"]
        done = subprocess.run([*enter, *argv], capture_output=True, text=True, check=False)
        assert not check or done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
        return done.stdout

    def show(self, unit: str, name: str) -> str:
        """A property of a unit."""
        return self.run("systemctl", "show", unit, "--property", name, "--value").strip()


@contextlib.contextmanager
def running(folder: Path, name: str, number: int) -> Iterator[SystemdDevice]:
    """A device of its own network 10.231.NUMBER.0/30, as long as the block runs."""
    folder.mkdir(parents=True, exist_ok=True)
    _files(folder)
    net = NET.format(number=number)
    link = f"llmpi{number}"
    _remove_groups(name)
    command = [
        "setpriv",
        "--pdeathsig",
        "KILL",
        "unshare",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "--uts",
        "--ipc",
    ]
    command += ["--cgroup", "--net", "sh", "-c", START, "sh"]
    arguments = [str(folder / "root"), name, str(folder / "furnish")]
    (folder / "root").mkdir(exist_ok=True)
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [*command, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            preexec_fn=lambda: _enter_groups(name),
        )
    try:
        pid = _first_child(process)
        _ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", str(pid))
        _ip("address", "add", f"{net}1/30", "dev", link)
        _ip("link", "set", link, "up")
        inside = ["nsenter", "--target", str(pid), "--net", "ip"]
        for words in ("link set lo up", f"address add {net}2/30 dev eth0", "link set eth0 up"):
            subprocess.run([*inside, *words.split()], check=True)
        host_key = " ".join((folder / "host_key.pub").read_text().split()[:2])
        (folder / "known_hosts").write_text(f"{net}2 {host_key}\n")
        device = SystemdDevice(name, f"{net}2", pid, folder / "user_key", folder / "known_hosts")
        _wait(device, process, folder / "log")
        yield device
    finally:
        process.kill()
        process.wait()
        subprocess.run(["ip", "link", "delete", link], check=False, capture_output=True)
        _remove_groups(name)


def _files(folder: Path) -> None:
    for name in ("host_key", "user_key"):
        if not (folder / name).exists():
            keygen = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
            subprocess.run(keygen, check=True)
    (folder / "sshd_config").write_text(SSHD_CONFIG)
    (folder / "sshd-here.service").write_text(SSHD)
    (folder / "board.target").write_text(TARGET)
    furnish = folder / "furnish"
    furnish.write_text("#!/bin/sh\n" + FURNISH.format(folder=folder, user=USER))
    furnish.chmod(0o700)


def _groups(name: str) -> list[Path]:
    """A control group of the device in every hierarchy of this machine."""
    roots = [CGROUPS, *CGROUPS.glob("*/")] if CGROUPS.is_dir() else []
    return [root / f"llmpi-{name}" for root in roots if (root / "cgroup.procs").exists()]


def _enter_groups(name: str) -> None:
    for group in _groups(name):
        group.mkdir(exist_ok=True)
        for setting in ("cpuset.cpus", "cpuset.mems"):
            if (group / setting).exists() and (group.parent / setting).exists():
                (group / setting).write_text((group.parent / setting).read_text())
        (group / "cgroup.procs").write_text(str(os.getpid()))


def _remove_groups(name: str) -> None:
    for group in _groups(name):
        for _ in range(50):
            for folder, *_ in os.walk(group, topdown=False):
                with contextlib.suppress(OSError):
                    Path(folder).rmdir()
            if not group.exists():
                break
            time.sleep(0.1)


def _first_child(process: subprocess.Popen[bytes]) -> int:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return int(until(lambda: children.read_text().split())[0])


def _wait(device: SystemdDevice, process: subprocess.Popen[bytes], log: Path) -> None:
    ssh = ["ssh", "-i", str(device.identity_file), "-o", f"UserKnownHostsFile={device.known_hosts}"]
    ssh += [
        "-o",
        "BatchMode=yes",
        "-o",
        "ConnectTimeout=2",
        f"{USER}@{device.address}",
        "sudo -n true",
    ]

    def answers() -> bool:
        assert process.poll() is None, log.read_text()
        return subprocess.run(ssh, capture_output=True, check=False).returncode == 0

    until(answers, log.read_text)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


TOOLS = ("systemctl", "sudo", "ip", "sshd", "ssh-keygen", "nsenter", "unshare", "systemd-analyze")


def main() -> None:
    """Run one until interrupted, and say how to reach it."""
    folder = Path(sys.argv[1])
    shutil.rmtree(folder, ignore_errors=True)
    with running(folder, "device", 99) as device:
        print(device.spec(), device.pid, flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            time.sleep(3600)


if __name__ == "__main__":
    main()
