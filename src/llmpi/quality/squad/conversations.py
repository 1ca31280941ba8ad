"""What a task asks, question by question, as it is scored."""

from pathlib import Path

from llmpi.quality.records import Conversation, SampleSettings
from llmpi.quality.squad.metric import parse
from llmpi.quality.squad.prompt import messages
from llmpi.quality.squad.records import Questions
from llmpi.records import read


def conversations(questions: Path, settings: SampleSettings) -> list[Conversation]:
    """In the order of a record's items."""
    examples, prompt = settings["examples"], settings["prompt"]
    assert examples is not None and prompt is not None
    return [
        {
            "messages": messages(paragraph.context, question.question, examples, prompt),
            "continuation": None,
        }
        for paragraph in parse(read(questions, Questions)["squad"], "questions")
        for question in paragraph.questions
    ]
