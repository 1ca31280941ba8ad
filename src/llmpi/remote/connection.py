"""One way to run commands and put files: on this machine, and over SSH by Fabric."""

import contextlib
import json
import logging
import os
import re
import shlex
import shutil
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from fabric import Connection
from invoke import Context
from invoke.exceptions import CommandTimedOut, Failure, ThreadException
from paramiko import SSHException
from typing_extensions import TypeForm

from llmpi import layout
from llmpi.device import durable
from llmpi.errors import LlmpiError
from llmpi.records import RecordError, check
from llmpi.remote.any_shell import for_any_shell
from llmpi.remote.link import LinkError, opened
from llmpi.remote.shell import Call, FloodError, Here, OverSsh, Said
from llmpi.remote.transfer import Piped, Rsync, Sender, Sftp, send
from llmpi.study.devices import LocalDevice, SingleDevice, SshDevice

DURABLE = Path(durable.__file__)

logger = logging.getLogger(__name__)

Log = Callable[[str], None]
Answer = TypeVar("Answer")

ANSWER_S = 120
"""A short question to a device is answered by then, or the link is taken for lost."""
HASH_S = 600


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
        self.store = self.home = ""
        self.noise = ""
        """What the login shell there prints around each command, if anything."""

    def run(
        self,
        argv: Sequence[str],
        *,
        log: Log | None = None,
        check: bool = True,
        timeout_s: float | None = ANSWER_S,
        what: str | None = None,
        hears_ctrl_c: bool = False,
    ) -> Done:
        """Run a command, each argument quoted; its stderr goes to `log` line by line.

        Args:
            timeout_s: None for no end: what ends by itself.
            what: it is called in errors; by default its beginning.
            hears_ctrl_c: over SSH it reads of that on its stdin, ends, and is waited for; another
                one is given up.

        Raises:
            LinkError: the connection broke, or nothing came back within `timeout_s`.
            LlmpiError: `check` and the command failed.
        """
        where, call = f"device {self.name}: {_cut(what or shlex.join(argv), 100)}", Call(argv, log)
        heard, begun = call.said, time.monotonic()
        try:
            options = call.options(timeout_s)
            exited = self._start(call.argv, hears_ctrl_c=hears_ctrl_c, **options).exited
        except CommandTimedOut:
            exited = None
        except ThreadException as error:
            if any(isinstance(one.value, FloodError) for one in error.exceptions):
                raise LlmpiError(f"{where}: prints and does not stop{_by_shell(heard)}") from error
            raise LinkError(f"{where}: {error.exceptions[0].value}") from error
        except (Failure, OSError, EOFError, SSHException) as error:
            raise LinkError(f"{where}: {error}") from error
        if heard.status is None:
            if timeout_s is not None and time.monotonic() - begun >= timeout_s:
                raise LinkError(f"{where}: no end within {timeout_s:g} s{_by_shell(heard)}")
            if exited in (-1, None):  # no status came back
                raise LinkError(f"{where}: the connection broke")
            raise LlmpiError(f"{where}: ended with status {exited}{_by_shell(heard)}")
        if heard.noise and not self.noise:
            self.noise = _cut(heard.noise, 200)
            logger.warning("device %s: %s", self.name, noise_told(self.noise))
        done = Done(heard.status, heard.answer, call.lines.tail)
        if check and done.status != 0:
            said = (done.stderr or done.stdout).strip().splitlines()
            raise LlmpiError(
                f"{where} ended with status {done.status}: " + (said[-1] if said else "no message")
            )
        return done

    def sha256(self, path: str) -> str | None:
        """Hash of a file on the device, computed there; None where there is no such file."""
        code = (
            "import hashlib,os,sys\np=sys.argv[1]\n"
            "print(hashlib.file_digest(open(p,'rb'),'sha256').hexdigest()"
            " if os.path.isfile(p) else '')"
        )
        command = [self.python, "-I", "-c", code, path]
        return self.run(command, timeout_s=HASH_S).stdout.strip() or None

    def run_file(self, file: Path, *arguments: str, timeout_s: float = ANSWER_S) -> str:
        """Stdout of one of llmpi's files that need nothing installed there."""
        text = file.read_text(encoding="utf-8")
        command = [self.python, "-I", "-c", text, *arguments]
        what = shlex.join([file.stem, *arguments])
        return self.run(command, what=what, timeout_s=timeout_s).stdout

    def make_folder(self, path: str) -> None:
        """Make a folder and its parents, for this user alone; what is there stays as it is."""
        self.run(["sh", "-c", 'umask 077 && mkdir -p -- "$1"', "sh", path])

    def put(self, source: Path, target: str) -> None:
        """Put a small file there; it takes its name when all of it has arrived, and stays."""
        partial = f"{target}.part"
        self.make_folder(target.rpartition("/")[0])
        self.run(["rm", "-f", "--", partial])
        self.send(source, partial, 0)
        self.run_file(DURABLE, "keep", partial, target)

    def ask(
        self,
        command: str,
        request: Mapping[str, object],  # of each command its own, see `llmpi.device.records`
        kind: TypeForm[Answer],
        *,
        log: Log | None = None,
        timeout_s: float | None = ANSWER_S,
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
            raise RecordError(f"{error}; it answered {_ends(answer)}") from error

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
    def _start(self, argv: Sequence[str], *, hears_ctrl_c: bool, **options: Any) -> Any: ...

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

    def _start(
        self,
        argv: Sequence[str],
        *,
        hears_ctrl_c: bool,  # noqa: ARG002 - the terminal tells it
        **options: Any,
    ) -> Any:
        return Here(Context()).run(shlex.join(argv), **options)

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
        # The first that is asked: a login shell that hangs is not waited for as work is.
        hello = ["sh", "-c", 'printf %s "$HOME"']
        self.home = self.run(hello, timeout_s=3 * device.connect_timeout_s).stdout
        if not re.fullmatch(r"/[^\n\0]*", self.home):
            raise LlmpiError(
                f"device {name}: says that its user's home is {_cut(self.home, 200)!r}"
            )
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
        return runner.run(for_any_shell(argv), **options)

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


def noise_told(noise: str) -> str:
    """What a login shell says that should be silent."""
    return f"the login shell prints {noise!r} when it is not interactive"


def _by_shell(heard: Said) -> str:
    """Whether it was a command that failed so, or the login shell before it."""
    if heard.started:
        return ""
    noise = _cut(heard.noise, 200)
    told = f": {noise_told(noise)}" if noise else ", and prints nothing"
    return f"; its login shell did not come to run the command{told}"


def _ends(text: str) -> str:
    """What an answer begins and ends with, quoted."""
    return repr(text) if len(text) <= 200 else f"{text[:120]!r} ... {text[-60:]!r}"


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 3] + "..."
