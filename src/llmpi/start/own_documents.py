"""Passages out of a folder of a person's own documents."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path

from llmpi.engine.answers import UNSPACED, words
from llmpi.errors import LlmpiError
from llmpi.start.pairs import Pair, Problems, text_of, unseen

SUFFIXES = (".txt", ".md")
PASSAGE_CHARACTERS = 4_000
"""About a thousand tokens: a longer document is cut between its paragraphs."""


@dataclass(frozen=True)
class Placed:
    """
    Args:
        pair: with its passage.
        several: whether the answer stands in several passages of its document, so that which one
            is asked was a guess: that which shares the most words with the question.
    """

    pair: Pair
    several: bool


def place(
    pairs: Sequence[Pair], folder: Path, problems: Problems, language: str, encoding: str | None
) -> list[Placed]:
    """Each question with the passage of its document that holds its answer.

    A question without an answer is asked of the passage that is most like it, so that to abstain is
    not too easy. What cannot be placed is told to `problems`.

    Raises:
        LlmpiError: there is no such folder, or it holds no text.
    """
    there = documents(folder)
    read = cache(lambda path: passages(_text(path, encoding), path))
    found = []
    for pair in pairs:
        try:
            path = _document(pair, folder, there)
            placed = _placed(pair, read(path), language)
        except LlmpiError as error:
            problems.add(pair.line, str(error))
        else:
            found.append(replace(placed, pair=replace(placed.pair, document=path.name)))
    return found


def _text(path: Path, encoding: str | None) -> str:
    """UTF-8, whatever the table is in, wherever it can be that."""
    try:
        return text_of(path)
    except LlmpiError:
        if encoding is None:
            raise
        return text_of(path, encoding)


def documents(folder: Path) -> list[Path]:
    """The texts of a folder and of those below it.

    Raises:
        LlmpiError: there is none.
    """
    if not folder.is_dir():
        raise LlmpiError(f"{folder}: there is no such folder")
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    if not found:
        raise LlmpiError(
            f"{folder}: holds no {' or '.join(SUFFIXES)} file; save the documents as text"
        )
    return found


def passages(text: str, path: Path) -> list[str]:
    """A document in pieces of whole paragraphs, each at most `PASSAGE_CHARACTERS` long.

    Raises:
        LlmpiError: it is empty, holds what nobody can see, or a paragraph is too long.
    """
    text = re.sub(r"\r\n?", "\n", text).replace("\f", "\n\n").strip()
    if why := unseen(text):
        raise LlmpiError(f"{path} {why}")
    found: list[str] = []
    for paragraph in filter(None, (part.strip() for part in re.split(r"\n\s*\n", text))):
        if len(paragraph) > PASSAGE_CHARACTERS:
            raise LlmpiError(
                f"{path}: a paragraph of {len(paragraph):,} characters begins "
                f"'{paragraph[:40]}'; put blank lines between at most {PASSAGE_CHARACTERS:,}"
            )
        if found and len(found[-1]) + 2 + len(paragraph) <= PASSAGE_CHARACTERS:
            found[-1] += f"\n\n{paragraph}"
        else:
            found.append(paragraph)
    if not found:
        raise LlmpiError(f"{path}: is empty")
    return found


def _document(pair: Pair, folder: Path, there: Sequence[Path]) -> Path:
    """Only a file that was found below the folder: a cell may say anything."""
    if not pair.document and len(there) == 1:
        return there[0]
    if not pair.document:
        raise LlmpiError("names no document, and the folder holds several: column 'document'")
    asked = pair.document.replace("\\", "/")
    found = [p for p in there if asked in (p.relative_to(folder).as_posix(), p.name, p.stem)]
    if len(found) != 1:
        how = "several files" if found else "no text"
        raise LlmpiError(f"document: '{pair.document}' is {how} of {folder}")
    return found[0]


def _placed(pair: Pair, pieces: Sequence[str], language: str) -> Placed:
    asked = set(_words(pair.question, language))
    holding = [p for p in pieces if any(holds(p, answer, language) for answer in pair.golds)]
    if pair.golds and not holding:
        raise LlmpiError(
            f"answer: '{pair.golds[0][:60]}' does not stand in its document; "
            "copy its words, or leave the answer empty where the document has none"
        )
    likest = max(holding or pieces, key=lambda piece: len(asked & set(_words(piece, language))))
    return Placed(replace(pair, passage=likest), several=len(holding) > 1)


def holds(passage: str, answer: str, language: str) -> bool:
    """Whether the answer's words stand in the passage, one behind the other."""
    blank = " " if language not in UNSPACED else ""
    wanted, there = blank.join(_words(answer, language)), blank.join(_words(passage, language))
    return bool(wanted) and f"{blank}{wanted}{blank}" in f"{blank}{there}{blank}"


@lru_cache(maxsize=10_000)
def _words(text: str, language: str) -> tuple[str, ...]:
    return tuple(words(text, language))
