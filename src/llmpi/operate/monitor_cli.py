"""`llmpi monitor`: what a canary expects, the alert rules, the dashboard."""

import argparse
import json
import os
from pathlib import Path

from llmpi.records import read, whole_file, write_json
from llmpi.study.file import load_study


def add_to(commands: "argparse._SubParsersAction", config: argparse.ArgumentParser) -> None:
    """The command and its actions.

    Args:
        commands: the subparsers of `llmpi`.
        config: a parent that knows `--config`.
    """
    parser = commands.add_parser("monitor", help="for services: expectations, alerts, dashboard")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    expect = actions.add_parser(
        "expect",
        parents=[config],
        help="what the canary of a service is to expect, from the study's records and the file",
    )
    for name in ("device", "model", "quant"):
        expect.add_argument(f"--{name}", required=True, help=f"{name} of the study")
    expect.add_argument("--runtime", help="how it is run; default: the study's first runtime")
    rules = actions.add_parser("rules", help="Prometheus's rules, with limits from expectations")
    rules.add_argument(
        "expectations", nargs="+", type=Path, help="files of `llmpi monitor expect`, all services'"
    )
    rules.add_argument(
        "--canary-interval",
        type=float,
        default=3600,
        metavar="S",
        help="of the monitors, seconds (default: 3600)",
    )
    dashboard = actions.add_parser("dashboard", help="the Grafana dashboard, to import")
    for action in (expect, rules, dashboard):
        action.add_argument("--out", required=True, type=Path, help="file to write")


def run(args: argparse.Namespace) -> None:
    """Do what was asked.

    Raises:
        LlmpiError: a record is missing, or an expectation is none.
    """
    if args.action == "expect":
        from llmpi.operate.expectation import expectation

        record = expectation(
            load_study(args.config),
            args.model,
            args.quant,
            args.device,
            runtime=args.runtime,
            threads=len(os.sched_getaffinity(0)),
        )
        write_json(args.out, record)
    elif args.action == "rules":
        from llmpi.operate.alerts import rules
        from llmpi.operate.records import Expectation

        expected = [read(path, Expectation) for path in args.expectations]
        text = rules(expected, canary_interval_s=args.canary_interval)
        _write(args.out, text)
    else:
        from llmpi.operate.dashboard import dashboard

        _write(args.out, json.dumps(dashboard(), indent=1) + "\n")
    print(args.out)


def _write(path: Path, text: str) -> None:
    with whole_file(path) as partial:
        partial.write_text(text, "utf-8")
