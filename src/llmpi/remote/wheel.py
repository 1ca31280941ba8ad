"""The wheel of this very llmpi, so that a device runs the code the workstation runs."""

import subprocess
import sys
import tempfile
from hashlib import sha256
from pathlib import Path

from filelock import FileLock

import llmpi
from llmpi import layout
from llmpi.errors import LlmpiError
from llmpi.records import sha256_of, whole_file

PROJECT = Path(llmpi.__file__).resolve().parents[2]


def this_llmpi() -> Path:
    """The wheel, built anew where the sources are not those it was built of.

    Raises:
        LlmpiError: llmpi does not run from its project, or pip could not build it.
    """
    if not (PROJECT / "pyproject.toml").is_file():
        raise LlmpiError(f"{PROJECT} is not llmpi's project; devices need it: run `make setup`")
    wheel, sources = Path(layout.WHEEL), _sources_sha256()
    built_of = wheel.with_suffix(".sources")
    wheel.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{wheel}.lock"):  # several devices are made ready at once
        if not wheel.is_file() or not built_of.is_file() or built_of.read_text() != sources:
            _build(wheel)
            with whole_file(built_of) as partial:
                partial.write_text(sources)
    return wheel


def _build(wheel: Path) -> None:
    """Build the project into `wheel`; the same sources give the same bytes."""
    with tempfile.TemporaryDirectory(prefix="llmpi-") as folder:
        command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"]
        done = subprocess.run(
            [*command, "--wheel-dir", folder, str(PROJECT)],
            capture_output=True,
            text=True,
            check=False,
        )
        built = Path(folder) / wheel.name
        if done.returncode != 0 or not built.is_file():
            raise LlmpiError(f"the llmpi wheel could not be built: {done.stderr[-1000:]}")
        with whole_file(wheel) as partial:
            partial.write_bytes(built.read_bytes())


def _sources_sha256() -> str:
    sources = PROJECT / "src"
    files = [PROJECT / "pyproject.toml"]
    files += [path for path in sources.rglob("*") if "__pycache__" not in path.parts]
    hashes = [f"{path} {sha256_of(path)}" for path in sorted(files) if path.is_file()]
    return sha256("\n".join(hashes).encode()).hexdigest()
