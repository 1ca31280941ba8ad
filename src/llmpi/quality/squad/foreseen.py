"""The questions of a file, or of a data set that was fetched before, with an answer and without."""

from collections import Counter
from pathlib import Path

from llmpi import layout
from llmpi.quality.foreseen import Foreseen
from llmpi.quality.squad.questions import prepare
from llmpi.quality.squad.records import MetricName, Questions
from llmpi.quality.squad.requirements import CALLED, clusters_of, margins_of
from llmpi.results import result
from llmpi.study.study import Study
from llmpi.study.tasks.squad import SquadTask


def foreseen(study: Study, task: str) -> list[Foreseen]:
    """Nothing of a descent, which asks no more than it takes to tell.

    Raises:
        LlmpiError: the file is no SQuAD v2.
    """
    asked = study.quality[task]
    assert isinstance(asked, SquadTask)
    if study.descent and study.descent.task == task:
        return []
    if asked.squad_file:
        return _asked(asked, prepare(asked, Path()))
    known = result(Questions, layout.QUESTIONS, study=study.study, task=task)
    return _asked(asked, known) if known["status"] == "ok" else []


def _asked(asked: SquadTask, questions: Questions) -> list[Foreseen]:
    clusters = clusters_of(questions)
    counted: dict[MetricName, Counter[str]] = {"has_ans_f1": Counter(), "no_ans_exact": Counter()}
    for article in questions["squad"]["data"]:
        for paragraph in article["paragraphs"]:
            for question in paragraph["qas"]:
                metric: MetricName = "has_ans_f1" if question["answers"] else "no_ans_exact"
                counted[metric][clusters[question["id"]]] += 1
    names = sorted(set(clusters.values()))
    return [
        Foreseen(CALLED.get(name, name), margin, "passage", [counted[name][one] for one in names])
        for name, margin in margins_of(asked).items()
        if margin is not None and counted[name]
    ]
