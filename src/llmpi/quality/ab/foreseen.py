"""The prompts of which something is expected."""

from pathlib import Path

from llmpi.quality.ab.kind import margins_of, metric_of
from llmpi.quality.ab.prompts import load_prompts
from llmpi.quality.foreseen import Foreseen
from llmpi.study.study import Study
from llmpi.study.tasks.ab import AbTask


def foreseen(study: Study, task: str) -> list[Foreseen]:
    """
    Raises:
        LlmpiError: the file of prompts is not what it should be.
    """
    asked = study.quality[task]
    assert isinstance(asked, AbTask)
    read = load_prompts(Path(asked.prompts))
    tags = {p.id: p.tags for p in read if any(value is not None for _, value in p.expect)}
    return [
        Foreseen(
            metric_of(tag), margin, "prompt", [tag is None or tag in of for of in tags.values()]
        )
        for tag, margin in margins_of(asked, tags)
    ]
