"""Which engine is installed, told without loading it."""

import json
import sys
from pathlib import Path

from llmpi.engine.laid_over import BUILD_NAME

BUILD = Path(sys.prefix) / BUILD_NAME
"""The flags it was built with, written by `llmpi.device.install`."""


def version() -> str:
    """Of llama-cpp-python.

    Raises:
        ImportError: it is not installed.
    """
    from importlib import metadata  # slow, and few of the engine's processes tell what they are

    return metadata.version("llama-cpp-python")


def engine_version() -> dict[str, str]:
    """Version and build flags of the engine of this environment; its name alone where it has none.

    Light: the Snakefile asks in every job.
    """
    try:
        installed = version()
    except ImportError:
        installed = ""
    flags = json.loads(BUILD.read_text()) if BUILD.is_file() else {}
    return {"llama-cpp-python": installed, **flags}
