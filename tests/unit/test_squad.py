"""The SQuAD v2 scorer against the official definition."""

import json
import math
import random

import pytest
import squad_reference
from hypothesis import given
from hypothesis import strategies as st
from made_records import answer
from support import ROOT

from llmpi.engine.answers import exact, f1, normalize
from llmpi.engine.answers import prediction as prediction_of
from llmpi.errors import LlmpiError
from llmpi.quality.squad import metric as squad
from llmpi.quality.squad.items import score_items, summarize
from llmpi.quality.squad.metric import (
    Answered,
    Paragraph,
    Question,
    best_thresholds,
    dump,
    parse,
    score,
)
from llmpi.quality.squad.records import Abstention, Thresholds

# --- properties -----------------------------------------------------------------------------------

VOCABULARY = [
    "a",
    "an",
    "the",
    "The",
    "An",
    "cat",
    "cats",
    "é",
    "ß",
    "“quote”",
    "it's",
    "U.S.",
    "-",
    "...",
    "42",
    "ﬁ",
    "\u00a0",
    "naïve",
    "A-the",
    "theory",
]
WORDS = st.sampled_from(VOCABULARY)
TEXT = st.one_of(st.lists(WORDS, max_size=6).map(" ".join), st.text(max_size=12), st.just(""))


@given(TEXT)
def test_normalize_is_the_official_one(text: str) -> None:
    assert normalize(text) == " ".join(squad_reference.words(text))


@given(TEXT, TEXT)
def test_pair_scores_are_the_official_ones(gold: str, prediction: str) -> None:
    assert exact(gold, prediction) == squad_reference.same(gold, prediction)
    assert f1(gold, prediction) == squad_reference.overlap(gold, prediction)


def files(rng: random.Random) -> tuple[dict, dict[str, str], dict[str, float], float]:
    """A random data set, predictions, no-answer scores, and a threshold that lets all through."""
    vocabulary = [*VOCABULARY, *(f"w{i}" for i in range(6))]

    def text() -> str:
        return rng.choice([" ", "  ", "-"]).join(rng.choices(vocabulary, k=rng.randint(1, 4)))

    def prediction(golds: list[str]) -> str:
        kind = rng.random()
        if kind < 0.35 and golds:
            return rng.choice(golds).upper() + rng.choice(["", "!", " the"])
        return "" if kind < 0.55 else rng.choice([" ", "\n", "a"]) if kind < 0.65 else text()

    ids = rng.sample(range(1000), k=rng.randint(1, 15))  # not in the order of their names
    answerable = rng.choice([0.0, 0.3, 0.5, 0.9, 1.0])
    golds = {
        str(i): [text() for _ in range(rng.randint(1, 3))] if rng.random() < answerable else []
        for i in ids
    }
    qas = [
        {"id": key, "question": "?", "answers": [{"text": gold} for gold in texts]}
        for key, texts in golds.items()
    ]
    cut = rng.randint(0, len(qas))
    paragraphs = [{"context": "c", "qas": part} for part in (qas[:cut], qas[cut:])]
    predictions = {key: prediction(texts) for key, texts in golds.items()}
    if rng.random() < 0.5:  # probabilities with ties, under the script's own threshold of 1
        scores, thresh = {key: rng.randint(0, 4) / 4 for key in golds}, 1.0
    else:
        scores, thresh = {key: round(rng.gauss(0, 3), 1) for key in golds}, math.inf
    return {"data": [{"paragraphs": paragraphs}]}, predictions, scores, thresh


def as_the_script_has_it(best: Thresholds, highest: float) -> dict[str, float]:
    """0.0 of who abstains always, the last question's own number of who never does."""
    in_words = {"always abstain": 0.0, "never abstain": highest}
    return {name: in_words.get(value, value) for name, value in best.items()}


def test_a_thousand_files_score_as_the_official_script_scores_them() -> None:
    rng, moved = random.Random(20180611), 0
    for _ in range(1000):
        dataset, predictions, no_answer, thresh = files(rng)
        items, answers = [], []
        for paragraph in parse(dataset, "f"):
            for question in paragraph.questions:
                said = predictions[question.id]
                em, f = score(question, said)
                answers.append(Answered(bool(question.golds), said, em, f, no_answer[question.id]))
                item = {"golds": question.golds, "prediction": said, "exact": em, "f1": f}
                item |= {"stopped": True, "thought": None, "thought_tokens": 0}
                items.append(
                    {**item, "paragraph": 0, "error": None, "no_answer": no_answer[question.id]}
                )
        official = squad_reference.evaluate(dataset, predictions, no_answer, thresh)
        summary = summarize(items)
        ours: dict[str, float] = {"total": summary["items"]}
        for name, metric in summary["metrics"].items():
            kind, _, key = name.rpartition("_")
            prefix = {"": "", "has_ans": "HasAns_", "no_ans": "NoAns_"}[kind]
            ours[prefix + key], ours[prefix + "total"] = metric["pct"], metric["items"]
        best = best_thresholds(answers)
        assert summary["thresholds"] == best
        numbers = as_the_script_has_it(best, max(no_answer.values()))
        assert {**ours, **numbers} == pytest.approx(official, rel=1e-12)
        assert numbers == {key: official[key] for key in best}
        moved += best["best_exact_thresh"] != best["best_f1_thresh"]
    assert moved > 50  # else the files would not tell the two metrics apart


