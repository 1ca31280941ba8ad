"""The page's main part, in one language."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from llmpi.decide import scores
from llmpi.decide.records import Candidate, Recommendation, RequirementVerdict
from llmpi.quality.kind import AskedScore
from llmpi.quant_types import is_published
from llmpi.report.page.charts.style import MOST_BY_NAME, Spec
from llmpi.report.page.content import Content
from llmpi.report.page.figures import is_crowded
from llmpi.report.page.paper_files import as_csv, as_latex
from llmpi.report.page.paper_section import (
    correspondences,
    differences,
    nearest_workload,
    predictions,
    without_cell,
)
from llmpi.report.page.sections import KindSection, KindTable, kind_sections
from llmpi.report.page.service_section import ShownService, shown_services, together
from llmpi.report.page.standings import asked, drawn_standings, standing_table
from llmpi.report.public import public
from llmpi.report.words.emphasis import is_untested, side_by_side
from llmpi.report.words.languages import WORDS, Words
from llmpi.report.words.numbers import digits, grouped, mb, number, pretty, size
from llmpi.report.words.texts import Texts
from llmpi.study.computation import over_http
from llmpi.study.study import Language
from llmpi.summary.records import ClassRow, Fallbacks, FileFacts, HttpCell, Summary

TEMPLATES = Path(__file__).parent / "templates"
MOST_LISTED = 200
"""Rows of a list that the table of all cells has, too."""


@cache
def environment(language: Language) -> Environment:
    """With the texts of a language; each template is compiled once, for all pages."""
    t = Texts(language)
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["_"] = t.said
    environment.filters.update(
        digits=digits,
        number=number,
        mb=mb,
        size=size,
        pretty=pretty,
        label=t.label,
        grouped=grouped,
    )
    return environment


def body(t: Texts, content: Content, drawn: Mapping[str, Spec]) -> str:
    """The page's main part in one language."""
    words, chosen, summary = WORDS[t.language], content.recommendation, content.summary
    pairs = correspondences(content)
    alarms = words.alarms(content.pick) if content.pick else []
    shown = _Shown(
        headline=list(_headline(t, content.pick)),
        known=list(_known(words, content)),
        decisions=_decisions(words, chosen, alarms),
        ruled_out=content.ruled_out,
        failed=list(dict.fromkeys(_failed(t, content, words))),
        dequantized=_dequantized(content.rows),
        on_lattice=[f for f in summary["files"] if f["lattice_tensors"]],
        published=[f for f in summary["files"] if is_published(f["quant"]) and f["types"]],
        sections=kind_sections(t, summary["sections"]),
        not_transferred=_one_per_variant(content),
        alarms=alarms,
        price=_price(t, content),
        contenders=words.contenders(chosen["decisions"][0], chosen) if chosen else None,
        standings=standing_table(t, words, content),
        requirements=[_asked(words, one) for one in asked(content).values()],
        services=shown_services(t, content),
    )
    return (
        environment(t.language)
        .get_template("body.html")
        .render(
            shown._asdict(),
            contents=_contents(t, content, shown),
            content=content,
            summary=summary,
            config=summary["provenance"]["config"],
            public=public,
            beside=[
                (f"memo.{t.language}.pdf", t("memo")),
                ("summary.csv", "CSV"),
                ("summary.parquet", "Parquet"),
            ],
            recommendation=chosen,
            money=chosen and chosen["money"],
            figures=drawn,
            words=words,
            services_together=together(shown.services),
            over_http_scores=_asked_over_http(t, summary),
            most_listed=MOST_LISTED,
            drawn=len(drawn_standings(content)),
            thinned=_thinned(t) if is_crowded(content) else {},
            untested=bool(chosen and is_untested(chosen)),
            joint="" if t.language == "ja" else " ",
            changes=_changes,
            filters=[
                ("device", t("device")),
                ("workload", t("workload")),
                ("model", t("model")),
                ("quant", t("quantization")),
                ("runtime", t("runtime")),
                ("status", t("state")),
            ],
            predicted=predictions(summary["predictions"], words),
            workload=nearest_workload(content),
            corresponding=pairs,
            paper_files=[
                ("csv", "CSV", as_csv(content, pairs)),
                ("tex", "LaTeX", as_latex(content, pairs)),
            ],
            without=without_cell(content),
            differences=differences(pairs, words),
        )
    )


def _thinned(t: Texts) -> dict[str, str]:
    """What is said of the charts that show only the first of many cells."""
    texts = {
        "energy": t("Drawn are the {count} that take the least."),
        "words": t("Drawn are the {count} that generate the most."),
        "parity": t("Drawn are the {count} that agree the least."),
    }
    return {chart: text.format(count=MOST_BY_NAME) for chart, text in texts.items()}


