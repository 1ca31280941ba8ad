"""Have a variant answer chat turns, block by block, in a process of its own.

A block that was answered is kept as a file; whoever asks again, after a break or for more, gets it
from there. `python -m llmpi.quality.batching.answer JOB OUT` is the process, whose arguments are
files.
"""

import json
import logging
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypedDict

from llmpi.engine.progress import Progress
from llmpi.engine.supervise import Death, supervise
from llmpi.quality.batching.chat import Message
from llmpi.records import Record, read_json, sha256_of, sha256_of_json, write_json
from llmpi.script import tell

log = logging.getLogger(__name__)

HERE = Path(__file__).parent
# What decides an answer beside the job: the same job under other code is another one.
CODE = ("answer.py", "chat.py", "engine.py", "lanes.py", "schedule.py", "../../engine/llama.py")


class Item(TypedDict):
    """A conversation to answer, and a text whose likelihood in the answer's place is wanted."""

    messages: list[Message]
    continuation: str | None


Group = list[Item]
"""Items that share a prefix, such as the questions of a passage."""


def answer_blocks(
    gguf: Path,
    gguf_sha256: str,
    blocks: Sequence[Sequence[Group]],
    *,
    settings: dict[str, int],
    threads: int,
    store: Path,
    which: range | None = None,
    enough: Callable[[list[Record]], bool] | None = None,
) -> list[Record] | Death:
    """One record for each block, in order; what is in `store` is not asked again.

    Args:
        settings: `max_new_tokens`; `context_tokens`, which all that runs at once share.
        store: folder for answered blocks, of any job.
        which: the numbers of the blocks to answer; by default all.
        enough: called with the records so far after each block; true ends it there.

    Returns:
        Records with `answers` (in the order of the items: `text`, `prompt_tokens`, `new_tokens`,
        `stopped`, `error`, `log_likelihood` of the continuation), and the `engine`, `batching` and
        `chat_template_sha256` they came from; or how the engine died.
    """
    from llmpi.engine import info as engine_info

    whole = {
        "gguf": gguf_sha256,
        "blocks": blocks,
        "settings": settings,
        "code": code_sha256(),
        "engine": engine_info.describe(),
    }
    folder = store / sha256_of_json(whole)[:16]
    job = {
        "gguf": str(gguf),
        "blocks": blocks,
        "settings": settings,
        "threads": threads,
        "folder": str(folder),
    }
    which = range(len(blocks)) if which is None else which
    log.info("%d of %d blocks, %d threads", len(which), len(blocks), threads)
    records: list[Record] = []
    for i in which:
        path = folder / block_name(i)
        if not path.is_file():
            last = i + 1 if enough else which.stop
            ended = supervise(__name__, {**job, "first": i, "last": last}, log=tell)
            if isinstance(ended, Death):
                return ended
        records.append(read_json(path))
        if enough and enough(records):
            break
    return records


def decoding(settings: dict[str, Any]) -> dict[str, int]:
    """Of a task's settings those that the engine is given."""
    return {key: settings[key] for key in ("max_new_tokens", "context_tokens")}


def block_name(i: int) -> str:
    return f"{i:04d}.json"


@cache
def code_sha256() -> str:
    """Hash of the code that makes answers: blocks of another one are not taken for ours."""
    return sha256_of_json([sha256_of(HERE / name) for name in CODE])


# --- in the child ---------------------------------------------------------------------------------


def main(job: str, out: str) -> None:
    """Answer the blocks from `first` to `last`, each into a file of its own."""
    from llmpi.engine import info as engine_info
    from llmpi.engine.llama import EngineError
    from llmpi.quality.batching.engine import BatchEngine
    from llmpi.quality.batching.schedule import shape_of

    engine_info.log_to(sys.stderr.write)
    spec = json.loads(Path(job).read_text())
    shape = shape_of(spec["settings"]["context_tokens"])
    try:
        with BatchEngine(Path(spec["gguf"]), threads=spec["threads"], shape=shape) as engine:
            _answer(engine, spec)
    except EngineError as error:
        sys.exit(str(error))
    Path(out).write_text("{}")


def _answer(engine: Any, spec: dict[str, Any]) -> None:
    from llmpi.engine import info as engine_info
    from llmpi.quality.batching.chat import ChatFormat
    from llmpi.quality.batching.schedule import Request

    bos, eos = engine.special_texts()
    chat = ChatFormat(engine.chat_template(), bos_token=bos, eos_token=eos)

    def request(item: Item) -> Request:
        text = chat.render(item["messages"])
        prompt = tuple(engine.tokenize(text))
        score: tuple[tuple[int, ...], ...] = ()
        if item["continuation"] is not None:
            whole = tuple(engine.tokenize(text + chat.begin("assistant") + item["continuation"]))
            score = (whole[len(prompt) :],)
        return Request(prompt, spec["settings"]["max_new_tokens"], score)

    blocks = [[[request(item) for item in group] for group in block] for block in spec["blocks"]]
    engine.share([group for block in blocks for group in block])
    asked = blocks[spec["first"] : spec["last"]]
    progress = Progress(sum(len(group) for block in asked for group in block))
    for i, block in enumerate(asked, spec["first"]):
        outcomes, counts = engine.run(block, done=progress.at)
        progress.add(len(outcomes))
        requests = [request for group in block for request in group]
        record = {
            "answers": [
                {
                    "text": engine.text(outcome.tokens),
                    "prompt_tokens": len(request.prompt),
                    "new_tokens": len(outcome.tokens),
                    "stopped": outcome.stopped,
                    "error": outcome.error,
                    "log_likelihood": outcome.scores[0].log_likelihood if outcome.scores else None,
                }
                for request, outcome in zip(requests, outcomes, strict=True)
            ],
            "batching": {"shape": engine.shape._asdict(), **counts},
            "has_chat_template": chat.has_template,
            "chat_template_sha256": chat.sha256,
            "engine": engine_info.describe(),
        }
        write_json(Path(spec["folder"]) / block_name(i), record)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
