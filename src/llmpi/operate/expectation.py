"""What a canary is to expect of a service: made on the workstation, from a study's records.

What the service serves is known to the bit, so the canary asks what this very file answers surely:
questions and prefixes whose likeliest tokens lead by far. Rounding on another processor flips
near ties (`docs/methodology.md`, *Parity*), and a canary must not sing because of that.
"""

import statistics
from collections.abc import Sequence
from math import sqrt
from pathlib import Path
from typing import NamedTuple

from typing_extensions import TypeForm, TypeIs, TypeVar

from llmpi import layout
from llmpi.accidents import supervise
from llmpi.device.monitor.records import Prefix, Question
from llmpi.engine import answers
from llmpi.engine.records import Cell, Failed, Message, SessionRecord
from llmpi.engine.supervise import Death
from llmpi.errors import LlmpiError
from llmpi.gguf.records import Gguf
from llmpi.operate.records import Expectation, ReferenceAnswers, ReferenceJob
from llmpi.quality.agreement import TOP1_AT_LEAST_PCT
from llmpi.quality.reasons import reason_of, reason_text
from llmpi.quality.records import Parity, Skipped
from llmpi.quality.squad import metric as squad
from llmpi.quality.squad.prompt import messages
from llmpi.quality.squad.records import Questions, SquadScored
from llmpi.records import now, read
from llmpi.script import tell
from llmpi.study.computation import DEFAULT
from llmpi.study.runs import Session, Variant, sessions, stands_for
from llmpi.study.study import Study

Kind = TypeVar("Kind")

QUESTIONS, UNANSWERABLE, FEWEST_QUESTIONS = 16, 4, 4
CANDIDATES = 64
"""Questions the file is asked again, to find the surest among them."""
PREFIXES, SURE_NATS = 32, 0.5
"""Harmless differences between engines flipped no token that led by more than 0.32 nats."""
TG_AT_LEAST = 0.85
"""Of the tg that the study measured."""


class MeasuredSpeed(NamedTuple):
    """Of a workload on the device."""

    prompt_tokens: int
    output_tokens: int
    pp_tps: float
    """Medians of the repetitions."""
    tg_tps: float


class Candidate(NamedTuple):
    """A question that may be asked, with the chat turns that ask it."""

    id: str
    golds: list[str]
    messages: list[Message]