def _asked_over_http(t: Texts, summary: Summary) -> list[tuple[HttpCell, AskedScore, str]]:
    """Scores and what they are, once for all workloads of a session."""
    first: dict[tuple[str, ...], HttpCell] = {}
    for cell in summary["over_http"]:
        place = (cell["device"], cell["model"], cell["quant"], cell["runtime"])
        first.setdefault(place, cell)
    return [
        (cell, score, t.label(score["metric"]))
        for cell in first.values()
        for score in cell["scores"]
    ]


class Number(NamedTuple):
    """One of the pick's numbers, for the first screen."""

    value: str
    unit: str
    spread: str


class Failure(NamedTuple):
    """Something that failed or was not run, and where."""

    device: str
    model: str
    quant: str
    what: str
    reason: str


class _Shown(NamedTuple):
    """What the templates show of the content, put together here."""

    headline: Sequence[Number]
    known: Sequence[str]
    """What the decision is about: what was asked, on which board, for how much money."""
    decisions: Sequence[Sequence[str]]
    ruled_out: Sequence[Candidate]
    failed: Sequence[Failure]
    dequantized: Mapping[str, str]
    on_lattice: Sequence[FileFacts]
    published: Sequence[FileFacts]
    sections: Sequence[KindSection]
    not_transferred: Sequence[ClassRow]
    alarms: Sequence[str]
    price: "_Price | None"
    contenders: str | None
    standings: KindTable | None
    requirements: Sequence[Markup]
    services: Sequence[ShownService]


def _contents(t: Texts, content: Content, shown: _Shown) -> list[tuple[str, str]]:
    """The sections that this study has, in the page's order."""
    summary, chosen = content.summary, content.recommendation
    parts = [
        ("measured", t("Quality and speed"), True),
        ("boards", t("Between boards"), bool(summary["groups"])),
        ("concurrency", t("Conversations side by side"), bool(summary["concurrency"])),
        ("conversations", t("Conversations"), bool(summary["conversations"])),
        ("samples", t("Answers on the clock"), bool(summary["samples"])),
        ("speculation", t("Drafted tokens"), bool(summary["speculation"])),
        ("http", t("Over HTTP"), bool(summary["over_http"])),
        ("service", t("What the shelf carries"), bool(shown.services)),
        ("tuned", t("Tuned against default"), bool(summary["tuned"])),
        ("engines", t("Engines compared"), bool(summary["engines"])),
        ("cells", t("All cells"), True),
        *((section.id, section.contents, True) for section in shown.sections),
        ("predictions", t("Prediction"), any(c["predicted"] for c in summary["predictions"])),
        ("paper", t("The paper"), bool(correspondences(content))),
        ("money", t("The money"), bool(chosen and chosen["money"])),
        ("failed", t("Failed"), bool(shown.failed)),
        ("words", t("Words"), True),
        ("provenance", t("Provenance"), True),
    ]
    return [(where, title) for where, title, there in parts if there]


def _headline(t: Texts, pick: Candidate | None) -> Iterator[Number]:
    """The pick's numbers with their intervals."""
    if pick is None:
        return
    for found, unit in (
        (pick["quality"], t("% quality")),
        (pick["speed"], t("tokens/s")),
        (pick["energy"], t("J per token")),
    ):
        if found is None:
            continue
        low, high = found["low"], found["high"]
        known = []
        if low is not None and high is not None and low != high:
            known.append(f"{low:.3g}–{high:.3g}")
        if found["kind"]:
            known.append(t.label(found["kind"]))
        yield Number(digits(found["value"]), unit, ", ".join(known))
    if memory := pick["memory"]:
        value, unit = size(memory["value"]).split()
        yield Number(value, t("{unit} of memory").format(unit=unit), "")


def _known(words: Words, content: Content) -> Iterator[str]:
    """What a reader must know before the pick's numbers mean anything."""
    chosen, pick = content.recommendation, content.pick
    if chosen is None:
        return
    yield words.asked(chosen)
    if pick is None:
        return
    board = content.summary["machines"].get(content.row_of(pick)["boards"][0])
    machine = board["machine"] if board and board["status"] == "ok" else None
    yield words.place(pick["device"], machine)
    for priced in content.priced:
        if chosen["money"] and priced["overall"]:
            yield words.price(priced, chosen["money"]["currency"])


def _decisions(
    words: Words, chosen: Recommendation | None, alarms: Sequence[str]
) -> list[list[str]]:
    """The sentences of each decision; the overall one's alarms stand above it."""
    if chosen is None:
        return []
    overall, *others = [words.decision(made, chosen) for made in chosen["decisions"]]
    return [overall[len(alarms) :], *others]


def _asked(words: Words, found: RequirementVerdict) -> Markup:
    return Markup("<b>%s</b><br>%s") % words.requirement(found)


