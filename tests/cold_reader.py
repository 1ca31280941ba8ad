"""A cold reader of a decision: every figure of quality in `recommendation.json`, computed again.

    python tests/cold_reader.py REQUIREMENTS RECOMMENDATION

Reads the raw JSON with numpy and nothing of the product's; Student's quantiles are inverted from
the integral of the density. Prints what differs, and how much was held against what was found
again; exits with 1 if anything differs.
"""

import hashlib
import json
import math
import sys
from pathlib import Path
from statistics import NormalDist

import numpy as np

DRAWS = 4000
FEWEST = 10
POWER = 0.8
POINT = 1e-4
"""Points: what is left between draws in single and in double precision."""

NODES, WEIGHTS = np.polynomial.legendre.leggauss(200)


# --- Student's distribution -----------------------------------------------------------------------


def student_cdf(t, df):
    """With t = sqrt(df) tan(a), the density becomes a power of the cosine."""
    end = math.atan(t / math.sqrt(df))
    constant = math.exp(math.lgamma((df + 1) / 2) - math.lgamma(df / 2)) / math.sqrt(math.pi)
    angles = end / 2 * (NODES + 1)
    return 0.5 + constant * end / 2 * float(WEIGHTS @ np.cos(angles) ** (df - 1))


def student(level, clusters):
    df, low, high = max(clusters, 2) - 1, 0.0, 1e6
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if student_cdf(middle, df) < level else (low, middle)
    return high


# --- estimates ------------------------------------------------------------------------------------


class Mean:
    """A share of items, with Wilson's interval; `n`, clusters and their moderated variance."""

    def __init__(self, sums, squares, counts):
        sums, counts = np.array(sums, float), np.array(counts, float)
        self.items, self.clusters = counts.sum(), np.count_nonzero(counts)
        self.value = sums.sum() / self.items
        self.residuals = (sums - counts * self.value) / self.items
        self.ratio = self.clusters / (self.clusters - 1) if self.clusters > 1 else 1.0
        between = self.ratio * (self.residuals**2).sum()
        independent = max(0.0, squares / self.items - self.value**2) / self.items
        usual = 1 + 0.2 * ((counts**2).sum() / self.items - 1)
        expected = (sums.sum() + 0.5) / (self.items + 1)
        self.before = usual * expected * (1 - expected) / self.items
        few = self.clusters - 1
        moderated = (few * between + 10 * usual * independent) / (few + 10)
        self.variance = max(independent, moderated)
        self.of_sample = self.value * (1 - self.value)
        certain = self.variance == 0 or self.of_sample == 0
        self.effective = self.items / usual if certain else self.of_sample / self.variance

    def bounds(self, t, times=1.0):
        rate, n = self.expected(times), self.effective * times
        middle = rate + t * t / (2 * n)
        half = t * math.sqrt(rate * (1 - rate) / n + t * t / (4 * n * n))
        scale = 1 + t * t / n
        return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)

    def expected(self, times=1.0):
        """The rate; of more items than were asked, by Jeffreys' prior."""
        if times == 1:
            return self.value
        return (self.value * self.effective + 0.5) / (self.effective + 1)

    def variance_of(self, times=1.0):
        if times == 1:
            return self.variance
        rate = self.expected(times)
        return rate * (1 - rate) / (self.effective * times)


class Loss:
    def __init__(self, found):
        self.lost = Mean(found["lost"]["sums"], found["lost"]["squares"], found["items"])
        self.gained = Mean(found["gained"]["sums"], found["gained"]["squares"], found["items"])
        self.value = self.lost.value - self.gained.value
        self.clusters = self.lost.clusters
        self.residuals = self.lost.residuals - self.gained.residuals
        self.together = self.lost.ratio * (self.lost.residuals @ self.gained.residuals)

    def bounds(self, t, times=1.0):
        lost, gained = self.lost.expected(times), self.gained.expected(times)
        (a, c), (d, b) = self.lost.bounds(t, times), self.gained.bounds(t, times)
        a, b, c, d = lost - a, b - gained, c - lost, gained - d
        both = math.sqrt(self.lost.variance_of(times) * self.gained.variance_of(times))
        r = min(1.0, max(-1.0, self.together / times / both)) if both else 0.0
        below, above = a * a + b * b - 2 * r * a * b, c * c + d * d - 2 * r * c * d
        value = lost - gained
        below, above = max(below, a * a, b * b), max(above, c * c, d * d)
        return value - math.sqrt(below), value + math.sqrt(above)


