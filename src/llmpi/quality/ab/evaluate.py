"""The user's own prompts: a variant's answers, and how many are what was expected."""

from pathlib import Path
from typing import Any

from llmpi.engine.supervise import Death
from llmpi.quality.ab.checks import judge
from llmpi.quality.ab.prompts import Prompt, load_prompts
from llmpi.quality.batching.answer import Group, answer_blocks
from llmpi.quality.batching.chat import Message
from llmpi.records import Record, failed, is_ok, now, sha256_of


def answer_prompts(
    gguf: Path,
    manifest: Record,
    prompts: Path,
    settings: dict[str, Any],
    *,
    threads: int,
    store: Path,
) -> Record:
    """The quality record of one variant on the user's prompts. An engine that dies is a result.

    Args:
        gguf, manifest: of the variant; a failed manifest is passed on.
        settings: `max_new_tokens` and `context_tokens`.
        store: folder of blocks answered before.

    Raises:
        LlmpiError: the file of prompts is not what it should be.
    """
    asked = load_prompts(prompts)
    if not is_ok(manifest):
        return manifest
    started = now()
    groups: list[Group] = [[{"messages": _turns(p), "continuation": None}] for p in asked]
    records = answer_blocks(
        gguf, manifest["sha256"], [groups], settings=settings, threads=threads, store=store
    )
    if isinstance(records, Death):
        return failed("quality", records.reason, log_tail=records.tail)
    [record] = records
    outcomes = [judge(p, answer) for p, answer in zip(asked, record["answers"], strict=True)]
    judged = [outcome.passed for outcome in outcomes if outcome.passed is not None]
    return {
        "status": "ok",
        "summary": {
            "items": len(asked),
            "judged": len(judged),
            "passed_pct": 100 * sum(judged) / len(judged) if judged else None,
        },
        "answers": record["answers"],
        "prompts_sha256": sha256_of(prompts),
        "settings": settings,
        "gguf_sha256": manifest["sha256"],
        "chat_template_sha256": record["chat_template_sha256"],
        "engine": record["engine"],
        "batching": record["batching"],
        "threads": threads,
        "started": started,
        "ended": now(),
    }


def _turns(prompt: Prompt) -> list[Message]:
    return [Message(role=turn["role"], content=turn["content"]) for turn in prompt.chat()]
