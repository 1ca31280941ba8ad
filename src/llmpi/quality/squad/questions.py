"""The questions of a task: from a file or the hub, drawn once for every variant of the study."""

import json
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NotRequired

from typing_extensions import TypedDict

from llmpi.errors import LlmpiError
from llmpi.quality.hub_rows import rows_of
from llmpi.quality.records import FileSource, HubSource
from llmpi.quality.squad.metric import (
    Paragraph,
    Question,
    checked,
    dump,
    id_at,
    list_at,
    parse,
    text_at,
)
from llmpi.quality.squad.records import Questions
from llmpi.records import sha256_of, sha256_of_json, sha256_of_text
from llmpi.study.tasks.squad import SquadTask

log = logging.getLogger(__name__)


class Asked(TypedDict):
    """What the rule asks for."""

    source: SquadTask
    lock: str
    moves: int
    """How often the lock was moved: another time is another source."""


def prepare(task: SquadTask, lock: Path) -> Questions:
    """Load a task's questions and draw the sample.

    Args:
        lock: the lock file for branches and tags of the hub.

    Raises:
        LlmpiError: the source cannot be had or is no SQuAD v2.
    """
    paragraphs, source = _load(task, lock)
    drawn = draw(paragraphs, task.questions, task.seed)
    document = dump(drawn)
    questions = [question for paragraph in drawn for question in paragraph.questions]
    log.info("%d questions on %d paragraphs", len(questions), len(drawn))
    return {
        "status": "ok",
        "source": source,
        "questions": len(questions),
        "unanswerable": sum(not question.golds for question in questions),
        "paragraphs": len(drawn),
        "sha256": sha256_of_json(document),
        "squad": document,
    }


def draw(paragraphs: Sequence[Paragraph], budget: int | None, seed: int) -> list[Paragraph]:
    """Whole paragraphs in a random order until `budget` questions are reached; all without one.

    The last paragraph is cut to the budget. The order is that of a hash of seed and passage: a
    larger budget begins with what a smaller one drew, whatever order the data came in.
    """
    drawn: list[Paragraph] = []
    for paragraph in sorted(paragraphs, key=lambda p: sha256_of_text(f"{seed}\n{p.context}")):
        questions = paragraph.questions[:budget]
        if not questions:
            break
        drawn.append(paragraph._replace(questions=questions))
        budget = None if budget is None else budget - len(questions)
    return drawn


def _load(task: SquadTask, lock: Path) -> tuple[list[Paragraph], FileSource | HubSource]:
    if task.hub:
        return _from_hub(task, task.hub, lock)
    return _from_file(Path(task.squad_file or ""))


def _from_file(path: Path) -> tuple[list[Paragraph], FileSource]:
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise LlmpiError(f"{path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise LlmpiError(f"{path}: no valid JSON: {error}") from None
    paragraphs = by_passage(parse(document, str(path)))
    return paragraphs, {"file": str(path), "sha256": sha256_of(path)}


def _from_hub(task: SquadTask, repo: str, lock: Path) -> tuple[list[Paragraph], HubSource]:
    rows, commit = rows_of(repo, task.revision, task.subset, task.split, lock)
    origin: HubSource = {
        "hub": repo,
        "revision": commit,
        "config": task.subset,
        "split": task.split,
    }
    return from_rows(rows, repo), origin


class RowAnswers(TypedDict):
    text: list[str]


class Row(TypedDict):
    """A question, as the hub's data sets have it."""

    id: str
    context: str
    question: str
    answers: RowAnswers
    title: NotRequired[str]


def from_rows(rows: Iterable[Row], name: str) -> list[Paragraph]:
    """Paragraphs from the flat rows of the hub's data sets: id, context, question, answers.text.

    Raises:
        LlmpiError: a column is missing, or holds something else; or as `checked` has it.
    """
    try:
        paragraphs = [_of_row(row, f"{name}: row {i}") for i, row in enumerate(rows)]
    except (KeyError, TypeError) as error:
        raise LlmpiError(
            f"{name}: has no column {error}; expected SQuAD's id, context, question, answers"
        ) from None
    return checked(by_passage(paragraphs), name)


def by_passage(paragraphs: Iterable[Paragraph]) -> list[Paragraph]:
    """The questions of equal passages together, wherever they stand; passages in the order in which
    they come up."""
    found: dict[str, list[Question]] = {}
    titles: dict[str, str] = {}
    for context, questions, title in paragraphs:
        found.setdefault(context, []).extend(questions)
        titles.setdefault(context, title)
    return [Paragraph(c, tuple(questions), titles[c]) for c, questions in found.items()]


def _of_row(row: Row, place: str) -> Paragraph:
    context = text_at(f"{place}: context", row["context"])
    asked = text_at(f"{place}: question", row["question"])
    answers: object = row["answers"]
    texts = answers.get("text") if isinstance(answers, dict) else None
    found = list_at(f"{place}: answers.text", texts)
    golds = (text_at(f"{place}: an answer", gold) for gold in found)
    question = Question(id_at(f"{place}: id", row["id"]), asked, tuple(dict.fromkeys(golds)))
    return Paragraph(context, (question,), row.get("title", ""))