class Nats:
    def __init__(self, found):
        sums, counts = np.array(found["nats"]), np.array(found["items"], float)
        self.value = sums.sum() / counts.sum()
        self.residuals = (sums - counts * self.value) / counts.sum()
        self.clusters = np.count_nonzero(counts)
        ratio = self.clusters / (self.clusters - 1) if self.clusters > 1 else 1.0
        self.error = math.sqrt(ratio * (self.residuals**2).sum())

    def bounds(self, t, times=1.0):
        reach = t * self.error / math.sqrt(times)
        return self.value - reach, self.value + reach


class Missed(Mean):
    """A gate's score, turned into a loss."""

    def __init__(self, score):
        super().__init__(score["score"]["sums"], score["score"]["squares"], score["items"])
        self.share, self.value = self.value, -self.value
        self.residuals = -self.residuals

    def bounds(self, t, times=1.0):
        turned, self.value = self.value, self.share
        low, high = super().bounds(t, times)
        self.value = turned
        return -high, -low


# --- draws ----------------------------------------------------------------------------------------


def draws(residuals, clusters):
    """Standard normal errors with the residuals' correlation, shape (DRAWS, statements)."""
    seed = hashlib.sha256("\n".join(clusters).encode()).digest()
    rng = np.random.default_rng(np.frombuffer(seed, np.uint32))
    length = np.sqrt((residuals**2).sum(axis=0))
    found = np.zeros((DRAWS, residuals.shape[1]))
    for start in range(0, len(residuals), 500):
        part = residuals[start : start + 500]
        weights = rng.standard_normal((DRAWS, len(part)), np.float32).astype(float)
        found += weights @ (part / np.where(length == 0, 1, length))
    found[:, length == 0] = rng.standard_normal((DRAWS, 1), np.float32)
    return found


def level_of(largest, confidence):
    normal = NormalDist()
    return normal.cdf(max(normal.inv_cdf(confidence), float(np.quantile(largest, confidence))))


# --- the verdicts ---------------------------------------------------------------------------------


class Statement:
    def __init__(self, requirement, estimate, margin):
        self.requirement, self.estimate, self.margin = requirement, estimate, margin
        self.told = estimate.clusters >= FEWEST


