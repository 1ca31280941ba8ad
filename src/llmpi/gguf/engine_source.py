"""llama.cpp's own files at the commit of the installed engine.

The source distribution of the pinned llama-cpp-python holds all of llama.cpp. pip fetches it and
checks it against the lock's hash; it is taken as data, nothing of it is installed.
"""

import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from llmpi.errors import LlmpiError

ENGINE = "llama-cpp-python"


def pin(lock: Path) -> str:
    """The lines of `lock` that pin the engine: version and hashes.

    Raises:
        LlmpiError: the lock pins none.
    """
    found = re.search(
        rf"^{ENGINE}==\S+ \\\n(?:    --hash=\S+(?: \\)?\n)+", lock.read_text("utf-8"), re.MULTILINE
    )
    if not found:
        raise LlmpiError(f"{lock}: does not pin {ENGINE} by hash; make it anew with `make lock`")
    return found[0]


def key(pin: str) -> str:
    """A name for what `unpack` gives: version, and a digest of the pin."""
    return f"{pin.split()[0].partition('==')[2]}-{sha256(pin.encode()).hexdigest()[:12]}"


def unpack(pin: str, target: Path, parts: Sequence[str] = ()) -> None:
    """Put llama.cpp's sources at `target`, whole or not at all; where it is already, it stays.

    Args:
        pin: as `pin` gives it.
        parts: files and folders of llama.cpp to take, such as `gguf-py`; all if there are none.

    Raises:
        LlmpiError: pip could not fetch the source distribution, or its hash is wrong.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".unpack-", dir=target.parent) as scratch:
        with tarfile.open(_download(pin, Path(scratch))) as packed:
            # As tarfile's documentation has it for a Python before 3.11.4, such as Debian 12's.
            packed.extraction_filter = getattr(tarfile, "data_filter", lambda member, _: member)
            packed.extractall(scratch, _wanted(packed, parts))  # noqa: S202 - filtered; its hash is known
        [unpacked] = Path(scratch).glob("*/vendor/llama.cpp")
        try:
            unpacked.rename(target)
        except OSError:
            if not target.is_dir():  # else another job was faster
                raise


def _wanted(packed: tarfile.TarFile, parts: Sequence[str]) -> list[tarfile.TarInfo] | None:
    if not parts:
        return None
    whole = re.compile(rf"[^/]+/vendor/llama\.cpp/(?:{'|'.join(map(re.escape, parts))})(?:/|$)")
    return [member for member in packed if whole.match(member.name)]


def _download(pin: str, scratch: Path) -> Path:
    (scratch / "pin.txt").write_text(pin)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--no-binary", ":all:", "--require-hashes", "-r", "pin.txt", "--dest", "."]
    command += ["--no-build-isolation"]  # pip asks the sources for their name, with our own tools
    done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LlmpiError(
            f"pip could not fetch the sources of {pin.split()[0]}, which hold llama.cpp's "
            f"converter: {done.stderr.strip()[-1500:]}"
        )
    return next(scratch.glob("*.tar.gz"))
