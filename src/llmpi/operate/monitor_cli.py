"""`llmpi monitor`: what a canary expects, the alert rules, the dashboard."""

import argparse
import json
from pathlib import Path

from llmpi.device.machine import capacity
from llmpi.operate.alerts import rules
from llmpi.operate.dashboard import dashboard
from llmpi.operate.records import Expectation
from llmpi.records import read, whole_file, write_json
from llmpi.study.file import load_study


def add_to(commands: "argparse._SubParsersAction", config: argparse.ArgumentParser) -> None:
    """The command and its actions.

    Args:
        commands: the subparsers of `llmpi`.
        config: a parent that knows `--config`.
    """
    parser = commands.add_parser("monitor", help="for services: expectations, alerts, dashboard")
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    expect = actions.add_parser(
        "expect",
        parents=[config],
        help="what the canary of a service is to expect, from the study's records and the file",
    )
    for name in ("device", "model", "quant"):
        expect.add_argument(f"--{name}", required=True, help=f"{name} of the study")
    expect.set_defaults(run=write_expectation)
    expect.add_argument("--runtime", help="how it is run; default: the study's first runtime")
    alerting = actions.add_parser("rules", help="Prometheus's rules, with limits from expectations")
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
    drawing = actions.add_parser("dashboard", help="the Grafana dashboard, to import")
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