class _Price(NamedTuple):
    """What caution costs: the provisional pick's numbers, and those of a smaller one beside it."""

    pick: str
    smaller: str
    rows: Sequence[tuple[str, str, str]]


def _price(t: Texts, content: Content) -> _Price | None:
    chosen, pick = content.recommendation, content.pick
    smaller = chosen and chosen["decisions"][0]["smaller"]
    if chosen is None or pick is None or not smaller:
        return None
    other = next(c for c in content.candidates if c["id"] == smaller["id"])
    units = {"speed": t("tokens/s"), "energy": t("J per token"), "memory": t("MB of memory")}
    rows = [
        (units[name], digits(own), digits(its))
        for name, (own, its) in side_by_side(pick, other).items()
    ]
    sizes = [content.row_of(candidate)["file_bytes"] for candidate in (pick, other)]
    if None not in sizes:
        rows.append((t("MB of file"), mb(sizes[0]), mb(sizes[1])))
    if (money := chosen["money"]) and {pick["id"], other["id"]} <= {*money["per_million_tokens"]}:
        own, its = (money["per_million_tokens"][c["id"]] for c in (pick, other))
        title = t("{currency} per million tokens").format(currency=money["currency"])
        rows.append((title, f"{own:,.2f}", f"{its:,.2f}"))
    devices = pick["device"] != other["device"]
    names = [f"{c['variant']}, {c['device']}" if devices else c["variant"] for c in (pick, other)]
    return _Price(names[0], names[1], rows)


def _one_per_variant(content: Content) -> list[ClassRow]:
    """The rows of variants whose quality is not their device's."""
    differ = [row for row in content.rows if row["parity_reason"] and row["status"] == "ok"]
    return list({(r["device"], r["model"], content.variant(r)): r for r in differ}.values())


def _changes(item: Fallbacks) -> str:
    return ", ".join(f"{change}: {count}" for change, count in item["changes"].items())


def _failed(t: Texts, content: Content, words: Words) -> Iterator[Failure]:
    for row in content.rows:
        where = (row["device"], row["model"])
        if row["status"] != "ok":
            yield Failure(*where, content.variant(row), row["workload"], row["reason"] or "")
        elif row["parity_reason"]:
            why = words.parity(row["parity_reason"], row["parity_misses"])
            yield Failure(*where, row["quant"], "parity", why)
        for task, scored in row["quality"].items():
            if scored["status"] != "ok":
                why = words.unscored(scores.reason(row, task))
                if row["computation"] == over_http(row["runtime"]):
                    yield Failure(*where, content.variant(row), task, why)
                else:
                    yield Failure("workstation", row["model"], row["quant"], task, why)
    yield from _failed_side_by_side(t, content.summary)
    yield from _failed_conversations(t, content.summary)
    yield from _failed_samples(content.summary)


def _failed_side_by_side(t: Texts, summary: Summary) -> Iterator[Failure]:
    """Concurrent cells that failed as a whole, and the numbers of conversations that did."""
    for cell in summary["concurrency"]:
        where = (cell["device"], cell["model"], cell["quant"])
        if cell["status"] != "ok":
            yield Failure(*where, cell["workload"], cell["reason"] or "")
            continue
        for level in cell["levels"]:
            if level["status"] != "ok":
                part = t("%(count)s conversations") % {"count": level["conversations"]}
                yield Failure(*where, f"{cell['workload']}: {part}", level["reason"] or "")


def _failed_conversations(t: Texts, summary: Summary) -> Iterator[Failure]:
    """Cells of several turns that failed as a whole, and what could not be done with a prefix."""
    for cell in summary["conversations"]:
        where = (cell["device"], cell["model"], cell["quant"])
        if cell["status"] != "ok":
            yield Failure(*where, cell["workload"], cell["reason"] or "")
        for way in cell["ways"]:
            if way["status"] != "ok":
                part = t("prefix %(prefix)s") % {"prefix": t.label(way["prefix"])}
                yield Failure(*where, f"{cell['workload']}: {part}", way["reason"] or "")


def _failed_samples(summary: Summary) -> Iterator[Failure]:
    """Questions of a task that no answer was timed of."""
    for cell in summary["samples"]:
        if cell["status"] != "ok":
            where = (cell["device"], cell["model"], cell["quant"])
            yield Failure(*where, cell["workload"], cell["reason"] or "")


# What a base may be made of without a loss: floats, packed ternary weights, a training of our own.
NOT_QUANTIZED = ("F16", "BF16", "F32", "F64", "TERNARY", "scratch")


def _dequantized(rows: Sequence[ClassRow]) -> dict[str, str]:
    """Models whose base was made from quantized weights: model -> type they came in."""
    came = {row["model"]: row["lineage"][0] for row in rows if len(row["lineage"]) > 1}
    return {model: kind for model, kind in came.items() if kind not in NOT_QUANTIZED}
