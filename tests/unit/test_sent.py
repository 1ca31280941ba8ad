"""A prompt for a person to look at."""

from llmpi.engine.records import SentPrompt
from llmpi.quality.sent import prompt_line

SENT: SentPrompt = {
    "tokens": 5,
    "begin": [{"text": "<s>", "special": True}, {"text": "Hi", "special": False}],
    "end": [{"text": "?\n", "special": False}, {"text": "<end>", "special": True}],
    "folded": True,
}


def test_special_tokens_are_told_from_text() -> None:
    said = "⟦<s>⟧Hi … ?↵⟦<end>⟧ (system turn folded into the first)"
    assert prompt_line(SENT) == said
    assert prompt_line({**SENT, "tokens": 4, "folded": False}) == "⟦<s>⟧Hi?↵⟦<end>⟧"
