"""The questions that made-up answers belong to."""

from collections.abc import Sequence
from itertools import groupby

import made_records as made

from llmpi.quality.squad.records import Article, AskedParagraph, Item, Questions


def questions_of(items: Sequence[Item]) -> Questions:
    """A passage for each paragraph of the items, which stand in its order; one article of all."""
    passages = [
        _passage(number, list(of)) for number, of in groupby(items, lambda one: one["paragraph"])
    ]
    drawn = made.questions(
        asked=len(items),
        unanswerable=sum(not item["golds"] for item in items),
        paragraphs=len(passages),
    )
    article: Article = {"title": "", "paragraphs": passages}
    return {**drawn, "squad": {"version": "v2.0", "data": [article]}}


def _passage(number: int, items: Sequence[Item]) -> AskedParagraph:
    return {
        "context": f"passage {number}",
        "qas": [
            {
                "id": item["id"],
                "question": "?",
                "is_impossible": not item["golds"],
                "answers": [{"text": gold} for gold in item["golds"]],
            }
            for item in items
        ],
    }
