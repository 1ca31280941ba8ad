"""What a study asks of models, and is known not to suit them by what is here of them already."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from llmpi import layout
from llmpi.engine.records import Failed
from llmpi.gguf.records import Gguf
from llmpi.models.records import ModelRecord
from llmpi.records import RecordError, read
from llmpi.study.study import Study
from llmpi.study.tasks.ab import AbTask
from llmpi.study.tasks.lm_eval import LmEvalTask


def chats_without_template(study: Study) -> list[str]:
    """A line for each model without a chat template that is asked chats, with what to do."""
    asking = [
        *(
            f"quality.{name} ({task.task})"
            for name, task in study.quality.items()
            if isinstance(task, AbTask)
            or (isinstance(task, LmEvalTask) and task.apply_chat_template)
        ),
        *(["the service"] if study.service else []),
    ]
    return [
        f"models.{model} has no chat template, as base models have none, and is asked chats: "
        f"{', '.join(asking)}. Take the model that was trained for them, or ask with squad's "
        "worked examples"
        for model in study.models
        if asking and any(not template for template in _templates(model))
    ]


def _templates(model: str) -> Iterator[bool]:
    """Of each file that is here, whether it holds one; a record of another llmpi says nothing."""
    fetched = Path(layout.at(layout.MODEL_MANIFEST, model=model))
    made = Path(layout.at(layout.BASE_MANIFEST, model=model))
    with suppress(RecordError):
        found = read(fetched, ModelRecord)
        if found["status"] == "ok":
            yield from (gguf["contents"]["chat_template"] for gguf in found["ggufs"])
    with suppress(RecordError):
        base = read(made, Gguf | Failed)
        if base["status"] == "ok":
            yield base["chat_template"]
