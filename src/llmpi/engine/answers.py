"""How an answer is scored, on the workstation and by a device's canary alike.

English as the evaluation script of SQuAD v2 (`evaluate-v2.0.py`) does it: Rajpurkar, Jia, Liang,
*Know What You Don't Know* (arXiv 1806.03822). Other languages with Unicode's punctuation, as the
script of MLQA does it (Lewis et al., arXiv 1910.07475). Stdlib only.
"""

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Sequence

ABSTENTION = "unanswerable"
ENGLISH = "en"
UNSPACED = frozenset({"bo", "dz", "ja", "km", "lo", "my", "th", "zh"})
"""Languages (ISO 639-1) that are written without blanks between words."""


def normalize(text: str, language: str = ENGLISH) -> str:
    """What of a text counts.

    English: lower case, without punctuation (ASCII), the articles a/an/the, and extra white space.
    Other languages: lower case in Unicode's form NFKC, in which digits of both widths are the same;
    without punctuation (ASCII, and Unicode's P), characters that nobody sees (Unicode's Cf), and
    extra white space, or any where words have no blanks between them.
    """
    if language == ENGLISH:
        text = "".join(ch for ch in text.lower() if ch not in string.punctuation)
        text = re.sub(r"\b(a|an|the)\b", " ", text, flags=re.UNICODE)
    else:
        text = unicodedata.normalize("NFKC", text).lower()
        text = "".join(ch for ch in text if not _is_punctuation(ch))
    return ("" if language in UNSPACED else " ").join(text.split())


def words(text: str, language: str = ENGLISH) -> list[str]:
    """The normalised words; characters, where words have no blanks between them."""
    normalized = normalize(text, language)
    return list(normalized) if language in UNSPACED else normalized.split()


def exact(gold: str, prediction: str, language: str = ENGLISH) -> int:
    """1 if both are the same once normalised, else 0."""
    return int(normalize(gold, language) == normalize(prediction, language))


def f1(gold: str, prediction: str, language: str = ENGLISH) -> float:
    """Harmonic mean of precision and recall over the bags of `words`.

    If either side has no word, 1 when both have none, else 0.
    """
    expected, found = words(gold, language), words(prediction, language)
    if not expected or not found:
        return float(expected == found)
    common = (Counter(expected) & Counter(found)).total()
    if common == 0:
        return 0.0
    precision, recall = common / len(found), common / len(expected)
    return 2 * precision * recall / (precision + recall)


def score(golds: Sequence[str], prediction: str, language: str = ENGLISH) -> tuple[int, float]:
    """(exact, F1) against the best gold; golds that normalise to nothing do not count.

    An unanswerable question has the one gold "", so that only an abstention scores.
    """
    held = [gold for gold in golds if normalize(gold, language)] or [""]
    return (
        max(exact(gold, prediction, language) for gold in held),
        max(f1(gold, prediction, language) for gold in held),
    )


def prediction(answer: str, language: str = ENGLISH) -> str:
    """What is scored: the whole answer, or "" where the model abstains or says nothing."""
    return "" if normalize(answer, language) == ABSTENTION else answer.strip()


def _is_punctuation(character: str) -> bool:
    """Or nothing that is seen, such as the blank without width between Thai words."""
    kind = unicodedata.category(character)
    return kind.startswith("P") or kind == "Cf" or character in string.punctuation
