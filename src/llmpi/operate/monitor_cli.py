"""`llmpi monitor`: what a canary expects, the alert rules, the dashboard."""

import argparse
import json
from pathlib import Path

from llmpi.device.machine import capacity
from llmpi.engine.help_text import add_command
from llmpi.operate.alerts import rules
from llmpi.operate.dashboard import dashboard
from llmpi.operate.records import Expectation
from llmpi.records import read, whole_file, write_json
from llmpi.study.file import load_study

WORDS = {
    "monitor": (
        "For services: what a canary expects, alert rules, a dashboard.\n"
        "Each writes a file; docs/operations.md says where it goes.",
        "llmpi monitor dashboard --out llmpi.json",
    ),
    "expect": (
        "Write what the canary of a service is to expect.\n"
        "It is made of the study's records and the model file, which is asked on this machine.",
        "llmpi monitor expect --configfile config/my.yaml --device pi5 --model llama-3.2-1b "
        "--quant Q4_0 --out expect.json",
    ),
    "rules": (
        "Write Prometheus's alert rules.\n"
        "Their limits come from the expectations of all variants that are served.",
        "llmpi monitor rules expect.json --out llmpi.rules.yml",
    ),
    "dashboard": (
        "Write the Grafana dashboard, to import there.\n"
        "It is the same for every study: devices and models are its variables.",
        "llmpi monitor dashboard --out llmpi.json",
    ),
}
"""Of each command: what it does, an example."""


def add_to(commands: "argparse._SubParsersAction", config: argparse.ArgumentParser) -> None:
    """The command and its actions.

    Args:
        commands: the subparsers of `llmpi`.
        config: a parent that knows `--configfile`.
    """
    parser = add_command(commands, "monitor", *WORDS["monitor"])
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    expect = add_command(actions, "expect", *WORDS["expect"], parents=[config])
    for name in ("device", "model", "quant"):
        expect.add_argument(f"--{name}", required=True, help=f"{name} of the study")
    expect.set_defaults(run=write_expectation)
    expect.add_argument("--runtime", help="how it is run; default: the study's first runtime")
    alerting = add_command(actions, "rules", *WORDS["rules"])
    alerting.set_defaults(run=write_rules)
    alerting.add_argument(
        "expectations", nargs="+", type=Path, help="files of `llmpi monitor expect`, all services'"
    )
    alerting.add_argument(
        "--canary-interval",
        type=float,
        default=3600,
        metavar="S",
        help="of the monitors, seconds (default: 3600)",
    )
    drawing = add_command(actions, "dashboard", *WORDS["dashboard"])
    drawing.set_defaults(run=write_dashboard)
    for action in (expect, alerting, drawing):
        action.add_argument("--out", required=True, type=Path, help="file to write")


def write_expectation(args: argparse.Namespace) -> int:
    """
    Raises:
        LlmpiError: a record is missing, or the model answers too little.
    """
    from llmpi.operate.expectation import expectation

    record = expectation(
        load_study(args.config),
        args.model,
        args.quant,
        args.device,
        runtime=args.runtime,
        threads=capacity.processors(),
    )
    write_json(args.out, record)
    print(args.out)
    return 0


def write_rules(args: argparse.Namespace) -> int:
    """
    Raises:
        LlmpiError: a file is no expectation, or two are for the same.
    """
    expected = [read(path, Expectation) for path in args.expectations]
    return _write(args.out, rules(expected, canary_interval_s=args.canary_interval))


def write_dashboard(args: argparse.Namespace) -> int:
    return _write(args.out, json.dumps(dashboard(), indent=1) + "\n")


def _write(path: Path, text: str) -> int:
    with whole_file(path) as partial:
        partial.write_text(text, "utf-8")
    print(path)
    return 0
