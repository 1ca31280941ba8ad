"""Have a variant answer chat turns, block by block, in a process of its own.

A block that was answered is kept as a file, named after what is in it; whoever asks again, after a
break or among more of them, gets it from there. `python -m llmpi.quality.batching.answer JOB OUT`
is the process, whose arguments are files.
"""

import json
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from typing_extensions import TypedDict

from llmpi.accidents import supervise
from llmpi.code import sha256_of_code
from llmpi.engine.progress import Progress
from llmpi.engine.supervise import Death
from llmpi.quality.records import AnsweredBlock, Conversation, Decoding
from llmpi.records import read, sha256_of_json, write_json
from llmpi.script import tell

if TYPE_CHECKING:
    from llmpi.quality.batching.engine import BatchEngine

log = logging.getLogger(__name__)

Group = list[Conversation]
"""Those that share a prefix, such as the questions of a passage."""


Block = Sequence[Group]


class Company(TypedDict):
    """Whether a file says the same together as alone."""

    one_at_a_time: str | None
    """Why it is asked one thing at a time."""


class Job(TypedDict):
    """What the process is to do: the blocks from `first` to `last`, each into a file of its own."""

    gguf: str
    blocks: Sequence[Block]
    """All of them: their common prefix is computed first."""
    settings: Decoding
    threads: int
    folder: str
    company: Company | None
    """As it was found before; None where nobody has looked."""
    company_file: str
    """Where it is kept then."""
    first: int
    last: int


class Ended(TypedDict):
    """What the process says; its answers lie in files."""

    refused: str | None
    """Why the model's chat template gives no prompt: a stranger's words, told apart from what the
    engine and this machine say."""


class Start(TypedDict):
    """What all blocks of a job start from."""

    start: str
    """Hash of it, and name of the folder of their answers."""


def answer_blocks(
    gguf: Path,
    gguf_sha256: str,
    blocks: Sequence[Block],
    *,
    settings: Decoding,
    threads: int,
    store: Path,
    which: range | None = None,
    enough: Callable[[list[AnsweredBlock]], bool] | None = None,
) -> list[AnsweredBlock] | Death:
    """One record for each block, in order; what is in `store` is not asked again.

    Args:
        store: folder for answered blocks, of any job.
        which: the numbers of the blocks to answer; by default all.
        enough: called with the records so far after each block; true ends it there.

    Returns:
        The answers in the order of the conversations; or how the engine died.
    """
    from llmpi.engine import info as engine_info

    by = {
        "gguf": gguf_sha256,
        "settings": settings,
        "code": sha256_of_code(__name__),
        "engine": engine_info.describe(),
    }
    folder = store / sha256_of_json(by)[:16]
    alike = {**by, "settings": settings["computation"]}
    which = range(len(blocks)) if which is None else which
    log.info("%d of %d blocks, %d threads", len(which), len(blocks), threads)
    company = store / f"company-{sha256_of_json(alike)[:16]}.json"
    records: list[AnsweredBlock] = []
    for i in which:
        if (path := _answered(folder, blocks, i)) is None:
            last = i + 1 if enough else which.stop
            job: Job = {
                "gguf": str(gguf),
                "blocks": blocks,
                "settings": settings,
                "threads": threads,
                "folder": str(folder),
                "company": read(company, Company) if company.is_file() else None,
                "company_file": str(company),
                "first": i,
                "last": last,
            }
            ended = supervise(__name__, job, writes=Ended, log=tell)
            if isinstance(ended, Death):
                return ended
            if ended["refused"] is not None:
                return Death(ended["refused"], "")
            path = _answered(folder, blocks, i)
            assert path is not None, "it ended well and left no answers"
        records.append(read(path, AnsweredBlock))
        if enough and enough(records):
            break
    return records


def decoding(settings: Decoding) -> Decoding:
    """Of a task's settings those that the engine is given."""
    return {
        "computation": settings["computation"],
        "max_new_tokens": settings["max_new_tokens"],
        "context_tokens": settings["context_tokens"],
        "thinking_tokens": settings["thinking_tokens"],
    }