class Study:
    def __init__(self, requirements, confidence):
        self.confidence = confidence
        self.statements, self.stopped, self.missing, self.references = {}, {}, {}, set()
        judged = [r for r in requirements if r["kind"] != "score"]
        for requirement in judged:
            for one in requirement["variants"]:
                self._take(requirement, one)
        for requirement in judged:
            known = {named(one) for one in requirement["variants"]}
            for variant in self.statements:
                loses_nothing = requirement["kind"] == "loss" and variant in self.references
                if known and variant not in known and not loses_nothing:
                    self.missing.setdefault(variant, []).append(requirement)
        self._draw()
        self._step_down()

    def _take(self, requirement, one):
        variant = named(one)
        own = self.statements.setdefault(variant, [])
        margin, found = requirement["margin"] / 100, one["loss"]
        if found and found["kind"] == "sequential":
            self.stopped.setdefault(variant, []).append((requirement, found))
        elif requirement["kind"] == "gate":
            if one["score"] is None:
                self.missing.setdefault(variant, []).append(requirement)
            else:
                own.append(Statement(requirement, Missed(one["score"]), -margin))
        elif one["reference"]:
            self.references.add(variant)
        elif found is None:
            self.missing.setdefault(variant, []).append(requirement)
        elif found["kind"] == "paired":
            own.append(Statement(requirement, Loss(found), margin))
        else:
            own.append(Statement(requirement, Nats(found), math.log1p(margin)))

    def _draw(self):
        by_clusters = {}
        for own in self.statements.values():
            for statement in own:
                by_clusters.setdefault(tuple(statement.requirement["clusters"]), []).append(
                    statement
                )
        for clusters, together in by_clusters.items():
            residuals = np.column_stack([s.estimate.residuals for s in together])
            for statement, errors in zip(together, draws(residuals, clusters).T, strict=True):
                statement.errors = errors

    def _step_down(self):
        left = {v: own for v, own in self.statements.items() if own}
        self.whole = self._level(left)
        self.levels, self.held = dict.fromkeys(self.statements, self.whole), set()
        while left:
            level = self._level(left)
            self.levels.update(dict.fromkeys(left, level))
            now = {v for v, own in left.items() if self._complete(v) and self._within(own, level)}
            self.held |= now
            left = {v: own for v, own in left.items() if v not in now}
            if not now:
                break
        self.held |= {v for v, own in self.statements.items() if not own and self._complete(v)}

    def _level(self, left):
        errors = [s.errors for own in left.values() for s in own]
        if not errors:
            return self.confidence
        return level_of(np.max(errors, axis=0), self.confidence)

    def _within(self, own, level):
        return all(bounds(s, level)[1] <= s.margin for s in own)

    def _complete(self, variant):
        return (
            variant not in self.missing
            and all(s.told for s in self.statements[variant])
            and all(found["decision"] == "holds" for _, found in self.stopped.get(variant, ()))
        )

    def standing(self, variant):
        own, level = self.statements[variant], self.levels[variant]
        told = [self._told(s, level) for s in own]
        for requirement, found in self.stopped.get(variant, ()):
            whole = 100 if requirement["kind"] == "gate" else 0
            numbers = {name: found[f"{name}_pct"] for name in ("loss", "low", "high")}
            told.append(
                {
                    **{k: None if v is None else v - whole for k, v in numbers.items()},
                    "margin": margin_of(requirement),
                    "verdict": found["decision"],
                }
            )
        for requirement in self.missing.get(variant, ()):
            nothing = dict.fromkeys(("loss", "low", "high"))
            told.append({**nothing, "margin": margin_of(requirement), "verdict": "undecided"})
        fails = any(one["verdict"] == "fails" for one in told)
        verdict = "fails" if fails else "holds" if variant in self.held else "undecided"
        undecided = verdict == "undecided"
        return {
            "verdict": verdict,
            "inside": all(o["loss"] is not None and o["loss"] <= o["margin"] for o in told),
            "requirements": told,
            "probability": self._probability(variant) if undecided else None,
            "more": self._more(own, level) if undecided and variant not in self.missing else [],
        }

    def _told(self, s, level):
        low, high = bounds(s, self.whole)[0], bounds(s, level)[1]
        verdict = "undecided"
        if s.told and low > s.margin:
            verdict = "fails"
        elif s.told and high <= s.margin:
            verdict = "holds"
        numbers = {"loss": s.estimate.value, "low": low, "high": high, "margin": s.margin}
        if s.requirement["metric"] == "perplexity":
            numbers = {name: math.expm1(value) for name, value in numbers.items()}
        return {**{name: 100 * value for name, value in numbers.items()}, "verdict": verdict}

    def _probability(self, variant):
        own = self.statements[variant]
        undecided = any(f["decision"] != "holds" for _, f in self.stopped.get(variant, ()))
        if variant in self.missing or undecided or not own:
            return None
        inside = [s.estimate.value + moves(s) <= s.margin for s in own]
        return float(np.all(inside, axis=0).mean())

    def _more(self, own, level):
        """Of the tasks that have something left to tell."""
        left = [s for s in own if not s.told or bounds(s, level)[1] > s.margin]
        asked = {s.requirement["task"]: s.requirement["asked"] for s in left}
        if not left:
            return []

        def tells(times):
            holds, fails = [], []
            for s in own:
                grows = times if s.requirement["task"] in asked else 1.0
                moved = math.sqrt(1 - 1 / grows) * moves(s)
                holds.append(bounds(s, level, grows)[1] + moved <= s.margin)
                fails.append(bounds(s, self.whole, grows)[0] + moved > s.margin)
            return (np.all(holds, axis=0) | np.any(fails, axis=0)).mean() >= POWER

        low = max([1.0, *(FEWEST / max(1, s.estimate.clusters) for s in left)])
        high = 1000.0
        if not tells(high):
            return []
        while high / low > 1.01:
            middle = math.sqrt(low * high)
            low, high = (low, middle) if tells(middle) else (middle, high)
        return [{"task": t, "items": math.ceil((high - 1) * n)} for t, n in asked.items()]


