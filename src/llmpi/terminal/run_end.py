"""The end of a run, said by the Snakefile. Light until then: every parse imports it."""

import logging
from collections.abc import Sequence
from pathlib import Path

from llmpi.engine.shown import shown
from llmpi.study.study import Study
from llmpi.terminal.commands import DEFAULT_CONFIG


def say(log: logging.Logger, study: Study, config_files: Sequence[Path]) -> None:
    """Log the end, as one record; what goes wrong in telling it is no fault of the run."""
    try:
        text = "\n".join(_end(study, config_files))
    except Exception as error:
        text = f"how it ended cannot be told ({error!r}); see llmpi status"
    log.info(shown(text), extra={"llmpi": "end"})


def _end(study: Study, config_files: Sequence[Path]) -> list[str]:
    from llmpi.terminal.disk import look
    from llmpi.terminal.end import end

    config = str(config_files[0]) if config_files else DEFAULT_CONFIG
    return end(study, look(study), config)
