"""`llmpi`: what is asked at the workstation beside `snakemake`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from llmpi import __version__, layout
from llmpi.errors import LlmpiError
from llmpi.operate import monitor_cli, service_cli
from llmpi.sources_lock import Kind, is_commit, locked, read_lock
from llmpi.study.file import load_study
from llmpi.study.models import HubSource
from llmpi.study.runs import expand_runs, variants
from llmpi.study.study import Study


def check(config: Path) -> None:
    """Validate a config and say what it would run."""
    study = load_study(config)
    runs = expand_runs(study)
    print(
        f"{config}: study {study.study}: {len(variants(study))} variants of {len(study.models)} "
        f"models, {len(runs)} measurements on {len(study.devices)} devices, "
        f"{len(study.quality)} quality tasks"
    )


def lock(config: Path, *, update: bool) -> None:
    """Resolve the hub's branches and tags of a config, or move those resolved before."""
    from llmpi.hub import resolve

    path = config.parent / layout.SOURCES_LOCK
    sources = hub_sources(load_study(config))
    for kind, repo, revision in sources:
        before = read_lock(path).get(f"{kind} {repo}@{revision}", {}).get("commit")
        commit = locked(path, kind, repo, revision, resolve, update=update)
        what = "locked" if before is None else "unchanged" if before == commit else "moved"
        print(f"{kind} {repo}@{revision}: {commit} ({what})")
    if not sources:
        print(f"{config}: names no branch or tag of the hub; nothing to lock")


def hub_sources(study: Study) -> list[tuple[Kind, str, str]]:
    """What of the hub a study names by a branch or tag: (kind, repository, revision)."""
    found: list[tuple[Kind, str, str]] = []
    for model in study.models.values():
        if isinstance(model.source, HubSource):
            found.append(("model", model.source.hub, model.source.revision))
    for task in study.quality.values():
        if task.dataset:
            found.append(("dataset", *task.dataset))
    return [source for source in dict.fromkeys(found) if not is_commit(source[2])]


def report(config: Path) -> None:
    """Table and page of whatever is measured so far; the rest is shown as not run."""
    from llmpi.records import write_json
    from llmpi.report.page.write import write_page
    from llmpi.summary.flat import write_csv
    from llmpi.summary.read import read_records
    from llmpi.summary.study import summarize

    study = load_study(config)
    summary = summarize(study, read_records(study))
    partial = {
        pattern: Path(layout.at(pattern, study=study.study)).with_stem(f"{stem}-partial")
        for pattern, stem in (
            (layout.SUMMARY_CSV, "summary"),
            (layout.SUMMARY_JSON, "summary"),
            (layout.PAGE, "index"),
        )
    }
    write_csv(partial[layout.SUMMARY_CSV], study, summary["rows"])
    write_json(partial[layout.SUMMARY_JSON], summary)
    write_page(summary, None, partial[layout.PAGE])
    print(partial[layout.PAGE])


def plan(config: Path, *, as_json: bool) -> int:
    """What a study will need and give, before it runs; 1 if something it asks for cannot work."""
    from llmpi.plan.plan import plan as planned
    from llmpi.plan.plan import totals
    from llmpi.plan.plan_text import as_json as told
    from llmpi.plan.plan_text import table

    study = load_study(config)
    plans = planned(study)
    whole = totals(study, plans)
    print(told(plans, whole) if as_json else table(plans, whole))
    return int(any(plan.impossible for plan in plans))


def devices(config: Path, action: str) -> int:
    """Check the devices of a config, or end what runs on them; how many cannot be reached."""
    from llmpi.remote.check import check_devices, table
    from llmpi.remote.connection import connected

    study = load_study(config)
    specs = {name: device.model_dump() for name, device in study.devices.items()}
    if action == "check":
        findings = check_devices(specs)
        print(table(findings))
        return sum(finding.facts["reachable"] != "yes" for finding in findings)
    for name, spec in specs.items():
        with connected(name, spec) as device:
            ended = device.ask("cancel", {"jobs": f"{device.store}/jobs"})["ended"]
            print(f"{name}: {ended} measurements ended")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="llmpi",
        description="Beside `snakemake --cores 4`, which runs a study: check a config, lock its "
        "sources, look at what is measured so far.",
    )
    parser.add_argument("--version", action="version", version=f"llmpi {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "--config", type=Path, default=Path("config/config.yaml"), help="default: %(default)s"
    )
    commands.add_parser("check", parents=[shared], help="validate a config, say what it would run")
    locking = commands.add_parser(
        "lock", parents=[shared], help="resolve the hub's branches and tags into sources.lock.yaml"
    )
    locking.add_argument(
        "--update", action="store_true", help="ask the hub again and move what has moved there"
    )
    commands.add_parser(
        "report",
        parents=[shared],
        help="page and table of what is measured so far, beside the study's own report",
    )
    planning = commands.add_parser(
        "plan",
        parents=[shared],
        help="what fits, how fast, how long, before anything is downloaded; fails if something "
        "that the config asks for cannot work",
    )
    planning.add_argument("--json", action="store_true", help="for machines")
    looking = commands.add_parser(
        "devices", parents=[shared], help="look at the devices, or end what runs on them"
    )
    looking.add_argument(
        "action",
        choices=["check", "cancel"],
        help="check: a table, and what to do; cancel: end the measurements that run on them",
    )
    monitor_cli.add_to(commands, shared)
    service_cli.add_to(commands, shared)
    args = parser.parse_args(argv)
    try:
        if args.command == "service":
            return service_cli.run(args)
        if args.command == "devices":
            return min(1, devices(args.config, args.action))
        if args.command == "plan":
            return plan(args.config, as_json=args.json)
        if args.command == "monitor":
            monitor_cli.run(args)
        elif args.command == "check":
            check(args.config)
        elif args.command == "lock":
            lock(args.config, update=args.update)
        else:
            report(args.config)
    except LlmpiError as error:
        print(f"llmpi: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
