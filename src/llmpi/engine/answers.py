"""How an answer is scored, on the workstation and by a device's canary alike.

As the evaluation script of SQuAD v2 (`evaluate-v2.0.py`) does it: Rajpurkar, Jia, Liang, *Know What
You Don't Know* (arXiv 1806.03822). Stdlib only.
"""

import re
import string
from collections import Counter
from collections.abc import Sequence

ABSTENTION = "unanswerable"


def normalize(text: str) -> str:
    """Lower case, without punctuation (ASCII), the articles a/an/the, and extra white space."""
    text = "".join(ch for ch in text.lower() if ch not in string.punctuation)
    text = re.sub(r"\b(a|an|the)\b", " ", text, flags=re.UNICODE)
    return " ".join(text.split())


def exact(gold: str, prediction: str) -> int:
    """1 if both are the same once normalised, else 0."""
    return int(normalize(gold) == normalize(prediction))


def f1(gold: str, prediction: str) -> float:
    """Harmonic mean of precision and recall over the bags of normalised words.

    If either side has no word, 1 when both have none, else 0.
    """
    gold_words, words = normalize(gold).split(), normalize(prediction).split()
    if not gold_words or not words:
        return float(gold_words == words)
    common = (Counter(gold_words) & Counter(words)).total()
    if common == 0:
        return 0.0
    precision, recall = common / len(words), common / len(gold_words)
    return 2 * precision * recall / (precision + recall)


def score(golds: Sequence[str], prediction: str) -> tuple[int, float]:
    """(exact, F1) against the best gold; golds that normalise to nothing do not count.

    An unanswerable question has the one gold "", so that only an abstention scores.
    """
    held = [gold for gold in golds if normalize(gold)] or [""]
    return max(exact(gold, prediction) for gold in held), max(f1(g, prediction) for g in held)


def prediction(answer: str) -> str:
    """What is scored: the whole answer, or "" where the model abstains or says nothing."""
    return "" if normalize(answer) == ABSTENTION else answer.strip()
