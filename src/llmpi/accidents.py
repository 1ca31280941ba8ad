"""What befalls a job at the workstation and is nobody's result: no memory, no disk, a forced end.

On a board the same is measured (`llmpi.engine.supervise`). Here it says nothing of the model: the
job ends with an error that says what to do, leaves no file, and is tried again the next time.
"""

import os
import re
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Literal, TypeVar

from llmpi.device.machine import capacity
from llmpi.engine import supervise as children
from llmpi.engine.supervise import Death
from llmpi.errors import LlmpiError

Written = TypeVar("Written")
Kind = Literal["memory", "disk", "closed", "force"]


class AccidentError(LlmpiError):
    """The machine did not give what the job needed; another time it may."""


TOLD: dict[Kind, re.Pattern[str]] = {
    "memory": re.compile(
        r"MemoryError|can't start new thread"  # Python
        r"|SystemError: (.* without setting an exception|error return without exception set)"
        r"|terminate called without an active exception"  # of threads that could not be started
        r"|std::bad_alloc|cannot allocate memory|Resource temporarily unavailable"  # C++, C
        r"|failed to map segment from shared object"
        r"|insufficient memory|(failed|unable) to allocate"  # ggml
        r"|can't allocate memory|out of memory|OutOfMemoryError"  # torch
        r"|Memory allocation still failed",  # OpenBLAS
        re.IGNORECASE,
    ),
    "disk": re.compile(
        r"No space left on device|Disk quota exceeded|File too large"  # C
        r"|iostream error"  # C++, of the quantizer
        r"|PytorchStreamWriter failed writing"  # torch
        r"|No usable temporary directory"  # Python, which has tried to write there
    ),
    "closed": re.compile(
        r"Permission denied|PermissionError|Read-only file system|Input/output error"
        r"|Stale file handle|Too many open files"  # C
    ),
}
SIGNALS: dict[int, Kind] = {
    signal.SIGKILL: "memory",  # the kernel's way to get some back
    signal.SIGBUS: "disk",  # a mapped file that cannot be read or written
    **dict.fromkeys((signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGXCPU), "force"),
}
OF_THE_FILE = "llama_model_loader: - "
"""How lines begin in which the engine repeats what a model file says of itself."""


def supervise(
    module: str,
    job: Mapping[str, object],  # what each module takes is its own
    *,
    writes: type[Written],
    log: Callable[[str], None],
    timeout_s: float | None = None,
    environment: Mapping[str, str] | None = None,
) -> Written | Death:
    """As `llmpi.engine.supervise.supervise`, for the workstation.

    Returns:
        The record; or a death that is the job's own, so that it would die of it again.

    Raises:
        AccidentError: the child died of something else.
    """
    ended = children.supervise(
        module, job, writes=writes, log=log, timeout_s=timeout_s, environment=environment
    )
    if isinstance(ended, Death) and (kind := _kind_of(ended)):
        raise AccidentError(_words(kind, ended.reason))
    return ended


def accident(error: BaseException) -> AccidentError | None:
    """An exception in words, if it is an accident."""
    said = f"{type(error).__name__}: {error}"
    kind = _told(said)
    return AccidentError(_words(kind, said)) if kind else None


def check_room(folder: Path, needed_bytes: float, what: str) -> None:
    """Before work of hours for a file that has no room.

    Raises:
        AccidentError: it has none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < needed_bytes:
        raise AccidentError(
            f"{folder}: {what} needs {needed_bytes / 1e9:.2f} GB, but only {free / 1e9:.2f} GB are "
            "free. Make room there and run again."
        )


def check_memory(needed_bytes: float, free_bytes: int | None, what: str, instead: str = "") -> None:
    """Before anything is loaded that has no room.

    Args:
        free_bytes: None where that is not known.
        instead: a sentence of what would fit.

    Raises:
        AccidentError: it has none.
    """
    if free_bytes is not None and free_bytes < needed_bytes:
        raise AccidentError(
            f"{what} needs about {needed_bytes / 1e9:.1f} GB of memory, and "
            f"{free_bytes / 1e9:.1f} GB are free here. {instead}Close what else runs, or take a "
            "larger machine, and run again."
        )


def _kind_of(death: Death) -> Kind | None:
    lines = [line for line in death.tail.splitlines() if not line.startswith(OF_THE_FILE)]
    told, of_signal = _told("\n".join(lines)), SIGNALS.get(death.signal or 0)
    # OpenBLAS sends itself a SIGINT where there is no room for its threads, and says so before.
    return told if of_signal in {None, "force"} and told else of_signal


def _told(text: str) -> Kind | None:
    return next((kind for kind, pattern in TOLD.items() if pattern.search(text)), None)


def _words(kind: Kind, what: str) -> str:
    if kind == "memory":
        left = capacity.memory_bytes()
        now = f", of which {left / 1e9:.1f} GB are free now" if left is not None else ""
        return (
            f"this machine's memory did not suffice{now} ({what}). Close what else runs here, or "
            "run fewer jobs at once (snakemake --cores 1), and run again."
        )
    if kind == "disk":
        free = ", ".join(f"{free / 1e9:.2f} GB in {folder}" for free, folder in sorted(_disks()))
        return f"the disk is full ({what}); free are {free}. Make room there and run again."
    if kind == "closed":
        return (
            f"a file or folder could not be opened, read or written ({what}). See that it is there "
            "and yours (ls -l), its disk mounted and sound (dmesg), and run again."
        )
    return f"{what}: somebody or something ended it. Run again."


def _disks() -> Iterator[tuple[int, Path]]:
    """Where a job writes, each file system once, and the bytes that are free in it."""
    results = Path("results")
    seen = set()
    for folder in (Path.cwd(), results, *sorted(results.glob("*")), _temporary()):
        with suppress(OSError):
            if (disk := folder.stat().st_dev) not in seen:
                seen.add(disk)
                yield shutil.disk_usage(folder).free, folder


def _temporary() -> Path:
    """On a full disk Python finds none."""
    with suppress(FileNotFoundError):
        return Path(tempfile.gettempdir())
    return Path(os.environ.get("TMPDIR", "/tmp"))  # noqa: S108 - looked at, not written to
