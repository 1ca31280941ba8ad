"""A text that is scored, and is in what the variant was made with under another name."""

import logging
import textwrap
from pathlib import Path
from typing import Any

import made_records as made
import pytest
from scripts import main_of

from llmpi.errors import LlmpiError
from llmpi.quality.divergence.corpus import load_corpus
from llmpi.quality.divergence.records import Corpus
from llmpi.quality.divergence.seen import check_unseen, share_of
from llmpi.records import write_json
from llmpi.study import inputs
from llmpi.study.fields import TextSource
from llmpi.study.study import Study

SENTENCES = [
    f"The engine of number {n} maps its file and reads what was written there." for n in range(99)
]
OTHERS = [
    f"Rain fell for {n} days on the hills behind the town, and nobody minded." for n in range(99)
]
TEXT = "\n".join(SENTENCES)


def written(path: Path, text: str, **part: float) -> Corpus:
    path.write_text(text)
    return load_corpus(TextSource(text_file=str(path), **part), path)


def read(chunks: int, available: int) -> Any:
    return {"chunks": chunks, "available_chunks": available}


@pytest.mark.parametrize(
    ("other", "share"),
    [
        (TEXT, 1.0),
        (textwrap.fill(TEXT, 30), 1.0),
        (TEXT.replace("\n", "\r\n\r\n"), 1.0),
        ("\n".join([*OTHERS, *SENTENCES[:33]]), 1 / 3),
        ("\n".join(OTHERS), 0.0),
        ("", 0.0),
    ],
)
def test_what_two_texts_have_in_common(other: str, share: float) -> None:
    assert share_of(TEXT, other) == pytest.approx(share, abs=0.01)


def test_a_text_without_sentences() -> None:
    line = "the quick brown fox jumps over the lazy dog " * 9
    assert share_of(line, line.replace(" ", "\n")) == 1
    assert share_of("", line) == share_of("a. b. c.", line) == 0


def test_a_copy_is_refused(tmp_path: Path) -> None:
    scored = written(tmp_path / "a.txt", TEXT)
    copy = written(tmp_path / "b.txt", "\n".join([*OTHERS, *SENTENCES[:20]]))
    with pytest.raises(LlmpiError) as error:
        check_unseen("m Q4_0+imatrix", "t", scored, read(8, 8), {"calibration": copy})
    assert str(error.value) == (
        "m Q4_0+imatrix, t: 20 % of the text that is scored is in the text of 'calibration', which "
        "the variant was made with, so that its score would be flattered; take another text for "
        "quality.t or for calibration.text, or of one source a part for each, with from_pct and "
        "to_pct"
    )
    other = written(tmp_path / "c.txt", "\n".join(OTHERS))
    check_unseen("m Q4_0+imatrix", "t", scored, read(8, 8), {"calibration": other})


def test_only_what_is_scored_counts(tmp_path: Path) -> None:
    """Of the text's beginning, so many windows."""
    scored = written(tmp_path / "a.txt", "\n".join([*OTHERS, *SENTENCES]))
    behind = {"qat": written(tmp_path / "b.txt", TEXT)}
    check_unseen("m Q4_0-qat", "t", scored, read(3, 8), behind)
    with pytest.raises(LlmpiError, match="of the text that is scored"):
        check_unseen("m Q4_0-qat", "t", scored, read(8, 8), behind)


def test_what_a_source_repeats_is_its_own(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Parts of one source have no line in common; that it says one thing twice is told."""
    caplog.set_level(logging.WARNING, "llmpi")
    text = f"{TEXT}\n{TEXT}\n"
    first = written(tmp_path / "a.txt", text, to_pct=50)
    rest = written(tmp_path / "a.txt", text, from_pct=50)
    check_unseen("m MIX-4bpw", "t", rest, read(8, 8), {"calibration": first})
    assert "100 % of what is scored stands in the part for 'calibration'" in caplog.text


def test_the_script_refuses_before_it_scores(tmp_path: Path) -> None:
    texts = {"t": "scored", "calibration": "copied"}
    for use, name in texts.items():
        write_json(tmp_path / f"{use}.json", written(tmp_path / f"{name}.txt", TEXT))
    with pytest.raises(LlmpiError, match=r"^m Q4_0\+imatrix, t: 100 % of the text"):
        main_of("evaluate_divergence")(
            gguf=tmp_path / "none.gguf",
            manifest=made.failed("not looked at"),
            rows=tmp_path / "none.rows",
            reference={**read(2, 2), "status": "ok"},
            corpus=tmp_path / "t.json",
            made_with=[tmp_path / "calibration.json"],
            model="m",
            quant="Q4_0+imatrix",
            task="t",
            spec=None,
            threads=1,
            quality=tmp_path / "q.json",
        )


MADE_WITH = {
    "F16": [],
    "Q4_0": [],
    "as-published": [],
    "Q4_0+imatrix": ["calibration"],
    "MIX-4.5bpw": ["calibration"],
    "Q4_0+round": ["calibration"],
    "Q4_0-qat": ["qat"],
}


@pytest.mark.parametrize("quant", MADE_WITH)
def test_what_a_variant_is_made_with(quant: str) -> None:
    source = {"scratch": "llama", "vocabulary_of": "found"}
    study = Study.model_validate(
        {
            "study": "s",
            "models": {"found": {"source": {"path": "m.gguf"}}, "new": {"source": source}},
            "quants": ["Q4_0"],
            "devices": {"here": {"transport": "local"}},
            "workloads": {"chat": {"prompt_tokens": 8, "output_tokens": 8}},
            "qat": {"text": {"python_topics": True}},
        }
    )

    def uses(model: str) -> list[str]:
        return [Path(path).stem for path in inputs.made_with(study, model, quant)]

    assert uses("found") == MADE_WITH[quant]
    assert uses("new") == [*dict.fromkeys([*MADE_WITH[quant], "qat"])]
