"""What a `squad` task asks of a variant: answers where there is one, silence where there is none.

Overall F1 asks for neither: who always abstains scores the share of the questions without an
answer, and who never does loses only these.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence

from llmpi import layout
from llmpi.quality.evidence import (
    Evidence,
    Requirement,
    ScoredItem,
    Sequential,
    evidence_of,
    scored_in,
)
from llmpi.quality.kind import NotScored
from llmpi.quality.squad.metrics import METRICS
from llmpi.quality.squad.records import Item, MetricName, Questions, SquadScored, Verdict
from llmpi.results import result
from llmpi.study.runs import Scored
from llmpi.study.study import Study
from llmpi.study.tasks.squad import SquadTask

Records = Mapping[Scored, SquadScored | NotScored]
CALLED: dict[MetricName, str] = {"no_ans_exact": "no_ans"}
"""Metrics by what they are called where only one of their kind is asked for."""


def requirements(
    study: Study, order: Mapping[str, Sequence[str]], scores: Mapping[str, Records]
) -> Iterator[Requirement]:
    """Those of every task whose questions are known.

    Args:
        order: model -> its quantizations from the widest to the narrowest.
        scores: by task.
    """
    for task, records in scores.items():
        questions = result(Questions, layout.QUESTIONS, study=study.study, task=task)
        asked = study.quality[task]
        assert isinstance(asked, SquadTask)
        if questions["status"] != "ok":
            continue
        cluster = clusters_of(questions)
        descent = study.descent if study.descent and study.descent.task == task else None
        margins: dict[MetricName, float | None] = {
            "has_ans_f1": asked.has_ans_f1_drop_at_most,
            "no_ans_exact": asked.no_ans_drop_at_most,
        }
        if descent:
            margins[descent.metric] = descent.margin_pct
        for metric, margin in margins.items():
            found = _requirement(task, metric, margin or 0.0, records, order, cluster)
            if margin is None:
                yield {**found, "kind": "score"}
                continue
            if descent and metric == descent.metric:
                found["variants"] = [_stopped(one, metric, records) for one in found["variants"]]
            yield found
        for gate in study.gates:
            if gate.task == task:
                least = _requirement(task, gate.metric, gate.at_least_pct, records, order, cluster)
                yield {**least, "kind": "gate"}


def clusters_of(questions: Questions) -> dict[str, str]:
    """Of each question's id what it stands or falls with: its article, where the data set names
    them, else its passage."""
    return {
        question["id"]: article["title"] or _name(paragraph["context"])
        for article in questions["squad"]["data"]
        for paragraph in article["paragraphs"]
        for question in paragraph["qas"]
    }


def _name(passage: str) -> str:
    return "passage " + hashlib.sha256(passage.encode()).hexdigest()[:12]


def _requirement(
    task: str,
    metric: MetricName,
    margin: float,
    records: Records,
    order: Mapping[str, Sequence[str]],
    cluster: Mapping[str, str],
) -> Requirement:
    items = {
        variant: _items(record, metric, cluster)
        for variant, record in records.items()
        if record["status"] == "ok"
    }
    answered = (item.cluster for found in items.values() for item in found)
    clusters = sorted({*cluster.values(), *answered})
    variants = evidence_of(items, order, clusters)
    return {
        "task": task,
        "metric": CALLED.get(metric, metric),
        "tag": None,
        "margin": margin,
        "kind": "loss",
        "cluster": "passage",
        "clusters": clusters,
        "asked": len(cluster),
        "variants": variants if any(one["score"] for one in variants) else [],
    }


def _items(record: SquadScored, metric: MetricName, cluster: Mapping[str, str]) -> list[ScoredItem]:
    count, belongs = METRICS[metric]
    return [
        ScoredItem(item["id"], _cluster(item, cluster), float(count(item)))
        for item in record["items"]
        if belongs(item)
    ]


def _cluster(item: Item, known: Mapping[str, str]) -> str:
    return known.get(item["id"]) or f"passage {item['paragraph']}"


def _stopped(one: Evidence, metric: MetricName, records: Records) -> Evidence:
    """With the verdict of the descent, whose bounds hold at whatever moment it stopped. A metric of
    the descent alone is no part of the quality."""
    if metric not in ("has_ans_f1", "no_ans_exact"):
        one = {**one, "score": None}
    record = records[scored_in(one)]
    assert record["status"] == "ok"
    verdict = record["descent"]
    if verdict is None:
        return one
    return {**one, "loss": _sequential(verdict)}


def _sequential(verdict: Verdict) -> Sequential:
    return {
        "kind": "sequential",
        "decision": verdict["decision"],
        "items": verdict["questions"],
        "clusters": verdict["paragraphs"],
        "loss_pct": verdict["loss_pct"],
        "low_pct": verdict["low_pct"],
        "high_pct": verdict["high_pct"],
        "clusters_needed": verdict["paragraphs_needed"],
    }
