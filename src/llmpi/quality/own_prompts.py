"""The user's own prompts: a variant's answers and outcomes, and two variants side by side."""

from pathlib import Path
from typing import Any

from llmpi.device.supervise import Death
from llmpi.quality.ab import Prompt, compare, judge, load_prompts
from llmpi.quality.answer import Group, answer_blocks
from llmpi.quality.blind import read_judgements, write_sheet
from llmpi.records import Record, failed, is_ok, now, read_json, sha256_of


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
    groups: list[Group] = [[{"messages": p.chat(), "continuation": None}] for p in asked]
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


def compare_pair(
    names: tuple[str, str],
    records: tuple[Record, Record],
    prompts: Path,
    *,
    seed: int,
    judgements: list[Path],
    sheet: Path,
) -> tuple[Record, Record]:
    """Two variants on the same prompts, and a sheet on which people judge them blindly.

    Args:
        records: of `answer_prompts`; one that failed makes the comparison fail.
        judgements: files saved from sheets; those of other sheets are passed over.
        sheet: where the page goes.

    Returns:
        The comparison, with what people `judged`; and the key of the sheet, which says who stands
        where and is not for those who judge.

    Raises:
        LlmpiError: a file of judgements is damaged.
    """
    asked = load_prompts(prompts)
    for name, record in zip(names, records, strict=True):
        if not is_ok(record):
            sheet.write_text(f"{name} has no answers: {record['status']}\n", encoding="utf-8")
            return failed("quality", f"{name}: {record.get('reason')}"), {}
    a, b = (record["answers"] for record in records)
    key = write_sheet(sheet, names, asked, a, b, seed)
    found = [read_judgements(path, key) for path in judgements if _is_of(path, key)]
    result = compare(asked, _outcomes(asked, a), _outcomes(asked, b))
    a_name, b_name = names
    return {"status": "ok", "a": a_name, "b": b_name, **result, "judged": found}, key


def _outcomes(prompts: list[Prompt], answers: list[Record]) -> list[Any]:
    return [judge(prompt, answer) for prompt, answer in zip(prompts, answers, strict=True)]


def _is_of(path: Path, key: Record) -> bool:
    try:
        saved = read_json(path)
    except ValueError:
        return True  # read_judgements says what is wrong with it
    return not isinstance(saved, dict) or saved.get("sheet") == key["sheet"]
