"""Scores computed again from single items: questions that were answered, positions of a text.

numpy and nothing of the product's; formulas: docs/methodology.md.
"""

import hashlib
import math
import re
import string
from collections import Counter
from math import comb

import numpy as np
from cold_reader import Loss, Mean, student

RESAMPLES, CELLS_AT_ONCE = 10_000, 1_000_000

# --- items of questions ---------------------------------------------------------------------------

METRICS = {
    "em": (lambda i: i["exact"], lambda _: True),
    "f1": (lambda i: i["f1"], lambda _: True),
    "has_ans_em": (lambda i: i["exact"], lambda i: bool(i["golds"])),
    "has_ans_f1": (lambda i: i["f1"], lambda i: bool(i["golds"])),
    "no_ans_em": (lambda i: i["exact"], lambda i: not i["golds"]),
    "no_ans_f1": (lambda i: i["f1"], lambda i: not i["golds"]),
}


def again(item):
    """An item with its scores computed again from the answer, in English."""
    said = _normal(item["answer"])
    prediction = "" if said == "unanswerable" else said
    golds = [gold for gold in map(_normal, item["golds"]) if gold] or [""]
    exact = max(int(gold == prediction) for gold in golds)
    f1 = max(_f1(gold.split(), prediction.split()) for gold in golds)
    asked = item["error"] is None
    return {**item, "exact": exact if asked else 0, "f1": f1 if asked else 0.0}


