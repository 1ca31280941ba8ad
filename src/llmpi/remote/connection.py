"""One way to run commands and put files: on this machine, and over SSH by Fabric."""

import contextlib
import os
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from invoke import Context

from llmpi import layout
from llmpi.remote.machine import Device
from llmpi.remote.shell import Here
from llmpi.study.devices import LocalDevice, SingleDevice


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
