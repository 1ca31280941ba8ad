"""What tests train a tiny model with."""

from pathlib import Path

from llmpi.gguf.records import Start
from llmpi.quality.divergence.corpus import load_corpus
from llmpi.quality.divergence.records import Corpus
from llmpi.records import sha256_of
from llmpi.study.fields import TextSource

TEXT = "the thin thing in the inn\nis in the other inn then\n" * 200


def manifest_of(path: Path) -> Start:
    """Of an unquantized file."""
    return {"status": "ok", "sha256": sha256_of(path), "lineage": ["F16"]}


def corpus_in(folder: Path, text: str = TEXT) -> Corpus:
    path = folder / "text.txt"
    path.write_text(text)
    return load_corpus(TextSource(text_file=str(path)), path.with_suffix(".lock"))
