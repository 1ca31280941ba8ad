"""What a run says at its end. No rules."""

from snakemake.logging import logger

from llmpi.terminal import run_end


onsuccess:
    run_end.say(logger, study, CONFIG_FILES)


onerror:
    run_end.say(logger, study, CONFIG_FILES)
