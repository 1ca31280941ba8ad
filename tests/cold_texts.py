"""What the page of a study should say: texts, tables and data of charts, from `cold_figures`.

Every text is known by its words, with the names of its figures in braces, and every cell of a table
by its row and its column.
"""

import math
import re
from typing import NamedTuple

from cold_figures import CUT_PCT, DISTURBED, METRIC_NAMES, Z95, fallbacks_of, tensors_of
from cold_reader import DRAWS, POINT

NUMBER = r"-?\d+(?:,\d{3})*(?:\.\d+)?(?:e[+-]?\d+)?"

CACHES = {
    "KV cache f32": (0.0, 0.0, 100, 100),
    "KV cache bf16": (0.00004, 0.0070, 94, 100),
    "KV cache f16-noflash": (0.000003, 0.0066, 94, 100),
    "KV cache q8_0": (0.0002, 0.0070, 93, 100),
    "KV cache q5_1": (0.0092, 0.0189, 89, 97),
    "KV cache q5_0": (0.0092, 0.0253, 87, 96),
    "KV cache q4_1": (0.0394, 0.0484, 81, 92),
    "KV cache q4_0": (0.0422, 0.0677, 81, 88),
    "KV cache iq4_nl": (0.0409, 0.0523, 83, 88),
    "Q8_0 in F16's place": (0.0039, 0.0039, 96, 96),
    "Q4_K_M in F16's place": (0.0542, 0.0542, 82, 82),
    "Q4_0 in F16's place": (0.3114, 0.3114, 71, 71),
}
"""Measured once for docs/methodology.md (*Whose score*), and no figure of a study: least and
greatest KL divergence, nats; least and greatest agreement, %."""


UNDECIDED = "not shown to lose little enough"
WIDE_RATIO = 1.5


class Near(NamedTuple):
    """A figure that a draw leaves uncertain by so much."""

    value: float
    by: float


class Upwards(NamedTuple):
    """A count in two digits, rounded upwards, that a search leaves uncertain."""

    least: float
    most: float


class Said(NamedTuple):
    """A text, its figures by name in braces, and what they are."""

    text: str
    figures: list = []  # noqa: RUF012 (of a named tuple, and never changed)

    def pattern(self):
        parts = re.split(r"\{([^{}]*)\}", self.text)
        return "".join(
            f"({NUMBER})" if at % 2 else re.escape(part) for at, part in enumerate(parts)
        )

    @property
    def names(self):
        return re.findall(r"\{([^{}]*)\}", self.text)


