"""A study for one's own boards, out of some questions or flags."""

import argparse
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from llmpi import layout
from llmpi.aligned import in_width
from llmpi.engine.records import SessionRecord
from llmpi.engine.shown import visible
from llmpi.errors import LlmpiError
from llmpi.plan.catalogue import CATALOGUE
from llmpi.plan.presets import Storage
from llmpi.plan.suggest import NEEDS, QUANTS, NeedName, Suggested, suggest
from llmpi.records import read
from llmpi.remote.check import Finding, check_devices, say_looking, table
from llmpi.start.boards import preset_of, storage_of
from llmpi.start.config_text import DEMO_MODEL, DEMO_QUANTS, Asked, Plain, as_plain, study_of, write
from llmpi.start.neighbours import neighbours
from llmpi.start.own_task import make
from llmpi.start.ssh_hosts import hosts
from llmpi.study.devices import LocalDevice, Preset, SingleDevice, SshDevice
from llmpi.study.file import load_study
from llmpi.study.runs import sessions
from llmpi.study.study import Study
from llmpi.summary.measured import Single, single

HERE = "here"
"""This machine, in place of a host."""
SSH_CONFIG = "~/.ssh/config"
NONE = "none"


@dataclass(frozen=True)
class Board:
    """A board, and what is known of it."""

    host: str
    user: str | None
    preset: Preset | None = None
    storage: Storage | None = None

    @property
    def id(self) -> str:
        """In the config."""
        first = self.host if self.host[:1].isdigit() else self.host.split(".")[0]
        return re.sub(r"[^a-z0-9]+", "-", first.lower()).strip("-") or "board"

    def entry(self) -> dict[str, str]:
        """As the config has it."""
        if self.host == HERE:
            return {"transport": "local"}
        stated = {"user": self.user, "preset": self.preset, "storage": self.storage}
        known = {key: value for key, value in stated.items() if value is not None}
        return {"transport": "ssh", "host": self.host, **known}

    def device(self) -> SingleDevice:
        """
        Raises:
            LlmpiError: that is no name of a host.
        """
        try:
            kind = LocalDevice if self.host == HERE else SshDevice
            return kind.model_validate(self.entry())
        except ValueError:
            raise LlmpiError(f"--board: '{self.host}' is no host, or its user is none") from None


def init(args: argparse.Namespace) -> int:
    """Write a config; 1 where a board cannot be reached, and nothing is written.

    Raises:
        LlmpiError: no board is named, or the file is there already.
    """
    if args.out.exists():
        raise LlmpiError(f"{args.out}: is there already, and stays as it is; --out names another")
    study_of(args.out)
    if unknown := set(args.model) - CATALOGUE.keys():
        raise LlmpiError(
            f"--model: {', '.join(sorted(unknown))}: there are: {', '.join(CATALOGUE)}"
        )
    if args.demo_on and not Path("Snakefile").is_file():
        raise LlmpiError("--demo-on: there is no Snakefile here; do it in a clone of llmpi")
    boards = _boards(args)
    found = {} if args.no_check else _checked(boards)
    if any(finding.seen is None for finding in found.values()):
        print("\nNothing is written: mend what is in the way, or see --no-check.", file=sys.stderr)
        return 1
    known = [_as_found(board, found.get(board.id)) for board in boards]
    asked = _asked(args, known, found)
    write(asked, args.out)
    print(f"{args.out}: {', '.join(asked.models)} on {', '.join(asked.devices)}")
    if args.demo_on:
        return _measure(load_study(args.out), args.out)
    config = shlex.quote(str(args.out))
    print(f"Next: llmpi plan --configfile {config}")
    print(f"Then: snakemake --cores 4 --configfile {config}")
    return 0


# --- boards ---------------------------------------------------------------------------------------


def _boards(args: argparse.Namespace) -> list[Board]:
    named = [args.demo_on] if args.demo_on else args.board or _chosen()
    boards = [Board(host, args.user) for host in dict.fromkeys(named)]
    ids = [board.id for board in boards]
    if len(set(ids)) < len(ids):
        raise LlmpiError(f"--board: two boards would have one id: {', '.join(ids)}; write a config")
    return boards


def _chosen() -> list[str]:
    """Out of `~/.ssh/config` and the local network, by a person."""
    there = hosts(Path(SSH_CONFIG).expanduser())
    listed = f"{SSH_CONFIG} has: {', '.join(there)}" if there else f"{SSH_CONFIG} names no host"
    if not sys.stdin.isatty():
        raise LlmpiError(f"--board: name a host, or '{HERE}' for this machine; {listed}")
    print(listed)
    heard = neighbours()
    if heard:
        print(f"The network has: {', '.join(heard)}")
    found = there or heard
    answer = _ask("Which boards? Hosts, by blanks", found[0] if len(found) == 1 else HERE)
    return answer.split()


def _checked(boards: Sequence[Board]) -> dict[str, Finding]:
    """By id; their table is printed."""
    say_looking(board.id for board in boards)
    findings = check_devices({board.id: board.device() for board in boards})
    print(in_width(table(findings)), end="\n\n")
    return {finding.device: finding for finding in findings}


def _as_found(board: Board, finding: Finding | None) -> Board:
    if finding is None or finding.seen is None or board.host == HERE:
        return board
    machine, storage = finding.seen["machine"], finding.seen["storage"]
    return replace(
        board,
        preset=preset_of(machine["board"], machine["memory_bytes"]),
        storage=storage_of(storage["medium"]),
    )


