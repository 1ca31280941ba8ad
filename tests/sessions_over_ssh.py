"""A measurement on the device of the finished study, and what runs there meanwhile."""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from support import PATIENCE_S

from llmpi.device.records import Cancelled
from llmpi.errors import LlmpiError
from llmpi.remote import requests
from llmpi.remote.benchmark import benchmark
from llmpi.remote.connection import connected
from llmpi.study.devices import SshDevice
from llmpi.study.measuring import Runtime, Workload

SHORT = {"prompt_tokens": 16, "output_tokens": 8, "repetitions": 4, "warmup": 0}
MIDDLE = "[1/4] chat"
"""What a measurement of `SHORT` says in its midst."""


def q4_0(over_ssh) -> Path:
    return over_ssh.folder / "results/gguf/smollm2-135m/Q4_0.gguf"


def measured(
    over_ssh,
    device: SshDevice,
    receipt: dict[str, Any],
    what: str,
    *,
    write: Callable[[Any], object] = lambda _: None,
    **workload: Any,
) -> dict[str, Any]:
    """A session of one workload, `chat`.

    Args:
        write: is given the record before the device forgets it.
    """
    chat = Workload.model_validate({**SHORT, **workload})
    with benchmark(
        "pi",
        device,
        what=what,
        runtime=requests.runtime(Runtime()),
        workloads={"chat": chat},
        measured_by="llmpi.device.measure.process",
        provisioned=over_ssh.json("devices/pi.json"),
        receipt=receipt,
        gguf=q4_0(over_ssh),
        kept=over_ssh.folder / "meter",
    ) as record:
        write(record)
        return record


@contextlib.contextmanager
def working(*arguments: Any) -> Iterator[list[dict[str, Any]]]:
    """`measured` beside the block; its record, or its error, is there behind it."""
    outcome: list[Any] = []

    def work() -> None:
        try:
            outcome.append(measured(*arguments))
        except LlmpiError as error:
            outcome.append(error)

    worker = threading.Thread(target=work)
    worker.start()
    yield outcome
    worker.join(PATIENCE_S)


def runners(device: SshDevice) -> list[int]:
    """Processes of the measurements started in a store, each of which has its own session."""
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    jobs = {pid for pid in pids if command(pid)[-1].startswith(f"{device.store}/jobs/")}
    return [pid for pid in pids if command(pid) != [""] and session(pid) in jobs]


def command(pid: int) -> list[str]:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text().rstrip("\0").split("\0")
    return [""]  # it has ended


def session(pid: int) -> int | None:
    with contextlib.suppress(OSError):
        return os.getsid(pid)
    return None


def cancel_all(device: SshDevice) -> int:
    """End what a test left running on a device; how many measurements that were."""
    with connected("pi", device) as reached:
        return reached.ask("cancel", {"jobs": f"{reached.store}/jobs"}, Cancelled)["ended"]
