"""What a task asks, prompt by prompt, as it is answered on the workstation."""

from pathlib import Path

from llmpi.quality.ab.prompts import load_prompts
from llmpi.quality.records import Conversation, SampleSettings


def conversations(questions: Path, settings: SampleSettings) -> list[Conversation]:  # noqa: ARG001
    """In the order of a record's answers; none is held to a form.

    Raises:
        LlmpiError: the file is not what it should be.
    """
    return [prompt.conversation(held=False) for prompt in load_prompts(questions)]
