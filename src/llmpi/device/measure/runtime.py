"""A job's runtime, as the engine takes it."""

from llmpi.device.machine import capacity
from llmpi.device.records import SessionJob, TurnJob
from llmpi.engine.llama import Settings
from llmpi.engine.prompt_lookup import PromptLookup
from llmpi.engine.records import Runtime


def settings_of(job: SessionJob | TurnJob) -> Settings:
    """The engine's settings of a job: what its `runtime` leaves open is filled in."""
    runtime = job["runtime"]
    return Settings(
        threads=runtime["threads"] or job["threads"] or capacity.processors(),
        batch_tokens=runtime["batch_tokens"],
        ubatch_tokens=runtime["ubatch_tokens"],
        kv_cache=runtime["kv_cache"],
        flash_attention=runtime["flash_attention"],
        mmap=runtime["mmap"],
        mlock=runtime["mlock"],
        lazy=runtime["lazy"],
        repack=runtime["repack"],
    )


def lookup_of(runtime: Runtime) -> PromptLookup | None:
    """What drafts tokens, where that is asked for."""
    asked = runtime["prompt_lookup"]
    return PromptLookup(**asked) if asked else None
