"""`llmpi service`: a variant as a service on devices. What it does is imported when asked for."""

import argparse

ACTIONS = {
    "install": "install it or update it, in stages, each held to its canary",
    "status": "what is served where",
    "logs": "what it wrote",
    "rollback": "serve the release before",
    "remove": "stop it and remove it",
}


def add_to(commands: "argparse._SubParsersAction", shared: argparse.ArgumentParser) -> None:
    """Add `service` to the commands of `llmpi`."""
    parser = commands.add_parser(
        "service", help="serve a variant on devices, behind an OpenAI-compatible API"
    )
    parser.set_defaults(run=run)
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, what in ACTIONS.items():
        action = actions.add_parser(name, parents=[shared], help=what, description=what)
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
