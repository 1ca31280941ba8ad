"""What is done and said as a run begins, and as it ends. No rules."""

from snakemake.logging import logger

from llmpi.study.locked import as_locked
from llmpi.terminal import run_begin, run_end

# The logger plugin that profiles/default names.
SHOWN_BY_US = "llmpi" in workflow.output_settings.log_handler_settings


onstart:
    choose_as_jobs_end(workflow.scheduler)
    if SHOWN_BY_US:
        locked = as_locked(study, read_lock(SOURCES_LOCK))
        run_begin.say(logger, locked, workflow.dag.needrun_jobs())


onsuccess:
    run_end.say(logger, study, CONFIG_FILES)


onerror:
    run_end.say(logger, study, CONFIG_FILES)
