"""`llmpi`: what is asked at the workstation beside `snakemake`.

What only one command needs, and is slow to import, is imported when that is asked for.
"""

import argparse
import os
import select
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from llmpi import __version__, layout
from llmpi.aligned import in_width
from llmpi.compare import compare_cli
from llmpi.crate import crate_cli
from llmpi.engine.help_text import add_command, described
from llmpi.engine.shown import ShownStream
from llmpi.errors import LlmpiError
from llmpi.models.unsuited import chats_without_template
from llmpi.operate import monitor_cli, service_cli
from llmpi.records import write_json
from llmpi.sources_lock import Kind, commit_of, is_commit, locked, read_lock
from llmpi.start import init_cli, questions_cli, suggest_cli
from llmpi.study.file import load_study
from llmpi.study.locked import as_locked
from llmpi.study.models import HubSource
from llmpi.study.runs import expand_runs, variants
from llmpi.study.study import Study


def check(args: argparse.Namespace) -> int:
    """Validate a config; say what it would run, and what of it is known not to suit its models."""
    study = load_study(args.config)
    runs = expand_runs(study)
    found = (
        f"study {study.study}: models: {len(study.models)}, variants: {len(variants(study))}, "
        f"devices: {len(study.devices)}, measurements: {len(runs)}, "
        f"quality tasks: {len(study.quality)}"
    )
    for line in (found, *chats_without_template(study)):
        print(in_width(f"{args.config}: {line}"))
    return 0


def lock(args: argparse.Namespace) -> int:
    """Resolve the hub's branches and tags of a config, or move those resolved before."""
    from llmpi.hub import resolve

    path = args.config.parent / layout.SOURCES_LOCK
    sources = hub_sources(load_study(args.config))
    for source in sources:
        before = commit_of(read_lock(path), *source)
        commit = locked(path, *source, resolve, update=args.update)
        what = "locked" if before is None else "unchanged" if before == commit else "moved"
        kind, repo, revision = source
        print(f"{kind} {repo}@{revision}: {commit} ({what})")
    if not sources:
        print(f"{args.config}: names no branch or tag of the hub; nothing to lock")
    return 0


def hub_sources(study: Study) -> list[tuple[Kind, str, str]]:
    """What of the hub a study names by a branch or tag: (kind, repository, revision)."""
    found: list[tuple[Kind, str, str]] = []
    for model in study.models.values():
        for source in model.sources:
            if isinstance(source, HubSource):
                found.append(("model", source.hub, source.revision))
    for task in study.quality.values():
        if task.dataset:
            found.append(("dataset", *task.dataset))
    return [source for source in dict.fromkeys(found) if not is_commit(source[2])]


def report(args: argparse.Namespace) -> int:
    """Table and page of whatever is measured so far; the rest is shown as not run."""
    from llmpi.report.page.write import write_page
    from llmpi.study import inputs
    from llmpi.summary.flat import flat_rows, write_csv
    from llmpi.summary.read import read_records
    from llmpi.summary.service_loads import read_benches
    from llmpi.summary.study import summarize

    study = load_study(args.config)
    summary, requirements = summarize(study, read_records(study))
    page = partial(layout.PAGE, study)
    write_csv(partial(layout.SUMMARY_CSV, study), flat_rows(study, summary["rows"]))
    write_json(partial(layout.SUMMARY_JSON, study), summary)
    write_json(partial(layout.REQUIREMENTS, study), requirements)
    write_page(summary, None, page, read_benches(map(Path, inputs.service(study))))
    print(page)
    return 0


def partial(pattern: str, study: Study) -> Path:
    """Beside the study's own file."""
    path = Path(layout.at(pattern, study=study.study))
    return path.with_stem(f"{path.stem}-partial")


def plan(args: argparse.Namespace) -> int:
    """What a study will need and give, before it runs; 1 if something does not fit."""
    from llmpi.decide.beforehand import ahead
    from llmpi.plan.brings import probe_all
    from llmpi.plan.model_facts import variants_of
    from llmpi.plan.plan import plan as planned
    from llmpi.plan.plan import serving_plans, totals
    from llmpi.plan.plan_text import as_json, problems_here, table
    from llmpi.plan.serving import lines, unfit
    from llmpi.start.can_tell import as_data, told

    path = args.config.parent / layout.SOURCES_LOCK
    study = as_locked(load_study(args.config), read_lock(path))
    if args.probe:
        for why in probe_all(study, variants_of(study)):
            print(f"llmpi: {why}", file=sys.stderr)
    plans = planned(study)
    whole, questions, served = totals(study, plans), ahead(study), serving_plans(study)
    if args.json:
        print(as_json(plans, whole, as_data(questions), served))
    else:
        parts = [[table(plans, whole)], [*lines(served)], [*told(questions)]]
        print(in_width("\n\n".join("\n".join(part) for part in parts if part)))
    problems = [*problems_here(whole), *unfit(served)]
    return int(any(p.is_in_vain or p.measuring.late for p in plans) or any(problems))


def status(args: argparse.Namespace) -> int:
    """How far a study is; with `--strict` 1 unless all of it is there and sound."""
    from llmpi.terminal.disk import look
    from llmpi.terminal.end import end
    from llmpi.terminal.status import failures, marked, table

    study, config = load_study(args.config), str(args.config)
    cells = look(study)
    blocks = (table(cells), marked(cells), failures(cells, config), end(study, cells, config))
    print(in_width("\n\n".join("\n".join(lines) for lines in map(list, blocks) if lines)))
    return int(args.strict and any(cell.state in ("failed", "waiting") for cell in cells))


