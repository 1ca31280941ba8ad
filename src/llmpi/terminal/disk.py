"""How far a study is, by its files; what an edit made stale is known to Snakemake alone."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from glob import escape
from pathlib import Path
from typing import Any, Literal, NamedTuple

from llmpi import layout
from llmpi.job_lines import ERROR, FAILED
from llmpi.quant_types import wants_imatrix
from llmpi.study import inputs
from llmpi.study.runs import asked_over_http, compared_by_engine, made, pairs_of, scored, sessions
from llmpi.study.study import Study

State = Literal["done", "failed", "skipped", "waiting"]
Unchecked = Mapping[str, Any]
"""A record of any kind, damaged ones too: a look at a study fails on none."""
STATES: tuple[State, ...] = ("done", "failed", "skipped", "waiting")

RULES = {
    "models": ("fetch_model", "start_model"),
    "files": (
        *("convert_to_gguf", "quantize_gguf", "publish_gguf"),
        *("learn_rounding", "train_qat", "train_base"),
    ),
    "devices": ("provision_device",),
    "deployed": ("deploy_gguf",),
    "tuned": ("tune_runtime",),
    "measured": ("benchmark_device",),
    "engines": ("compare_engines",),
    "parity": ("check_parity",),
    "scored": (
        "evaluate_quality",
        "merge_shards",
        "evaluate_divergence",
        "answer_prompts",
        "evaluate_lm_eval",
        "ask_endpoint",
        "ask_prompts",
    ),
    "compared": ("compare_pair",),
    "report": ("summarize", "recommend", "report"),
    "memos": ("memo",),
}
"""The kinds of jobs that are told apart, in the order of a study, and whose logs are theirs."""

BEFORE = {
    "engines": ("install_engines/{0}/{1}.log",),
    "files": ("calibrate/{0}.log", "measure_rates/*/{0}.log", "search_mix/{0}/{1}.log"),
    "measured": ("sample_questions/{0}/{2}/{3}/*.log",),
    "parity": ("predict_on_workstation/{2}/{3}.log",),
    "scored": (
        "prepare_questions/{0}/{4}.log",
        "prepare_corpus/{0}/{4}.log",
        "score_reference/{0}/{1}/{4}.log",
        "answer_shard/{0}/{1}/{2}/{3}/{4}/*.log",
    ),
}
"""Logs of jobs that come before it, by the parts of its path: without them it is never tried."""

RESTS_ON = (
    *(layout.MODEL_MANIFEST, layout.START_MANIFEST, layout.BASE_MANIFEST, layout.IMATRIX_MANIFEST),
    layout.RATES.replace("{device}", "*"),  # of the board that a mix is made for
    *(layout.MIX, layout.GGUF_MANIFEST, layout.RECEIPT, layout.TUNED),
    *(layout.PREDICTIONS, layout.REFERENCE, layout.SHARD, layout.SAMPLE),
)
"""Records whose failure is passed on to those that rest on them, the first of all first."""
RESTING = (layout.BENCH, layout.BY_ENGINE, layout.PARITY, layout.QUALITY, layout.ASKED, layout.AB)
WILDCARD = re.compile(r"{(\w+)}")

BEGIN_BYTES = 64
"""Where the status stands in a record: first."""
ERROR_LINE = re.compile(
    rf"^\S+ \S+ ERROR (?!{FAILED})(?:{ERROR})?(?P<text>.*(?:\n(?!\d{{4}}-).*)*)", re.M
)
"""An error in a job's log, to the next line that has a date."""
TRACEBACK = "\nTraceback (most recent call last):\n"


class Asked(NamedTuple):
    """A file that a study asks for."""

    kind: str
    name: str
    """Of what is in it, for a person."""
    file: str


@dataclass(frozen=True)
class Cell:
    """What a study asks for, as it is found."""

    asked: Asked
    state: State
    reason: str = ""
    """Why it failed."""
    recorded: bool = False
    """Whether that is a result, which stays; else the job left nothing and is tried again."""
    marks: Sequence[str] = field(default=())
    """What is said of a measurement that is not to be compared with others."""


def asked_for(study: Study) -> Iterator[Asked]:
    """Every file that a study is about, in its order."""
    for model in dict.fromkeys(v.model for v in made(study)):
        yield Asked("models", model, layout.at(layout.MODEL_MANIFEST, model=model))
    for variant in made(study):
        file = layout.at(layout.GGUF_MANIFEST, **variant._asdict())
        yield Asked("files", " ".join(variant), file)
    for device in dict.fromkeys(s.device for s in sessions(study)):
        yield Asked("devices", device, layout.at(layout.PROVISIONED, device=device))
    several, compared = len(study.runtimes) > 1, {*compared_by_engine(study)}
    for session in sessions(study):
        name = f"{session.model} {session.quant} on {session.device}"
        ran = f"{name} ({session.runtime})" if several else name
        yield Asked("deployed", name, inputs.of_session(layout.RECEIPT, study, session))
        for file in inputs.tuned(study, session):
            yield Asked("tuned", ran, file)
        yield Asked("measured", ran, inputs.of_session(layout.BENCH, study, session))
        if session in compared:
            yield Asked("engines", ran, inputs.of_session(layout.BY_ENGINE, study, session))
    for file in inputs.parity(study):
        device, model, quant = Path(file).with_suffix("").parts[-3:]
        yield Asked("parity", f"{model} {quant} on {device}", file)
    for one in scored(study):
        for task in study.quality:
            yield Asked("scored", f"{one.name}: {task}", inputs.scores(study, one, task))
    for session, task in asked_over_http(study):
        name = f"{session.model} {session.quant} on {session.device} ({session.runtime}): {task}"
        yield Asked("scored", name, inputs.asked(study, session, task))
    for task in inputs.tasks_of(study, "ab"):
        for pair in pairs_of(study, task):
            file = layout.at(layout.AB, study=study.study, task=task, pair=pair)
            yield Asked("compared", f"{pair}: {task}", file)
    for file in (layout.SUMMARY_CSV, layout.RECOMMENDATION, layout.PAGE):
        yield Asked("report", study.study, layout.at(file, study=study.study))
    for language in study.languages:
        file = layout.at(layout.MEMO_PDF, study=study.study, language=language)
        yield Asked("memos", f"{study.study} in {language}", file)