def expectation(
    study: Study, model: str, quant: str, device: str, *, runtime: str | None = None, threads: int
) -> Expectation:
    """The canary's questions, the answers expected, and the limits.

    Reads the study's records below `results/`, and asks the variant's GGUF file there.

    Args:
        runtime: how the service runs its engine; by default the study's first one.
        threads: of the engine on this machine.

    Raises:
        LlmpiError: the study does not run this variant there, a record is missing or failed, the
            device computes another model, or the model answers too little to be watched by.
    """
    session = _session(study, model, quant, device, runtime)
    variant = {"model": model, "quant": quant}
    manifest = _made(Gguf | Failed, "gguf", layout.GGUF_MANIFEST, **variant)
    cell = {"study": study.study, **session._asdict()}
    bench = _made(SessionRecord, "measured", layout.BENCH, **cell)
    workload = next((w for w in sessions(study)[session] if w in study.single_workloads), None)
    if workload is None:
        raise LlmpiError(f"study {study.study}: no workload of the kind single on {device}")
    speed = measured_speed(bench["workloads"][workload], f"{device}, {model} {quant}: {workload}")
    if not study.devices[device].is_here and study.quality:
        _check_parity(study, variant, stands_for(study, device, Variant(model, quant)))
    task = next(iter(study.squad_tasks), None)
    if task is None:
        raise LlmpiError(
            f"study {study.study}: has no quality task of the kind squad, whose questions a canary "
            "asks. Add one, and run the study again."
        )
    scored = {"study": study.study, "computation": DEFAULT, "task": task}
    quality = _made(SquadScored | Skipped | Failed, "scored", layout.QUALITY, **scored, **variant)
    questions = _made(Questions | Failed, "scored", layout.QUESTIONS, **scored)
    asked = candidates(quality, questions)
    max_new_tokens = quality["settings"]["max_new_tokens"]
    language = quality["settings"]["language"]
    found = _ask(
        {
            "gguf": layout.at(layout.GGUF, **variant),
            "threads": threads,
            "conversations": [question.messages for question in asked],
            "max_new_tokens": max_new_tokens,
            "speed_tokens": speed.prompt_tokens,
        }
    )
    answered: list[Question] = [
        {
            "id": question.id,
            "golds": question.golds,
            "prompt": answer["prompt"],
            "answer": answer["answer"],
            "margin_nats": answer["margin_nats"],
        }
        for question, answer in zip(asked, found["answers"], strict=True)
        if not answer["thinks"]  # a canary does not wait for thoughts
    ]
    what = f"{model} {quant}, task {task}"
    if thoughts := len(asked) - len(answered):
        what += f": begins {thoughts} of {len(asked)} answers with a thought unasked, and"
    chosen = choose_questions(answered, language, what)
    scores = [_score(question, language) for question in chosen]
    f1 = statistics.fmean(f1 for _, f1 in scores)
    return {
        "study": study.study,
        "device": device,
        "model": model,
        "quant": quant,
        "runtime": session.runtime,
        "workload": workload,
        "gguf_sha256": manifest["sha256"],
        "gguf_bytes": manifest["bytes"],
        "made": now(),
        "max_new_tokens": max_new_tokens,
        "language": language,
        "questions": chosen,
        "prefixes": choose_prefixes(found["prefixes"]),
        "speed": {**found["speed"], "output_tokens": speed.output_tokens},
        "reference": {
            "em_pct": 100 * statistics.fmean(exact for exact, _ in scores),
            "f1_pct": 100 * f1,
            "pp_tps": speed.pp_tps,
            "tg_tps": speed.tg_tps,
            "engine": found["engine"],
        },
        "limits": {
            "f1_at_least_pct": 100 * wilson_low(f1, len(chosen)),
            "top1_at_least_pct": TOP1_AT_LEAST_PCT,
            "tg_at_least_tps": TG_AT_LEAST * speed.tg_tps,
        },
    }


def measured_speed(cell: Cell, what: str) -> MeasuredSpeed:
    """
    Args:
        cell: of one conversation.

    Raises:
        LlmpiError: the cell failed.
    """
    if cell["status"] == "failed":
        raise LlmpiError(f"{what}: was not measured ({cell['reason']}); it cannot be watched")
    assert cell["kind"] == "single"
    size, repetitions = cell["workload"], cell["repetitions"]
    return MeasuredSpeed(
        prompt_tokens=size["prompt_tokens"],
        output_tokens=size["output_tokens"],
        pp_tps=statistics.median(size["prompt_tokens"] / r["pp_s"] for r in repetitions),
        tg_tps=statistics.median(len(r["itl_s"]) / sum(r["itl_s"]) for r in repetitions),
    )


