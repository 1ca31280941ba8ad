"""What to type next."""

import shlex
from collections.abc import Sequence

DEFAULT_CONFIG = "config/config.yaml"


def snakemake(config: str, *more: str, targets: Sequence[str] = ()) -> str:
    """The command that runs a study. Behind the config its targets would be further ones of it."""
    return shlex.join(["snakemake", *targets, "--cores", "4", *_named(config), *more])


def llmpi(config: str, *command: str) -> str:
    """A command of ours on it."""
    return shlex.join(["llmpi", *command, *_named(config)])


def _named(config: str) -> list[str]:
    return [] if config == DEFAULT_CONFIG else ["--configfile", config]