@given(TEXT, TEXT)
def test_f1_is_symmetric_and_never_below_exact(a: str, b: str) -> None:
    assert f1(a, b) == pytest.approx(f1(b, a))
    assert exact(a, b) <= f1(a, b) <= 1


# --- by hand --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("golds", "prediction", "expected"),
    [
        (("the cat",), "A cat", (1, 1.0)),  # articles do not count
        (("U.S.",), "us", (1, 1.0)),  # punctuation and case neither
        (("it's",), "its", (1, 1.0)),
        (("“yes”",), "yes", (0, 0.0)),  # only ASCII punctuation is stripped
        (("theory",), "the ory", (0, 0.0)),  # "the" only as a word; "ory" is another one
        (("red house", "house"), "house", (1, 1.0)),  # the best gold
        (("red house",), "house", (0, 2 / 3)),  # precision 1, recall 1/2
        (("in the red house",), "red red house", (0, 2 / 3)),  # 2 of 3 words, 2 of 3 golds
        ((), "", (1, 1.0)),  # an unanswerable question, abstained
        ((), "house", (0, 0.0)),
        (("house",), "", (0, 0.0)),  # abstained where there was an answer
        (("the",), "", (1, 1.0)),  # a gold that normalises to nothing does not count
        (("the", "house"), "", (0, 0.0)),
        (("house",), "the", (0, 0.0)),  # an answer that normalises to nothing is none
        (("42 litres",), "42 litres per minute", (0, 2 * 0.5 * 1 / 1.5)),
    ],
)
def test_score_by_hand(
    golds: tuple[str, ...], prediction: str, expected: tuple[int, float]
) -> None:
    assert score(Question("q", "?", golds), prediction) == pytest.approx(expected)


# --- other languages ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("language", "gold", "prediction", "expected"),
    [
        ("ja", "東京都", "東京", (0, 0.8)),  # precision 1, recall 2/3
        ("ja", "東京タワー", "「東京タワー。」", (1, 1.0)),
        ("ja", "東京、大阪", "東京・大阪", (1, 1.0)),
        ("ja", "2026年", "２０２６年", (1, 1.0)),  # digits in both widths
        ("ja", "GPU", "ＧＰＵ", (1, 1.0)),
        ("ja", "東京タワー", "東京 タワー", (1, 1.0)),  # no word ends at a blank
        ("ja", "東京タワー", "大阪城", (0, 0.0)),
        ("ja", "三日間", "三日", (0, 0.8)),
        ("zh", "北京大学", "《北京大学》", (1, 1.0)),
        ("zh", "北京大学", "大学", (0, 2 / 3)),
        ("th", "กรุงเทพ", "กรุง\u200bเทพ", (1, 1.0)),  # a blank without width
        ("de", "„Rotes Haus“", "rotes Haus", (1, 1.0)),
        ("de", "das rote Haus", "rote Haus", (0, 0.8)),  # no article is dropped
        ("de", "the Haus", "Haus", (0, 2 / 3)),
        ("ko", "서울 타워", "서울", (0, 2 / 3)),  # words with blanks
        ("fr", "l’été", "l'été", (1, 1.0)),
    ],
)
def test_other_languages_by_hand(
    language: str, gold: str, prediction: str, expected: tuple[int, float]
) -> None:
    assert score(Question("q", "?", (gold,)), prediction, language) == pytest.approx(expected)


def test_an_abstention_with_another_languages_full_stop() -> None:
    assert (
        prediction_of("unanswerable。", "ja")
        == prediction_of("ＵＮＡＮＳＷＥＲＡＢＬＥ", "ja")
        == ""
    )
    assert prediction_of("unanswerable。") == "unanswerable。"


def test_items_are_scored_in_their_language() -> None:
    asked = [Paragraph("東京都にある。", (Question("1", "どこ？", ("東京都",)),))]
    said = answer("東京。", log_likelihood=-9.0)
    [item] = score_items(asked, [0], [said], "ja")
    assert (item["exact"], item["f1"], item["normalized"]) == (0, pytest.approx(0.8), "東京")
    [item] = score_items(asked, [0], [said], "en")
    assert item["f1"] == 0


@given(TEXT, TEXT)
def test_english_is_what_is_scored_where_no_language_is_named(gold: str, prediction: str) -> None:
    asked = Question("q", "?", (gold,))
    assert score(asked, prediction, "en") == score(asked, prediction)


# --- best thresholds ------------------------------------------------------------------------------


def answered(has_answer: bool, score: float, no_answer: float, prediction: str = "x") -> Answered:
    return Answered(has_answer, prediction, score, score, no_answer)


