"""How a model was asked, for a person to look at: the prompt that was sent, in one line; and what
of its answers nothing explains."""

from collections.abc import Iterable, Sequence

from llmpi.engine.records import SentPrompt, Token

ONE_AT_A_TIME = "Why it was asked one thing at a time; nothing where several at once"
UNKNOWN_MARKS = "Marks in answers that neither chat template nor vocabulary explains"
"""Of tables' columns."""


def marks_line(marks: Iterable[str]) -> str | None:
    """Each once."""
    return ", ".join(sorted({*marks})) or None


def prompt_line(sent: SentPrompt) -> str:
    """Its first and last tokens, special ones in double brackets, ends of lines as `↵`."""
    begin, end = _text(sent["begin"]), _text(sent["end"])
    shown = len(sent["begin"]) + len(sent["end"])
    between = " … " if shown < sent["tokens"] else ""
    folded = " (system turn folded into the first)" if sent["folded"] else ""
    return f"{begin}{between}{end}{folded}"


def _text(tokens: Sequence[Token]) -> str:
    texts = (f"⟦{t['text']}⟧" if t["special"] else t["text"] for t in tokens)
    return "".join(texts).replace("\n", "↵")
