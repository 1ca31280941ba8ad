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
from collections.abc import Callable, Iterator
from pathlib import Path

import held
from support import until

USER = "pi"
PYTHON = "/usr/bin/python3"
HOLD = "/run/hold"
HELD = held.PROCESS / "sitecustomize.py"
CGROUPS = Path("/sys/fs/cgroup")
NET = "10.231.{number}."
WITH_US = ("setpriv", "--pdeathsig", "KILL")
"""What is run so ends with who started it."""

# In namespaces of its own, all but the network's: that is moved in from outside. Written is to $1,
# which outlives it.
START = """\
set -eu
root=$1/root
mount --make-rprivate /
mkdir -p "$1/upper" "$1/work" "$root"
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


class SystemdDevice:
    """One of its own network 10.231.NUMBER.0/30. Its disk is kept while its power is cut.

    Attributes:
        pid: of its process 1.
    """

    def __init__(self, folder: Path, name: str, number: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "root").mkdir(exist_ok=True)
        _files(folder)
        self._folder, self.name, self._net = folder, name, NET.format(number=number)
        self._link = f"llmpi{number}"
        self.address = f"{self._net}2"
        self.identity_file, self.known_hosts = folder / "user_key", folder / "known_hosts"
        host_key = " ".join((folder / "host_key.pub").read_text().split()[:2])
        self.known_hosts.write_text(f"{self.address} {host_key}\n")
        self._disk = _disk(folder / "root")
        self._furnish = str(folder / "furnish")
        self.pid, self._process = 0, self._disk

    def boot(self) -> None:
        """Have it answer over SSH."""
        _remove_groups(self.name)
        namespaces = ("--mount", "--pid", "--fork", "--kill-child", "--uts", "--ipc", "--cgroup")
        unshare = (*WITH_US, "unshare", *namespaces, "--net", "sh", "-c", START, "sh")
        arguments = (str(self._folder / "root"), self.name, self._furnish)
        with (self._folder / "log").open("w") as log:
            self._process = subprocess.Popen(
                ["nsenter", "--target", str(self._disk.pid), "--mount", *unshare, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=lambda: _enter_groups(self.name),
            )
        self.pid, self._furnish = _first_child(self._process), "true"
        self._plug_in()
        _wait(self, self._process, self._folder / "log")

    def cut_power(self) -> None:
        """Kill all of it at once. What was written is there at the next boot; that a disk lacks
        what was written last is for a board with a kernel of its own (`full_pi`)."""
        self._process.kill()
        self.off()

    def off(self) -> None:
        """Wait until it has ended."""
        self._process.wait()
        until(lambda: held.state(self.pid) in (None, "Z"))
        subprocess.run(["ip", "link", "delete", self._link], check=False, capture_output=True)

    def destroy(self) -> None:
        """Forget it, its disk too."""
        self.cut_power()
        self._disk.kill()
        self._disk.wait()
        _remove_groups(self.name)

    def _plug_in(self) -> None:
        far = ("peer", "name", "eth0", "netns", str(self.pid))
        _ip("link", "add", self._link, "type", "veth", *far)
        _ip("address", "add", f"{self._net}1/30", "dev", self._link)
        _ip("link", "set", self._link, "up")
        inside = ["nsenter", "--target", str(self.pid), "--net", "ip"]
        for words in ("link set lo up", f"address add {self.address}/30 dev eth0"):
            subprocess.run([*inside, *words.split()], check=True)
        subprocess.run([*inside, "link", "set", "eth0", "up"], check=True)

    def hold(self, named: str) -> Callable[[Callable[[], object]], None]:
        """Stop the first Python there that would give a file this name: what waits until it has.

        What that is given tells whether it may still come there. With the power the hold is gone.
        """
        find = "import os, sitecustomize; print(os.path.realpath(sitecustomize.__file__))"
        at_start = self.run(PYTHON, "-c", find).strip()
        code = f"import os\nos.environ['HOLD'] = {HOLD!r}\n" + HELD.read_text()
        self.run("rm", "-rf", HOLD)
        self.run("install", "-d", "-m", "777", HOLD)
        self._write(held.moment(named=named), f"{HOLD}/moment")
        self._write(code, at_start)

        def wait(alive: Callable[[], object]) -> None:
            def there() -> str:
                assert alive(), "it ended before that moment"
                return self.run("cat", f"{HOLD}/held", check=False)

            until(there)

        return wait

    def _write(self, text: str, path: str) -> None:
        self.run("sh", "-c", 'printf %s "$1" > "$2"', "sh", text, path)

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
    """A device that answers, for as long as the block runs."""
    device = SystemdDevice(folder, name, number)
    try:
        device.boot()
        yield device
    finally:
        device.destroy()


def _disk(root: Path) -> subprocess.Popen[str]:
    """A process that holds what the device writes, in a mount that goes with it."""
    hold = 'mount --make-rprivate /; mount -t tmpfs tmpfs "$1"; echo there; exec sleep infinity'
    command = [*WITH_US, "unshare", "--mount", "sh", "-ec", hold, "sh", str(root)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "there\n"
    return process


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
