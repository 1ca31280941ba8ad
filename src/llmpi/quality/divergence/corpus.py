"""The text that perplexity is measured on: from a file, the hub, or Python's own documentation."""

import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llmpi.errors import LlmpiError
from llmpi.records import Record, sha256_of_text
from llmpi.sources_lock import locked


def load_corpus(source: dict[str, Any], lock: Path) -> Record:
    """The text of `source`, and where it comes from.

    Args:
        source: one of
            {"text_file": PATH}, in UTF-8;
            {"hub": "owner/name", "revision": ..., "split": ..., "column": ..., "config": name or
            None}, whose rows `join_rows` makes one text of;
            {"python_topics": True}: the topics of `pydoc_data.topics`, which every Python has, in
            sorted order, blank lines between. It differs between Python's versions.
            `from_pct` and `to_pct` beside it choose a part, see `part_of`.
        lock: the lock file for branches and tags of the hub.

    Returns:
        Record with `source` (what, and at which revision or version), `text`, its length
        `characters`, and `sha256` of its UTF-8 bytes.

    Raises:
        LlmpiError: the text cannot be had.
    """
    if "text_file" in source:
        text, origin = _from_file(Path(source["text_file"]))
    elif "hub" in source:
        text, origin = _from_hub(source, lock)
    else:
        text, origin = _python_topics()
    bounds = source.get("from_pct", 0), source.get("to_pct", 100)
    if bounds != (0, 100):
        text = part_of(text, *bounds)
        origin = {**origin, "from_pct": bounds[0], "to_pct": bounds[1]}
    return {
        "status": "ok",
        "source": origin,
        "characters": len(text),
        "sha256": sha256_of_text(text),
        "text": text,
    }


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


def _from_file(path: Path) -> tuple[str, Record]:
    try:
        text = path.read_bytes().decode()  # not read_text, which would change line ends
    except OSError as error:
        raise LlmpiError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise LlmpiError(
            f"{path}: not UTF-8 at byte {error.start}; convert it (iconv -t UTF-8)"
        ) from None
    return text, {"text_file": str(path)}


def _from_hub(source: dict[str, Any], lock: Path) -> tuple[str, Record]:
    import datasets
    from datasets.data_files import EmptyDatasetError

    from llmpi.hub import explained, resolve

    repo, column = source["hub"], source["column"]
    commit = locked(lock, "dataset", repo, source["revision"], resolve)
    with explained(repo, commit):
        try:
            rows = datasets.load_dataset(
                repo, source["config"], split=source["split"], revision=commit
            )
        except (ValueError, EmptyDatasetError) as error:  # an unknown split or config, among others
            raise LlmpiError(f"{repo}@{commit}: {error}") from None
    if column not in rows.column_names:
        raise LlmpiError(f"{repo}: has no column {column}, but {', '.join(rows.column_names)}")
    texts = list(rows[column])
    if not all(isinstance(text, str) for text in texts):
        raise LlmpiError(f"{repo}: column {column} is no text; name one that is")
    chosen = {name: source[name] for name in ("config", "split", "column")}
    return join_rows(texts), {"hub": repo, "revision": commit, **chosen}


def _python_topics() -> tuple[str, Record]:
    from pydoc_data.topics import topics

    text = "\n\n".join(topics[name] for name in sorted(topics))
    return text, {"python_topics": True, "python": platform.python_version()}
