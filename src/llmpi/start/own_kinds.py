"""What a person's pairs are made: an `ab` task, or where a passage answers each, a `squad` task."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, Protocol

from llmpi.engine.answers import ENGLISH, normalize
from llmpi.quality.ab.prompts import Expect, Message, Prompt, load_prompts
from llmpi.quality.squad.metric import Paragraph, Question, dump
from llmpi.quality.squad.prompt import PROMPTS
from llmpi.quality.squad.questions import by_passage, prepare
from llmpi.start.own_documents import holds
from llmpi.start.pairs import Pair
from llmpi.study.task import Task
from llmpi.study.tasks.ab import AbTask
from llmpi.study.tasks.squad import SquadTask

INSTRUCTION = "Answer with the answer alone, in as few words as possible."
FEWEST_NEW_TOKENS = 32
NUMBER = re.compile(r"(?<!\w)[-−]\d|\d\.\d|\d,\d(?!\d\d(?!\d))")
"""A sign or a decimal point, which is dropped where texts are compared."""
WHOLE = rf"(?s)^(?!.*(?:{NUMBER.pattern}))"
"""Without one: `15` is neither `-15` nor `1.5`."""
WORKED = {normalize(example.passage) for prompt in PROMPTS.values() for example in prompt.examples}
"""Passages of the worked examples of `squad`."""


class Made(Protocol):
    """A kind of task, and how pairs become one of it."""

    suffix: ClassVar[str]

    def wrong(self, pair: Pair) -> str | None:
        """Why this pair cannot be one of its questions."""
        ...

    def asked(self, pairs: Sequence[Pair]) -> Sequence[Pair]:
        """Those that are no worked examples."""
        ...

    def text(self, pairs: Sequence[Pair]) -> str:
        """Of the data file."""
        ...

    def settings(self, path: Path, pairs: Sequence[Pair]) -> Task:
        """The task of a config."""
        ...

    def read(self, path: Path) -> object:
        """The file, as a study reads it.

        Raises:
            LlmpiError: it is none.
        """
        ...

    def doubts(self, asked: Sequence[Pair]) -> Iterator[str]:
        """What unbalances it."""
        ...


@dataclass(frozen=True)
class Ab:
    """
    Args:
        examples: so many pairs, the first, are worked turns in front of every prompt.
    """

    examples: int
    language: str
    suffix: ClassVar[str] = ".jsonl"

    def wrong(self, pair: Pair) -> str | None:
        if not pair.answers:
            return "has no answer; only a question on a passage may have none"
        for answer in pair.answers:
            if not re.search(r"\w", answer):
                return f"answer: '{answer}' has neither a letter nor a digit"
        return None

    def asked(self, pairs: Sequence[Pair]) -> Sequence[Pair]:
        return pairs[self.examples :]

    def text(self, pairs: Sequence[Pair]) -> str:
        turns = [
            turn
            for pair in pairs[: self.examples]
            for turn in (
                Message(role="user", content=pair.question),
                Message(role="assistant", content=pair.answers[0]),
            )
        ]
        prompts = (_prompt(pair, turns, self.language) for pair in self.asked(pairs))
        return "".join(f"{prompt.model_dump_json(exclude_defaults=True)}\n" for prompt in prompts)

    def settings(self, path: Path, pairs: Sequence[Pair]) -> AbTask:
        return AbTask(task="ab", prompts=str(path), max_new_tokens=_new_tokens(pairs))

    def read(self, path: Path) -> object:
        return load_prompts(path)

    def doubts(self, asked: Sequence[Pair]) -> Iterator[str]:
        answers = Counter(normalize(pair.answers[0], self.language) for pair in asked)
        if not self.examples:
            yield (
                "no worked examples: small models then answer in whole sentences, which pass as "
                "little as a wrong answer; and who passes nothing has nothing to lose"
            )
        [(most, count)] = answers.most_common(1)
        if count > max(1, len(asked) / 2):
            yield (
                f"unbalanced: '{most}' is the answer to {count} of {len(asked)}; who always says "
                "that passes more than half. Ask as many with other answers"
            )


def _prompt(pair: Pair, turns: Sequence[Message], language: str) -> Prompt:
    asked = Message(role="user", content=pair.question)
    return Prompt(
        id=f"line-{pair.line}",
        tags=list(pair.tags),
        system=INSTRUCTION,
        prompt=None if turns else pair.question,
        messages=[*turns, asked] if turns else None,
        expect=_expectation(pair.answers, language),
    )


def _expectation(answers: Sequence[str], language: str) -> Expect:
    """One of these texts, and no other.

    `reference` compares as English is compared, which drops signs, decimal points and articles:
    where a number has one its very characters are asked for, too, and where it has none that there
    is none. Of the choice A nothing would be left, and of other languages it leaves too much.
    """
    texts = "|".join(r"\s+".join(map(re.escape, answer.split())) for answer in answers)
    if language != ENGLISH or not all(map(normalize, answers)):
        return Expect(regex=rf"(?i)^[^\w+\-−]*(?:{texts})\W*$")
    if any(map(NUMBER.search, answers)):
        return Expect(
            reference=list(answers), regex=rf"(?i)(?<![\d.,])(?<!(?<!\w)[-−])(?:{texts})(?!\d)"
        )
    if any(re.search(r"\d", answer) for answer in answers):
        return Expect(reference=list(answers), regex=WHOLE)
    return Expect(reference=list(answers))


@dataclass(frozen=True)
class Squad:
    """A passage with each question; no answer where the passage has none."""

    language: str
    suffix: ClassVar[str] = ".json"

    def wrong(self, pair: Pair) -> str | None:
        if not pair.passage:
            return "has no passage, and others have one"
        for answer in pair.golds:
            if not holds(pair.passage, answer, self.language):
                return (
                    f"answer: '{answer[:60]}' does not stand in its passage; copy its words, or "
                    "leave the answer empty where the passage has none"
                )
        if _normalized(pair.passage) in WORKED:
            return "passage: the prompt's worked examples are on this very passage"
        return None

    def asked(self, pairs: Sequence[Pair]) -> Sequence[Pair]:
        return pairs

    def text(self, pairs: Sequence[Pair]) -> str:
        paragraphs = by_passage(
            Paragraph(
                pair.passage,
                (Question(f"line-{pair.line}", pair.question, pair.golds),),
                pair.document,
            )
            for pair in pairs
        )
        return json.dumps(dump(paragraphs), indent=1, ensure_ascii=False) + "\n"

    def settings(self, path: Path, pairs: Sequence[Pair]) -> SquadTask:
        return SquadTask(
            task="squad",
            squad_file=str(path),
            language=self.language,
            max_new_tokens=_new_tokens(pairs),
        )

    def read(self, path: Path) -> object:
        return prepare(SquadTask(task="squad", squad_file=str(path)), Path())

    def doubts(self, asked: Sequence[Pair]) -> Iterator[str]:
        without = sum(not pair.golds for pair in asked)
        if not without:
            yield (
                "unbalanced: every question has an answer, so whether a variant still says where "
                "there is none is not seen. Add some whose answer is empty"
            )
        elif min(without, len(asked) - without) < len(asked) / 4:
            yield (
                f"unbalanced: {len(asked) - without} questions have an answer and {without} have "
                "none; each is judged by itself, so ask about as many of both"
            )


@lru_cache(maxsize=1)
def _normalized(passage: str) -> str:
    """Of a passage that many questions in a row are on."""
    return normalize(passage)


def _new_tokens(pairs: Sequence[Pair]) -> int:
    """Enough for the longest answer: a token is a byte at least."""
    longest = max((len(a.encode()) for pair in pairs for a in pair.answers), default=0)
    return max(FEWEST_NEW_TOKENS, longest)
