"""The SQuAD v2 scorer against the official definition."""

import collections
import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmpi.errors import LlmpiError
from llmpi.quality import squad
from llmpi.quality.evaluate import summarize
from llmpi.quality.squad import Paragraph, Question, dump, exact, f1, normalize, parse, score

# --- an independent reference, written from the published evaluate-v2.0.py ------------------------


def ref_normalize(s: str) -> str:
    def remove_articles(text: str) -> str:
        return re.sub(re.compile(r"\b(a|an|the)\b", re.UNICODE), " ", text)

    exclude = set(string.punctuation)
    no_punctuation = "".join(ch for ch in s.lower() if ch not in exclude)
    return " ".join(remove_articles(no_punctuation).split())


def ref_tokens(s: str) -> list[str]:
    return ref_normalize(s).split() if s else []


def ref_f1(a_gold: str, a_pred: str) -> float:
    gold_toks, pred_toks = ref_tokens(a_gold), ref_tokens(a_pred)
    num_same = sum((collections.Counter(gold_toks) & collections.Counter(pred_toks)).values())
    if len(gold_toks) == 0 or len(pred_toks) == 0:
        return int(gold_toks == pred_toks)
    if num_same == 0:
        return 0
    precision = 1.0 * num_same / len(pred_toks)
    recall = 1.0 * num_same / len(gold_toks)
    return (2 * precision * recall) / (precision + recall)


def ref_raw_scores(golds: list[str], a_pred: str) -> tuple[int, float]:
    answers = [text for text in golds if ref_normalize(text)]
    if not answers:
        answers = [""]
    return (
        max(int(ref_normalize(a) == ref_normalize(a_pred)) for a in answers),
        max(ref_f1(a, a_pred) for a in answers),
    )


def ref_eval(rows: list[tuple[list[str], str]]) -> dict[str, float]:
    """`make_eval_dict` over all, HasAns and NoAns, as the script merges them."""
    out = {}
    kinds = {
        "": rows,
        "has_ans_": [r for r in rows if r[0]],
        "no_ans_": [r for r in rows if not r[0]],
    }
    for prefix, chosen in kinds.items():
        scores = [ref_raw_scores(golds, pred) for golds, pred in chosen]
        if scores:
            out[f"{prefix}exact"] = 100.0 * sum(s[0] for s in scores) / len(scores)
            out[f"{prefix}f1"] = 100.0 * sum(s[1] for s in scores) / len(scores)
    return out


# --- properties -----------------------------------------------------------------------------------

WORDS = st.sampled_from(
    [
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
)
TEXT = st.one_of(st.lists(WORDS, max_size=6).map(" ".join), st.text(max_size=12), st.just(""))
GOLDS = st.lists(TEXT, max_size=3)


@given(TEXT)
def test_normalize_is_the_official_one(text: str) -> None:
    assert normalize(text) == ref_normalize(text)


@given(TEXT, TEXT)
def test_pair_scores_are_the_official_ones(gold: str, prediction: str) -> None:
    assert exact(gold, prediction) == int(ref_normalize(gold) == ref_normalize(prediction))
    assert f1(gold, prediction) == pytest.approx(ref_f1(gold, prediction))


@given(GOLDS, TEXT)
def test_score_takes_the_best_gold(golds: list[str], prediction: str) -> None:
    ours = score(Question("q", "?", tuple(golds)), prediction)
    assert ours == pytest.approx(ref_raw_scores(golds, prediction))


@given(st.lists(st.tuples(GOLDS, TEXT), min_size=1, max_size=12))
def test_summary_is_the_official_one(rows: list[tuple[list[str], str]]) -> None:
    items = []
    for i, (golds, prediction) in enumerate(rows):
        em, f = score(Question(str(i), "?", tuple(golds)), prediction)
        items.append(
            {
                "golds": golds,
                "prediction": prediction,
                "exact": em,
                "f1": f,
                "paragraph": 0,
                "error": None,
            }
        )
    ours = {name: metric["pct"] for name, metric in summarize(items)["metrics"].items()}
    assert ours == pytest.approx(ref_eval(rows))


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
    assert parsed == [Paragraph("c", (Question("1", "Who?", ("x", "y")),))]


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


def test_the_projects_own_questions() -> None:
    """field_qa.json is SQuAD v2, about a third unanswerable, every gold in its place."""
    import json

    from support import ROOT

    content = json.loads((ROOT / "config/data/field_qa.json").read_text())
    paragraphs = squad.parse(content, "field_qa.json")
    questions = [question for paragraph in paragraphs for question in paragraph.questions]
    assert len(paragraphs) == 25
    assert len(questions) == 125
    assert 0.3 <= sum(not question.golds for question in questions) / 125 <= 0.37
    for article in content["data"]:
        for paragraph in article["paragraphs"]:
            for qa in paragraph["qas"]:
                assert qa["is_impossible"] == (not qa["answers"])
                for answer in [*qa["answers"], *qa.get("plausible_answers", [])]:
                    start = answer["answer_start"]
                    assert (
                        paragraph["context"][start : start + len(answer["text"])] == answer["text"]
                    )