def upwards(items):
    items = math.ceil(items)
    step = 10 ** max(0, len(str(items)) - 2)
    return -(-items // step) * step


def drawn(points):
    """A bound whose level comes from the draws."""
    return None if points is None else Near(points, POINT)


def more_of(found):
    """So many more items, as a search finds them that ends within 1 %."""
    return Upwards(0.99 * found["items"], 1.01 * found["items"])


class Expected:
    """Of every place of the English page, the texts that may stand there with their figures."""

    def __init__(self, figures, page):
        self.figures, self.config = figures, figures.config
        self._sentences = {}
        self.candidates = figures.candidates
        self.lenient = not any(map(self._may_be_taken, self.candidates))
        self.able = [c for c in self.candidates if not self.faults(c)]
        title = next(b for b in page.blocks if b.tag == "h1").text.replace("\n", " ")
        self.pick = next(
            (c for c in self.candidates if title.startswith(f"{self.variant(c)} on {c['device']}")),
            None,
        )

    @staticmethod
    def _may_be_taken(candidate):
        return all(text.startswith(UNDECIDED) for text, _ in candidate["killed_by"])

    def faults(self, candidate):
        """That nothing can be decided on but what was disturbed excuses that."""
        found = candidate["killed_by"]
        return [one for one in found if not self.lenient or one != DISTURBED]

    def picked_rightly(self):
        """Who is picked keeps to everything, or nothing does and it is not shown to fail."""
        if self.pick is None:
            return not self.able
        if self.able:
            return self.pick in self.able
        standing = self.figures.standings[self.key(self.pick)]
        return standing["verdict"] == "undecided" and len(self.faults(self.pick)) == 1

    @staticmethod
    def key(cell):
        return cell["model"], cell["quant"]

    def variant(self, cell):
        several = len(self.figures.runtimes) > 1
        runtime = f" ({cell['runtime']})" if several else ""
        return f"{cell['model']} {cell['quant']}{runtime}"

    def name(self, cell):
        return f"{self.variant(cell)} on {cell['device']}"

    # --- sentences --------------------------------------------------------------------------------

    def sentences(self, section):
        """The texts of a section."""
        if section not in self._sentences:
            self._sentences[section] = [*self._of_section(section)]
        return self._sentences[section]

    def _of_section(self, section):
        if section.startswith("divergence-"):
            return self._windows(section.removeprefix("divergence-"))
        of = {
            "decision": self._decision,
            "warnings": self._warnings,
            "measured": self._measured,
            "predictions": self._predictions,
            "provenance": self._provenance,
        }
        return of.get(section, list)()

    def clauses(self):
        """Beginning of a sentence -> the clauses that it is made of."""
        kills = {self.name(c): self.kills(c) for c in self.candidates if c["killed_by"]}
        changes = [
            Said(text, kill.figures)
            for name, found in kills.items()
            for kill in found
            for text in (
                f"{name} would be picked if it held ({kill.text})",
                f"{name} would be picked but was set aside ({kill.text})",
            )
        ]
        ors = [Said(f"or {one.text}", one.figures) for one in changes]
        nearest = [
            Said(f"the nearest is {n}, but {k[0].text}", k[0].figures) for n, k in kills.items()
        ]
        rest = [kill for found in kills.values() for kill in found]
        second = [
            Said(f"the runner-up is {self.name(c)}: {numbers.text}", numbers.figures)
            for c in self.candidates
            for numbers in [self.numbers(c)]
        ]
        begins = ("No other that keeps to everything", "It is picked", "In ", "So ")
        return {
            "To know: ": [*changes, *self._cautions()],
            "One change is enough: ": [*changes, *ors],
            "No single change is enough; ": [*nearest, *rest],
            **dict.fromkeys(begins, second),
        }

    def kills(self, cell):
        """As the page words them."""
        return [Said(text, [drawn(f) for f in figures]) for text, figures in cell["killed_by"]]

    def why(self, cell):
        """All of them, in one text."""
        found = self.kills(cell)
        return Said("; ".join(k.text for k in found), [f for k in found for f in k.figures])

    def _cautions(self):
        found, task = [], self.figures.task
        if self.pick is None or task is None:
            return found
        slowest, fastest = self.pick["tg_min_tps"], self.pick["tg_max_tps"]
        if fastest > WIDE_RATIO * slowest and not self.pick["marks"]:
            said = (
                "its fastest repetition is {ratio} times as fast as its slowest, and nothing that "
            )
            found.append(Said(f"{said}that was watched explains it", [fastest / slowest]))
        cut = self.pick[f"{task}_cut_pct"]
        if cut is not None and cut >= CUT_PCT:
            said = "{answers cut, %} % of its answers were cut at max_new_tokens: their scores are "
            found.append(Said(f"{said}the bound's, too", [cut]))
        widest = self.pick["model"], self.figures.widest[self.pick["model"]]
        both = self.key(self.pick), widest
        items, of = (self.figures.scores[task][variant]["items"] for variant in both)
        if items < of:
            said = "its F1 is of {questions} questions, the widest's of {questions of the widest}"
            found.append(Said(said, [items, of]))
        return found

    def numbers(self, cell):
        """Speed, quality and memory with their intervals."""
        text, figures = "{tg, tokens/s} tokens/s", [cell["tg_tps"]]
        if cell["repetitions"] > 1:
            text += " ({least} to {greatest})"
            figures += [cell["tg_min_tps"], cell["tg_max_tps"]]
        if quality := cell["quality"]:
            text, figures = f"{text}, {{quality, %}} % quality", [*figures, quality["value"]]
            if quality["low"] is not None:
                text += " ({95 % from} to {95 % to})"
                figures += [quality["low"], quality["high"]]
        unit, scale = ("GB", 1e9) if cell["memory_bytes"] >= 1e9 else ("MB", 1e6)
        text += f", {{memory}} {unit} of memory"
        return Said(text, [*figures, cell["memory_bytes"] / scale])

    def _decision(self):
        found = [*self._headline(), *self._candidate_sentences()]
        ruled_out = sum(bool(c["killed_by"]) for c in self.candidates)
        found += [
            Said(
                "Each variant against the widest of its model, on the same items. The dot is the "
                "loss, the line its bounds, all of them right at once with {confidence, %} % "
                "confidence; dashed is the margin. A variant holds where every line ends left of "
                "its margin, fails where one begins right of it, and is undecided else. Far from "
                "the margin the scale is logarithmic.",
                [self.figures.confidence_pct],
            ),
            Said(
                "Why not the others: {ruled out} of {candidates} cells are ruled out",
                [ruled_out, len(self.candidates)],
            ),
            Said(
                f"{{cells}} cells, {{failed}} failed or not run. Made by llmpi "
                f"{self.figures.stated['llmpi']}, {self.figures.stated['summarized'][:10]}.",
                [len(self.figures.cells), 0],
            ),
            Said(
                "Overall, nothing can be recommended: none of {candidates} candidates keeps to "
                "everything.",
                [len(self.candidates)],
            ),
        ]
        return [*found, *map(self._required, self.figures.requirements), *self._counted()]

    def _headline(self):
        if self.pick is None:
            return []
        quality, memory = self.pick["quality"], self.pick["memory_bytes"] / 1e6
        speed = [self.pick[key] for key in ("tg_tps", "tg_min_tps", "tg_max_tps")]
        return [
            Said("{tg} tokens/s\n{least}–{greatest}", speed),
            Said("{tg} tokens/s", speed[:1]),
            Said("{memory} MB of memory", [memory]),
            *_quality_said(quality),
            *self._place(),
        ]

    def _place(self):
        """Which board it was."""
        device = self.pick["device"]
        machine = self.figures.json(f"devices/{device}.json")["machine"]
        board = machine["board"] or machine["cpu"]
        text = f"Measured on {device}: {board}, {{memory, GB}} GB of memory."
        if "Raspberry Pi" not in board:
            text += " It is no Raspberry Pi: its speeds say nothing about one."
        return [Said(text, [machine["memory_bytes"] / 1e9])]

    def _candidate_sentences(self):
        if self.pick is None:
            return []
        task, numbers = self.figures.task, self.numbers(self.pick)
        found = [
            Said(f"Overall, take {self.name(self.pick)}{now}: {numbers.text}.", numbers.figures)
            for now in ("", " for now")
        ]
        if task is not None:
            said = "Caution: a program that never answers would have an F1 of {always abstaining}, "
            figures = [self.figures.abstaining_pct(task), self.pick[f"{task}_f1_pct"]]
            found.append(Said(f"{said}more than its {{F1}}.", figures))
        for other in filter(None, (self.pick, self._smaller())):
            found += self._beside(other)
        return found

    def _beside(self, other):
        """What would tell of the smaller one that may do, or of the pick itself."""
        standing = self.figures.standings.get(self.key(other))
        if standing is None or standing["verdict"] != "undecided":
            return
        more, figures = self.more(standing)
        chance, odds = self.odds(standing)
        if other is self.pick:
            if chance:
                more = f"that it holds has, by itself, a probability {chance}; {more}"
            yield Said(f"{more[0].upper()}{more[1:]}.", [*odds, *figures])
            return
        yield Said(f"{more[0].upper()}{more[1:]}.", figures)
        chance = f"; that it holds has, by itself, a probability {chance}" if chance else ""
        speeds = [self.pick["tg_tps"], other["tg_tps"]]
        memory = [c["memory_bytes"] / 1e6 for c in (self.pick, other)]
        for name in (self.variant(other), self.name(other)):
            yield Said(
                "Of the undecided, the smallest that has all its estimates within the margins is "
                f"{name}{chance}. The price of caution: {{its tg}} tokens/s where it has "
                "{the other's tg} and {its memory, MB} MB of memory where it has "
                "{the other's memory, MB}.",
                [*odds, *speeds, *memory],
            )

    def odds(self, standing):
        """The probability in words, with its figure where there is one."""
        probability = standing["probability"]
        if probability is None:
            return "", []
        if probability > 0.99:
            return "of more than 99 %", []
        if probability < 0.01:
            return "of less than 1 %", []
        return "of {probability, %} %", [Near(100 * probability, 100 * 2 / DRAWS)]

    def more(self, standing):
        """What would tell, and which line of the config asks for it."""
        if not standing["more"]:
            return "no reasonable number of questions would tell", []
        told, figures = [], []
        for one in standing["more"]:
            task = one["task"]
            asked = next(r["asked"] for r in self.figures.requirements if r["task"] == task)
            kind = self.config["quality"][task]["task"]
            key = {"squad": "questions", "divergence": "chunks"}[kind]
            item = {"squad": "question", "divergence": "window"}[kind]
            bound = self.config["quality"][task][key]
            said = f"{{more {item}s}} more {item}s of {task} "
            figures.append(more_of(one))
            if bound is None or asked < bound:
                said += "(all {asked} there are were asked, so they have to be added)"
                figures.append(asked)
            else:
                said += f"(quality.{task}.{key}: {{to ask}})"
                least, most = (upwards(n) / asked + 1 for n in more_of(one))
                figures.append(Near(bound * (least + most) / 2, bound * (most - least) / 2 + 1))
            told.append(said)
        return f"about {_and(told)} would tell, four times in five", figures

    def _required(self, requirement):
        name, margin = self.required(requirement)
        return Said(f"{name}\n{margin}", [requirement["margin"]])

    @staticmethod
    def required(requirement):
        """Its name, and what is put up with."""
        metric = requirement["metric"]
        name = f"{requirement['task']}: {METRIC_NAMES.get(metric, metric)}"
        if requirement["kind"] == "gate":
            return name, "at least {margin} %"
        if metric == "perplexity":
            return name, "a rise of at most {margin} %"
        return name, "a loss of at most {margin} points"

    def _counted(self):
        """How many candidates each fault rules out."""
        names = {
            "not shown to lose little enough": "not shown to hold",
            "shown to lose too much quality": "loses too much quality",
            "broken": "broken",
            DISTURBED[0]: "disturbed by other programs",
        }
        found = {}
        for candidate in self.candidates:
            for text, _ in candidate["killed_by"]:
                name = names.get(text.partition(":")[0], "too few passages")
                found[name] = found.get(name, 0) + 1
        orders = [
            sorted(found, key=lambda n: -found[n]),
            sorted(found, key=lambda n: (-found[n], n)),
        ]
        orders += [[*reversed(order)] for order in orders]
        return [
            Said(
                f"Ruled out: {', '.join(f'{n} {{{n}}}' for n in order)}.", [found[n] for n in order]
            )
            for order in orders
        ]

    def _warnings(self):
        found = []
        for (model, quant), manifest in self.figures.manifests.items():
            changes = fallbacks_of(manifest)
            listed = ", ".join(f"{change}: {{tensors, {change}}}" for change in changes)
            found.append(
                Said(
                    f"{model} {quant}: {{fallback tensors}} of {{tensors}} tensors could not take "
                    f"the type meant for them and fell back ({listed}). Go by the bits per weight, "
                    "not by the name.",
                    [sum(changes.values()), tensors_of(manifest), *changes.values()],
                )
            )
        return found

    def _measured(self):
        return [
            Said(
                f"{device}: {workload}. {{prompt tokens}} prompt tokens, {{output tokens}} "
                "generated, {repetitions} repetitions behind a warm-up, in a random order among "
                "the other workloads. Points are medians; lines reach from the least to the "
                "greatest repetition.",
                [asked[key] for key in ("prompt_tokens", "output_tokens", "repetitions")],
            )
            for device in self.config["devices"]
            for workload, asked in self.config["workloads"].items()
        ]

    def _windows(self, task):
        found = []
        for model in self.config["models"]:
            record = self.figures.quality(task)[model, self.figures.widest[model]]
            source = ", ".join(
                k if v is True else f"{k} {v}" for k, v in record["corpus"]["source"].items()
            )
            begin = (
                f"{model}: {{windows}} windows of {{tokens}} tokens; the second half of each is "
            )
            figures = [record["chunks"], record["window_tokens"]]
            text = (
                f"scored. Text: {source}. Kullback-Leibler (KL) divergence in nats: 0 where the "
                "variant predicts what the F16 predicts; ± one standard error."
            )
            found.append(Said(begin + text, figures))
        return found

    def _predictions(self):
        errors, verdicts = [], {}
        for name, predicted in self.figures.predictions.items():
            if predicted is None:
                continue
            likely = predicted[1]
            measured = self.figures.cells[name]["tg_tps"]
            errors.append(abs(100 * (likely / measured - 1)))
            verdict = _verdict(predicted, measured)
            verdicts[verdict] = verdicts.get(verdict, 0) + 1
        ordered = sorted(verdicts, key=lambda v: -verdicts[v])
        if not errors:
            return []
        middle = sorted(errors)
        median = (middle[(len(middle) - 1) // 2] + middle[len(middle) // 2]) / 2
        begin = (
            "What the planner says before a measurement, from a board's preset or its own profile, "
            "held against it: "
        )
        end = ". Median error of tg without its sign: {median error, %} %."
        return [
            Said(
                begin + ", ".join(f"{v} {{{v}}}" for v in order) + end,
                [*(verdicts[v] for v in order), median],
            )
            for order in (ordered, [*reversed(ordered)])
        ]

    def _provenance(self):
        stated = self.figures.stated
        found = [
            Said(f"{stated['llmpi']}, Snakemake {stated['snakemake']}, {stated['summarized']}")
        ]
        for model in self.config["models"]:
            record = self.figures.json(f"models/{model}/manifest.json")
            files = "".join(
                f"\n{file}: sha256 {facts['sha256']}, {{{file}, MB}} MB"
                for file, facts in record["files"].items()
            )
            text = f"{_pairs(record['origin'])}; licence {record['licence'] or 'not stated'}; "
            text += f"fetched {record['fetched']}"
            sizes = [facts["bytes"] / 1e6 for facts in record["files"].values()]
            found.append(Said(text + files, sizes))
        for asked in self.figures.questions.values():
            text = (
                "{questions} questions ({unanswerable} unanswerable) on {paragraphs} paragraphs; "
                f"{_pairs(asked['source'])}; drawn questions sha256 {asked['sha256']}"
            )
            figures = [asked[key] for key in ("questions", "unanswerable", "paragraphs")]
            found.append(Said(text, figures))
        for device in self.config["devices"]:
            record = self.figures.json(f"devices/{device}.json")
            machine, engine = record["machine"], record["engine"]
            text = (
                f"{machine['board'] or machine['cpu']}, {machine['arch']}, {{processors}} "
                f"processors, {{memory, GB}} GB memory, {machine['kernel']}\n"
                f"{engine['name']} {engine['version']} (llama.cpp {engine['llama_cpp_commit']}), "
                f"features {' '.join(engine['features'])}, library sha256 "
                f"{engine['library_sha256']}"
            )
            found.append(Said(text, [machine["processors"], machine["memory_bytes"] / 1e9]))
        return found

    # --- tables -----------------------------------------------------------------------------------

    def table(self, section, head):
        """(how many columns name a row, name -> the cells behind it), by the first head."""
        of = {
            ("decision", ""): lambda: (1, self._price()),
            ("decision", "variant"): lambda: (1, self._standings()),
            ("decision", "cell"): lambda: (1, self._ruled_out()),
            ("comparisons", "task"): lambda: (4, self._comparisons()),
            ("abstention", "task"): lambda: (3, self._abstention()),
            ("caches", "changed"): lambda: (1, self._caches()),
            ("provenance", "model"): lambda: (2, self._files()),
        }
        if section.startswith("divergence-"):
            return 2, self._divergences(section.removeprefix("divergence-"))
        return of.get((section, head), lambda: (1, {}))()

    def _price(self):
        smaller = self._smaller()
        if self.pick is None or smaller is None:
            return {}
        both = self.pick, smaller
        figures = {
            "tokens/s": [c["tg_tps"] for c in both],
            "MB of memory": [c["memory_bytes"] / 1e6 for c in both],
            "MB of file": [c["file_bytes"] / 1e6 for c in both],
        }
        return {(k,): [Said(f"{{{k}}}", [value]) for value in v] for k, v in figures.items()}

    def _smaller(self):
        """The smallest undecided candidate that has all its estimates within the margins."""
        standings = self.figures.standings
        some = [
            c
            for c in self.candidates
            if c is not self.pick
            and self.key(c) in standings
            and standings[self.key(c)]["verdict"] == "undecided"
            and standings[self.key(c)]["inside"]
            and len(self.faults(c)) == 1
        ]
        return min(some, key=lambda c: (c["file_bytes"], -c["tg_tps"]), default=None)

    def _standings(self):
        several, found = len(self.config["models"]) > 1, {}
        order = sorted(
            self.figures.requirements,
            key=lambda r: (r["kind"] == "gate", [*self.config["quality"]].index(r["task"])),
        )
        order = [r for r in order if r["kind"] != "score"]
        for (model, quant), standing in self.figures.standings.items():
            by = {id(one["requirement"]): one for one in standing["requirements"]}
            reference = standing["reference"]
            listed = ", ".join(f"{m['task']}: {{more of {m['task']}}}" for m in standing["more"])
            found[(f"{model} {quant}" if several else quant,)] = [
                Said("reference" if reference else standing["verdict"]),
                self._per_cent(standing["probability"]),
                Said(listed, [more_of(m) for m in standing["more"]]),
                *(self._loss(by.get(id(r)), reference=reference) for r in order),
            ]
        said = [any(one.text for one in column) for column in zip(*found.values(), strict=True)]
        return {
            name: [one for one, told in zip(row, said, strict=True) if told]
            for name, row in found.items()
        }

    @staticmethod
    def _per_cent(probability):
        if probability is None:
            return Said("")
        shown = min(99.0, max(1.0, 100 * probability))
        return Said("{probability, %} %", [Near(shown, 100 * 2 / DRAWS)])

    @staticmethod
    def _loss(found, *, reference):
        if found is None:
            return Said("{loss}", [0]) if reference else Said("")
        ends = [found[key] for key in ("loss", "low", "high")]
        if None in ends:
            return Said("")
        if found["requirement"]["kind"] == "gate":
            ends = [-ends[0], -ends[2], -ends[1]]
        return Said(f"{{loss}}\n{{from}} to {{to}}, {found['verdict']}", [*map(drawn, ends)])

    def _ruled_out(self):
        out = [c for c in self.candidates if c["killed_by"]]
        return {(f"{self.variant(c)}, {c['device']}",): [self.why(c)] for c in out}

    def _comparisons(self):
        found = {}
        for one in self.figures.comparisons:
            interval = "no interval" if one["low_pct"] is None else "{from} to {to}"
            ends = [] if one["low_pct"] is None else [one["low_pct"], one["high_pct"]]
            name = one["task"], *one["variant"], one["reference"][1]
            found[name] = [
                Said(f"{{F1 difference, points}}\n{interval}", [one["difference_pct"], *ends]),
                _probability("p by Holm", one["p_adjusted"]),
                Said(one["verdict"]),
                Said("{only the reference} / {only the variant}", one["only"]),
                _probability("p by McNemar and Holm", one["exact_p_adjusted"]),
            ]
        return found

    def _abstention(self):
        found = {}
        for task in self.figures.tasks("squad"):
            for variant in self.figures.variants:
                row = self.figures.scores[task][variant]
                threshold = row["best_f1_threshold"]
                found[(task, *variant)] = [
                    Said("{F1, %}", [row["f1_pct"]]),
                    Said("{best F1, %}", [row["best_f1_pct"]]),
                    Said(row["best_f1_abstention"]),
                    Said("") if threshold is None else Said("{threshold, nats}", [threshold]),
                    Said("{answers cut, %}", [row["cut_pct"]]),
                ]
        return found

    def _divergences(self, task):
        columns = ("perplexity", "perplexity_ratio", "kld_mean_nats", "kld_median_nats")
        columns += ("kld_p99_nats", "top1_agreement_pct")
        return {
            variant: [
                [
                    Said(f"{{{c}}} ± {{standard error}}", [row[c], row[f"{c}_se"]]),
                    *([Said(f"{{{c}}}", [row[c]])] if not row[f"{c}_se"] else []),
                ]
                for c in columns
            ]
            for variant, row in self.figures.scores[task].items()
        }

    @staticmethod
    def _caches():
        return {
            (what,): [
                Said("{least} – {greatest}", [low, high]),
                Said("{least} – {greatest}", [least, most]),
            ]
            for what, (low, high, least, most) in CACHES.items()
        }

    def _files(self):
        return {
            variant: [Said("{file, MB}", [m["bytes"] / 1e6]), Said(""), Said(m["sha256"])]
            for variant, m in self.figures.manifests.items()
        }

    # --- data of the charts and of the table of cells ---------------------------------------------

    def datasets(self):
        """Data set -> (what names a row, name -> row)."""
        found = {
            "tasks": (("task",), self._tasks()),
            "predictions": (("id",), self._predicted()),
            "choice": (("id", "objective"), self._choice()),
            "standings": (("requirement", "name"), self._standing_rows()),
        }
        for task in self.figures.tasks("divergence"):
            found[f"divergence-{task}"] = (("model", "quant"), self._divergence_points(task))
        return found

    def _tasks(self):
        return {
            (task,): {"abstaining_pct": self.figures.abstaining_pct(task)}
            for task in self.figures.questions
        }

    def _predicted(self):
        found = {}
        for name, predicted in self.figures.predictions.items():
            if predicted is not None:
                cell = self.figures.cells[name]
                ends = dict(zip(("low", "value", "high"), predicted, strict=True))
                found[(name,)] = {
                    **{f"predicted_{end}": value for end, value in ends.items()},
                    "measured_low": cell["tg_min_tps"],
                    "measured_value": cell["tg_tps"],
                    "measured_high": cell["tg_max_tps"],
                    "verdict": _verdict(predicted, cell["tg_tps"]),
                    "cell": cell["cell"],
                }
        return found

    def _choice(self):
        found = {}
        for c in self.candidates:
            role = {"role": "pick" if c is self.pick else "other", "name": self.variant(c)}
            memory = c["memory_bytes"] / 1e6
            several = c["repetitions"] > 1
            ends = ("value", "low", "high")
            numbers = {
                "quality": [c["quality"][end] for end in ends] if c["quality"] else None,
                "speed": [
                    c["tg_tps"],
                    *([c["tg_min_tps"], c["tg_max_tps"]] if several else [None] * 2),
                ],
                "memory": [memory] * 3,
            }
            for objective, three in numbers.items():
                if three:
                    found[c["id"], objective] = {**role, **dict(zip(ends, three, strict=True))}
        return found

    def _standing_rows(self):
        several, found = len(self.config["models"]) > 1, {}
        judged = [r for r in self.figures.requirements if r["kind"] != "score"]
        tasks = [*self.config["quality"]]
        order = sorted(judged, key=lambda r: (r["kind"] == "gate", tasks.index(r["task"])))
        places = {id(requirement): at for at, requirement in enumerate(order)}
        for (model, quant), standing in self.figures.standings.items():
            for one in standing["requirements"]:
                requirement = one["requirement"]
                least = one["margin"] if requirement["kind"] == "gate" else 0.0
                ends = {"value": "loss", "low": "low", "high": "high"}
                turned = {
                    end: None if one[key] is None else drawn(one[key] - least)
                    for end, key in ends.items()
                }
                name = f"{model} {quant}" if several else quant
                found[places[id(requirement)], name] = {
                    **turned,
                    "verdict": one["verdict"],
                    "limit": one["margin"] - least,
                    "items": one["items"],
                    "clusters": one["clusters"],
                }
        return found

    def _divergence_points(self, task):
        found = {}
        for (model, quant), row in self.figures.scores[task].items():
            value, error = row["kld_mean_nats"], row["kld_mean_nats_se"]
            low = None if error is None else max(value - Z95 * error, value / 10)
            found[model, quant] = {
                **row,
                "name": f"{model} {quant}",
                "low": low,
                "high": None if error is None else value + Z95 * error,
                "bits_per_weight": self.figures.cells_of(model, quant)["bits_per_weight"],
            }
        for (model, quant), point in found.items():
            others = [v for (m, q), v in found.items() if m == model and q not in ("F16", quant)]
            point["front"] = int(not any(_is_smaller_and_nearer(o, point) for o in others))
        return found


def _is_smaller_and_nearer(one, other):
    """Or as small and near, and one of both for sure."""
    gap = other["kld_mean_nats"] - one["kld_mean_nats"]
    errors = (one["kld_mean_nats_se"] or 0) ** 2 + (other["kld_mean_nats_se"] or 0) ** 2
    if gap < 0 or one["bits_per_weight"] > other["bits_per_weight"]:
        return False
    return one["bits_per_weight"] < other["bits_per_weight"] or gap**2 > Z95**2 * errors


def _probability(what, p):
    """Four decimals of it, and of less than half of the last only that."""
    if p is None:
        return Said("")
    return Said("< {least that is told}", [0.0001]) if p < 0.00005 else Said(f"{{{what}}}", [p])


def _quality_said(quality):
    if quality is not None:
        three = [quality[end] for end in ("value", "low", "high")]
        yield Said("{quality} % quality\n{from}–{to}", three)
        yield Said("{quality} % quality", three[:1])


def _verdict(predicted, measured):
    low, _, high = predicted
    return "above" if measured > high else "below" if measured < low else "in range"


def _pairs(mapping):
    return ", ".join(f"{k} {v}" for k, v in mapping.items() if v is not None and v != [])


def _and(words):
    *front, last = words
    return f"{', '.join(front)} and {last}" if front else last
