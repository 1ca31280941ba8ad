"""One way to run commands and put files: on this machine, and over SSH by Fabric."""

import contextlib
import json
import os
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from llmpi import layout
from llmpi.device.commands import function_of
from llmpi.errors import LlmpiError
from llmpi.remote.machine import Device, Log, Request
from llmpi.study.devices import LocalDevice, SingleDevice

AT_ONCE = {"expect", "accept", "use"}
"""What is asked of files: no engine, nothing that may die. A process of its own takes longer to
start than to answer."""


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

    def _answer(
        self, command: str, request: Request, log: Log | None, timeout_s: float | None
    ) -> str:
        if command not in AT_ONCE:
            return super()._answer(command, request, log, timeout_s)
        try:
            return json.dumps(function_of(command)(request))
        except OSError as error:
            raise LlmpiError(f"device {self.name}: llmpi-device {command}: {error}") from error

    def _start(
        self,
        argv: Sequence[str],
        *,
        hears_ctrl_c: bool,  # noqa: ARG002 - the terminal tells it
        **options: Any,
    ) -> Any:
        from invoke import Context

        from llmpi.remote.here import Here

        return Here(Context()).run(shlex.join(argv), **options)

    def send(self, source: Path, partial: str, there: int) -> int:  # noqa: ARG002 - all of it
        Path(partial).unlink(missing_ok=True)
        try:
            os.link(source, partial)
        except OSError:  # another file system
            shutil.copyfile(source, partial)
        return source.stat().st_size


@contextlib.contextmanager
def connected(name: str, device: SingleDevice) -> Iterator[Device]:
    """Reach a device.

    Raises:
        LinkError, LlmpiError: as `llmpi.remote.link.opened`.
    """
    if isinstance(device, LocalDevice):
        yield ThisMachine(name, device)
        return
    from llmpi.remote.ssh_machine import reached

    with reached(name, device) as machine:
        yield machine