def _answered(folder: Path, blocks: Sequence[Block], i: int) -> Path | None:
    """The file of a block that was answered behind what all of these start from."""
    if not (start := _start_of(folder, blocks)).is_file():
        return None
    path = folder / read(start, Start)["start"] / block_name(blocks[i])
    return path if path.is_file() else None


def _start_of(folder: Path, blocks: Sequence[Block]) -> Path:
    """Only the engine can tell what prompts have in common: it says so here."""
    return folder / f"start-{sha256_of_json(blocks)[:16]}.json"


def block_name(block: Block) -> str:
    return f"{sha256_of_json(block)[:16]}.json"


# --- in the child ---------------------------------------------------------------------------------


def main(job: str, out: str) -> None:
    """Answer the blocks from `first` to `last`, each into a file of its own."""
    from llmpi.engine import info as engine_info
    from llmpi.engine.chat.template import TemplateError
    from llmpi.engine.llama import EngineError
    from llmpi.quality.batching.engine import BatchEngine
    from llmpi.quality.batching.schedule import shape_of

    engine_info.log_to(sys.stderr.write)
    asked: Job = json.loads(Path(job).read_text(encoding="utf-8"))
    how = asked["settings"]
    shape, computation = shape_of(how["context_tokens"]), how["computation"]
    ended: Ended = {"refused": None}
    try:
        with BatchEngine(
            Path(asked["gguf"]), threads=asked["threads"], shape=shape, computation=computation
        ) as engine:
            engine.one_at_a_time = _objection(engine, asked)
            _answer(engine, asked)
    except EngineError as error:
        sys.exit(str(error))
    except TemplateError as error:
        ended = {"refused": str(error)}
    Path(out).write_text(json.dumps(ended), encoding="utf-8")


def _objection(engine: "BatchEngine", job: Job) -> str | None:
    """Found once for a file."""
    from llmpi.quality.batching import company

    found = job["company"]
    if found is None:
        found = {"one_at_a_time": company.objection(engine, Path(job["gguf"]))}
        write_json(Path(job["company_file"]), found)
    if objection := found["one_at_a_time"]:
        log.warning("asked one thing at a time: %s", objection)
    return objection


def _answer(engine: "BatchEngine", job: Job) -> None:
    from llmpi.engine import info as engine_info
    from llmpi.engine.chat.template import TemplateError
    from llmpi.quality.batching.asking import Asking, Refused
    from llmpi.quality.batching.schedule import Outcome, Request

    asking = Asking(engine, job["settings"])
    blocks = [[[asking.request(x) for x in group] for group in block] for block in job["blocks"]]
    every = [[x for group in block for x in group] for block in blocks]
    groups = [[[x for x in g if isinstance(x, Request)] for g in block] for block in blocks]
    if not any(group for block in groups for group in block):
        raise TemplateError(next(x.why for x in every[0] if isinstance(x, Refused)))
    engine.share([group for block in groups for group in block if group])
    start: Start = {"start": sha256_of_json(engine.start)[:16]}
    write_json(_start_of(Path(job["folder"]), job["blocks"]), start)
    paths = [Path(job["folder"]) / start["start"] / block_name(block) for block in job["blocks"]]
    asked = [i for i in range(job["first"], job["last"]) if not paths[i].is_file()]
    progress = Progress(sum(len(group) for i in asked for group in groups[i]))
    for i in asked:
        outcomes, counts = engine.run([g for g in groups[i] if g], done=progress.at)
        progress.add(len(outcomes))
        left = iter(outcomes)
        record: AnsweredBlock = {
            "answers": [
                asking.answer(x, next(left) if isinstance(x, Request) else Outcome())
                for x in every[i]
            ],
            "batching": {"shape": engine.shape.record(), **counts},
            "has_chat_template": asking.chat.has_template,
            "chat_template_sha256": asking.chat.sha256,
            "sent": asking.sent(next((x for x in every[i] if isinstance(x, Request)), every[i][0])),
            "engine": engine_info.describe(),
        }
        write_json(paths[i], record)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
