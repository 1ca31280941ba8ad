"""The text that perplexity is measured on: from a file, the hub, or Python's own documentation."""

import platform
from collections.abc import Sequence
from pathlib import Path

from typing_extensions import TypedDict

from llmpi.errors import LlmpiError
from llmpi.quality.divergence.records import Corpus, HubText, PythonTopics, TextFile, TextOrigin
from llmpi.quality.hub_rows import rows_of
from llmpi.records import sha256_of_text
from llmpi.study.fields import TextSource


class Asked(TypedDict):
    """What the rule asks for."""

    source: TextSource
    lock: str
    moves: int
    """How often the lock was moved: another time is another source."""


def load_corpus(source: TextSource, lock: Path) -> Corpus:
    """The text of `source`, and where it comes from.

    Rows of the hub are joined by `join_rows`. Python's own text are the topics of
    `pydoc_data.topics`, which every Python has, in sorted order, blank lines between; it differs
    between Python's versions.

    Args:
        lock: the lock file for branches and tags of the hub.

    Raises:
        LlmpiError: the text cannot be had.
    """
    text, origin = _load(source, lock)
    if (source.from_pct, source.to_pct) != (0, 100):
        text = part_of(text, source.from_pct, source.to_pct)
        origin["from_pct"], origin["to_pct"] = source.from_pct, source.to_pct
    return {
        "status": "ok",
        "source": origin,
        "characters": len(text),
        "sha256": sha256_of_text(text),
        "text": text,
    }


def _load(source: TextSource, lock: Path) -> tuple[str, TextOrigin]:
    if source.text_file:
        return _from_file(Path(source.text_file))
    if source.hub:
        return _from_hub(source, source.hub, lock)
    return _python_topics()


def part_of(text: str, from_pct: float, to_pct: float) -> str:
    """The lines that begin between two places, given in per cent of the characters.

    Parts whose bounds meet have no line in common, and together all of them.
    """

    def line_at(pct: float) -> int:
        place = round(len(text) * pct / 100)
        return text.find("\n", place - 1) + 1 or len(text) if 0 < place < len(text) else place

    return text[line_at(from_pct) : line_at(to_pct)]


def join_rows(rows: Sequence[str]) -> str:
    """One text of a data set's rows: lines are put one after the other, documents get a blank line.

    Rows are lines where each ends in a newline. So wikitext's do, but for its blank lines, which
    the hub keeps as empty rows and the raw file that llama.cpp's scripts download as " \\n"; they
    are put back, so that the text, and the perplexity, are those of wiki.test.raw.
    """
    if any(rows) and all(row.endswith("\n") for row in rows if row):
        return "".join(row or " \n" for row in rows)
    return "\n\n".join(rows)


def _from_file(path: Path) -> tuple[str, TextFile]:
    try:
        text = path.read_bytes().decode("utf-8-sig")  # not read_text: it would change line ends
    except OSError as error:
        raise LlmpiError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise LlmpiError(
            f"{path}: not UTF-8 at byte {error.start}; convert it (iconv -t UTF-8)"
        ) from None
    return text, {"text_file": str(path)}


def _from_hub(source: TextSource, repo: str, lock: Path) -> tuple[str, HubText]:
    column = source.column
    rows, commit = rows_of(repo, source.revision, source.subset, source.split, lock)
    if column not in rows.column_names:
        raise LlmpiError(f"{repo}: has no column {column}, but {', '.join(rows.column_names)}")
    texts = list(rows[column])
    if not all(isinstance(text, str) for text in texts):
        raise LlmpiError(f"{repo}: column {column} is no text; name one that is")
    return join_rows(texts), {
        "hub": repo,
        "revision": commit,
        "config": source.subset,
        "split": source.split,
        "column": column,
    }


def _python_topics() -> tuple[str, PythonTopics]:
    from pydoc_data.topics import topics

    text = "\n\n".join(topics[name] for name in sorted(topics))
    return text, {"python_topics": True, "python": platform.python_version()}
