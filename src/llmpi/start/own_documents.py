"""Passages out of a folder of a person's own documents."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

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
    not too easy. What cannot be placed is told to `problems`. A document is read once, whatever
    becomes of it, and none is kept behind its questions.

    Raises:
        LlmpiError: there is no such folder, or it holds no text.
    """
    there = Folder(folder)
    asked: dict[Path, list[int]] = {}
    for at, pair in enumerate(pairs):
        try:
            asked.setdefault(there.named(pair.document), []).append(at)
        except LlmpiError as error:
            problems.add(pair.line, str(error))
    found: dict[int, Placed] = {}
    for path, here in asked.items():
        try:
            document = Document(_text(path, encoding), path, language)
        except LlmpiError as error:
            for at in here:
                problems.add(pairs[at].line, str(error))
            continue
        for at in here:
            try:
                found[at] = document.placed(pairs[at])
            except LlmpiError as error:
                problems.add(pairs[at].line, str(error))
    return [found[at] for at in sorted(found)]


def _text(path: Path, encoding: str | None) -> str:
    """UTF-8, whatever the table is in, wherever it can be that."""
    try:
        return text_of(path)
    except LlmpiError:
        if encoding is None:
            raise
        return text_of(path, encoding)


class Folder:
    """The texts of a folder and of those below it, by what a cell may call them. A link that leads
    out of it is none of them: whoever packed the folder does not say what of this machine is read.

    Raises:
        LlmpiError: there is no such folder, or it holds no text.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise LlmpiError(f"{folder}: there is no such folder")
        root = folder.resolve()
        texts = [p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file()]
        self._folder = folder
        self._texts = sorted(p for p in texts if p.resolve().is_relative_to(root))
        self._named: dict[str, list[Path]] = {}
        for path in self._texts:
            for name in {path.relative_to(folder).as_posix(), path.name, path.stem}:
                self._named.setdefault(name, []).append(path)
        if not self._texts:
            raise LlmpiError(
                f"{folder}: holds no {' or '.join(SUFFIXES)} file; save the documents as text"
            )

    def named(self, document: str) -> Path:
        """Only a file that was found below the folder: a cell may say anything.

        Raises:
            LlmpiError: none of them, or several, are called so.
        """
        if not document and len(self._texts) > 1:
            raise LlmpiError("names no document, and the folder holds several: column 'document'")
        asked = document.replace("\\", "/")
        found = self._named.get(asked, []) if document else self._texts
        if len(found) != 1:
            how = "several files" if found else "no text"
            raise LlmpiError(f"document: '{document}' is {how} of {self._folder}")
        [path] = found
        if unseen(path.name):
            raise LlmpiError(f"document: the name of {path} is no text that a person can see")
        return path


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


class Document:
    """A document's passages, and in which of them each word stands: to look through all of them for
    every question takes hours where there are thousands of both.

    Raises:
        LlmpiError: as of `passages`.
    """

    def __init__(self, text: str, path: Path, language: str) -> None:
        self._name, self._language = path.name, language
        self._passages = passages(text, path)
        words_of = [words(passage, language) for passage in self._passages]
        self._joined = [_joined(found, language) for found in words_of]
        where: dict[str, list[int]] = {}
        for number, found in enumerate(words_of):
            for word in dict.fromkeys(found):
                where.setdefault(word, []).append(number)
        self._where = {word: np.asarray(numbers) for word, numbers in where.items()}

    def placed(self, pair: Pair) -> Placed:
        """
        Raises:
            LlmpiError: none of its answers stands there.
        """
        holding = sorted({n for answer in pair.golds for n in self._holding(answer)})
        if pair.golds and not holding:
            raise LlmpiError(
                f"answer: '{pair.golds[0][:60]}' does not stand in its document; "
                "copy its words, or leave the answer empty where the document has none"
            )
        shared = np.zeros(len(self._passages), int)
        for word in {*_words(pair.question, self._language)} & self._where.keys():
            shared[self._where[word]] += 1
        likest = max(holding, key=shared.__getitem__) if holding else int(shared.argmax())
        own = replace(pair, passage=self._passages[likest], document=self._name)
        return Placed(own, several=len(holding) > 1)

    def _holding(self, answer: str) -> Iterator[int]:
        wanted = _words(answer, self._language)
        if not wanted or not self._where.keys() >= {*wanted}:
            return
        rarest = min((self._where[word] for word in wanted), key=len)
        joined = _joined(wanted, self._language)
        yield from (number for number in rarest.tolist() if joined in self._joined[number])


def holds(passage: str, answer: str, language: str) -> bool:
    """Whether the answer's words stand in the passage, one behind the other."""
    wanted, there = _words(answer, language), _words(passage, language)
    return bool(wanted) and _joined(wanted, language) in _joined(there, language)


def _joined(found: Sequence[str], language: str) -> str:
    """Words so that those of one text stand in another's one behind the other, none cut."""
    blank = "" if language in UNSPACED else " "
    return f"{blank}{blank.join(found)}{blank}"


@lru_cache(maxsize=10_000)
def _words(text: str, language: str) -> tuple[str, ...]:
    return tuple(words(text, language))
