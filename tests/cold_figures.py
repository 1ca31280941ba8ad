"""Every figure of a study, computed again from the raw records under `results/`.

Reads JSON, and of a model's file the header, with numpy and nothing of the product's. What a
study of the demo's kind has: devices that are measured one by one with one conversation, tasks of
the kinds `squad` and `divergence` computed by default. What else there may be is not computed, and
so not accounted for. Formulas: docs/methodology.md.
"""

import json
import math
import struct
from collections import Counter
from functools import cached_property
from itertools import product
from pathlib import Path

import numpy as np
from cold_reader import FEWEST, Best, Study
from cold_scores import (
    METRICS,
    again,
    compared,
    counts,
    divergence,
    holm,
    mean_spread,
    passage_name,
    quantile_ranks,
    share,
    squad,
    sums_of,
)

Z95 = 1.959963984540054
MIB = 1024**2
BROKEN_PCT, BROKEN_RATIO, CUT_PCT = 2.0, 2.0, 2.0
DISTURBED = "other programs took too much of the processors while it was measured", []
DEFAULT = "f16"
ENDS = "", "_low", "_high"
REFERENCE = "F16"
DECODE_SHARE = (0.55, 0.7, 0.95)
"""Of the memory's bandwidth, what decoding reaches: least, likely, most."""


