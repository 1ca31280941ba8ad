"""SQuAD v2's official evaluation, written a second time to hold ours against.

After the published definition (`evaluate-v2.0.py`, Rajpurkar et al.), with the standard library
only and nothing of llmpi. It goes by the files as the script does: a data set, a file of
predictions, a file of no-answer probabilities.
"""

import re
import string

DROPPED = str.maketrans("", "", string.punctuation)
ARTICLES = ("a", "an", "the")


def words(text: str) -> list[str]:
    """What is left of a text: an article goes only if it is all of a run of word characters."""
    runs = re.findall(r"\w+|\W+", text.lower().translate(DROPPED))
    return "".join(" " if run in ARTICLES else run for run in runs).split()


def same(gold: str, prediction: str) -> int:
    return int(" ".join(words(gold)) == " ".join(words(prediction)))


def overlap(gold: str, prediction: str) -> float:
    """F1, taking each word of the gold at most once."""
    left, said = words(gold), words(prediction)
    n_gold = len(left)
    if not left or not said:
        return 1.0 if left == said else 0.0
    hits = 0
    for word in said:
        if word in left:
            left.remove(word)
            hits += 1
    if hits == 0:
        return 0.0
    precision, recall = 1.0 * hits / len(said), 1.0 * hits / n_gold
    return (2 * precision * recall) / (precision + recall)


def evaluate(
    dataset: dict,
    predictions: dict[str, str],
    na_probs: dict[str, float],
    na_prob_thresh: float = 1.0,
) -> dict[str, float]:
    """All that the script prints for these three files, under the script's own names."""
    qas = {
        qa["id"]: qa
        for article in dataset["data"]
        for paragraph in article["paragraphs"]
        for qa in paragraph["qas"]
    }
    has_answer = {qid: len(qa["answers"]) > 0 for qid, qa in qas.items()}
    raw: dict[str, dict[str, float]] = {"exact": {}, "f1": {}}
    for qid, qa in qas.items():
        golds = [a["text"] for a in qa["answers"] if words(a["text"])]
        if not golds:
            golds = [""]
        raw["exact"][qid] = max(same(gold, predictions[qid]) for gold in golds)
        raw["f1"][qid] = max(overlap(gold, predictions[qid]) for gold in golds)

    subsets = {
        "": list(qas),
        "HasAns_": [qid for qid in qas if has_answer[qid]],
        "NoAns_": [qid for qid in qas if not has_answer[qid]],
    }
    out: dict[str, float] = {}
    for prefix, chosen in subsets.items():
        if not chosen:
            continue
        for metric, scores in raw.items():
            kept = [
                float(not has_answer[qid]) if na_probs[qid] > na_prob_thresh else scores[qid]
                for qid in chosen
            ]
            out[prefix + metric] = 100.0 * sum(kept) / len(chosen)
        out[prefix + "total"] = len(chosen)
    for metric, scores in raw.items():
        best, thresh = best_threshold(predictions, scores, na_probs, has_answer)
        out["best_" + metric], out[f"best_{metric}_thresh"] = best, thresh
    return out


def best_threshold(
    predictions: dict[str, str],
    scores: dict[str, float],
    na_probs: dict[str, float],
    has_answer: dict[str, bool],
) -> tuple[float, float]:
    """Answer no question at first, then one after the other, the surest first."""
    curve = [(float(list(has_answer.values()).count(False)), 0.0)]
    for qid in sorted(na_probs, key=na_probs.__getitem__):
        gain = scores[qid] if has_answer[qid] else -float(predictions[qid] != "")
        curve.append((curve[-1][0] + gain, na_probs[qid]))
    top = max(score for score, _ in curve)
    return 100.0 * top / len(scores), next(thresh for score, thresh in curve if score == top)
