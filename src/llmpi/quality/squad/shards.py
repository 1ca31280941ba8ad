"""A task that several jobs share: each answers a contiguous range of the blocks.

A block starts from the same state whoever computes it, behind what the prompts of *all* blocks
begin with; so the answers of the shards, put together in order, are the same bytes as of one job.
"""

from collections.abc import Sequence
from pathlib import Path

from llmpi.engine.records import Failed
from llmpi.engine.supervise import Death
from llmpi.errors import LlmpiError
from llmpi.quality.batching.answer import answer_blocks, decoding
from llmpi.quality.records import AnsweredBlock, VariantFile
from llmpi.quality.squad.blocks import plan_of
from llmpi.quality.squad.records import Questions, Settings, Shard


class MixedEnginesError(LlmpiError):
    """The shards were answered by engines that may round differently."""


def range_of(shard: int, shards: int, blocks: int) -> range:
    """The blocks of one shard; the shards' sizes differ by one at most, and may be 0."""
    return range(shard * blocks // shards, (shard + 1) * blocks // shards)


def answer_shard(
    gguf: Path,
    manifest: VariantFile | Failed,
    questions: Questions,
    settings: Settings,
    *,
    shard: int,
    shards: int,
    threads: int,
    store: Path,
) -> Shard | Failed:
    """The answers of shard `shard` of `shards`, counted from 0; an engine that dies is a result.

    Args:
        gguf, manifest: of the variant; a failed manifest is passed on.
        store: as for `llmpi.quality.squad.evaluate.evaluate`.
    """
    if manifest["status"] != "ok":
        return manifest
    asked = plan_of(questions, settings).asked
    records = answer_blocks(
        gguf,
        manifest["sha256"],
        asked,
        settings=decoding(settings),
        threads=threads,
        store=store,
        which=range_of(shard, shards, len(asked)),
    )
    if isinstance(records, Death):
        return records.failed("quality")
    return {"status": "ok", "answered": records}


def together(shards: Sequence[Shard | Failed]) -> list[AnsweredBlock] | Failed:
    """All blocks of the shards of a task, in order; or the first shard that failed.

    Raises:
        MixedEnginesError: two shards were not answered by the same engine.
    """
    answered: list[AnsweredBlock] = []
    for shard in shards:
        if shard["status"] != "ok":
            return shard
        answered += shard["answered"]
    if any(record["engine"] != answered[0]["engine"] for record in answered):
        raise MixedEnginesError(
            "the shards were answered by different builds of the engine, which round differently; "
            "let all run where the environment is the same (resource 'constraint' or "
            "'slurm_partition' of the rule answer_shard), and remove the answers: "
            "snakemake --forcerun answer_shard"
        )
    return answered