def margin_of(requirement):
    return requirement["margin"] * (-1 if requirement["kind"] == "gate" else 1)


def named(one):
    return one["model"], one["quant"], one["computation"]


def bounds(statement, level, times=1.0):
    t = student(level, statement.estimate.clusters * times)
    return statement.estimate.bounds(t, times)


def moves(statement):
    low, high = statement.estimate.bounds(1.0)
    value, errors = statement.estimate.value, statement.errors
    freedom = max(2, statement.estimate.clusters) - 1
    errors = errors + (errors**3 + errors) / (4 * freedom)
    return np.where(errors > 0, errors * (high - value), errors * (value - low))


# --- the best -------------------------------------------------------------------------------------


class Best:
    """The harmonic mean of a task's metrics, and the comparison with the best."""

    def __init__(self, requirements, confidence):
        self.confidence = confidence
        margins = [r["margin"] / 100 for r in requirements if r["kind"] == "loss"]
        self.margin = min(margins, default=0.05)
        scores = {}
        for requirement in requirements:
            for one in requirement["variants"]:
                if one["score"]:
                    sums = one["score"]["score"]
                    mean = Mean(sums["sums"], sums["squares"], one["score"]["items"])
                    scores.setdefault(named(one), []).append(mean)
        most = max(map(len, scores.values()), default=0)
        self.known = {v: self._harmonic(s) for v, s in scores.items() if len(s) == most}
        if self.known:
            residuals = np.column_stack([r for _, r, *_ in self.known.values()])
            length = np.sqrt((residuals**2).sum(axis=0))
            errors = draws(residuals, requirements[0]["clusters"]) * length
            self.errors = dict(zip(self.known, errors.T, strict=True))

    @staticmethod
    def _harmonic(scores):
        values = np.array([s.value for s in scores])
        if min(values) <= 0:
            value, slopes = 0.0, np.where(values <= 0, len(values), 0)
        else:
            value = len(values) / (1 / values).sum()
            slopes = value**2 / len(values) / values**2
        residuals = sum(slope * s.residuals for slope, s in zip(slopes, scores, strict=True))
        usual = sum(slope**2 * s.before for slope, s in zip(slopes, scores, strict=True))
        return value, residuals, min(s.clusters for s in scores), usual

    def interval(self, variant):
        if variant not in self.known:
            return None
        value, residuals, clusters, usual = self.known[variant]
        if clusters < 2:
            return {"value": 100 * value, "low": None, "high": None}
        reach = student(0.975, clusters) * spread(residuals, clusters, usual)
        low, high = max(0.0, value - reach), min(1.0, value + reach)
        return {"value": 100 * value, "low": 100 * low, "high": 100 * high}

    def lacks(self, variants):
        """Bounds of what each lacks to the best of the others."""
        some = {v: self.known[v] for v in variants if v in self.known}
        lead = max((value for value, *_ in some.values()), default=0.0)
        fewest = min((clusters for _, _, clusters, _ in some.values()), default=0)
        found = {}
        for one, (value, residuals, _, usual) in some.items():
            others = [v for v in some if v != one]
            if value == lead:
                found[one] = 0.0, 0.0
            elif fewest < FEWEST:
                found[one] = 0.0, 1.0
            else:
                apart = [self.errors[v] - self.errors[one] for v in others]
                length = [np.linalg.norm(some[v][1] - residuals) for v in others]
                each = zip(apart, length, strict=True)
                level = level_of(np.max([a / n for a, n in each if n], axis=0), self.confidence)
                t = student(level, fewest)
                behind = [some[v][0] - value for v in others]
                losses = ((some[v][1] - residuals, some[v][3] + usual) for v in others)
                reach = [t * spread(loss, fewest, least) for loss, least in losses]
                both = list(zip(behind, reach, strict=True))
                found[one] = max(0, *(b - r for b, r in both)), max(0, *(b + r for b, r in both))
        return found


