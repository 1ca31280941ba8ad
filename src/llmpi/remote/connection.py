"""One way to run commands and put files: on this machine, and over SSH by Fabric."""

import contextlib
import io
import json
import os
import shlex
import shutil
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from fabric import Connection
from invoke import Context
from invoke.exceptions import Failure
from paramiko import SSHException
from typing_extensions import TypeForm

from llmpi import layout
from llmpi.errors import LlmpiError
from llmpi.records import RecordError, check
from llmpi.remote.any_shell import for_any_shell
from llmpi.remote.link import LinkError, opened
from llmpi.remote.transfer import Rsync, Sender, Sftp, send
from llmpi.study.devices import LocalDevice, SingleDevice, SshDevice

Log = Callable[[str], None]
Answer = TypeVar("Answer")

ANSWER_S = 120
"""A short question to a device is answered by then, or the link is taken for lost."""


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    status: int
    stdout: str
    stderr: str


class Device(ABC):
    """A place where commands run and files lie; `store` is llmpi's folder there."""

    def __init__(self, name: str, python: str) -> None:
        self.name = name
        self.python = python
        self.store = ""

    def run(
        self,
        argv: Sequence[str],
        *,
        log: Log | None = None,
        check: bool = True,
        timeout_s: int | None = None,
    ) -> Done:
        """Run a command, each argument quoted; its stderr goes to `log` line by line.

        Raises:
            LinkError: the connection broke, or nothing came back within `timeout_s`.
            LlmpiError: `check` and the command failed.
        """
        stream = _Lines(log)
        options = {
            "hide": "stdout",
            "warn": True,
            "in_stream": False,
            "err_stream": stream,
            "encoding": "utf-8",
        }
        try:
            result = self._start(argv, timeout=timeout_s, **options)
        except (Failure, OSError, EOFError, SSHException) as error:
            raise LinkError(f"device {self.name}: {_short(argv)}: {error}") from error
        stream.flush()
        done = Done(result.exited, result.stdout, result.stderr)
        if check and done.status != 0:
            said = (done.stderr or done.stdout).strip().splitlines()
            raise LlmpiError(
                f"device {self.name}: {_short(argv)} ended with status {done.status}: "
                + (said[-1] if said else "no message")
            )
        return done

    def sha256(self, path: str) -> str | None:
        """Hash of a file on the device, computed there; None where there is no such file."""
        code = (
            "import hashlib,os,sys\np=sys.argv[1]\n"
            "print(hashlib.file_digest(open(p,'rb'),'sha256').hexdigest()"
            " if os.path.isfile(p) else '')"
        )
        return self.run([self.python, "-I", "-c", code, path]).stdout.strip() or None

    def make_folder(self, path: str) -> None:
        """Make a folder and its parents, for this user alone; what is there stays as it is."""
        self.run(["sh", "-c", 'umask 077 && mkdir -p -- "$1"', "sh", path])

    def put(self, source: Path, target: str) -> None:
        """Put a small file there; its final name is taken only when all of it has arrived."""
        partial = f"{target}.part"
        self.make_folder(target.rpartition("/")[0])
        self.run(["rm", "-f", "--", partial])
        self.send(source, partial, 0)
        self.run(["mv", "-f", "--", partial, target])

    def ask(
        self,
        command: str,
        request: Mapping[str, object],  # of each command its own, see `llmpi.device.records`
        kind: TypeForm[Answer],
        *,
        log: Log | None = None,
        timeout_s: int | None = None,
    ) -> Answer:
        """What `llmpi-device` there answers, checked.

        Raises:
            LinkError, LlmpiError: as `run`.
            RecordError: the answer does not fit; with the device, the command and the field.
        """
        argv = [*self.llmpi_device, command, json.dumps(request)]
        answer = self.run(argv, log=log, timeout_s=timeout_s).stdout
        return self.checked(answer, kind, f"llmpi-device {command}")

    def checked(self, answer: str, kind: TypeForm[Answer], whose: str) -> Answer:
        """What came from there as JSON; `whose` it is, for the error.

        Raises:
            RecordError: it does not fit.
        """
        try:
            return check(answer, kind, f"device {self.name}: {whose}")
        except RecordError as error:
            raise RecordError(f"{error}; it answered {_cut(answer, 200)!r}") from error

    @property
    @abstractmethod
    def interpreter(self) -> str:
        """The Python that has llmpi and the engine; `python` is the one to begin with."""

    @property
    def host_key(self) -> str | None:
        """Kind of the host key that was verified; None where there is no host to trust."""
        return None

    @property
    def llmpi_device(self) -> list[str]:
        """The command `llmpi-device` there."""
        return [self.interpreter, "-m", "llmpi.device.cli"]

    @abstractmethod
    def _start(self, argv: Sequence[str], **options: Any) -> Any: ...

    @abstractmethod
    def send(self, source: Path, partial: str, there: int) -> int:
        """Send what a partial file there, of `there` bytes, lacks of `source`; returns how much.

        Raises:
            LlmpiError: the link or the disk failed; what arrived stays there.
        """


