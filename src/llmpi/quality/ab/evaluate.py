"""The user's own prompts: a variant's answers, and how many are what was expected."""

from pathlib import Path

from llmpi.engine.records import Failed
from llmpi.engine.supervise import Death
from llmpi.quality.ab.outcomes import outcomes_of, summarize
from llmpi.quality.ab.prompts import load_prompts
from llmpi.quality.ab.records import AbAnswered, AbSettings
from llmpi.quality.batching.answer import Group, answer_blocks, decoding
from llmpi.quality.records import VariantFile
from llmpi.records import now, sha256_of


def answer_prompts(
    gguf: Path,
    manifest: VariantFile | Failed,
    prompts: Path,
    settings: AbSettings,
    *,
    threads: int,
    store: Path,
) -> AbAnswered | Failed:
    """The quality record of one variant on the user's prompts. A death of its own is a result.

    Args:
        gguf, manifest: of the variant; a failed manifest is passed on.
        store: folder of blocks answered before.

    Raises:
        LlmpiError: the file of prompts is not what it should be.
    """
    asked = load_prompts(prompts)
    if manifest["status"] != "ok":
        return manifest
    started = now()
    groups: list[Group] = [[prompt.conversation(settings["grammar"])] for prompt in asked]
    records = answer_blocks(
        gguf,
        manifest["sha256"],
        [groups],
        settings=decoding(settings),
        threads=threads,
        store=store,
    )
    if isinstance(records, Death):
        return records.failed("quality")
    [record] = records
    outcomes = outcomes_of(asked, record["answers"])
    return {
        "status": "ok",
        "summary": summarize(len(asked), outcomes),
        "outcomes": outcomes,
        "answers": record["answers"],
        "prompts_sha256": sha256_of(prompts),
        "settings": settings,
        "gguf_sha256": manifest["sha256"],
        "chat_template_sha256": record["chat_template_sha256"],
        "sent": record["sent"],
        "engine": record["engine"],
        "batching": record["batching"],
        "threads": threads,
        "started": started,
        "ended": now(),
    }
