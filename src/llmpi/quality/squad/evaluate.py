"""Score a variant on a SQuAD v2 task: answers from the engine, metrics here."""

from collections.abc import Sequence
from pathlib import Path

from llmpi.engine.records import Failed
from llmpi.engine.supervise import Death
from llmpi.quality.batching.answer import answer_blocks, decoding
from llmpi.quality.records import AnsweredBlock, Skipped, VariantFile
from llmpi.quality.squad.blocks import Plan, plan_of
from llmpi.quality.squad.descent import Step
from llmpi.quality.squad.items import score_items, summarize
from llmpi.quality.squad.prompt import prompt_sha256
from llmpi.quality.squad.records import (
    Item,
    Questions,
    Settings,
    Shard,
    SquadScored,
)
from llmpi.quality.squad.shards import together


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
