"""What the kinds of quality tasks say of their records: rows of the table, facts of the page."""

from pathlib import Path

import made_records as made
import pytest
import small_results
from made_records import write

from llmpi import layout
from llmpi.quality.divergence.records import DivergenceScored, DivergenceSummary, Estimate
from llmpi.quality.kind import Section
from llmpi.quality.squad.records import Abstention, Item, SquadScored
from llmpi.report.page.sections import kind_sections
from llmpi.report.words.texts import Texts
from llmpi.study.study import Language, Study
from llmpi.summary.read import read_records
from llmpi.summary.records import Summary
from llmpi.summary.study import summarize

ENGLISH: Language = "en"
JAPANESE: Language = "ja"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    small_results.write_results()


def summary_of(study: Study) -> Summary:
    return summarize(study, read_records(study))[0]


def shown(summary: Summary, key: str, language: Language) -> tuple[list[str], list[list[str]]]:
    """The facts of a section in words, and the texts of its table."""
    sections: list[Section] = [one for one in summary["sections"] if one["key"] == key]
    [section] = kind_sections(Texts(language), sections)
    [part] = section.parts
    assert part.table
    return [*map(str, part.facts)], [[box.text for box in row] for row in part.table.rows]


# --- squad ----------------------------------------------------------------------------------------


def items(*answered: tuple[float, float, bool]) -> list[Item]:
    """
    Args:
        answered: F1, log-likelihood of abstaining, and whether there is an answer.
    """
    return [
        {**made.item(i, i, f1, answerable=has_answer), "no_answer": no_answer}
        for i, (f1, no_answer, has_answer) in enumerate(answered)
    ]


RIGHT, WRONG, BABBLED = (1.0, -9.0, True), (0.0, -8.0, True), (0.0, -7.0, False)
LIKELY_RIGHT = (1.0, -2.0, True)


@pytest.mark.parametrize(
    ("answered", "said", "threshold", "words", "japanese"),
    [
        ([WRONG, BABBLED], "always abstain", None, "always abstain", "常に棄権"),
        ([RIGHT, RIGHT], "never abstain", None, "never abstain", "棄権しない"),
        (
            [RIGHT, BABBLED],
            "above the threshold",
            -9.0,
            "above the threshold",
            "しきい値を超えたら棄権",
        ),
        ([WRONG, LIKELY_RIGHT], "never abstain", None, "never abstain", "棄権しない"),
    ],
)
def test_the_best_threshold_is_said_in_words(
    answered: list[tuple[float, float, bool]],
    said: Abstention,
    threshold: float | None,
    words: str,
    japanese: str,
) -> None:
    """The official script's 0.0, for "answer none", is above all log-likelihoods."""
    write(layout.QUALITY, made.squad(items(*answered)), task="qa", **{**small_results.CELL})
    summary = summary_of(small_results.study())
    row = summary["rows"][0]["quality"]["qa"]
    assert (row["best_f1_abstention"], row["best_f1_threshold"]) == (said, threshold)
    number = "" if threshold is None else f"{threshold:.2f}".replace("-", "−")
    for language, text in ((ENGLISH, words), (JAPANESE, japanese)):
        [line, *_] = shown(summary, "abstention", language)[1]
        assert line[5] == text
        assert line[6].replace("-", "−").strip("–") == number


def cut(count: int, of: int) -> SquadScored:
    return made.squad([{**made.item(i, i, 1.0), "stopped": i >= count} for i in range(of)])


def test_answers_that_were_cut_are_counted() -> None:
    write(layout.QUALITY, cut(3, 40), task="qa", **small_results.CELL)
    summary = summary_of(small_results.study())
    assert summary["rows"][0]["quality"]["qa"]["cut_pct"] == 7.5
    [line, *_] = shown(summary, "abstention", ENGLISH)[1]
    assert line[-1] == "7.5"


def test_what_could_not_be_asked_is_no_answer_that_was_cut() -> None:
    asked = [{**made.item(i, i, 0.0), "stopped": False, "error": "too long"} for i in range(4)]
    write(
        layout.QUALITY, made.squad([*asked, made.item(9, 9, 1.0)]), task="qa", **small_results.CELL
    )
    assert summary_of(small_results.study())["rows"][0]["quality"]["qa"]["cut_pct"] == 0
    write(layout.QUALITY, made.squad(asked), task="qa", **small_results.CELL)
    assert summary_of(small_results.study())["rows"][0]["quality"]["qa"]["cut_pct"] is None


# --- divergence -----------------------------------------------------------------------------------


def diverged(chunks: int, wanted: int = 64) -> DivergenceScored:
    one: Estimate = {"value": 1.0, "standard_error": 0.1}
    summary: DivergenceSummary = {
        "perplexity": one,
        "reference_perplexity": one,
        "ln_perplexity_ratio": one,
        "perplexity_ratio": one,
        "kld_mean_nats": one,
        "kld_median_nats": one,
        "kld_p99_nats": one,
        "top1_agreement_pct": one,
    }
    return {**made.divergence(summary), "chunks": chunks, "wanted_chunks": wanted}


def test_each_model_has_windows_of_its_own() -> None:
    """A large vocabulary's log-probabilities take more room, so that fewer are held."""
    study = small_results.study(
        models={name: {"source": {"path": f"{name}.gguf"}} for name in ("small", "large")},
        quality={"wiki": {"task": "divergence", "text_file": "wiki.txt"}},
        gates=[],
    )
    for model, chunks in (("small", 64), ("large", 16)):
        where = {"study": "s", "task": "wiki", "model": model, "quant": "Q4_0"}
        write(layout.QUALITY, diverged(chunks), **where)
    facts, _ = shown(summary_of(study), "divergence", ENGLISH)
    assert facts[:3] == [
        "small: 64 windows of 512 tokens; the second half of each is scored.",
        "large: 16 windows of 512 tokens; the second half of each is scored.",
        "64 were asked for, but the reference may not take more room.",
    ]
    assert [fact.startswith("Text: ") for fact in facts] == [False, False, False, True]
    facts, _ = shown(summary_of(study), "divergence", JAPANESE)
    assert facts[0].startswith("small：512トークンの窓を64個") and "16個" in facts[1]
