"""Snakemake, imported once: each run of it is a fork of this process, which spares two seconds.
Its plugins are, too, and with the one for the terminal most of ours that the workflow imports; a
study was read once, by which pydantic makes what reads one. So are the scripts of its jobs (see
`job_forks`).

`support.py` starts it. A line of JSON on standard input asks for a run, a line of its exit status
answers.
"""

import json
import os
import runpy
import sys
from pathlib import Path
from typing import Any, NoReturn

import job_forks

# What Snakemake imports once it runs: a third of what a dry run takes.
import nbformat  # noqa: F401
import smart_open  # noqa: F401
import snakemake.report  # noqa: F401
from forks import become, ending, pythons, settled
from snakemake.cli import get_argument_parser, main
from snakemake.executors import touch
from snakemake.script import PythonScript

from llmpi.engine.supervise import die_with_parent
from llmpi.study.file import load_study

STARTED_WITH = pythons(os.environ)
LIGHT = ("benchmark_device", "deploy_gguf", "evaluate_divergence", "fetch_model", "quantize_gguf")
"""Scripts that need no numpy, which would have its threads here already."""


def serve() -> None:
    get_argument_parser()  # looks for plugins among all packages
    load_study(Path("config/config.yaml"))
    for script in LIGHT:
        runpy.run_path(f"workflow/scripts/{script}.py", run_name="imported")
    touch.Executor.SLEEPING_TIME = 0.01  # of a tenth of a second for each job
    settled()
    for line in sys.stdin:
        if (child := os.fork()) == 0:
            run(json.loads(line))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def run(asked: dict[str, Any]) -> NoReturn:
    """As `python -m snakemake` would be started: there, in this environment, its output here."""
    out = os.open(asked["out"], os.O_WRONLY | os.O_APPEND)
    if pythons(asked["env"]) == STARTED_WITH:
        fork_jobs()
    become(asked["cwd"], asked["env"], out, out, ["snakemake", *asked["arguments"]])
    sys.path[0] = asked["cwd"]
    with ending():
        main()


def fork_jobs() -> None:
    """Scripts that are started from now on are forks of this process as it is."""
    address = f"llmpi-jobs-of-{os.getpid()}"
    server, ends = job_forks.listening(address), die_with_parent()
    if os.fork() == 0:
        ends()
        script = job_forks.serve(server)
        with ending():
            runpy.run_path(script, run_name="__main__")
    server.close()
    plain = PythonScript.execute_script
    fork = f"{sys.executable} -IS {job_forks.__file__} {address}"

    def forked(script: PythonScript, fname: str, edit: bool = False) -> None:
        if script.conda_env:
            plain(script, fname, edit)
        else:
            script._execute_cmd("{fork} {fname:q}", fork=fork, fname=fname, is_python_script=True)

    PythonScript.execute_script = forked


if __name__ == "__main__":
    serve()
