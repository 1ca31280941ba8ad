"""The commands of `llmpi-device`: where each is. A table of names, so that one loads no other."""

from importlib import import_module
from typing import Any

ANSWERING = {
    "describe": "describe",
    "binding": "binding",
    "expect": "files",
    "accept": "files",
    "use": "files",
    "meter": "meter",
    "measure": "measure",
    "take_turns": "take_turns",
    "predict": "predict",
    "rates": "rates",
    "ask": "ask",
    "bench": "bench",
    "start": "detached",
    "poll": "detached",
    "cancel": "detached",
    "forget": "detached",
}
"""What the workstation asks: a function of that name in a module beside this one. It takes one
JSON object and answers with one."""

OPERATING = {
    "canary": ("monitor.canary", "Ask a running service a fixed question set"),
    "monitor": ("monitor.process", "Export the machine and the canary to Prometheus"),
    "releases": ("service.releases", "Make, switch or remove releases of the service"),
    "serve": ("service.serve", "Serve a release over HTTP, until told to stop"),
}
"""What looks after a running service: the `main` of a module of `llmpi.device`, and its help."""


def module_of(command: str) -> str:
    """Name of the module that answers a command."""
    return f"{__name__}.{ANSWERING[command]}"


def function_of(command: str) -> Any:
    """The function that answers a command; its module is loaded now."""
    return getattr(import_module(module_of(command)), command)


def main_of(command: str) -> Any:
    """The `main` of what looks after a service."""
    return import_module(f"llmpi.device.{OPERATING[command][0]}").main
