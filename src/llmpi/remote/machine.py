"""A place where commands run and files lie, on this machine or behind a link."""

import json
import logging
import shlex
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from typing_extensions import TypeForm

from llmpi.device import durable
from llmpi.errors import LlmpiError
from llmpi.records import RecordError, check
from llmpi.remote.shell import Call, FloodError, Said

DURABLE = Path(durable.__file__)

logger = logging.getLogger(__name__)

Log = Callable[[str], None]
Request = Mapping[str, object]  # of each command its own, see `llmpi.device.records`
Answer = TypeVar("Answer")

ANSWER_S = 120
"""A short question to a device is answered by then, or the link is taken for lost."""
HASH_S = 600


class LinkError(LlmpiError):
    """A device cannot be reached, or not any more; it may be there again later."""


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
        from invoke.exceptions import CommandTimedOut, Failure, ThreadException

        where, call = f"device {self.name}: {cut(what or shlex.join(argv), 100)}", Call(argv, log)
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
        except (Failure, OSError, EOFError) as error:
            raise LinkError(f"{where}: {error}") from error
        if heard.status is None:
            if timeout_s is not None and time.monotonic() - begun >= timeout_s:
                raise LinkError(f"{where}: no end within {timeout_s:g} s{_by_shell(heard)}")
            if exited in (-1, None):  # no status came back
                raise LinkError(f"{where}: the connection broke")
            raise LlmpiError(f"{where}: ended with status {exited}{_by_shell(heard)}")
        if heard.noise and not self.noise:
            self.noise = cut(heard.noise, 200)
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
        request: Request,
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
        answer = self._answer(command, request, log, timeout_s)
        return self.checked(answer, kind, f"llmpi-device {command}")

    def _answer(
        self, command: str, request: Request, log: Log | None, timeout_s: float | None
    ) -> str:
        """What `llmpi-device` there writes."""
        argv = [*self.llmpi_device, command, json.dumps(request)]
        return self.run(argv, log=log, timeout_s=timeout_s).stdout

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
    def _start(self, argv: Sequence[str], *, hears_ctrl_c: bool, **options: Any) -> Any:
        """Run it by Invoke or what is built on it.

        Raises:
            OSError, EOFError: the link failed.
        """

    @abstractmethod
    def send(self, source: Path, partial: str, there: int) -> int:
        """Send what a partial file there, of `there` bytes, lacks of `source`; returns how much.

        Raises:
            LlmpiError: the link or the disk failed; what arrived stays there.
        """


def noise_told(noise: str) -> str:
    """What a login shell says that should be silent."""
    return f"the login shell prints {noise!r} when it is not interactive"


def _by_shell(heard: Said) -> str:
    """Whether it was a command that failed so, or the login shell before it."""
    if heard.started:
        return ""
    noise = cut(heard.noise, 200)
    told = f": {noise_told(noise)}" if noise else ", and prints nothing"
    return f"; its login shell did not come to run the command{told}"


def _ends(text: str) -> str:
    """What an answer begins and ends with, quoted."""
    return repr(text) if len(text) <= 200 else f"{text[:120]!r} ... {text[-60:]!r}"


def cut(text: str, length: int) -> str:
    """At most so many characters of it, for an error."""
    return text if len(text) <= length else text[: length - 3] + "..."
