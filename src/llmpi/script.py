"""What every script of a rule does around its `main`: its arguments, a log, errors for a person."""

import inspect
import logging
import os
import platform
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args, get_origin

from llmpi.accidents import accident
from llmpi.engine.shown import ShownFormatter
from llmpi.errors import LlmpiError
from llmpi.job_lines import ERROR, INTERRUPTED, JobFormatter, job_name
from llmpi.records import read

log = logging.getLogger(__name__)


def run(main: Callable[..., None]) -> None:
    """Call a script's `main` with what its rule has, under the names of its parameters.

    A parameter is named as an input, an output, a parameter, a wildcard or `threads` of the rule.
    What it is annotated with says what it gets: of a file its `Path` or, for any other type, the
    record in it (`llmpi.records.read`); of a parameter of the rule the value, parsed as that type.
    """
    snakemake = inspect.unwrap(main).__globals__["snakemake"]  # Snakemake puts it there
    with job(snakemake.log[0]):
        main(**arguments(main, snakemake))


def arguments(main: Callable[..., None], snakemake: Any) -> dict[str, Any]:  # of any `main`
    """The arguments of `main` by name, see `run`.

    Raises:
        RecordError: a record does not fit its type.
        TypeError: the rule has nothing of that name, or two.
    """
    signature = inspect.signature(main, eval_str=True)
    return {
        name: _argument(name, parameter.annotation, snakemake)
        for name, parameter in signature.parameters.items()
    }


def _argument(name: str, kind: Any, job: Any) -> Any:
    from pydantic import TypeAdapter  # not in processes that a script starts

    files = [dict(part.items()) for part in (job.input, job.output)]
    params, wildcards = dict(job.params.items()), dict(job.wildcards.items())
    found = [named for named in (*files, params) if name in named]
    if len(found) > 1:
        raise TypeError(f"{name} is two things of the rule")
    if found:
        value = found[0][name]
        return TypeAdapter(kind).validate_python(value) if name in params else _of_file(value, kind)
    if name == "threads":
        return job.threads
    if name in wildcards:
        return wildcards[name]
    raise TypeError(f"{name} is no input, output, parameter or wildcard of the rule")


def _of_file(named: Any, kind: Any) -> Any:
    """A file's path or record; of several files a list; None where the rule names none."""
    files = [named] if isinstance(named, str) else [*named]
    if get_origin(kind) is list:
        [each] = get_args(kind)
        return [_of_file(path, each) for path in files]
    if not files:
        return None
    [path] = files
    return Path(path) if kind in (Path, Path | None) else read(Path(path), kind)


@contextmanager
def job(log: str) -> Iterator[None]:
    """Log to `log` and, with the job's name, to the terminal; end with status 1 on an error,
    explained once.

    An `LlmpiError` is the user's to mend and comes without a traceback; anything else is ours and
    brings its traceback to the log.
    """
    file = logging.FileHandler(Path(log), mode="w", encoding="utf-8")
    file.setFormatter(ShownFormatter("%(asctime)s %(levelname)s %(message)s"))
    screen = logging.StreamHandler(sys.stderr)
    screen.setFormatter(JobFormatter(job_name(log)))
    screen.setLevel(logging.INFO)
    root = logging.getLogger()
    root.handlers[:] = [file, screen]
    root.setLevel(logging.INFO)
    logging.getLogger("llmpi").setLevel(logging.DEBUG)
    logging.raiseExceptions = False  # a log on a full disk is not to hide why
    logging.getLogger("paramiko").setLevel(logging.WARNING)
    queued = os.environ.get("SLURM_JOB_ID")
    logging.getLogger("llmpi").debug(
        "on %s%s", platform.node(), f", Slurm job {queued}" if queued else ""
    )
    try:
        yield
    except LlmpiError as error:
        logging.getLogger("llmpi").error("%s%s", ERROR, error)
        sys.exit(1)
    except Exception as error:
        if told := accident(error):
            logging.getLogger("llmpi").error("%s%s", ERROR, told)
        else:
            logging.getLogger("llmpi").exception("llmpi broke here; please report it with this log")
        sys.exit(1)
    except KeyboardInterrupt:
        logging.getLogger("llmpi").info(INTERRUPTED)
        sys.exit(130)  # as a shell says it; a traceback would hide what is said last


def tell(line: str) -> None:
    """A line of a process that works for this job: llmpi's own to the terminal, too."""
    if line.startswith("llmpi: "):
        log.info("%s", line.removeprefix("llmpi: "))
    else:
        log.debug("%s", line)
