"""A device behind SSH, by Fabric; loaded where there is one, as that takes a while."""

import contextlib
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from fabric import Connection
from fabric.runners import Remote
from paramiko import SSHException

from llmpi.engine.supervise import INTERRUPT
from llmpi.errors import LlmpiError
from llmpi.remote.any_shell import for_any_shell
from llmpi.remote.link import opened
from llmpi.remote.machine import Device, cut
from llmpi.remote.shell import LINGER_S, Bounded, Lines, Said
from llmpi.remote.transfer import Piped, Rsync, Sender, Sftp, send
from llmpi.study.devices import SshDevice


@contextlib.contextmanager
def reached(name: str, device: SshDevice) -> Iterator["SshMachine"]:
    """Reach it.

    Raises:
        LinkError, LlmpiError: as `llmpi.remote.link.opened`.
    """
    with opened(name, device) as connection:
        yield SshMachine(name, device, connection)


class SshMachine(Device):
    """`transport: ssh`: an open connection to a host whose key is known."""

    def __init__(self, name: str, device: SshDevice, connection: Connection) -> None:
        super().__init__(name, device.python)
        self._device, self.connection = device, connection
        # The first that is asked: a login shell that hangs is not waited for as work is.
        hello = ["sh", "-c", 'printf %s "$HOME"']
        self.home = self.run(hello, timeout_s=3 * device.connect_timeout_s).stdout
        if not re.fullmatch(r"/[^\n\0]*", self.home):
            raise LlmpiError(f"device {name}: says that its user's home is {cut(self.home, 200)!r}")
        store = device.store
        self.store = self.home + store[1:] if store.startswith("~/") else store
        if self.python.startswith("~/"):
            self.python = self.home + self.python[1:]
        if not self.store.startswith("/"):
            raise LlmpiError(f"device {name}: store {store!r} must begin with '/' or '~/'")

    @property
    def interpreter(self) -> str:
        return f"{self.store}/venv/bin/python"

    @property
    def host_key(self) -> str | None:
        return self.connection.transport.get_remote_server_key().get_name()

    def _start(self, argv: Sequence[str], *, hears_ctrl_c: bool, **options: Any) -> Any:
        runner = OverSsh(self.connection, inline_env=True)
        runner.hears_ctrl_c = hears_ctrl_c
        try:
            return runner.run(for_any_shell(argv), **options)
        except SSHException as error:
            raise OSError(str(error)) from error

    def send(self, source: Path, partial: str, there: int) -> int:
        return send(self.name, self._sender, source, partial, there)

    @cached_property
    def _sender(self) -> Sender:
        has_rsync = self.run(["sh", "-c", "command -v rsync"], check=False).status == 0
        if self.noise:
            return Piped(self.connection)
        if has_rsync and shutil.which("rsync"):
            aes = self.run(["grep", "-qwi", "aes", "/proc/cpuinfo"], check=False)
            return Rsync(self._device, has_aes=aes.status == 0)
        return Sftp(self.connection)


class OverSsh(Bounded, Remote):
    """Fabric's runner."""

    hears_ctrl_c = False

    def send_interrupt(self, interrupt: KeyboardInterrupt) -> None:
        """Without a terminal there, nobody else tells the command."""
        if not self.hears_ctrl_c:
            raise interrupt
        self.channel.send(INTERRUPT)

    def start(self, *arguments: Any, **options: Any) -> None:
        super().start(*arguments, **options)
        self.channel.settimeout(LINGER_S)

    def read_proc_stdout(self, num_bytes: int) -> bytes:
        return self._read(self.channel.recv, self.streams["out"], num_bytes)

    def read_proc_stderr(self, num_bytes: int) -> bytes:
        return self._read(self.channel.recv_stderr, self.streams["err"], num_bytes)

    def _read(self, read: Callable[[int], bytes], into: Said | Lines, num_bytes: int) -> bytes:
        """What comes next; nothing where a command is over whose shell keeps the channel open."""
        while True:
            try:
                return read(num_bytes)
            except TimeoutError:
                if into.is_over:
                    return b""
