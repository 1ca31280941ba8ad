"""SQuAD v2: its data format, and its scores as the official evaluation script defines them.

Source: Rajpurkar, Jia, Liang, *Know What You Don't Know* (arXiv 1806.03822), and the evaluation
script published with it (`evaluate-v2.0.py`).
"""

import re
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from math import inf
from typing import Any, NamedTuple

from llmpi.engine.answers import ENGLISH
from llmpi.engine.answers import score as best_score
from llmpi.errors import LlmpiError
from llmpi.quality.squad.records import Abstention, SquadDocument, Thresholds


class Question(NamedTuple):
    """One question; `golds` is empty if the passage does not answer it."""

    id: str
    question: str
    golds: tuple[str, ...]


class Paragraph(NamedTuple):
    """A passage and the questions on it; where the data set names articles, with its article's."""

    context: str
    questions: tuple[Question, ...]
    title: str = ""


def parse(document: Any, name: str) -> list[Paragraph]:
    """Read SQuAD v2's official JSON, such as `SquadDocument`; fields of others' are passed over.

    Args:
        document: JSON of any form: files of others hold more, and ids that are numbers.
        name: of the source, for the error.

    Raises:
        LlmpiError: it is something else, as `checked` has it.
    """
    try:
        paragraphs = [
            _paragraph(paragraph, article.get("title"), f"{name}: data[{i}].paragraphs[{k}]")
            for i, article in enumerate(list_at(f"{name}: data", document["data"]))
            for k, paragraph in enumerate(
                list_at(f"{name}: data[{i}].paragraphs", article["paragraphs"])
            )
        ]
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise LlmpiError(
            f"{name}: not SQuAD v2's format: {type(error).__name__} {error}; expected "
            "data[].paragraphs[].qas[] with id, question, is_impossible and answers[].text"
        ) from None
    return checked(paragraphs, name)


def checked(paragraphs: Sequence[Paragraph], name: str) -> list[Paragraph]:
    """The paragraphs that have questions.

    Raises:
        LlmpiError: there is none, or an id stands there twice.
    """
    ids = Counter(question.id for paragraph in paragraphs for question in paragraph.questions)
    if not ids:
        raise LlmpiError(f"{name}: holds no question")
    if twice := [key for key, count in ids.items() if count > 1]:
        raise LlmpiError(f"{name}: question id {twice[0]!r} stands there twice")
    return [paragraph for paragraph in paragraphs if paragraph.questions]


def text_at(place: str, value: object) -> str:
    """
    Args:
        place: where the value stands, with the name of the source.

    Raises:
        LlmpiError: the value is no text.
    """
    if not isinstance(value, str):
        raise LlmpiError(f"{place} is {_found(value)}, and should be a text")
    if re.search("[\ud800-\udfff]", value):
        raise LlmpiError(f"{place} holds half of a surrogate pair, which is no character")
    return value


def id_at(place: str, value: object) -> str:
    """The same of an id, which some files have as a number."""
    return str(value) if type(value) is int else text_at(place, value)


def list_at(place: str, value: object) -> list[Any]:
    """The same of a list, whatever it holds."""
    if not isinstance(value, list):
        raise LlmpiError(f"{place} is {_found(value)}, and should be a list")
    return value


def _found(value: object) -> str:
    return "null" if value is None else f"of the type {type(value).__name__}"


def dump(paragraphs: Sequence[Paragraph]) -> SquadDocument:
    """The inverse of `parse`; offsets of the answers are not kept. Paragraphs of an article that do
    not stand together are two articles of one name."""
    return {
        "version": "v2.0",
        "data": [
            {
                "title": title,
                "paragraphs": [
                    {
                        "context": paragraph.context,
                        "qas": [
                            {
                                "id": question.id,
                                "question": question.question,
                                "is_impossible": not question.golds,
                                "answers": [{"text": gold} for gold in question.golds],
                            }
                            for question in paragraph.questions
                        ],
                    }
                    for paragraph in article
                ],
            }
            for title, article in groupby(paragraphs, lambda paragraph: paragraph.title)
        ],
    }


def _paragraph(paragraph: Any, title: object, place: str) -> Paragraph:
    asked = list_at(f"{place}.qas", paragraph["qas"])
    questions = (_question(qa, f"{place}.qas[{i}]") for i, qa in enumerate(asked))
    context = text_at(f"{place}.context", paragraph["context"])
    return Paragraph(context, tuple(questions), title if isinstance(title, str) else "")


def _question(qa: Any, place: str) -> Question:
    golds = dict.fromkeys(
        text_at(f"{place}.answers[{i}].text", answer["text"])
        for i, answer in enumerate(list_at(f"{place}.answers", qa["answers"]))
    )
    asked = text_at(f"{place}.question", qa["question"])
    return Question(id_at(f"{place}.id", qa["id"]), asked, tuple(golds))


def score(question: Question, prediction: str, language: str = ENGLISH) -> tuple[int, float]:
    """(exact, F1) against the best gold, see `llmpi.engine.answers.score`."""
    return best_score(question.golds, prediction, language)


class Answered(NamedTuple):
    """A question's answer, scored as it stands, and how the model rated the question."""

    has_answer: bool
    prediction: str
    exact: float
    f1: float
    no_answer: float  # any real number; the higher, the likelier unanswerable


def best_thresholds(answers: Sequence[Answered]) -> Thresholds:
    """The scores of a model that abstains above the best threshold on `no_answer`.

    As `find_all_best_thresh` of the official script has them, peculiarities included: the threshold
    is the `no_answer` of the last question still answered; an answer to an unanswerable question
    costs a point even if it normalises to nothing; and among questions of equal `no_answer`, which
    no threshold can part, the best point in between counts. Where it is best to answer none, the
    script has 0.0, which is below all probabilities and above all log-likelihoods: here it is said
    in words, and so is a threshold that nothing is above.

    Args:
        answers: at least one, in the order of the data set, which settles ties. (The script goes by
            the order of its file of no-answer probabilities.)

    Returns:
        `best_exact` and `best_f1` in per cent, `best_exact_thresh` and `best_f1_thresh` in the unit
        of `no_answer`.
    """
    best_exact, exact_thresh = _best_threshold(answers, [answer.exact for answer in answers])
    best_f1, f1_thresh = _best_threshold(answers, [answer.f1 for answer in answers])
    return {
        "best_exact": best_exact,
        "best_exact_thresh": exact_thresh,
        "best_f1": best_f1,
        "best_f1_thresh": f1_thresh,
    }


def _best_threshold(
    answers: Sequence[Answered], scores: Sequence[float]
) -> tuple[float, float | Abstention]:
    points: float = sum(not answer.has_answer for answer in answers)
    best, thresh = points, -inf
    by_no_answer = sorted(zip(answers, scores, strict=True), key=lambda pair: pair[0].no_answer)
    for answer, score in by_no_answer:
        if answer.has_answer:
            points += score
        elif answer.prediction:
            points -= 1
        if points > best:
            best, thresh = points, answer.no_answer
    return 100.0 * best / len(answers), _in_words(thresh, by_no_answer[-1][0].no_answer)


def _in_words(thresh: float, highest: float) -> float | Abstention:
    if thresh == -inf:
        return "always abstain"
    return "never abstain" if thresh >= highest else thresh
