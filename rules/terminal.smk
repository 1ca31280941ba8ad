"""What a run says at its begin and at its end. No rules."""

from snakemake.logging import logger

from llmpi.study.locked import as_locked
from llmpi.terminal import run_begin, run_end

# The logger plugin that profiles/default names.
SHOWN_BY_US = "llmpi" in workflow.output_settings.log_handler_settings


onstart:
    if SHOWN_BY_US:
        locked = as_locked(study, read_lock(SOURCES_LOCK))
        run_begin.say(logger, locked, workflow.dag.needrun_jobs())


onsuccess:
    run_end.say(logger, study, CONFIG_FILES)


onerror:
    run_end.say(logger, study, CONFIG_FILES)