class ThisMachine(Device):
    """`transport: local`."""

    def __init__(self, name: str, device: LocalDevice) -> None:
        super().__init__(name, sys.executable)
        # By default relative to where Snakemake runs, so that receipts survive a move of the clone.
        default = layout.at(layout.LOCAL_STORE, device=name)
        self.store = str(Path(device.store or default).expanduser())

    @property
    def interpreter(self) -> str:
        return sys.executable

    def _start(self, argv: Sequence[str], **options: Any) -> Any:
        return Context().run(shlex.join(argv), **options)

    def send(self, source: Path, partial: str, there: int) -> int:  # noqa: ARG002 - all of it
        Path(partial).unlink(missing_ok=True)
        try:
            os.link(source, partial)
        except OSError:  # another file system
            shutil.copyfile(source, partial)
        return source.stat().st_size


class SshMachine(Device):
    """`transport: ssh`: an open connection to a host whose key is known."""

    def __init__(self, name: str, device: SshDevice, connection: Connection) -> None:
        super().__init__(name, device.python)
        self._device, self.connection = device, connection
        home = self.run(["sh", "-c", 'printf %s "$HOME"']).stdout
        store = device.store
        self.store = home + store[1:] if store.startswith("~/") else store
        if not self.store.startswith("/"):
            raise LlmpiError(f"device {name}: store {store!r} must begin with '/' or '~/'")

    @property
    def interpreter(self) -> str:
        return f"{self.store}/venv/bin/python"

    @property
    def host_key(self) -> str | None:
        return self.connection.transport.get_remote_server_key().get_name()

    def _start(self, argv: Sequence[str], **options: Any) -> Any:
        result = self.connection.run(for_any_shell(argv), **options)
        if result.exited == -1:  # no status came back
            raise EOFError("the connection broke")
        return result

    def send(self, source: Path, partial: str, there: int) -> int:
        return send(self.name, self._sender, source, partial, there)

    @cached_property
    def _sender(self) -> Sender:
        """rsync where both ends have it, else SFTP."""
        there = self.run(["sh", "-c", "command -v rsync"], check=False)
        both = there.status == 0 and shutil.which("rsync")
        return Rsync(self._device) if both else Sftp(self.connection)


@contextlib.contextmanager
def connected(name: str, device: SingleDevice) -> Iterator[Device]:
    """Reach a device.

    Raises:
        LinkError, LlmpiError: as `llmpi.remote.link.opened`.
    """
    if isinstance(device, LocalDevice):
        yield ThisMachine(name, device)
        return
    with opened(name, device) as connection:
        yield SshMachine(name, device, connection)


class _Lines(io.TextIOBase):
    """A stream that hands on whole lines."""

    def __init__(self, log: Log | None) -> None:
        self._log, self._pending = log or (lambda _: None), ""

    def write(self, text: str) -> int:
        *lines, self._pending = (self._pending + text).split("\n")
        for line in lines:
            self._log(line)
        return len(text)

    def flush(self) -> None:
        return


def _short(argv: Sequence[str]) -> str:
    return _cut(shlex.join(argv), 100)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 3] + "..."
