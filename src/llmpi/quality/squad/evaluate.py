"""Score a variant on a SQuAD v2 task: answers from the engine, metrics here."""

from collections.abc import Callable, Sequence
from pathlib import Path

from llmpi.engine.answers import normalize, prediction
from llmpi.engine.records import Failed
from llmpi.engine.supervise import Death
from llmpi.quality.batching.answer import answer_blocks, decoding
from llmpi.quality.records import Answer, AnsweredBlock, Skipped, VariantFile
from llmpi.quality.squad.blocks import Plan, plan_of
from llmpi.quality.squad.descent import Step
from llmpi.quality.squad.metric import Answered, Paragraph, best_thresholds, score
from llmpi.quality.squad.metrics import METRICS
from llmpi.quality.squad.prompt import prompt_sha256
from llmpi.quality.squad.records import (
    Item,
    Questions,
    Score,
    Settings,
    Shard,
    SquadScored,
    SquadSummary,
)
from llmpi.quality.squad.shards import together
from llmpi.quality.statistics import share_interval
from llmpi.quality.thoughts import Thought, thoughts_of


def evaluate(
    gguf: Path,
    manifest: VariantFile | Failed,
    questions: Questions,
    settings: Settings,
    *,
    threads: int,
    store: Path,
    step: Step | None = None,
) -> SquadScored | Skipped | Failed:
    """The quality record of one variant on one task. A death of its own is a result, too.

    Args:
        gguf, manifest: of the variant; a failed manifest is passed on.
        store: folder of blocks answered before.
        step: where the variant stands in the descent; None for the widest, or without a descent.
    """
    if manifest["status"] != "ok":
        return manifest
    if step and (obstacles := step.skip()):
        return {"status": "skipped", "stage": "quality", "obstacles": obstacles}
    plan, language = plan_of(questions, settings), settings["language"]

    def decided(records: list[AnsweredBlock]) -> bool:
        assert step is not None
        return step.verdict(_items_of(plan, records, language))["decision"] != "undecided"

    records = answer_blocks(
        gguf,
        manifest["sha256"],
        plan.asked,
        settings=decoding(settings),
        threads=threads,
        store=store,
        enough=decided if step else None,
    )
    if isinstance(records, Death):
        return records.failed("quality")
    return _record(plan, records, manifest, questions, settings, step)


def merge(
    shards: Sequence[Shard | Failed],
    manifest: VariantFile | Failed,
    questions: Questions,
    settings: Settings,
) -> SquadScored | Failed:
    """The record of `evaluate`, to the byte, from the shards of `llmpi.quality.squad.shards`, in
    order.

    Raises:
        MixedEnginesError: they were not answered by one engine.
    """
    if manifest["status"] != "ok":
        return manifest
    whole = together(shards)
    if not isinstance(whole, list):
        return whole
    plan = plan_of(questions, settings)
    return _record(plan, whole, manifest, questions, settings, None)


def _record(
    plan: Plan,
    answered: Sequence[AnsweredBlock],
    manifest: VariantFile,
    questions: Questions,
    settings: Settings,
    step: Step | None,
) -> SquadScored:
    """Nothing of the run that made it (time, host, threads) is in it: the job's log has that."""
    items, first = _items_of(plan, answered, settings["language"]), answered[0]
    return {
        "status": "ok",
        "summary": summarize(items),
        "descent": step.verdict(items) if step else None,
        "settings": settings,
        "questions_sha256": questions["sha256"],
        "prompt_sha256": prompt_sha256(
            first["chat_template_sha256"], settings["examples"], settings["prompt"]
        ),
        "has_chat_template": first["has_chat_template"],
        "sent": first["sent"],
        "gguf_sha256": manifest["sha256"],
        "engine": first["engine"],
        "batching": [record["batching"] for record in answered],
        "items": items,
    }


def _items_of(plan: Plan, answered: Sequence[AnsweredBlock], language: str) -> list[Item]:
    """The items of the blocks that are answered so far."""
    answers = [answer for record in answered for answer in record["answers"]]
    order = [i for block in plan.blocks[: len(answered)] for i in block]
    return score_items(plan.paragraphs, order, answers, language)


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