def devices(args: argparse.Namespace) -> int:
    """Check the devices of a config, or end what runs on them; 1 if one cannot be reached."""
    from llmpi.device.records import Cancelled
    from llmpi.remote.check import check_devices, say_looking, table
    from llmpi.remote.connection import connected

    study = load_study(args.config)
    if args.action == "check":
        say_looking(study.devices)
        findings = check_devices(study.devices)
        print(in_width(table(findings)))
        return int(any(finding.facts["reachable"] != "yes" for finding in findings))
    missed = 0
    for name, asked in study.devices.items():
        try:
            with connected(name, asked) as device:
                answer = device.ask("cancel", {"jobs": f"{device.store}/jobs"}, Cancelled)
        except LlmpiError as error:  # the others' measurements are to end all the same
            print(f"llmpi: {error}", file=sys.stderr)
            missed += 1
        else:
            print(f"{name}: measurements ended: {answer['ended']}")
    return int(missed > 0)


def arguments() -> argparse.ArgumentParser:
    """The command line; what a command does stands under `run`."""
    parser = argparse.ArgumentParser(prog="llmpi", **described(*WORDS["llmpi"]))
    parser.add_argument("--version", action="version", version=f"llmpi {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        *("--configfile", "--config"),
        dest="config",
        type=Path,
        default=Path("config/config.yaml"),
        metavar="FILE",
        help="the study; default: %(default)s",
    )
    for run in (check, lock, report, plan, status, devices):
        command = add_command(commands, run.__name__, *WORDS[run.__name__], parents=[shared])
        command.set_defaults(run=run)
        if run is lock:
            command.add_argument(
                "--update", action="store_true", help="ask the hub again and move what moved there"
            )
        elif run is plan:
            command.add_argument("--json", action="store_true", help="for machines")
            command.add_argument(
                "--probe",
                action="store_true",
                help="have one block of what is to learn do so first, where its F16 and its text "
                "are there: minutes, for what the whole takes and brings",
            )
        elif run is status:
            command.add_argument(
                "--strict", action="store_true", help="exit with 1 if anything failed or is missing"
            )
        elif run is devices:
            command.add_argument(
                "action",
                choices=["check", "cancel"],
                help="check: a table, and what to do; cancel: end the measurements that run there",
            )
    questions_cli.add_to(commands)
    init_cli.add_to(commands)
    suggest_cli.add_to(commands)
    compare_cli.add_to(commands)
    crate_cli.add_to(commands, shared)
    monitor_cli.add_to(commands, shared)
    service_cli.add_to(commands, shared)
    return parser


WORDS = {
    "llmpi": (
        "What is asked at the workstation beside `snakemake`, which runs a study.\n"
        "Check a config and plan it, look at the boards, see what is measured so far, serve what\n"
        "was chosen and watch it. COMMAND --help says more of each.",
        "llmpi plan --configfile config/pi.yaml",
    ),
    "check": (
        "Validate a config and say what it would run.\n"
        "The file is read as data: nothing of it is run, nothing that it names is reached.",
        "llmpi check --configfile config/pi.yaml",
    ),
    "lock": (
        "Resolve the hub's branches and tags into sources.lock.yaml.\n"
        "The file lies beside the config; a run then fetches those very commits.",
        "llmpi lock --configfile config/llmpi.yaml --update",
    ),
    "report": (
        "Draw page and table of what is measured so far.\n"
        "They lie beside the study's own report, as index-partial.html; what is missing is shown\n"
        "as not run.",
        "llmpi report --configfile config/pi.yaml",
    ),
    "plan": (
        "Say what fits, how fast, how long, and what the questions can tell, before any download.\n"
        "A device needs a `preset`, such as pi5-8gb. The status is 1 if something that the config\n"
        "asks for cannot be made, or does not fit a board, its limit of time, or this machine.",
        "llmpi plan --configfile config/pi.yaml",
    ),
    "status": (
        "Say how far a study is, by its files: done, failed and why, waiting; what it came to.\n"
        "Nothing is run. With --strict the status is 1 if anything failed or is missing.",
        "llmpi status --configfile config/pi.yaml --strict",
    ),
    "devices": (
        "Look at the devices of a config, or end what runs on them.\n"
        "`check` reaches all at once and says of each what stands in the way, and what mends it;\n"
        "the status is 1 if one cannot be reached.",
        "llmpi devices check --configfile config/pi.yaml",
    ),
}
"""Of each command: what it does, an example."""


def main(argv: Sequence[str] | None = None) -> int:
    with redirect_stdout(ShownStream(sys.stdout)), redirect_stderr(ShownStream(sys.stderr)):
        return _main(argv)


def _main(argv: Sequence[str] | None) -> int:
    args = arguments().parse_args(argv)
    run: Callable[[argparse.Namespace], int] = args.run
    try:
        status = run(args)
        sys.stdout.flush()
    except (LlmpiError, OSError) as error:
        if isinstance(error, BrokenPipeError) and _has_no_reader():
            return 141  # as a shell says it
        print(f"llmpi: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return status


def _has_no_reader() -> bool:
    """Whether who reads what is printed has seen enough, as `head` has; no more is printed then."""
    stdout = select.poll()
    stdout.register(1, 0)
    if gone := any(event & (select.POLLERR | select.POLLHUP) for _, event in stdout.poll(0)):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return gone


if __name__ == "__main__":
    sys.exit(main())
