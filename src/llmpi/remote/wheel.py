"""Build the wheel of this very llmpi, so that the device runs the code the workstation runs."""

import subprocess
import sys
import tempfile
from pathlib import Path

from llmpi.errors import LlmpiError
from llmpi.records import whole_file


def build(project: Path, wheel: Path) -> None:
    """Build `project` into `wheel`; the same sources give the same bytes.

    Raises:
        LlmpiError: pip could not build it.
    """
    with tempfile.TemporaryDirectory(prefix="llmpi-") as folder:
        command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"]
        done = subprocess.run(
            [*command, "--wheel-dir", folder, str(project)],
            capture_output=True,
            text=True,
            check=False,
        )
        built = Path(folder) / wheel.name
        if done.returncode != 0 or not built.is_file():
            raise LlmpiError(f"the llmpi wheel could not be built: {done.stderr[-1000:]}")
        with whole_file(wheel) as partial:
            partial.write_bytes(built.read_bytes())