def candidates(quality: SquadScored, questions: Questions) -> list[Candidate]:
    """Questions that the variant answered at least in part.

    Of answerable and unanswerable ones half of `CANDIDATES` each at most, in their order.
    """
    paragraphs = squad.parse(questions["squad"], "questions")
    right = {item["id"] for item in quality["items"] if item["f1"] > 0}
    asked = quality["settings"]
    found = [
        Candidate(
            q.id,
            list(q.golds),
            messages(paragraph.context, q.question, asked["examples"], asked["prompt"]),
        )
        for paragraph in paragraphs
        for q in paragraph.questions
        if q.id in right
    ]
    kinds = ([q for q in found if q.golds], [q for q in found if not q.golds])
    kept = {q.id for kind in kinds for q in kind[: CANDIDATES // 2]}
    return [q for q in found if q.id in kept]


def choose_questions(asked: Sequence[Question], language: str, what: str) -> list[Question]:
    """The surest of those that the file answers at least in part, in the order they were asked.

    A quarter are unanswerable, where there are so many of both kinds: a model that always abstains
    is to be noticed, and one that never does.

    Raises:
        LlmpiError: there are fewer than `FEWEST_QUESTIONS`.
    """
    right = [question for question in asked if _score(question, language)[1] > 0]
    right.sort(key=lambda q: q["margin_nats"], reverse=True)
    answerable, unanswerable = (
        [q for q in right if q["golds"]],
        [q for q in right if not q["golds"]],
    )
    none = unanswerable[: max(UNANSWERABLE, QUESTIONS - len(answerable))]
    chosen = {q["id"] for q in answerable[: QUESTIONS - len(none)] + none}
    if len(chosen) < FEWEST_QUESTIONS:
        raise LlmpiError(
            f"{what}: answers only {len(chosen)} questions at least in part; a canary needs "
            f"{FEWEST_QUESTIONS}. Serve a better variant, or score more questions."
        )
    return [q for q in asked if q["id"] in chosen]


def _score(question: Question, language: str) -> tuple[int, float]:
    """(exact, F1) of the file's own answer."""
    predicted = answers.prediction(question["answer"], language)
    return answers.score(question["golds"], predicted, language)


def choose_prefixes(found: Sequence[Prefix]) -> list[Prefix]:
    """Prefixes spread over the text, from where the model is sure of what follows."""
    sure = [prefix for prefix in found if prefix["margin_nats"] >= SURE_NATS]
    if len(sure) < PREFIXES:
        least = sorted((p["margin_nats"] for p in found), reverse=True)[:PREFIXES][-1]
        sure = [prefix for prefix in found if prefix["margin_nats"] >= least]
    step = len(sure) / min(PREFIXES, len(sure))
    return [sure[int(i * step)] for i in range(min(PREFIXES, len(sure)))]


def wilson_low(mean: float, items: int) -> float:
    """Lower end of the 95 % score interval of a share (Wilson 1927), never below 0.

    Of the mean of scores between 0 and 1 it is conservative: none of them can spread wider than
    yes and no with the same mean.
    """
    z = statistics.NormalDist().inv_cdf(0.975)
    middle = mean + z**2 / (2 * items)
    spread = z * sqrt(mean * (1 - mean) / items + z**2 / (4 * items**2))
    return max(0.0, (middle - spread) / (1 + z**2 / items))


def _ask(job: ReferenceJob) -> ReferenceAnswers:
    module = "llmpi.operate.reference"
    outcome = supervise(module, job, writes=ReferenceAnswers, log=tell)
    if isinstance(outcome, Death):
        raise LlmpiError(f"{job['gguf']}: {outcome.reason}")
    return outcome


def _session(study: Study, model: str, quant: str, device: str, runtime: str | None) -> Session:
    known = [s for s in sessions(study) if not study.runtimes[s.runtime].endpoint]
    ours = (name for name, asked in study.runtimes.items() if not asked.endpoint)
    session = Session(device, model, quant, runtime or next(ours, ""))
    if session not in known:
        offered = ", ".join("/".join(s) for s in known)
        raise LlmpiError(
            f"study {study.study}: does not run {'/'.join(session)}; it runs {offered}"
        )
    return session


def _check_parity(study: Study, variant: dict[str, str], device: str) -> None:
    cell = {"study": study.study, "device": device, **variant}
    parity = _made(Parity | Failed, "measured", layout.PARITY, **cell)
    if not parity["agrees"]:
        raise LlmpiError(
            f"device {device}: {parity['reason']}; the workstation's answers are no reference for "
            "it. See docs/methodology.md, Parity."
        )


def _made(
    kind: TypeForm[Kind | Failed | Skipped], stage: str, pattern: str, **wildcards: str
) -> Kind:
    """A record of the study.

    Raises:
        LlmpiError: it is not there, or there are no results in it.
    """
    path = Path(layout.at(pattern, **wildcards))
    if not path.is_file():
        raise LlmpiError(f"{path}: is not there yet; run `snakemake --cores 4 {stage}` first")
    record = read(path, kind)
    if _is_empty(record):
        raise LlmpiError(f"{path}: {record['status']}: {reason_text(reason_of(record))}")
    return record


def _is_empty(record: object) -> TypeIs[Failed | Skipped]:
    return isinstance(record, dict) and record["status"] != "ok"
