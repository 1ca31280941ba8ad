"""What a `squad` task asks of variants that a descent asked no longer than it took to tell."""

import numpy as np
import pytest

from llmpi.decide.joint import Analysis
from llmpi.quality.evidence import Requirement, ScoredItem, evidence_of
from llmpi.quality.squad.metrics import METRICS
from llmpi.quality.squad.records import Item, MetricName
from llmpi.quality.squad.requirements import gate_in_descent, in_descent
from llmpi.study.runs import Scored

F16, Q8, Q4 = (Scored("m", quant) for quant in ("F16", "Q8_0", "Q4_0"))
ALPHA = 0.05


def record(right: np.ndarray, decision: str | None = None) -> dict:
    """
    Args:
        right: shape (passages, 4), of which the first two have an answer.
    """
    items: list[Item] = [
        {
            "id": f"{passage}-{at}",
            "paragraph": passage,
            "golds": ["it"] if at < 2 else [],
            "exact": int(found),
            "f1": float(found),
        }
        for passage, row in enumerate(right)
        for at, found in enumerate(row)
    ]
    verdict = {
        **{"decision": decision, "metric": "exact", "paragraphs": len(right)},
        **{"questions": len(items), "loss_pct": 1.0, "low_pct": -1.0, "high_pct": 3.0},
    }
    return {"status": "ok", "items": items, "descent": verdict if decision else None}


def asked(records: dict, metric: MetricName, margin: float, kind: str = "loss") -> Requirement:
    score, belongs = METRICS[metric]
    items = {
        variant: [
            ScoredItem(item["id"], str(item["paragraph"]), score(item))
            for item in found["items"]
            if belongs(item)
        ]
        for variant, found in records.items()
    }
    clusters = sorted({item.cluster for found in items.values() for item in found})
    return {
        "task": "qa",
        "metric": metric,
        "tag": None,
        "margin": margin,
        "kind": kind,
        "cluster": "passage",
        "clusters": clusters,
        "asked": 4 * len(clusters),
        "variants": evidence_of(items, {"m": ["F16", "Q8_0", "Q4_0"]}, clusters),
    }


CLUSTER = {f"{passage}-{at}": str(passage) for passage in range(200) for at in range(4)}


def of(requirement: Requirement, variant: Scored) -> dict:
    return next(one for one in requirement["variants"] if one["quant"] == variant.quant)


def descended(records: dict, metric: MetricName, margin: float = 5.0) -> Requirement:
    return in_descent(asked(records, metric, margin), metric, records, CLUSTER, ALPHA)


def test_the_other_metrics_bounds_hold_at_whatever_moment_the_descent_ended() -> None:
    """It stopped when the answers were told; of the abstentions that says nothing by itself."""
    same = np.ones((100, 4))
    records = {F16: record(np.ones((200, 4))), Q8: record(same, "holds")}
    lost = of(descended(records, "no_ans_exact"), Q8)["loss"]
    assert (lost["kind"], lost["decision"], lost["loss_pct"]) == ("sequential", "holds", 0)
    few = {F16: records[F16], Q8: record(same[:30], "holds")}
    lost = of(descended(few, "no_ans_exact"), Q8)["loss"]
    assert lost["decision"] == "undecided"
    assert 5 < lost["high_pct"] < 20


def test_who_was_asked_in_full_is_judged_as_ever() -> None:
    records = {F16: record(np.ones((200, 4))), Q8: record(np.ones((200, 4)))}
    assert of(descended(records, "no_ans_exact"), Q8)["loss"]["kind"] == "paired"
    assert of(descended(records, "no_ans_exact"), F16)["loss"] is None


def test_scores_are_of_the_questions_that_all_were_asked() -> None:
    """The first passages are easy: who was asked these alone is no better for it."""
    easy_first = np.ones((200, 4))
    easy_first[100:] = 0
    records = {F16: record(easy_first), Q8: record(easy_first[:100], "holds")}
    found = descended(records, "has_ans_f1")
    scores = [of(found, variant)["score"] for variant in (F16, Q8)]
    assert scores[0] == scores[1]
    assert sum(scores[0]["score"]["sums"]) == 200


def test_who_fails_early_takes_no_questions_from_the_others() -> None:
    records = {
        F16: record(np.ones((200, 4))),
        Q8: record(np.ones((100, 4)), "holds"),
        Q4: record(np.zeros((12, 4)), "fails"),
    }
    found = descended(records, "has_ans_f1")
    assert sum(of(found, F16)["score"]["items"]) == 200
    assert of(found, Q4)["score"] is None
    assert of(found, Q4)["loss"]["decision"] == "fails"


def test_a_metric_of_the_descent_alone_is_no_part_of_the_quality() -> None:
    records = {F16: record(np.ones((200, 4))), Q8: record(np.ones((100, 4)), "holds")}
    told = of(descended(records, "exact"), Q8)
    assert told["score"] is None
    assert (told["loss"]["decision"], told["loss"]["high_pct"]) == ("holds", 3.0), "as it was told"


@pytest.mark.parametrize(("least", "verdict"), [(70, "holds"), (95, "fails"), (85, "undecided")])
def test_a_gate_is_held_at_whatever_moment_the_descent_ended(least: float, verdict: str) -> None:
    right = np.ones((100, 4))
    right[::5] = 0
    right[::10, 0] = 1
    records = {F16: record(np.ones((200, 4))), Q8: record(right, "holds")}
    gate = gate_in_descent(asked(records, "f1", least, "gate"), "f1", records, ALPHA)
    standing = Analysis([gate]).standing(Q8)
    [one] = standing["requirements"]
    assert (one["verdict"], one["margin"]) == (verdict, -least)
    assert one["loss"] == pytest.approx(-82.5)
    assert one["low"] < one["loss"] < one["high"]
    assert one["why"] == ("descent ended" if verdict == "undecided" else None)
