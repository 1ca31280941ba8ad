"""What is asked, in blocks of whole paragraphs: a pure function of questions and settings."""

from collections.abc import Sequence
from typing import NamedTuple

from llmpi.engine.answers import ABSTENTION
from llmpi.quality.batching.answer import Group
from llmpi.quality.squad.metric import Paragraph, parse
from llmpi.quality.squad.prompt import messages
from llmpi.quality.squad.records import Questions, Settings

BLOCK_QUESTIONS, DESCENT_QUESTIONS = 256, 48
"""Questions of a block at least: what an interruption may lose; how often a descent looks."""


class Plan(NamedTuple):
    """The blocks of a task: indices of the paragraphs, and what is asked about them."""

    paragraphs: list[Paragraph]
    blocks: list[list[int]]
    asked: list[list[Group]]


def plan_of(questions: Questions, settings: Settings) -> Plan:
    """The plan of a task, the same for every variant and however many jobs share it."""
    paragraphs = parse(questions["squad"], "questions")
    usual = DESCENT_QUESTIONS if "descent" in settings else BLOCK_QUESTIONS
    blocks = blocks_of(paragraphs, settings["block_questions"] or usual)
    asked = [[_group(paragraphs[i], settings) for i in block] for block in blocks]
    return Plan(paragraphs, blocks, asked)


def blocks_of(paragraphs: Sequence[Paragraph], questions: int) -> list[list[int]]:
    """Indices of whole paragraphs, so many questions or more a block; the last may have less.

    In the order in which they were drawn, which is random and the same for all variants: what is
    asked first stands for the rest.
    """
    blocks: list[list[int]] = [[]]
    for i in range(len(paragraphs)):
        if sum(len(paragraphs[j].questions) for j in blocks[-1]) >= questions:
            blocks.append([])
        blocks[-1].append(i)
    return blocks


def _group(paragraph: Paragraph, settings: Settings) -> Group:
    examples, prompt = settings["examples"], settings["prompt"]
    return [
        {
            "messages": messages(paragraph.context, question.question, examples, prompt),
            "continuation": ABSTENTION,
        }
        for question in paragraph.questions
    ]
