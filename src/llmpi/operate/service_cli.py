"""`llmpi service`: a variant as a service on devices. What it does is imported when asked for."""

import argparse
from collections.abc import Callable
from typing import TypeVar

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
    "bench": (
        "Measure what it carries: clients on the device itself, and the times of each answer.\n"
        "Kept in results/service/, and shown on the page by the next snakemake. Ctrl-C keeps what\n"
        "was measured. Who uses the service meanwhile waits for it, and disturbs it.",
        "llmpi service bench --configfile config/my.yaml --device pi5 --clients 1,2,4",
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
        if name == "bench":
            _add_loads(action)


def _add_loads(bench: argparse.ArgumentParser) -> None:
    load = bench.add_mutually_exclusive_group()
    load.add_argument(
        "--clients",
        type=_several(int),
        default=[1, 2, 4],
        metavar="N,...",
        help="so many clients, each of which asks again once it is answered; one number after the "
        "other (default: 1,2,4)",
    )
    load.add_argument(
        "--rate",
        type=_several(float),
        metavar="R,...",
        help="requests a second that come whether others are answered or not, by chance (Poisson)",
    )
    bench.add_argument("--seed", type=int, default=0, help="of that chance (default: %(default)s)")
    bench.add_argument(
        "--requests",
        type=_above_0(int),
        default=100,
        metavar="N",
        help="at most, for each load; a 99th percentile takes 100 (default: %(default)s)",
    )
    bench.add_argument(
        "--duration",
        type=_above_0(float),
        default=300.0,
        metavar="S",
        help="seconds in which they are sent, at most, for each load (default: 300)",
    )
    bench.add_argument(
        "--prompt-tokens",
        type=_above_0(int),
        metavar="N",
        help="ask texts of so many tokens; by default the questions of the study's first task of "
        "the kind squad, or texts as long as its first workload's",
    )
    bench.add_argument(
        "--output-tokens",
        type=_above_0(int),
        metavar="N",
        help="of an answer, at most; by default as that task or workload has it",
    )
    bench.add_argument(
        "--same-beginning",
        action="store_true",
        help="leave prompts as they are, so that the service may take what they have in common out "
        "of its cache; by default no two begin alike",
    )


Number = TypeVar("Number", int, float)
MOST = 10_000


def _above_0(kind: Callable[[str], Number]) -> Callable[[str], Number]:
    def number(text: str) -> Number:
        found = kind(text)
        if not 0 < found <= MOST:
            raise argparse.ArgumentTypeError(f"{text} is not above 0 and at most {MOST}")
        return found

    number.__name__ = kind.__name__
    return number


def _several(kind: Callable[[str], Number]) -> Callable[[str], list[Number]]:
    def numbers(text: str) -> list[Number]:
        return [_above_0(kind)(one) for one in text.split(",")]

    numbers.__name__ = "numbers"
    return numbers


def run(args: argparse.Namespace) -> int:
    """Do what was asked; 1 where it did not come out well on some device.

    Raises:
        LlmpiError: nothing could be done.
    """
    from llmpi.operate import actions

    return actions.run(args)
