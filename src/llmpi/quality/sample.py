"""Some questions of a task, as a variant is asked them, for a device to answer.

Which they are hangs on their words alone, so that all variants are asked the same; their tokens are
those of the scoring. A kind of task that asks questions has a module `conversations` in its folder,
with a function of that name. `python -m llmpi.quality.sample JOB OUT` is the process that reads a
model's vocabulary, whose arguments are files.
"""

import json
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path

from typing_extensions import TypedDict

from llmpi.accidents import supervise
from llmpi.engine import info as engine_info
from llmpi.engine.chat.format import ChatFormat
from llmpi.engine.chat.template import RefusedTurnsError, TemplateError
from llmpi.engine.llama import EngineError, Model, Settings
from llmpi.engine.records import Failed, Sample, SampledQuestion
from llmpi.engine.supervise import Death
from llmpi.plugins import modules
from llmpi.quality.records import Conversation, SampleSettings, VariantFile
from llmpi.script import tell


class Job(TypedDict):
    """What the process is to do."""

    gguf: str
    settings: SampleSettings
    conversations: dict[int, Conversation]
    """By number, as JSON has it: a text."""


class Ended(TypedDict):
    """What the process says."""

    sample: Sample | None
    """Without the hash of the file, and how many the task asks."""
    refused: str | None
    """Why the model's chat template gives no prompt."""


def sample(
    gguf: Path, manifest: VariantFile | Failed, questions: Path, settings: SampleSettings
) -> Sample | Failed:
    """The sample of one variant. That it can be asked nothing is a result.

    Args:
        gguf, manifest: of the variant; a failed manifest is passed on.
        questions: the task's.

    Raises:
        LlmpiError: the file of questions is not what it should be.
    """
    if manifest["status"] != "ok":
        return manifest
    every = _by_kind()[settings["kind"]](questions, settings)
    asked = {number: every[number] for number in drawn(every, settings)}
    job: Job = {"gguf": str(gguf), "settings": settings, "conversations": asked}
    ended = supervise(__name__, job, writes=Ended, log=tell)
    if isinstance(ended, Death):
        return ended.failed("sample")
    found = ended["sample"]
    if found is None or not found["questions"]:
        reason = ended["refused"] or "none of the questions fits the task's context_tokens"
        return {"status": "failed", "stage": "sample", "reason": reason}
    return {**found, "of": len(every), "gguf_sha256": manifest["sha256"]}


def drawn(every: Sequence[Conversation], settings: SampleSettings) -> list[int]:
    """Numbers of questions of all lengths: one out of each of as many parts as are wanted, all
    alike in size."""
    order = sorted(range(len(every)), key=lambda number: (_characters(every[number]), number))
    count = min(settings["questions"], len(order))
    rng = random.Random(f"llmpi sample {settings['seed']}")
    ends = [len(order) * part // count for part in range(count + 1)] if count else []
    return [rng.choice(order[a:b]) for a, b in pairwise(ends)]


def _characters(asked: Conversation) -> int:
    return sum(len(message["content"]) for message in asked["messages"])


@cache
def _by_kind() -> Mapping[str, Callable[[Path, SampleSettings], Sequence[Conversation]]]:
    found = modules("llmpi.quality.*.conversations")
    return {module.__name__.split(".")[-2]: module.conversations for module in found}


# --- in the child ---------------------------------------------------------------------------------


def rendered(
    model: Model, conversations: Mapping[int, Conversation], settings: SampleSettings
) -> Sample:
    """
    Raises:
        TemplateError: the chat template is none, or takes no question.
    """
    bos, eos = model.special_texts()
    thinking, most = settings["thinking_tokens"], settings["max_new_tokens"]
    chat = ChatFormat(
        model.chat_template(),
        bos_token=bos,
        eos_token=eos,
        vocabulary=model.special_tokens,
        thinking=thinking is not None,
    )
    found: list[SampledQuestion] = []
    refused: RefusedTurnsError | None = None
    for number, asked in conversations.items():
        try:
            prompt = chat.render(asked["messages"], asked.get("tools", ()))
        except RefusedTurnsError as error:
            refused = error
            continue
        tokens, thought = model.tokenize(prompt.text), chat.thought(prompt.text, thinking or most)
        needed = len(tokens) + (thought.tokens if thought else 0) + most
        if needed <= settings["context_tokens"]:
            told = thought and {"tokens": thought.tokens, "opened": thought.opened}
            found.append({"number": int(number), "prompt": [*tokens], "thought": told or None})  # type: ignore[typeddict-item]
    if refused and not found:
        raise refused
    return {
        "status": "ok",
        "task": settings["task"],
        "of": 0,
        "left_out": len(conversations) - len(found),
        "max_new_tokens": most,
        "marks": chat.marks._asdict() if chat.marks else None,  # type: ignore[typeddict-item]
        "questions": sorted(found, key=lambda one: len(one["prompt"])),
        "gguf_sha256": "",
    }


def main(job: str, out: str) -> None:
    engine_info.log_to(sys.stderr.write)
    asked: Job = json.loads(Path(job).read_text(encoding="utf-8"))
    ended: Ended = {"sample": None, "refused": None}
    try:
        with Model(Path(asked["gguf"]), Settings(threads=1), vocabulary_alone=True) as model:
            ended["sample"] = rendered(model, asked["conversations"], asked["settings"])
    except EngineError as error:
        sys.exit(str(error))
    except TemplateError as error:
        ended["refused"] = str(error)
    Path(out).write_text(json.dumps(ended), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
