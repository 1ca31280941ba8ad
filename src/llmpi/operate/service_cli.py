"""`llmpi service`: a variant as a service on devices. What it does is imported when asked for."""

import argparse

from llmpi.engine.help_text import add_command

ABOUT = (
    "Serve a variant on devices, behind an OpenAI-compatible API.\n"
    "What is served stands in the config under `service:`; docs/operations.md is the manual.",
    "llmpi service status --configfile config/my.yaml",
)
ACTIONS = {
    "install": (
        "Install the service, or update it.\n"
        "Board by board, in stages; each is held to its canary, and goes back where it objects.",
        "llmpi service install --configfile config/my.yaml",
    ),
    "status": (
        "Say what is served where.\n"
        "All devices of the service are asked; the status is 1 if one does not serve.",
        "llmpi service status --configfile config/my.yaml",
    ),
    "logs": (
        "Show what the service wrote.\n"
        "A line for each request: method, path, status, seconds; no prompt, no answer, no key.",
        "llmpi service logs --configfile config/my.yaml --device pi5 --lines 100",
    ),
    "rollback": (
        "Serve the release before.\n"
        "It goes back once: the release that is left is not kept as a way back.",
        "llmpi service rollback --configfile config/my.yaml",
    ),
    "remove": (
        "Stop the service and remove it.\n"
        "Its units, releases and code go; models and measurements in the store stay.",
        "llmpi service remove --configfile config/my.yaml",
    ),
}
"""Of each action: what it does, an example."""


def add_to(commands: "argparse._SubParsersAction", shared: argparse.ArgumentParser) -> None:
    """Add `service` to the commands of `llmpi`."""
    parser = add_command(commands, "service", *ABOUT)
    parser.set_defaults(run=run)
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, words in ACTIONS.items():
        action = add_command(actions, name, *words, parents=[shared])
        action.add_argument(
            "--device",
            action="append",
            default=[],
            metavar="ID",
            help="only this one (may be given again); default: all of the service",
        )
        if name == "logs":
            action.add_argument("--lines", type=int, default=50, help="default: %(default)s")


def run(args: argparse.Namespace) -> int:
    """Do what was asked; 1 where it did not come out well on some device.

    Raises:
        LlmpiError: nothing could be done.
    """
    from llmpi.operate import actions

    return actions.run(args)