@pytest.mark.parametrize(
    ("answers", "best", "thresh"),
    [
        # answering the surer one is right, the other one would be an answer to nothing
        ([answered(False, 0, 0.9), answered(True, 1, 0.2)], 100.0, 0.2),
        # the unanswerable one is the surer: it has to be answered, too, and nothing is won
        ([answered(False, 0, 0.2), answered(True, 1, 0.9)], 50.0, "always abstain"),
        # an abstention costs nothing wherever it stands
        ([answered(False, 1, 0.2, ""), answered(True, 1, 0.9)], 100.0, "never abstain"),
        # but one of white space does, as the script has it
        ([answered(False, 1, 0.2, " "), answered(True, 1, 0.9)], 50.0, "always abstain"),
        # scores need not be probabilities; a threshold below 0
        ([answered(True, 1, -7.5), answered(True, 0, 3.0)], 50.0, -7.5),
        # nothing right: answer none, where the script's 0.0 would be above all log-likelihoods
        ([answered(True, 0, -1.0), answered(False, 0, -2.0)], 50.0, "always abstain"),
        # all right: answer all, where the script's -1.0 is that of the last
        ([answered(True, 1, -1.0), answered(True, 1, -2.0)], 100.0, "never abstain"),
        # a tie goes by the order given: right first, then the one that costs
        ([answered(True, 1, 0.5), answered(False, 0, 0.5)], 100.0, "never abstain"),
        ([answered(False, 0, 0.5), answered(True, 1, 0.5)], 50.0, "always abstain"),
        # equally good later on: the first stays
        ([answered(True, 0.5, 0.1), answered(True, 0, 0.2)], 25.0, 0.1),
    ],
)
def test_best_threshold_by_hand(
    answers: list[Answered], best: float, thresh: float | Abstention
) -> None:
    assert best_thresholds(answers) == {
        "best_exact": best,
        "best_exact_thresh": thresh,
        "best_f1": best,
        "best_f1_thresh": thresh,
    }


def test_the_reference_abstains_above_the_threshold() -> None:
    """`apply_no_ans_threshold`: an abstention scores 1 where there is no answer, else 0."""
    qas = [{"id": "1", "answers": [{"text": "x"}]}, {"id": "2", "answers": []}]
    dataset = {"data": [{"paragraphs": [{"qas": qas}]}]}
    found = squad_reference.evaluate(dataset, {"1": "x", "2": "x"}, {"1": 0.9, "2": 0.9}, 0.5)
    assert (found["HasAns_exact"], found["NoAns_exact"], found["exact"]) == (0, 100, 50)


# --- the format -----------------------------------------------------------------------------------


def document(**qa: object) -> dict:
    whole = {
        "id": "1",
        "question": "Who?",
        "is_impossible": False,
        "answers": [{"text": "x"}],
        **qa,
    }
    return {"data": [{"title": "t", "paragraphs": [{"context": "c", "qas": [whole]}]}]}


def test_parse_reads_questions_and_merges_equal_golds() -> None:
    parsed = parse(document(answers=[{"text": "x"}, {"text": "y"}, {"text": "x"}]), "f")
    assert parsed == [Paragraph("c", (Question("1", "Who?", ("x", "y")),), title="t")]


def test_dump_is_the_inverse_of_parse() -> None:
    paragraphs = [
        Paragraph("c", (Question("1", "Who?", ("x",)), Question("2", "Why?", ()))),
        Paragraph("d", (Question("3", "How?", ("y", "z")),)),
    ]
    assert parse(dump(paragraphs), "f") == paragraphs


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, r"^f: not SQuAD v2's format: KeyError 'data'; expected data\[\]"),
        ([], r"^f: not SQuAD v2's format: TypeError"),
        ({"data": []}, r"^f: holds no question$"),
        ({"data": document()["data"] * 2}, r"^f: question id '1' stands there twice$"),
    ],
)
def test_what_is_no_squad_file(content: object, message: str) -> None:
    with pytest.raises(LlmpiError, match=message):
        parse(content, "f")


@pytest.mark.parametrize(
    ("file", "articles", "passages", "unanswerable", "answerable"),
    [("field_qa.json", 16, 25, 42, 83), ("quality_qa.json", 48, 96, 384, 384)],
)
def test_the_projects_own_questions(
    file: str, articles: int, passages: int, unanswerable: int, answerable: int
) -> None:
    """SQuAD v2, its counts as `docs/methodology.md` has them, every gold in its place."""
    content = json.loads((ROOT / "config/data" / file).read_text())
    assert len({article["title"] for article in content["data"]}) == articles
    read = [paragraph for article in content["data"] for paragraph in article["paragraphs"]]
    assert len(read) == len({paragraph["context"] for paragraph in read}) == passages
    assert min(len(paragraph["context"].split()) for paragraph in read) >= 40
    questions = [q for paragraph in squad.parse(content, file) for q in paragraph.questions]
    assert len({q.question for q in questions}) == answerable + unanswerable
    assert sum(not q.golds for q in questions) == unanswerable
    for paragraph in read:
        for qa in paragraph["qas"]:
            assert qa["is_impossible"] == (not qa["answers"])
            for gold in [*qa["answers"], *qa.get("plausible_answers", [])]:
                assert paragraph["context"].startswith(gold["text"], gold["answer_start"])