# --- what is asked for ----------------------------------------------------------------------------


def _asked(
    args: argparse.Namespace, boards: Sequence[Board], found: Mapping[str, Finding]
) -> Asked:
    devices = {board.id: board.entry() for board in boards}
    remarks = {board.id: _remarks(board, found.get(board.id)) for board in boards}
    if args.demo_on:
        return Asked(
            study=study_of(args.out),
            models=[DEMO_MODEL],
            quants=["Q4_0"],
            devices=devices,
            need="chat",
            scored=False,
            remarks=remarks,
        )
    need: NeedName = args.need or _choice("What for?", list(NEEDS))
    models, quants = _models(args.model, boards, need)
    languages = args.language or _ask("Languages of the report", "en ja").split()
    return Asked(
        study=study_of(args.out),
        models=models,
        quants=quants,
        devices=devices,
        need=need,
        tps_at_least=args.tps_at_least,
        memory_at_most=args.memory_at_most,
        languages=languages,
        own=_own_questions(args, need),
        remarks=remarks,
    )


def _models(
    named: Sequence[str], boards: Sequence[Board], need: NeedName
) -> tuple[list[str], list[str]]:
    """Models, and the quantizations that fit every board; where none is named, the largest that
    suits all boards and that the hub gives to everybody. Where no board is known, the demo's."""
    there = [suggest(b.preset, need, storage=b.storage) for b in boards if b.preset]
    models = list(named) or _largest(there) or [DEMO_MODEL]
    if models == [DEMO_MODEL]:
        return models, list(DEMO_QUANTS)
    fitting = [{one.name for one in [*found.suits, *found.too_slow]} for found in there]
    quants = [q for q in QUANTS if all(f"{m}/{q}" in fit for m in models for fit in fitting)]
    if not quants:
        raise LlmpiError(f"--model: {', '.join(models)}: too large for a board; see llmpi suggest")
    return models, quants


def _largest(there: Sequence[Suggested]) -> list[str]:
    """The largest model that suits all boards and needs no leave; none where no board is known."""
    if not there:
        return []
    suits = [{one.model for one in found.suits} for found in there]
    open_to_all = [one.model for one in there[0].suits if not one.listed.gated]
    return [name for name in open_to_all if all(name in those for those in suits)][:1]


def _remarks(board: Board, finding: Finding | None) -> list[str]:
    """What a user should know of a board, as comments."""
    if board.host == HERE:
        return []
    facts = finding.facts if finding else {}
    remarks = [", ".join(facts[key] for key in ("board", "memory", "os", "free") if key in facts)]
    if not board.preset:
        remarks.append(
            "Of no preset (config/README.md): a plan knows its speed once it is measured."
        )
    elif board.preset.startswith("pi5"):
        remarks.append("A Pi 5 reads its own power: meter: {kind: pmic}, see docs/devices.md.")
    return [visible(" ".join(remark.split())) for remark in remarks if remark]


# --- questions ------------------------------------------------------------------------------------


def _choice(question: str, options: Sequence[str]) -> NeedName:
    answer = _ask(f"{question} {', '.join(options)}", options[0])
    for name in NEEDS:
        if name == answer:
            return name
    raise LlmpiError(f"'{answer}' is none of {', '.join(options)}")


def _own_questions(args: argparse.Namespace, need: NeedName) -> Plain | None:
    """The task of one's own questions; whoever needs answers to them is asked for them.

    Raises:
        LlmpiError: the table cannot be made a task.
    """
    if args.squad_file:
        return {"task": "squad", "squad_file": args.squad_file, "max_new_tokens": 32}
    table = args.questions
    if not table and need == "questions":
        told = _ask("A CSV of your own questions and answers (see llmpi questions)", NONE)
        table = None if told == NONE else Path(told).expanduser()
    if not table:
        return None
    own = make(table)
    for line in (f"{own.path}: {own.asked} questions", *(f"  {note}" for note in own.notes)):
        print(line)
    return as_plain(own.settings)


def _ask(question: str, default: str) -> str:
    """An answer of a person; the default where nobody is there, or nothing is said."""
    if not sys.stdin.isatty():
        return default
    print(f"{question} [{default}]: ", end="", flush=True)
    return sys.stdin.readline().strip() or default


# --- the first number -----------------------------------------------------------------------------


def _measure(study: Study, config: Path) -> int:
    """Run the study as far as its measurement, and say what it gave."""
    command = ["--cores", "all", "--configfile", str(config), "--", "measured"]
    done = subprocess.run([sys.executable, "-m", "snakemake", *command], check=False)
    if done.returncode:
        raise LlmpiError(f"it was not measured; see above, then: snakemake {shlex.join(command)}")
    [(session, [workload])] = sessions(study).items()
    path = Path(layout.at(layout.BENCH, study=study.study, **session._asdict()))
    cell = single(read(path, SessionRecord), workload)
    if not isinstance(cell, Single):
        print(f"It failed: {cell['reason']}")
        return 1
    speeds = sorted(len(r["itl_s"]) / sum(r["itl_s"]) for r in cell.cell["repetitions"])
    middle, marks = speeds[len(speeds) // 2], "".join(f"; {mark}" for mark in cell.cell["marks"])
    print(
        f"{session.model} {session.quant} on {session.device}: {middle:.1f} tokens/s "
        f"({speeds[0]:.1f} to {speeds[-1]:.1f} of {len(speeds)}{marks})"
    )
    return 0
