"""What a `squad` task asks of a variant: answers where there is one, silence where there is none.

Overall F1 asks for neither: who always abstains scores the share of the questions without an
answer, and who never does loses only these.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence

from llmpi import layout
from llmpi.quality.evidence import (
    Evidence,
    Requirement,
    ScoredItem,
    Sequential,
    evidence_of,
    score_of,
    scored_in,
)
from llmpi.quality.kind import NotScored
from llmpi.quality.squad.descent import paragraph_losses, paragraph_means
from llmpi.quality.squad.metrics import METRICS
from llmpi.quality.squad.records import Item, MetricName, Questions, SquadScored, Verdict
from llmpi.quality.squad.stopping import bounds
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
        margins = margins_of(asked)
        if descent:
            margins[descent.metric] = descent.margin_pct
        for metric, margin in margins.items():
            found = _requirement(task, metric, margin or 0.0, records, order, cluster)
            if margin is None:
                found["kind"] = "score"
            if descent:
                found = in_descent(found, metric, records, cluster, descent.alpha)
            yield found
        for gate in study.gates:
            if gate.task == task:
                least = _requirement(task, gate.metric, gate.at_least_pct, records, order, cluster)
                least["kind"] = "gate"
                if descent:
                    least = gate_in_descent(least, gate.metric, records, descent.alpha)
                yield least


def margins_of(asked: SquadTask) -> dict[MetricName, float | None]:
    return {
        "has_ans_f1": asked.has_ans_f1_drop_at_most,
        "no_ans_exact": asked.no_ans_drop_at_most,
    }


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
    answered = {item.cluster for found in items.values() for item in found}
    clusters = sorted(answered.union(cluster.values()))
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


# --- of a task whose questions a descent ends -----------------------------------------------------


def in_descent(
    found: Requirement,
    metric: MetricName,
    records: Records,
    cluster: Mapping[str, str],
    alpha: float,
) -> Requirement:
    """With bounds that hold at whatever moment a variant was asked no more, whichever metric ended
    it.

    A score that others are held against is of the questions that all were asked who may be taken:
    the first ones are no harder for one than for another. A metric of the descent alone is no part
    of the quality.
    """
    scored = {variant: r for variant, r in records.items() if r["status"] == "ok"}
    widest = {one["model"]: scored[scored_in(one)] for one in found["variants"] if one["reference"]}
    common = _asked_of_all(scored.values())
    is_quality = metric in ("has_ans_f1", "no_ans_exact")

    def stopped(one: Evidence) -> Evidence:
        record, reference = scored[scored_in(one)], widest.get(one["model"])
        items = [item for item in _items(record, metric, cluster) if item.id in common]
        whole = is_quality and common <= {item["id"] for item in record["items"]}
        one = {**one, "score": score_of(items, found["clusters"]) if whole else None}
        if record["descent"] is None or reference is None:
            return one
        if metric == record["descent"]["metric"]:
            return {**one, "loss": _of_verdict(record["descent"])}
        losses = paragraph_losses(reference["items"], record["items"], metric)
        return {**one, "loss": _sequential(record, losses, found["margin"], alpha)}

    return {**found, "variants": [stopped(one) for one in found["variants"]]}


def gate_in_descent(
    found: Requirement, metric: MetricName, records: Records, alpha: float
) -> Requirement:
    """The same of a gate, which is held when the score is missed by no more than it may be."""
    score, _ = METRICS[metric]

    def stopped(one: Evidence) -> Evidence:
        record = records[scored_in(one)]
        if record["status"] != "ok" or record["descent"] is None:
            return one
        missed = paragraph_means(record["items"], metric, lambda item: 1 - score(item))
        return {**one, "loss": _sequential(record, missed, 100 - found["margin"], alpha)}

    return {**found, "variants": [stopped(one) for one in found["variants"]]}


def _asked_of_all(records: Iterable[SquadScored]) -> set[str]:
    """Ids of the questions of all that are not shown to lose too much, and so may be taken."""
    asked = [
        {item["id"] for item in record["items"]}
        for record in records
        if record["descent"] is None or record["descent"]["decision"] != "fails"
    ]
    return set.intersection(*asked) if asked else set()


def _of_verdict(verdict: Verdict) -> Sequential:
    return {
        "kind": "sequential",
        "decision": verdict["decision"],
        "items": verdict["questions"],
        "clusters": verdict["paragraphs"],
        "loss_pct": verdict["loss_pct"],
        "low_pct": verdict["low_pct"],
        "high_pct": verdict["high_pct"],
    }


def _sequential(
    record: SquadScored, losses: Sequence[float], margin_pct: float, alpha: float
) -> Sequential:
    low, high = (100 * bound for bound in bounds(losses, alpha=alpha))
    return {
        "kind": "sequential",
        "decision": "holds" if high <= margin_pct else "fails" if low > margin_pct else "undecided",
        "items": len(record["items"]),
        "clusters": len(losses),
        "loss_pct": 100 * sum(losses) / len(losses) if losses else None,
        "low_pct": low,
        "high_pct": high,
    }
