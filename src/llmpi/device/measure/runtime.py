"""A job's runtime, as the engine takes it."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from llmpi.device.machine import capacity
from llmpi.device.records import RatesRequest, SessionJob, TurnJob
from llmpi.engine.draft_model import DraftModel
from llmpi.engine.llama import Engine, EngineError, Settings
from llmpi.engine.prompt_lookup import PromptLookup
from llmpi.engine.records import Runtime
from llmpi.engine.speculation import Speculation, check_can_cut_back


def settings_of(job: SessionJob | TurnJob | RatesRequest) -> Settings:
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


def lookup_of(runtime: Runtime, engine: Engine) -> Speculation | None:
    """Speculation out of the text itself, where that is asked for.

    Raises:
        EngineError: the engine cannot take back what is drafted in vain; or a model is to draft,
            which is there in a session alone.
    """
    if runtime["draft"]:
        raise EngineError("settings that take turns are measured without a draft model")
    if not (asked := runtime["prompt_lookup"]):
        return None
    check_can_cut_back(engine, "this model")
    return Speculation(PromptLookup(**asked))


@contextmanager
def speculation_of(job: SessionJob, engine: Engine) -> Iterator[Speculation | None]:
    """What drafts tokens for the engine, where that is asked for.

    Raises:
        EngineError: as above, or the draft model does not go with the engine's.
    """
    if not (asked := job["runtime"]["draft"]):
        yield lookup_of(job["runtime"], engine)
        return
    check_can_cut_back(engine, "this model")
    with closing(DraftModel(Path(job["draft"]), engine, asked["draft_tokens"])) as draft:
        yield Speculation(draft)
