"""What each question of a SQuAD v2 task scores, and what all of them come to, whoever answered."""

from collections.abc import Callable, Sequence

from llmpi.engine.answers import normalize, prediction
from llmpi.quality.records import Answer
from llmpi.quality.squad.metric import Answered, Paragraph, best_thresholds, score
from llmpi.quality.squad.metrics import METRICS
from llmpi.quality.squad.records import Item, Score, SquadSummary
from llmpi.quality.statistics import share_interval
from llmpi.quality.thoughts import Thought, thoughts_of


def score_items(
    paragraphs: Sequence[Paragraph],
    order: Sequence[int],
    answers: Sequence[Answer],
    language: str,
) -> list[Item]:
    """One item per question of these paragraphs: what was asked, answered, and how it scores."""
    questions = [(i, question) for i in order for question in paragraphs[i].questions]
    items: list[Item] = []
    for (paragraph, question), answer in zip(questions, answers, strict=True):
        predicted = prediction(answer["text"], language)
        asked = answer["error"] is None
        exact, f1 = score(question, predicted, language) if asked else (0, 0.0)
        items.append(
            {
                "id": question.id,
                "paragraph": paragraph,
                "golds": list(question.golds),
                "answer": answer["text"],
                "thought": answer["thought"],
                "prediction": predicted,
                "normalized": normalize(predicted, language),
                "exact": exact,
                "f1": f1,
                "prompt_tokens": answer["prompt_tokens"],
                "new_tokens": answer["new_tokens"],
                "thought_tokens": answer["thought_tokens"],
                "stopped": answer["stopped"],
                "no_answer": answer["log_likelihood"],
                "error": answer["error"],
            }
        )
        if "marks" in answer:
            items[-1]["marks"] = answer["marks"]
    return items


def summarize(items: Sequence[Item]) -> SquadSummary:
    """Means in per cent with 95 % intervals (Wilson, by paragraphs), and the scores at the best
    thresholds on the abstention's log-likelihood, over the items that could be asked."""
    chosen = {
        name: (count, [item for item in items if belongs(item)])
        for name, (count, belongs) in METRICS.items()
    }
    answered = [
        Answered(bool(i["golds"]), i["prediction"], i["exact"], i["f1"], i["no_answer"])
        for i in items
        if i["error"] is None and i["no_answer"] is not None
    ]
    return {
        "items": len(items),
        "errors": sum(item["error"] is not None for item in items),
        **thoughts_of(
            Thought(item["thought_tokens"], ended=item["error"] is None)
            for item in items
            if item["thought"] is not None
        ),
        "marked": sum("marks" in item for item in items),
        "marks": sorted({mark for item in items for mark in item.get("marks", ())}),
        "abstentions": sum(item["prediction"] == "" for item in items),
        "cut": sum(item["error"] is None and not item["stopped"] for item in items),
        "metrics": {name: _score(of, count) for name, (count, of) in chosen.items() if of},
        "thresholds": best_thresholds(answered) if answered else None,
    }


def _score(items: Sequence[Item], count: Callable[[Item], float]) -> Score:
    values = [float(count(item)) for item in items]
    interval = share_interval(values, [item["paragraph"] for item in items])
    return {
        "pct": 100 * sum(values) / len(values),
        "low_pct": interval and 100 * interval[0],
        "high_pct": interval and 100 * interval[1],
        "items": len(values),
    }
