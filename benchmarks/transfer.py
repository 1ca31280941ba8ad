"""Our two ways to send a file against scp: same server on loopback, same file, alternating.

Ratios are ours / scp in bytes per second, medians over the rounds. The server is a real OpenSSH on
a port of its own, with keys made for the run.
"""

import argparse
import os
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fabric import Connection

from llmpi.remote.connection import connected
from llmpi.remote.ssh_machine import SshMachine
from llmpi.remote.transfer import Rsync, Sender, Sftp, send
from llmpi.study.devices import SshDevice


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.transfer", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="(default: %(default)s)")
    parser.add_argument("--megabytes", type=int, default=300, help="(default: %(default)s)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, server(Path(scratch)) as there:
        source = Path(scratch) / "weights"
        source.write_bytes(os.urandom(1_000_000) * args.megabytes)
        with connected("loopback", there) as device:
            assert isinstance(device, SshMachine)
            rates = measure(source, there, device.connection, args.rounds)
    for way in ("rsync", "sftp"):
        ratios = [ours / theirs for ours, theirs in zip(rates[way], rates["scp"], strict=True)]
        print(f"{way}_ratio: {statistics.median(ratios):.3f}")


def measure(
    source: Path, there: SshDevice, connection: Connection, rounds: int
) -> dict[str, list[float]]:
    """Rates of each way, in bytes per second."""
    target = source.with_name("arrived")
    ways: dict[str, Callable[[], object]] = {
        "scp": lambda: scp(source, target, there),
        "rsync": lambda: ours(Rsync(there), source, target),
        "sftp": lambda: ours(Sftp(connection), source, target),
    }
    rates: dict[str, list[float]] = {way: [] for way in ways}
    for i in range(rounds):
        for way in list(ways)[:: -1 if i % 2 else 1]:
            start = time.perf_counter()
            ways[way]()
            rates[way].append(source.stat().st_size / (time.perf_counter() - start))
            assert target.stat().st_size == source.stat().st_size
            target.unlink()
        row = ", ".join(f"{way} {values[-1] / 1e6:.0f}" for way, values in rates.items())
        print(f"round {i + 1}: {row} MB/s", flush=True)
    return rates


def ours(sender: Sender, source: Path, target: Path) -> None:
    send("loopback", sender, source, str(target), 0)


def scp(source: Path, target: Path, there: SshDevice) -> None:
    options = [f"-oUserKnownHostsFile={there.known_hosts}", "-oStrictHostKeyChecking=yes"]
    command = ["scp", "-q", "-P", str(there.port), "-i", str(there.identity_file), *options]
    subprocess.run([*command, str(source), f"{there.user}@127.0.0.1:{target}"], check=True)


@contextmanager
def server(folder: Path) -> Iterator[SshDevice]:
    """A device on loopback, as a config names it."""
    sshd = shutil.which("sshd", path=os.environ["PATH"] + ":/usr/sbin")
    if sshd is None:
        raise SystemExit("benchmarks.transfer: no sshd; apt-get install openssh-server")
    for name in ("host_key", "user_key"):
        keygen = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(keygen, check=True)
    shutil.copy(folder / "user_key.pub", folder / "authorized_keys")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host_key\nUsePAM no\n"
        f"AuthorizedKeysFile {folder}/authorized_keys\nStrictModes no\nPidFile none\n"
        "PasswordAuthentication no\nSubsystem sftp internal-sftp\n"
    )
    public = (folder / "host_key.pub").read_text().split()[:2]
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {' '.join(public)}\n")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    process = subprocess.Popen(
        [sshd, "-D", "-e", "-f", str(folder / "sshd_config")], stderr=subprocess.DEVNULL
    )
    try:
        time.sleep(1)
        user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True)
        device = {
            "transport": "ssh",
            "host": "127.0.0.1",
            "port": port,
            "user": user.stdout.strip(),
            "identity_file": str(folder / "user_key"),
            "known_hosts": str(folder / "known_hosts"),
            "store": str(folder / "store"),
        }
        yield SshDevice.model_validate(device)
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    main()
