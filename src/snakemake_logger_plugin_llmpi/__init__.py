"""By this name Snakemake finds the plugin; see `llmpi.terminal.handler`."""

from llmpi.terminal.handler import LogHandler, LogHandlerSettings

__all__ = ["LogHandler", "LogHandlerSettings"]
