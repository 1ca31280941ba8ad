"""What to type next."""

import shlex

DEFAULT_CONFIG = "config/config.yaml"


def snakemake(config: str, *more: str) -> str:
    """The command that runs a study."""
    named = [] if config == DEFAULT_CONFIG else ["--configfile", config]
    return shlex.join(["snakemake", "--cores", "4", *named, *more])


def llmpi(config: str, *command: str) -> str:
    """A command of ours on it."""
    named = [] if config == DEFAULT_CONFIG else ["--configfile", config]
    return shlex.join(["llmpi", *command, *named])
