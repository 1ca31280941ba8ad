"""What to type next."""

import shlex

DEFAULT_CONFIG = "config/config.yaml"


def snakemake(config: str, *more: str) -> str:
    """The command that runs a study."""
    return shlex.join(["snakemake", "--cores", "4", *_named(config), *more])


def llmpi(config: str, *command: str) -> str:
    """A command of ours on it."""
    return shlex.join(["llmpi", *command, *_named(config)])


def _named(config: str) -> list[str]:
    return [] if config == DEFAULT_CONFIG else ["--configfile", config]