def look(study: Study) -> list[Cell]:
    """Everything a study asks for, as it is on disk now. Each file is looked at once."""
    asked = dict.fromkeys(asked_for(study))  # a receipt stands for all runtimes
    return [_found(one) for one in asked]


def _found(asked: Asked) -> Cell:
    path = Path(asked.file)
    try:
        record = _record(path, whole=asked.kind == "measured")
        reason, (failed, marks) = _line(record.get("reason", "")), _within(record)
    except FileNotFoundError:
        error = last_error(asked)
        return Cell(asked, "failed", error) if error else Cell(asked, "waiting")
    except (OSError, ValueError) as error:
        return Cell(asked, "failed", f"{path} cannot be read: {error}", recorded=True)
    state = _state(record)
    if state == "done" and failed:
        return Cell(asked, "failed", "; ".join(failed), True, marks)
    return Cell(asked, state, reason if state == "failed" else "", True, marks)


def _record(path: Path, *, whole: bool) -> Unchecked:
    """The record in a file; of a long one that is sound no more than that, unless asked for."""
    if path.suffix != ".json":
        path.stat()
        return {"status": "ok"}
    with path.open("rb") as file:
        begin = file.read(BEGIN_BYTES)
        if not whole and b'"status": "ok"' in begin:
            return {"status": "ok"}
        record = json.loads(begin + file.read())
    if not isinstance(record, dict):
        raise ValueError("it is no record")
    return record


def _state(record: Unchecked) -> State:
    match record.get("status", "ok"):
        case "failed":
            return "failed"
        case "skipped":
            return "skipped"
    return "done"


def _within(record: Unchecked) -> tuple[list[str], list[str]]:
    """Of a session: why workloads failed in it, and the marks of the others."""
    workloads = record.get("workloads")
    if not isinstance(workloads, dict) or record.get("status") != "ok":
        return [], []
    if not all(isinstance(cell, dict) for cell in workloads.values()):
        raise ValueError("a workload in it is no record")
    failed = [
        f"{name}: {_line(cell.get('reason', ''))}"
        for name, cell in workloads.items()
        if cell.get("status") == "failed"
    ]
    marks = [mark for cell in workloads.values() for mark in cell.get("marks", [])]
    return failed, list(dict.fromkeys(marks))


def _line(reason: object) -> str:
    """Of several lines, as other people's errors have, one."""
    return " ".join(str(reason).split())


def origin(cell: Cell) -> str:
    """The record whose failure a cell has: its own, or the one that it was passed on from."""
    known = _wildcards(cell.asked.file)
    for pattern in RESTS_ON:
        for path in sorted(Path().glob(WILDCARD.sub(_filled(known), pattern))):
            with suppress(OSError, ValueError):
                record = _record(path, whole=False)
                if _state(record) == "failed" and _line(record.get("reason")) == cell.reason:
                    return str(path)
    return cell.asked.file


def _filled(known: Mapping[str, str]) -> Callable[[re.Match[str]], str]:
    """Of a wildcard what it is, as `glob` takes it; of one that is not known whatever it is."""
    return lambda found: escape(known[found[1]]) if found[1] in known else "*"


def _wildcards(file: str) -> dict[str, str]:
    for pattern in (*RESTS_ON, *RESTING):
        named = WILDCARD.sub(r"(?P<\1>[^/]+)", pattern.replace(".", r"\."))
        if found := re.fullmatch(named, file):
            return found.groupdict()
    return {}


def last_error(asked: Asked) -> str:
    """What the log of a job says that left nothing; empty where it was not tried or is running."""
    return next(filter(None, map(error_in, logs_of(asked))), "")


def logs_of(asked: Asked) -> list[Path]:
    """Where the jobs that may make a file write their logs: by its wildcards, under their rules."""
    parts = Path(asked.file).with_suffix("").parts[2:]
    if asked.kind in ("models", "report"):
        parts = parts[:-1]
    if asked.kind == "memos":
        parts = (*parts[:-1], parts[-1].removeprefix("memo."))
    own = [Path("logs", rule, *parts[:-1], f"{parts[-1]}.log") for rule in RULES[asked.kind]]
    before = [one.format(*parts) for one in BEFORE.get(asked.kind, ())]
    if asked.kind == "files" and not wants_imatrix(parts[-1]):
        before = before[1:]  # the matrix of others
    return own + [log for one in before for log in sorted(Path("logs").glob(one))]


def error_in(log: Path) -> str:
    """The last error in a job's log, as one line; empty where there is none."""
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    found = [match["text"] for match in ERROR_LINE.finditer(text)]
    if not found:
        return ""
    said, _, trace = found[-1].partition(TRACEBACK)
    last = f" ({trace.rstrip().splitlines()[-1]})" if trace.strip() else ""
    return " ".join(f"{said}{last}".split())
