"""Python runs this at the start of each process that has the folder on PYTHONPATH: see `loaded`."""

import atexit
import json
import os
import re
import sys
from pathlib import Path


def write(folder: Path) -> None:
    files = [getattr(module, "__file__", None) for module in [*sys.modules.values()]]
    ours = sorted({file for file in files if file and "/llmpi/" in file})
    if ours:
        record = {"script": os.environ.get("LOADED_BY"), "files": ours}
        (folder / f"{os.getpid()}.json").write_text(json.dumps(record))


if "LOADED" in os.environ:
    command = Path("/proc/self/cmdline").read_bytes().decode().split("\0")
    for argument in command:
        if script := re.search(r"\.snakemake/scripts/\w+\.(\w+)\.py$", argument):
            os.environ["LOADED_BY"] = script[1]  # for the processes that it starts, too
    atexit.register(write, Path(os.environ["LOADED"]))