def spread(residuals, clusters, usual):
    between = clusters / (clusters - 1) * float(residuals @ residuals)
    return math.sqrt(((clusters - 1) * between + 10 * usual) / (clusters - 1 + 10))


# --- held against the record ----------------------------------------------------------------------


class Held:
    def __init__(self):
        self.count, self.differ = 0, []

    def near(self, where, found, again, tolerance=POINT):
        self.count += 1
        if found is None or again is None:
            if found is not again:
                self.differ.append(f"{where}: {found}, again {again}")
        elif abs(found - again) > tolerance:
            self.differ.append(f"{where}: {found}, again {again}")

    def same(self, where, found, again):
        self.count += 1
        if found != again:
            self.differ.append(f"{where}: {found}, again {again}")


def hold(requirements, choice):
    """What of the decision is found again."""
    asked, confidence = requirements["requirements"], choice["confidence_pct"] / 100
    study, held = Study(asked, confidence), Held()
    of_task = [r for r in asked if r["task"] == choice["task"]]
    best = Best([r for r in of_task if r["kind"] != "gate" and r["tag"] is None], confidence)
    for candidate in choice["candidates"]:
        variant, name = named(candidate), candidate["id"]
        quality, again = candidate["quality"], best.interval(variant)
        held.same(f"{name} quality", quality is None, again is None)
        for end in ("value", "low", "high") if quality and again else ():
            held.near(f"{name} quality {end}", quality[end], again[end])
        if variant in study.statements:
            _hold_standing(held, name, candidate["standing"], study.standing(variant))
        else:
            held.same(f"{name} standing", candidate["standing"], None)
    by_id = {c["id"]: named(c) for c in choice["candidates"]}
    for decision in choice["decisions"]:
        able = {by_id[one] for one in decision["able"]}
        lacks = best.lacks(able)
        near = {v for v, (_, most) in lacks.items() if most <= best.margin}
        may_be = {v for v, (least, _) in lacks.items() if least <= 0}
        where = decision["where"]
        held.same(f"{where} near_best", {by_id[one] for one in decision["near_best"]}, near)
        held.same(f"{where} may_be_best", {by_id[one] for one in decision["may_be_best"]}, may_be)
        shown = {v for v in able if v in study.statements and v not in study.held}
        held.same(f"{where} able without holding", shown, set())
    return held


def _hold_standing(held, name, found, again):
    for part in ("verdict", "inside"):
        held.same(f"{name} {part}", found[part], again[part])
    held.near(f"{name} probability", found["probability"], again["probability"], 2 / DRAWS)
    held.same(
        f"{name} more", [m["task"] for m in found["more"]], [m["task"] for m in again["more"]]
    )
    for one, other in zip(found["more"], again["more"], strict=False):
        held.near(f"{name} more items", one["items"], other["items"], 0.02 * other["items"] + 1)
    held.same(f"{name} requirements", len(found["requirements"]), len(again["requirements"]))
    for one, other in zip(found["requirements"], again["requirements"], strict=False):
        where = f"{name} {one['task']} {one['metric']}"
        held.same(f"{where} verdict", one["verdict"], other["verdict"])
        held.near(f"{where} loss", one["loss"], other["loss"], 1e-6)
        held.near(f"{where} margin", one["margin"], other["margin"], 1e-6)
        for end in ("low", "high"):
            held.near(f"{where} {end}", one[end], other[end])


def main():
    requirements, choice = (json.loads(Path(name).read_text()) for name in sys.argv[1:3])
    held = hold(requirements, choice)
    print(*held.differ, f"{held.count} figures, {len(held.differ)} differ", sep="\n")
    sys.exit(bool(held.differ))


if __name__ == "__main__":
    main()
