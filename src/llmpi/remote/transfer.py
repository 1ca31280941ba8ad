"""Send a file over SSH: resumed after a break, with a bound on memory, saying how far it is.

Three ways behind one interface, `Sender`: rsync where both ends have it, else SFTP; the stdin of a
command where the login shell there is not silent. All append to a partial file on the device;
whether the whole arrived is for the caller to check by its hash.
"""

import logging
import os
import re
import shlex
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fabric import Connection
from paramiko import SFTPClient, SSHException, Transport

from llmpi.engine.progress import Bytes
from llmpi.errors import LlmpiError
from llmpi.remote.any_shell import for_any_shell
from llmpi.remote.openssh import options
from llmpi.study.devices import SshDevice

log = logging.getLogger(__name__)

CHUNK_BYTES = 1 << 20
SILENT_S = 120
"""So long nothing may move."""
FASTEST_CIPHER = "aes128-gcm@openssh.com"
"""Where both processors have instructions for AES; a Pi 5 has."""
FASTEST_WITHOUT_AES = "chacha20-poly1305@openssh.com"
"""Where one has none, as a Pi 4, 3 and Zero 2 W. Paramiko, and so SFTP, does not know it."""

Progress = Callable[[int], object]
Sender = Callable[[Path, str, int, Progress], None]
"""Append to the remote file what it lacks of a local one: (local, remote, bytes there, progress).

`progress` is told how many bytes are there by now. Raises OSError or SSHException.
"""


def send(name: str, sender: Sender, source: Path, partial: str, there: int) -> int:
    """Send what `partial` lacks of `source`; returns how many bytes that was.

    Args:
        name: of the device, for who waits.
        there: bytes of `partial` on the device already.

    Raises:
        LlmpiError: the link or the device's disk failed; what arrived stays there.
    """
    size, sent = source.stat().st_size, there
    shown = Bytes(size, f"of {source.name} sent to {name}", done=there, say=log.info)

    def progress(done: int) -> None:
        nonlocal sent
        sent = done
        shown.at(done)

    try:
        sender(source, partial, there, progress)
    except (OSError, SSHException, EOFError) as error:
        raise LlmpiError(
            f"device {name}: sending {source.name} broke off at {sent / 1e6:.1f} of "
            f"{size / 1e6:.1f} MB ({error or 'the link was lost'}). "
            "Run again: it goes on there."
        ) from error
    return size - there


class Sftp:
    """Over the open connection, writes sent without waiting for each answer."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __call__(self, source: Path, partial: str, there: int, progress: Progress) -> None:
        client = SFTPClient.from_transport(self._connection.transport)
        assert client is not None
        client.get_channel().settimeout(SILENT_S)
        with client, source.open("rb") as local, client.open(partial, "ab") as remote:
            remote.set_pipelined(True)
            local.seek(there)
            remote.seek(there)
            while chunk := local.read(CHUNK_BYTES):
                remote.write(chunk)
                there += len(chunk)
                progress(there)


class Piped:
    """Into a command's stdin: where a login shell prints, rsync and SFTP take it for an answer."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __call__(self, source: Path, partial: str, there: int, progress: Progress) -> None:
        with self._connection.transport.open_session() as channel, source.open("rb") as local:
            channel.settimeout(SILENT_S)
            append = 'umask 077 && exec cat >> "$1"'
            channel.exec_command(for_any_shell(["sh", "-c", append, "sh", partial]))
            local.seek(there)
            while chunk := local.read(CHUNK_BYTES):
                channel.sendall(chunk)
                there += len(chunk)
                progress(there)
            channel.shutdown_write()
            if not channel.status_event.wait(SILENT_S) or channel.exit_status != 0:
                raise OSError(f"the device did not take it (status {channel.exit_status})")


def fast_transport(*arguments: Any, **options: Any) -> Transport:
    """Paramiko's transport, with the fastest cipher as first choice, and no hour for a channel."""
    transport = Transport(*arguments, **options)
    transport.channel_timeout = SILENT_S
    security = transport.get_security_options()
    security.ciphers = sorted(security.ciphers, key=lambda cipher: cipher != FASTEST_CIPHER)
    return transport


class Rsync:
    """The system's rsync over the system's ssh, told what stands in the config.

    Args:
        has_aes: whether the device's processor has instructions for AES.
    """

    def __init__(self, device: SshDevice, *, has_aes: bool = True) -> None:
        self._device, self._has_aes = device, has_aes

    def __call__(self, source: Path, partial: str, there: int, progress: Progress) -> None:
        host = self._device.host
        target = f"[{host}]:{partial}" if ":" in host else f"{host}:{partial}"
        how = ["--append", "--inplace", "--protect-args", "--info=progress2", "--chmod=F600"]
        how += [f"--timeout={SILENT_S}"]
        command = ["rsync", *how, "--rsh", shlex.join(self._ssh()), "--", str(source), target]
        with tempfile.TemporaryFile() as said:  # a pipe that nobody reads would hold it up
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=said, stdin=subprocess.DEVNULL
            )
            try:
                self._follow(process, there, progress)
                if process.wait() != 0:
                    said.seek(0)
                    error = said.read(1000).decode(errors="replace").strip()
                    raise OSError(error.split("\n")[0] or f"rsync ended with {process.poll()}")
            finally:
                process.kill()
                process.wait()

    def _ssh(self) -> list[str]:
        fastest = FASTEST_CIPHER if self._has_aes else FASTEST_WITHOUT_AES
        more = {
            "Ciphers": f"^{fastest}",  # the first choice, not the only one
            "ServerAliveInterval": 15,
        }
        return ["ssh", *options(self._device), *(f"-o{key}={value}" for key, value in more.items())]

    def _follow(self, process: subprocess.Popen[bytes], there: int, progress: Progress) -> None:
        assert process.stdout
        said = b""
        while piece := os.read(process.stdout.fileno(), 4096):
            # "  1,234,567  45%  12.3MB/s ...": bytes of this run, rewritten in place.
            said = (said + piece)[-200:]
            if found := re.findall(rb"\s([\d,]+)\s+\d+%", said):
                progress(there + int(found[-1].replace(b",", b"")))