def _normal(text):
    text = "".join(ch for ch in text.lower() if ch not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def _f1(gold, prediction):
    if not gold or not prediction:
        return float(gold == prediction)
    common = sum((Counter(gold) & Counter(prediction)).values())
    return 2 * common / (len(gold) + len(prediction))


def squad(record):
    if record["status"] != "ok":
        return {"status": record["status"]}
    items = [*map(again, record["items"])]
    answered = [item for item in items if item["error"] is None]
    row = {
        "status": "ok",
        "items": len(items),
        "cut_pct": 100 * sum(not item["stopped"] for item in answered) / len(answered),
        "best_em_pct": _best(answered, "exact")[0],
    }
    row["best_f1_pct"], best = _best(answered, "f1")
    words = isinstance(best, str)
    row["best_f1_threshold"] = None if words else best
    row["best_f1_abstention"] = best if words else "above the threshold"
    for name, (of_item, belongs) in METRICS.items():
        some = [item for item in items if belongs(item)]
        value, low, high = share([of_item(i) for i in some], [i["paragraph"] for i in some])
        row |= {f"{name}_pct": value, f"{name}_low_pct": low, f"{name}_high_pct": high}
    return row


def share(values, clusters):
    """(mean, low, high), per cent: Wilson's interval by clusters."""
    if not values:
        return None, None, None
    sums, counts = _totals(values, clusters)
    mean = Mean(sums, float(np.square(values).sum()), counts)
    if len(sums) < 2:
        return 100 * mean.value, None, None
    return 100 * mean.value, *(100 * end for end in mean.bounds(student(0.975, len(sums))))


def mean_spread(values, clusters):
    """Half of the interval of a mean by clusters, Student's, as a share of it."""
    sums, counts = _totals(values, clusters)
    groups, mean = len(sums), sum(values) / len(values)
    if groups < 2:
        return 0.0
    residuals = (sums - counts * mean) / len(values)
    error = math.sqrt(groups / (groups - 1) * (residuals**2).sum())
    return student(0.975, groups) * error / mean


def quantile_ranks(below, clusters, quantile):
    """Ranks of the ends of a quantile by the sign test, of as many items as are independent."""
    sums, counts = _totals(below, clusters)
    if len(sums) < 2:
        return None, None
    items = len(below)
    alone = min(items, math.ceil(Mean(sums, float(sum(below)), counts).effective))
    fewer, low, high = 0.0, 0, None
    for number in range(alone):
        fewer += math.exp(
            math.lgamma(alone + 1)
            - math.lgamma(number + 1)
            - math.lgamma(alone - number + 1)
            + number * math.log(quantile)
            + (alone - number) * math.log(1 - quantile)
        )
        low += fewer <= 0.025
        if high is None and fewer >= 0.975:
            high = number + 1
    return (
        low * items // alone - 1 if low else None,
        None if high is None else -(-high * items // alone) - 1,
    )


def _totals(values, clusters):
    _, index = np.unique(clusters, return_inverse=True)
    return np.bincount(index, np.asarray(values, float)), np.bincount(index)


def _best(items, metric):
    """The official script's best score over thresholds on the abstention's log-likelihood."""
    items = sorted((i for i in items if i["no_answer"] is not None), key=lambda i: i["no_answer"])
    points = best = sum(not item["golds"] for item in items)
    threshold = -math.inf
    for item in items:
        abstains = _normal(item["answer"]) in ("unanswerable",) or not item["answer"].strip()
        points += item[metric] if item["golds"] else 0 if abstains else -1
        if points > best:
            best, threshold = points, item["no_answer"]
    if threshold == -math.inf:
        threshold = "always abstain"
    elif threshold >= items[-1]["no_answer"]:
        threshold = "never abstain"
    return 100 * best / len(items), threshold


def compared(reference, variant):
    wanted = {item["id"]: again(item) for item in reference}
    pairs = [(wanted[i["id"]], again(i)) for i in variant if i["id"] in wanted]
    gains = np.array([b["f1"] - a["f1"] for a, b in pairs])
    clusters = [a["paragraph"] for a, _ in pairs]
    sums, counts = _totals(gains, clusters)
    lost, gained = np.maximum(-gains, 0), np.maximum(gains, 0)
    parts = {
        name: {"sums": _totals(of, clusters)[0], "squares": float(of @ of)}
        for name, of in (("lost", lost), ("gained", gained))
    }
    loss = Loss({**parts, "items": counts})
    low = high = p = None
    if len(sums) > 1:
        high, low = (-100 * end for end in loss.bounds(student(0.975, len(sums))))
        p = _randomization_p(sums)
    only = [
        sum(a["exact"] > b["exact"] for a, b in pairs),
        sum(a["exact"] < b["exact"] for a, b in pairs),
    ]
    sides = sum(comb(sum(only), k) for k in range(min(only) + 1))
    return {
        "difference_pct": 100 * gains.mean(),
        "low_pct": low,
        "high_pct": high,
        "p": p,
        "only": only,
        "exact_p": min(1.0, 2 * sides / 2 ** sum(only)),
    }


def _randomization_p(sums):
    """Flipping the signs of whole clusters."""
    rng = np.random.default_rng(0)
    observed = abs(sums.sum()) - 1e-9 * np.abs(sums).sum()
    at_once, count = max(1, CELLS_AT_ONCE // len(sums)), 0
    for start in range(0, RESAMPLES, at_once):
        shape = min(at_once, RESAMPLES - start), len(sums)
        count += int(np.count_nonzero(np.abs(rng.choice((-1.0, 1.0), shape) @ sums) >= observed))
    return (1 + count) / (1 + RESAMPLES)


def holm(ps):
    adjusted, floor = [None] * len(ps), 0.0
    tested = sorted((p, at) for at, p in enumerate(ps) if p is not None)
    for rank, (p, at) in enumerate(tested):
        floor = max(floor, min(1.0, (len(tested) - rank) * p))
        adjusted[at] = floor
    return adjusted


def passage_name(text):
    return "passage " + hashlib.sha256(text.encode()).hexdigest()[:12]


def counts(pairs, clusters):
    return np.bincount([at for at, _ in pairs], minlength=clusters).tolist()


def sums_of(pairs, clusters):
    places, values = [at for at, _ in pairs], np.array([value for _, value in pairs], float)
    return {
        "sums": np.bincount(places, values, clusters).tolist(),
        "squares": float(values @ values),
    }


# --- windows of a text ----------------------------------------------------------------------------


def divergence(record):
    """Estimates with their standard errors; what needs single positions is None without them."""
    if record["status"] != "ok":
        return {"status": record["status"]}
    n = record["chunks"] * record["positions_per_chunk"]
    sums = {key: sum(one[key] for one in record["chunk_sums"]) for key in record["chunk_sums"][0]}
    positions = {k: np.array(v) for k, v in record.get("positions", {}).items()}
    nll, reference, kld = (positions.get(key) for key in ("nll", "reference_nll", "kld"))
    ratio = None if nll is None else nll - reference
    share = sums["same_top1"] / n
    found = {
        "perplexity": _exponential(sums["nll"] / n, nll),
        "perplexity_ratio": _exponential((sums["nll"] - sums["reference_nll"]) / n, ratio),
        "kld_mean_nats": (sums["kld"] / n, _error(kld)),
        "kld_median_nats": _quantile(kld, 0.5),
        "kld_p99_nats": _quantile(kld, 0.99),
        "top1_agreement_pct": (100 * share, 100 * math.sqrt(share * (1 - share) / (n - 1))),
    }
    row = {"status": "ok"}
    for name, (value, error) in found.items():
        row |= {name: value, f"{name}_se": error}
    return row


def _error(values):
    return None if values is None else float(values.std() / math.sqrt(values.size - 1))


def _exponential(mean, values):
    error = _error(values)
    return math.exp(mean), None if error is None else math.exp(mean) * error


def _quantile(values, fraction):
    """With the bootstrap's error over windows."""
    if values is None:
        return None, None
    if len(values) == 1:
        return float(np.quantile(values, fraction)), None
    draws = np.random.default_rng(0).integers(len(values), size=(1000, len(values)))
    spread = np.std([np.quantile(values[draw], fraction) for draw in draws])
    return float(np.quantile(values, fraction)), float(spread)
