"""Snakemake, imported once: each run of it is a fork of this process, which spares two seconds.
Its plugins are, too, and with the one for the terminal most of ours that the workflow imports; a
study was read once, by which pydantic makes what reads one.

`support.py` starts it. A line of JSON on standard input asks for a run, a line of its exit status
answers.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any, NoReturn

# What Snakemake imports once it runs: a third of what a dry run takes.
import nbformat  # noqa: F401
import smart_open  # noqa: F401
import snakemake.report  # noqa: F401
from forks import become
from snakemake.cli import get_argument_parser, main

from llmpi.study.file import load_study


def serve() -> None:
    get_argument_parser()  # looks for plugins among all packages
    load_study(Path("config/config.yaml"))
    for line in sys.stdin:
        if (child := os.fork()) == 0:
            run(json.loads(line))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def run(asked: dict[str, Any]) -> NoReturn:
    """As `python -m snakemake` would be started: there, in this environment, its output here."""
    out = os.open(asked["out"], os.O_WRONLY | os.O_APPEND)
    become(asked["cwd"], asked["env"], out, out, ["snakemake", *asked["arguments"]])
    sys.path[0] = asked["cwd"]
    main()
    sys.exit()


if __name__ == "__main__":
    serve()