class Figures:
    """A study's figures.

    Args:
        results: the folder of its results.
    """

    def __init__(self, results, study):
        self.results, self.study = Path(results), study
        self.stated = self.json(f"report/{study}/summary.json")["provenance"]
        """Of the report itself nothing but what it says it was made with."""
        self.config = self.stated["config"]
        self.runtimes = [*self.config["runtimes"]]
        self.variants = [
            (model, quant)
            for model, asked in self.config["models"].items()
            for quant in asked["quants"] or self.config["quants"]
        ]

    def json(self, path):
        return json.loads((self.results / path).read_text(encoding="utf-8"))

    def tasks(self, kind):
        return [name for name, asked in self.config["quality"].items() if asked["task"] == kind]

    @cached_property
    def manifests(self):
        return {(m, q): self.json(f"gguf/{m}/{q}.json") for m, q in self.variants}

    @cached_property
    def widest(self):
        """Model -> the quantization that the others are held against."""
        found = {}
        for model, quant in self.by_width:
            found.setdefault(model, quant)
        return found

    @cached_property
    def by_width(self):
        """Variants, those of a model from the widest to the narrowest."""
        models = [*self.config["models"]]
        bits = {v: bits_per_weight(m) for v, m in self.manifests.items()}
        return sorted(self.variants, key=lambda v: (models.index(v[0]), -bits[v]))

    def quality(self, task):
        """(model, quantization) -> record."""
        return {
            (m, q): self.json(f"quality/{self.study}/{m}/{q}/{DEFAULT}/{task}.json")
            for m, q in self.variants
        }

    # --- cells ------------------------------------------------------------------------------------

    @cached_property
    def cells(self):
        """Id -> what stands in its row, by columns."""
        devices, workloads = self.config["devices"], self.config["workloads"]
        every = product(devices, self.variants, self.runtimes, workloads)
        found = {}
        for device, (model, quant), runtime, workload in every:
            place = {"device": device, "model": model, "quant": quant}
            place |= {"runtime": runtime, "workload": workload}
            cell = self._cell(place)
            found[cell["id"]] = cell
        for task in self.tasks("squad"):
            self._fronts(task, found)
        for task in self.tasks("divergence"):
            self._loss_fronts(task, found)
        return found

    def cells_of(self, model, quant):
        """Any cell of a variant."""
        return next(c for c in self.cells.values() if (c["model"], c["quant"]) == (model, quant))

    def _cell(self, place):
        device, model, quant, runtime, workload = place.values()
        session = self.json(f"bench/{self.study}/{device}/{model}/{quant}/{runtime}.json")
        name = f"{quant} {runtime}" if len(self.runtimes) > 1 else quant
        manifest = self.manifests[model, quant]
        return {
            "study": self.study,
            **place,
            "computation": DEFAULT,
            "status": "ok",
            "id": "/".join(place.values()),
            "variant": name,
            "name": f"{model} {name}",
            "cell": f"{model} {name}, {device}, {workload}",
            "transferred": int(not session["workloads"][workload]["marks"]),
            "agreement": "agrees",
            **self._speed(device, session, session["workloads"][workload], manifest),
            "file_bytes": manifest["bytes"],
            "parameters": manifest["parameters"],
            "bits_per_weight": bits_per_weight(manifest),
            "tensors": tensors_of(manifest),
            "fallback_tensors": len(manifest["fallbacks"]),
            "energy_reason": (session["workloads"][workload]["energy"] or {}).get("reason"),
            "lineage": " > ".join(manifest["lineage"]),
            **{
                f"{task}_{column}": value
                for task in self.config["quality"]
                for column, value in self.scores[task][model, quant].items()
            },
            **{
                f"{task}_{column}": value
                for task in self.tasks("squad")
                for column, value in self._answers(
                    self.quality(task)[model, quant], session["workloads"][workload]
                ).items()
            },
        }

    @staticmethod
    def _answers(record, cell):
        """Every prompt at pp and every token behind it at tg, question by question."""
        if record["status"] != "ok":
            return {}
        prompt = cell["workload"]["prompt_tokens"]
        pp = [prompt / one["pp_s"] for one in cell["repetitions"]]
        tg = [len(one["itl_s"]) / sum(one["itl_s"]) for one in cell["repetitions"]]
        asked = [i for i in record["items"] if i["error"] is None or i["new_tokens"]]
        judged = [item for item in asked if item["golds"]]
        _, low, high = share([i["exact"] for i in judged], [i["paragraph"] for i in judged])
        rates = 1.0, high and high / 100, low and low / 100
        right = sum(item["exact"] for item in judged)
        found = {"answers": len(asked), "j_per_answer": None, "j_per_right_answer": None}
        for name, of in {
            "prompt": lambda item: item["prompt_tokens"],
            "thought": lambda item: item["thought_tokens"],
            "answer": lambda item: item["new_tokens"] - item["thought_tokens"],
        }.items():
            for share_of in (50, 95):
                found[f"{name}_p{share_of}_tokens"] = _within([*map(of, asked)], share_of)

        def seconds(items, pick):
            return [i["prompt_tokens"] / pick(pp) + i["new_tokens"] / pick(tg) for i in items]

        middle = seconds(asked, np.median)
        for share_of in (50, 95):
            key, value = f"answer_p{share_of}", _within(middle, share_of)
            below = [one <= value for one in middle]
            ranks = quantile_ranks(below, [i["paragraph"] for i in asked], share_of / 100)
            found[f"{key}_s"] = value
            for end, rank, pick in zip(("low", "high"), ranks, (max, min), strict=True):
                known = rank is not None
                found[f"{key}_{end}_s"] = sorted(seconds(asked, pick))[rank] if known else None
        found["answer_p50_fast_s"] = _within(seconds(asked, max), 50)
        found["answer_p50_slow_s"] = _within(seconds(asked, min), 50)
        value = right / len(judged) if judged else 0
        spread = math.log1p(
            mean_spread(seconds(judged, np.median), [i["paragraph"] for i in judged])
            if judged
            else 0
        )
        for sign, pick, end, rate in zip(
            (0, -1, 1), (np.median, max, min), ENDS, rates, strict=True
        ):
            mean = np.mean(seconds(judged, pick)) if judged and rate else None
            if mean is None or (not value and sign != -1):
                found[f"s_per_right_answer{end}"] = None
            elif not value:
                found[f"s_per_right_answer{end}"] = mean / rate / math.exp(spread)
            else:
                reach = math.hypot(spread, math.log(rate / value)) if sign else 0
                found[f"s_per_right_answer{end}"] = mean / value * math.exp(sign * reach)
        return found

    def how_measured(self, name):
        """The machine before and after, and each repetition's numbers."""
        device, model, quant, runtime, workload = name.split("/")
        session = self.json(f"bench/{self.study}/{device}/{model}/{quant}/{runtime}.json")
        cell = session["workloads"][workload]
        felt = (cell["apart"] or session)["environment"]
        prompt, every = cell["workload"]["prompt_tokens"], cell["repetitions"]
        return [
            *(_moment(felt[when]) for when in ("before", "after")),
            [prompt / one["pp_s"] for one in every],
            [len(one["itl_s"]) / sum(one["itl_s"]) for one in every],
            [one["ttft_s"] for one in every],
            [one.get("contention", {}).get("others_pct") for one in every],
        ]

    def _memory_rate(self, device, session):
        """The fastest read before any of the device's sessions on the same machine."""

        def machine(one):
            known = one["environment"]["machine"]
            return known["board"], known["cpu"], known["kernel"], one["limits"]

        folder = self.results / f"bench/{self.study}/{device}"
        every = [json.loads(path.read_text("utf-8")) for path in folder.glob("*/*/*.json")]
        known = [one for one in every if one.get("bandwidth") and machine(one) == machine(session)]
        return max(one["bandwidth"]["memory_read_bytes_per_s"] for one in known)

    def _speed(self, device, session, cell, manifest):
        assert {*cell["marks"]} <= {"disturbed"}, "no other mark is of the demo's kind"
        assert not cell["depths"], "nor are depths"
        told = [one["contention"] for one in cell["repetitions"] if "contention" in one]
        others = max((one["others_pct"] for one in told), default=None)
        disturbed = (others or 0.0) > session["others_at_most_pct"]
        assert disturbed == ("disturbed" in cell["marks"]), (others, cell["marks"])
        kept = cell["memory"]
        apart = None not in (kept["anonymous_bytes"], kept["file_bytes"])
        needed = kept["anonymous_bytes"] + kept["file_bytes"] if apart else kept["peak_rss_bytes"]
        prompt = cell["workload"]["prompt_tokens"]
        pp = [prompt / one["pp_s"] for one in cell["repetitions"]]
        tg = [len(one["itl_s"]) / sum(one["itl_s"]) for one in cell["repetitions"]]
        itl = np.concatenate([one["itl_s"] for one in cell["repetitions"]])
        how, bandwidth = cell["apart"] or session, session["bandwidth"] or {}
        heat = session["samples"]["temperature_c"]
        memory = self._memory_rate(device, session) if bandwidth else None
        read = manifest["read_per_token_bytes"] * float(np.median(tg))
        share = read / memory if memory and read else None
        return {
            "pp_tps": float(np.median(pp)),
            "pp_min_tps": min(pp),
            "pp_max_tps": max(pp),
            "tg_tps": float(np.median(tg)),
            "tg_min_tps": min(tg),
            "tg_max_tps": max(tg),
            "tg_sd_tps": float(np.std(tg, ddof=1)) if len(tg) > 1 else None,
            "repetitions": len(tg),
            "set_aside": len(cell["set_aside"]),
            "others_pct": others,
            "marks": "; ".join(cell["marks"]),
            "ttft_s": float(np.median([one["ttft_s"] for one in cell["repetitions"]])),
            "itl_p50_s": float(np.percentile(itl, 50)),
            "itl_p95_s": float(np.percentile(itl, 95)),
            "itl_max_s": float(itl.max()),
            "cold_load_s": how["load"]["cold_s"],
            "warm_load_s": how["load"]["warm_s"],
            "memory_bytes": needed,
            "anonymous_bytes": kept["anonymous_bytes"],
            "file_read_bytes": kept["file_bytes"],
            "peak_rss_bytes": kept["peak_rss_bytes"],
            "major_faults": cell["memory"]["major_faults"],
            "threads": how["settings"]["threads"],
            "context_tokens": cell["context_tokens"],
            "hottest_c": max((value for _, value in heat), default=None),
            "memory_read_bytes_per_s": memory,
            "storage_read_bytes_per_s": bandwidth.get("storage_read_bytes_per_s"),
            "tg_memory_share": share,
            "roofline_tps": float(np.median(tg)) / share if share else None,
        }

    def _fronts(self, task, cells):
        """1 where nothing is ahead in score and speed beyond the noise (`_front`), of what is not
        broken (`_broken`)."""
        places = dict.fromkeys((c["device"], c["workload"]) for c in cells.values())
        for cell in cells.values():
            cell[f"{task}_front"] = cell[f"{task}_answer_front"] = 0
            scored = self._scored_everywhere(cell)
            cell[f"{task}_broken"] = int(scored and bool(self.broken(cell, task)))
        for place in places:
            able = [
                c
                for c in cells.values()
                if (c["device"], c["workload"]) == place
                and self._scored_everywhere(c)
                and not c["marks"]
                and not self.broken(c, task)
            ]
            for one in able:
                one[f"{task}_front"] = int(
                    not any(_beaten(_f1(o, task), _f1(one, task), _tg(o), _tg(one)) for o in able)
                )
                one[f"{task}_answer_front"] = int(
                    not any(
                        _beaten(_f1(o, task), _f1(one, task), _half(o, task), _half(one, task))
                        for o in able
                    )
                )

    def _loss_fronts(self, task, cells):
        """What is lost (`_loss`, with what a logarithmic axis draws of its 95 %), of all but the
        F16; and 1 where nothing of its model loses less and is faster (`_front`)."""
        places = dict.fromkeys((c["device"], c["workload"], c["model"]) for c in cells.values())
        for cell in cells.values():
            cell[f"{task}_front"] = cell[f"{task}_answer_front"] = 0
            cell[f"{task}_broken"] = int(
                self._scored_everywhere(cell) and bool(self.babbling(cell))
            )
            drawn = cell["quant"] != "F16" and (cell[f"{task}_kld_mean_nats"] or 0) > 0
            value, worse, better = [-end for end in _loss(cell, task)] if drawn else [None] * 3
            cell[f"{task}_loss"], cell[f"{task}_loss_high"] = value, worse
            cell[f"{task}_loss_low"] = max(better, value / 10) if drawn else None
        for place in places:
            able = [
                c
                for c in cells.values()
                if (c["device"], c["workload"], c["model"]) == place
                and c[f"{task}_loss"] is not None
                and self._scored_everywhere(c)
                and not c["marks"]
                and not self.babbling(c)
            ]
            for one in able:
                one[f"{task}_front"] = int(
                    not any(
                        _beaten(_loss(o, task), _loss(one, task), _tg(o), _tg(one)) for o in able
                    )
                )

    def _scored_everywhere(self, cell):
        return all(cell[f"{task}_status"] == "ok" for task in self.config["quality"])

    def babbling(self, cell):
        """As of `broken`: what a text says of it."""
        for text in self.tasks("divergence"):
            ratio, error = cell[f"{text}_perplexity_ratio"], cell[f"{text}_perplexity_ratio_se"]
            if ratio is not None and ratio - Z95 * (error or 0) > BROKEN_RATIO:
                return f"broken: its perplexity on {text} is {{}} times the F16's", [ratio]
        return None

    def broken(self, cell, task):
        """What no limit excuses: the sentence and its figures, or None."""
        if babbling := self.babbling(cell):
            return babbling
        answered, abstained = (cell[f"{task}_{name}_pct"] for name in ("has_ans_f1", "no_ans_em"))
        if answered is not None and answered <= BROKEN_PCT:
            return "broken: F1 on the questions that have an answer is {} %", [answered]
        if abstained is not None and abstained <= BROKEN_PCT:
            said = "broken: it abstains on {} % of the questions that have no answer"
            return said, [abstained]
        return None

    # --- scores -----------------------------------------------------------------------------------

    @cached_property
    def scores(self):
        """Task -> variant -> its columns."""
        found = {}
        for task in self.tasks("squad"):
            records = self.quality(task)
            found[task] = {v: squad(record) for v, record in records.items()}
        for variant, (task, one) in ((c["variant"], (c["task"], c)) for c in self.comparisons):
            found[task][variant] |= {
                "f1_difference_pct": one["difference_pct"],
                "f1_difference_low_pct": one["low_pct"],
                "f1_difference_high_pct": one["high_pct"],
                "f1_p_adjusted": one["p_adjusted"],
                "f1_verdict": one["verdict"],
            }
        for task in self.tasks("divergence"):
            records = self.quality(task)
            found[task] = {v: divergence(record) for v, record in records.items()}
        return found

    @cached_property
    def comparisons(self):
        """Of each variant with the widest of its model, all tasks together."""
        found = []
        for task in self.tasks("squad"):
            items = {v: r["items"] for v, r in self.quality(task).items() if r["status"] == "ok"}
            for variant in self.by_width:
                reference = variant[0], self.widest[variant[0]]
                if variant != reference and {variant, reference} <= items.keys():
                    one = compared(items[reference], items[variant])
                    found.append({"task": task, "variant": variant, "reference": reference, **one})
        for key, source in (("p_adjusted", "p"), ("exact_p_adjusted", "exact_p")):
            for one, p in zip(found, holm([one[source] for one in found]), strict=True):
                one[key] = p
        for one in found:
            told = one["p_adjusted"] is not None and one["p_adjusted"] <= 0.05
            better = "better" if one["difference_pct"] > 0 else "worse"
            one["verdict"] = better if told else "not distinguishable"
        return found

    @cached_property
    def questions(self):
        """Task -> its questions: how many, without an answer, on how many paragraphs."""
        found = {}
        for task in self.tasks("squad"):
            record = self.json(f"questions/{self.study}/{task}.json")
            paragraphs = [p for a in record["squad"]["data"] for p in a["paragraphs"]]
            asked = [qa for paragraph in paragraphs for qa in paragraph["qas"]]
            found[task] = {
                **{key: record[key] for key in ("source", "sha256")},
                "questions": len(asked),
                "unanswerable": sum(not qa["answers"] for qa in asked),
                "paragraphs": len(paragraphs),
            }
        return found

    def abstaining_pct(self, task):
        asked = self.questions[task]
        return 100 * asked["unanswerable"] / asked["questions"]

    # --- what is required of quality --------------------------------------------------------------

    @cached_property
    def task(self):
        """Whose score decides."""
        asked = (self.config["constraints"] or {}).get("task")
        return asked or next(iter(self.tasks("squad")), None)

    @cached_property
    def workload(self):
        asked = (self.config["constraints"] or {}).get("workload")
        return asked or next(iter(self.config["workloads"]))

    @property
    def confidence_pct(self):
        return (self.config["constraints"] or {}).get("confidence_pct", 95)

    @cached_property
    def requirements(self):
        """As `cold_reader` takes them, out of the items."""
        texts = [self._of_text(task) for task in self.tasks("divergence")]
        squads = [r for task in self.tasks("squad") for r in self._of_questions(task)]
        return [*filter(None, texts), *squads]

    def _of_text(self, task):
        margin = self.config["quality"][task]["perplexity_rise_at_most_pct"]
        records = {v: r for v, r in self.quality(task).items() if r["status"] == "ok"}
        if margin is None or not records:
            return None
        chunks = max(record["chunks"] for record in records.values())
        variants = []
        for (model, quant), record in records.items():
            sums = record["chunk_sums"]
            missing = [0] * (chunks - len(sums))
            nats = [one["nll"] - one["reference_nll"] for one in sums]
            tokens = [record["positions_per_chunk"]] * len(sums)
            lost = {"kind": "log ratio", "items": tokens + missing, "nats": nats + missing}
            reference = quant == REFERENCE
            one = {"model": model, "quant": quant, "computation": DEFAULT, "reference": reference}
            variants.append({**one, "score": None, "loss": None if reference else lost})
        return {
            "task": task,
            "metric": "perplexity",
            "tag": None,
            "margin": margin,
            "kind": "loss",
            "cluster": "window",
            "clusters": [f"window {at:06}" for at in range(chunks)],
            "asked": chunks,
            "variants": variants,
        }

    def _of_questions(self, task):
        asked = self.config["quality"][task]
        yield self._of_metric(task, "has_ans_f1", asked["has_ans_f1_drop_at_most"])
        yield self._of_metric(task, "no_ans", asked["no_ans_drop_at_most"])
        for gate in self.config["gates"]:
            if gate["task"] == task:
                found = self._of_metric(task, gate["metric"], gate["at_least_pct"])
                yield {**found, "kind": "gate"}

    def _of_metric(self, task, metric, margin):
        squad = self.json(f"questions/{self.study}/{task}.json")["squad"]
        article = {
            qa["id"]: one["title"] or passage_name(paragraph["context"])
            for one in squad["data"]
            for paragraph in one["paragraphs"]
            for qa in paragraph["qas"]
        }
        clusters = sorted({*article.values()})
        place = {name: at for at, name in enumerate(clusters)}
        of_item, belongs = METRICS[{"no_ans": "no_ans_em"}.get(metric, metric)]
        items = {
            variant: {
                item["id"]: (place[article[item["id"]]], of_item(item))
                for item in map(again, record["items"])
                if belongs(item)
            }
            for variant, record in self.quality(task).items()
            if record["status"] == "ok"
        }
        variants = []
        for (model, quant), own in items.items():
            reference = quant == self.widest[model]
            one = {"model": model, "quant": quant, "computation": DEFAULT, "reference": reference}
            widest = items.get((model, self.widest[model]), {})
            both = [(at, widest[i][1] - score) for i, (at, score) in own.items() if i in widest]
            lost = {
                "kind": "paired",
                "items": counts(both, len(clusters)),
                "lost": sums_of([(at, max(0.0, loss)) for at, loss in both], len(clusters)),
                "gained": sums_of([(at, max(0.0, -loss)) for at, loss in both], len(clusters)),
            }
            scored = {
                "items": counts([*own.values()], len(clusters)),
                "score": sums_of([*own.values()], len(clusters)),
            }
            one |= {
                "score": scored if own else None,
                "loss": None if reference or not both else lost,
            }
            variants.append(one)
        return {
            "task": task,
            "metric": metric,
            "tag": None,
            "margin": margin or 0.0,
            "kind": "score" if margin is None else "loss",
            "cluster": "passage",
            "clusters": clusters,
            "asked": len(article),
            "variants": variants if any(one["score"] for one in variants) else [],
        }

    @cached_property
    def judged(self):
        return Study(self.requirements, self.confidence_pct / 100)

    @cached_property
    def standings(self):
        """(model, quantization) -> what `cold_reader` finds, from the widest to the narrowest."""
        known = self.judged.statements
        return {v: self._standing(v) for v in self.by_width if (*v, DEFAULT) in known}

    def _standing(self, variant):
        found = self.judged.standing((*variant, DEFAULT))
        own = self.judged.statements[(*variant, DEFAULT)]
        missing = self.judged.missing.get((*variant, DEFAULT), [])
        for one, requirement in zip(
            found["requirements"], [*(s.requirement for s in own), *missing], strict=True
        ):
            mine = next((e for e in requirement["variants"] if _of(e) == variant), None)
            told = mine and mine["score" if requirement["kind"] == "gate" else "loss"]
            one["requirement"] = requirement
            one["items"] = sum(told["items"]) if told else 0
            one["clusters"] = int(np.count_nonzero(told["items"])) if told else 0
        return {**found, "reference": (*variant, DEFAULT) in self.judged.references}

    @cached_property
    def best(self):
        """The quality of all, on the task that decides."""
        of_task = [r for r in self.requirements if r["task"] == self.task and r["kind"] != "gate"]
        return Best(of_task, self.confidence_pct / 100)

    @cached_property
    def candidates(self):
        """The cells of the workload that is decided on, each with its quality and what rules it
        out: sentences with their figures."""
        here = (c for c in self.cells.values() if c["workload"] == self.workload)
        return [
            {**cell, "quality": self._quality(cell), "killed_by": self._kills(cell)}
            for cell in here
        ]

    def _quality(self, cell):
        return self.best.interval((cell["model"], cell["quant"], DEFAULT))

    def _kills(self, cell):
        found, variant = [], (cell["model"], cell["quant"])
        if cell["marks"]:
            found.append(DISTURBED)
        if self.task and (broken := self.broken(cell, self.task)):
            found.append(broken)
        known = self.best.known.get((*variant, DEFAULT))
        if self.task and known and known[2] < FEWEST:
            said = f"{self.task} rests on {{}} passage{'s' if known[2] != 1 else ''}; below {{}} "
            said += "nothing can be said of any variant"
            return [*found, (said, [known[2], FEWEST])]
        standing = self.standings.get(variant)
        if standing is None or standing["verdict"] == "holds":
            return found
        fails = standing["verdict"] == "fails"
        what = "shown to lose too much quality" if fails else "not shown to lose little enough"
        missed = [r for r in standing["requirements"] if r["verdict"] == standing["verdict"]]
        said, figures = zip(*map(_loss_said, missed), strict=True)
        return [*found, (f"{what}: {'; '.join(said)}", [f for own in figures for f in own])]

    # --- predictions ------------------------------------------------------------------------------

    @cached_property
    def predictions(self):
        """Cell id -> speed of generation as predicted: least, likely, most."""
        return {name: self._predicted(cell) for name, cell in self.cells.items()}

    def _predicted(self, cell):
        """All of the weights and of the cache that is filled, at what decoding gets of the memory;
        of what fits in memory with room to spare, on a device that names no preset."""
        device, model, quant, runtime, workload = cell["id"].split("/")
        session = self.json(f"bench/{self.study}/{device}/{model}/{quant}/{runtime}.json")
        free = session["environment"]["before"]["memory_available_bytes"]
        weights = self.manifests[model, quant]["read_per_token_bytes"]
        bandwidth, preset = session["bandwidth"], self.config["devices"][device].get("preset")
        base = self.results / f"gguf/{model}/{REFERENCE}.gguf"
        if preset or bandwidth is None or 2 * weights > free or not base.is_file():
            return None
        tokens = cell["context_tokens"]
        of_model = {key.partition(".")[2]: value for key, value in gguf_fields(base).items()}
        heads = of_model["attention.head_count"]
        width = of_model.get("attention.key_length", of_model["embedding_length"] // heads)
        rows = of_model["block_count"] * math.ceil(tokens / 256) * 256
        cache = 2 * 2 * of_model["attention.head_count_kv"] * width * rows
        cache = int(float(f"{cache / MIB:.2f}") * MIB)  # as the engine prints it
        prompt = self.config["workloads"][workload]["prompt_tokens"]
        per_token = weights + cache * min(1, prompt / tokens)
        return [share * bandwidth["memory_read_bytes_per_s"] / per_token for share in DECODE_SHARE]


def _moment(felt):
    throttled, speeds = felt["throttled"], felt["frequency_hz"]
    day, time = felt["at"].split("T")
    return [
        f"{day} {time.removesuffix('+00:00')} UTC",
        felt["governor"],
        max(speeds) if speeds else None,
        felt["temperature_c"],
        None if throttled is None else "; ".join(throttled["now"]) or "not throttled",
        felt["load_1min"],
        felt["memory_available_bytes"],
        felt["swap_free_bytes"],
    ]


def _of(evidence):
    return evidence["model"], evidence["quant"]


def tensors_of(manifest):
    return sum(kind["tensors"] for kind in manifest["tensors_by_type"].values())


def bits_per_weight(manifest):
    """Of what the tensors take; the rest of the file is the vocabulary."""
    kinds = manifest["tensors_by_type"].values()
    return 8 * sum(kind["bytes"] for kind in kinds) / sum(kind["parameters"] for kind in kinds)


def fallbacks_of(manifest):
    """What was wanted, what it became, and how often."""
    return Counter(f"{one['wanted']} > {one['got']}" for one in manifest["fallbacks"])


# --- two numbers of cells against each other ------------------------------------------------------


def _within(values, share_of):
    """What so many per cent of them do not exceed."""
    return sorted(values)[math.ceil(share_of / 100 * len(values)) - 1]


def _f1(cell, task):
    """The value and its ends, the worse first; so of the others, all turned so that more is
    better."""
    return [cell[f"{task}_f1_{name}"] for name in ("pct", "low_pct", "high_pct")]


def _tg(cell):
    several = cell["repetitions"] > 1
    ends = (cell["tg_min_tps"], cell["tg_max_tps"]) if several else (None, None)
    return cell["tg_tps"], *ends


def _half(cell, task):
    half, several = f"{task}_answer_p50", cell["repetitions"] > 1
    ends = (cell[f"{half}_slow_s"], cell[f"{half}_fast_s"]) if several else (None, None)
    return [value and -value for value in (cell[f"{half}_s"], *ends)]


def _loss(cell, task):
    value, error = (cell[f"{task}_kld_mean_nats{end}"] for end in ("", "_se"))
    return -value, -value - Z95 * (error or 0), -value + Z95 * (error or 0)


def _beaten(*pairs):
    """Nowhere behind, and somewhere ahead beyond the noise: the interval of the difference, from
    those of the two, leaves out 0.

    Args:
        pairs: of one and the other in each quantity, one after the other.
    """
    beyond = False
    for one, other in zip(pairs[::2], pairs[1::2], strict=True):
        gap = one[0] - other[0]
        if gap < 0:
            return False
        ends = one[1], other[2]
        if gap and None not in ends:
            reach = (one[0] - ends[0]) ** 2 + (ends[1] - other[0]) ** 2
            beyond |= gap**2 > reach
    return beyond


def _loss_said(found):
    """What of a requirement is missed: the sentence, and its figures."""
    requirement, gate = found["requirement"], found["requirement"]["kind"] == "gate"
    name = (
        f"{requirement['task']}, {METRIC_NAMES.get(requirement['metric'], requirement['metric'])}"
    )
    if found["loss"] is None:
        return f"{name}: not compared with the widest", []
    figures = [found[key] for key in ("loss", "low", "high")]
    margin = found["margin"]
    if gate:
        value, low, high = figures
        figures, margin = [-value, -high, -low], -margin
        said = f"{name}: {{}} % ({{}} to {{}}) where {{}} are asked for"
    elif requirement["metric"] == "perplexity":
        said = f"{name}: a rise of {{}} % ({{}} to {{}}) where {{}} are put up with"
    else:
        said = f"{name}: a loss of {{}} points ({{}} to {{}}) where {{}} are put up with"
    figures.append(margin)
    if found["clusters"] < FEWEST:
        what = requirement["cluster"] + ("" if found["clusters"] == 1 else "s")
        said, figures = f"{said}; {{}} {what} are too few", [*figures, found["clusters"]]
    return said, figures


METRIC_NAMES = {
    "has_ans_f1": "F1 where there is an answer",
    "no_ans": "abstentions where there is no answer",
    "f1": "F1",
    "exact": "exact matches",
    "has_ans_exact": "exact matches where there is an answer",
    "no_ans_f1": "abstentions where there is no answer",
}


# --- a model's file -------------------------------------------------------------------------------

SCALARS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
TEXT, ARRAY = 8, 9


def gguf_fields(path):
    """The numbers and texts of a GGUF file's header."""
    with path.open("rb") as file:

        def read(form):
            size = struct.calcsize("<" + form)
            return struct.unpack("<" + form, file.read(size))[0]

        def value(kind):
            if kind == TEXT:
                return file.read(read("Q")).decode()
            if kind == ARRAY:
                inner, count = read("I"), read("Q")
                if inner in SCALARS:
                    file.seek(count * struct.calcsize("<" + SCALARS[inner]), 1)
                else:
                    for _ in range(count):
                        value(inner)
                return None
            return read(SCALARS[kind])

        assert file.read(4) == b"GGUF", path
        read("I"), read("Q")
        return {value(TEXT): value(read("I")) for _ in range(read("Q"))}
