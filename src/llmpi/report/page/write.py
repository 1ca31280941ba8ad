"""The page of a study: one file, no network; its charts are drawn by Vega, which is in it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TypedDict

import vl_convert

from llmpi.decide import scores
from llmpi.decide.records import Recommendation
from llmpi.device.service.records import ServiceBench
from llmpi.engine.records import Failed
from llmpi.engine.shown import visible
from llmpi.records import whole_file
from llmpi.report.page.body import TEMPLATES, body, environment
from llmpi.report.page.charts.style import Spec
from llmpi.report.page.content import Content
from llmpi.report.page.datasets import datasets, kind_datasets, with_shared_texts
from llmpi.report.page.fields import FieldGroup, fields
from llmpi.report.page.figures import figures
from llmpi.report.page.how_measured import MeasuredTexts, how_measured, measured_texts
from llmpi.report.page.policy import policy
from llmpi.report.page.table import ShownColumn, columns
from llmpi.report.public import without_places
from llmpi.report.words.languages import WORDS
from llmpi.report.words.texts import NAMES, Texts
from llmpi.summary.columns import kinds_of
from llmpi.summary.flat import flat_rows
from llmpi.summary.records import ClassRow, Summary

SCRIPTS = ("data.js", "charts.js", "table.js", "page.js")


def write_page(
    summary: Summary,
    recommendation: Recommendation | None,
    out: Path,
    service: Mapping[str, ServiceBench | Failed] | None = None,
) -> None:
    """Draw a study into `out`, atomically, in the languages of its config.

    Args:
        recommendation: None while the study is not whole.
        service: by device, what its service was seen to carry, where that was measured.

    A group of boards is shown as one device, and board by board in a table of its own. How devices
    and files are reached is not on it. What comes from outside (reasons, logs) is escaped by the
    templates, and in the page's data; the page's policy runs no script but its own and loads
    nothing.
    """
    config = summary["provenance"]["config"]
    told = without_places(summary, config), without_places(recommendation, config)
    content = Content(*told, without_places(service or {}, config))
    data = datasets(content)
    languages: dict[str, InLanguage] = {}
    bodies = {}
    for language in content.study.languages:
        t = Texts(language)
        drawn = figures(t, content, data)
        bodies[language] = visible(body(t, content, drawn))
        languages[language] = {
            "figures": drawn,
            "columns": columns(t, content, data["cells"]),
            "fields": fields(t, content),
            "measured": measured_texts(t),
            "texts": _script_texts(t, content),
            "why": _why(t, content),
        }
    # Without a snippet, which its stub demands, the bundle is made once a process.
    vega = vl_convert.javascript_bundle()  # type: ignore[call-arg]
    scripts = [vega, "".join(map(_source, SCRIPTS))]
    html = (
        environment("en")
        .get_template("page.html")
        .render(
            study=summary["study"],
            languages=list(languages),
            names=NAMES,
            bodies=bodies,
            policy=policy(scripts),
            style=_source("page.css"),
            vega=scripts[0],
            script=scripts[1],
            licences=_source("licences.txt"),
            data=_inert(
                {
                    **data,
                    "cells": with_shared_texts(data["cells"]),
                    **kind_datasets(content),
                    "measured": how_measured(content),
                    "study": summary["study"],
                    "languages": languages,
                    "picks": _picks(recommendation),
                    "places": [
                        {"device": device, "workload": workload}
                        for device, workload in content.places
                    ],
                }
            ),
        )
    )
    with whole_file(out) as partial:
        partial.write_text(html, encoding="utf-8")


class ScriptTexts(TypedDict):
    """What the page's scripts say."""

    count: str
    printed: str
    crowded: str
    close: str
    ruledOut: str
    said: dict[str, str]
    """What stands in the table otherwise than in the data."""
    told: dict[str, str]
    """How a chart is told."""


class InLanguage(TypedDict):
    """What the page's scripts need for a language."""

    figures: dict[str, Spec]
    columns: list[ShownColumn]
    fields: list[FieldGroup]
    measured: MeasuredTexts
    texts: ScriptTexts
    why: dict[str, list[str]]
    """Cell -> what rules it out."""


def _source(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


def _inert(data: Mapping[str, object]) -> str:  # any JSON
    """JSON that cannot end the element it stands in."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def _why(t: Texts, content: Content) -> dict[str, list[str]]:
    """Cell -> what rules it out."""
    if content.recommendation is None:
        return {}
    workload, words = content.recommendation["workload"], WORDS[t.language]
    return {
        f"{candidate['id']}/{workload}": [words.kill(kill) for kill in candidate["killed_by"]]
        for candidate in content.ruled_out
    }


def _script_texts(t: Texts, content: Content) -> ScriptTexts:
    said: dict[str, str] = {}
    kinds = kinds_of(content.study).items()
    compared = [(task, key) for task, kind in kinds for key in kind.compared]
    for row, flat in zip(content.rows, flat_rows(content.study, content.rows), strict=True):
        for key, text in _in_words(t, row).items():
            said[str(flat[key])] = text
        codes = (flat[f"{task}_{key}"] for task, key in compared)
        said |= {code: t.label(code) for code in codes if isinstance(code, str)}
    return {
        "count": t("{shown} of {all} cells"),
        "printed": t("On this sheet: the first {shown} of {all} cells; summary.csv has them all."),
        "crowded": t("{shown} points would hide one another; these are those of {device}."),
        "close": t("Close"),
        "ruledOut": t("It is ruled out:"),
        "told": {
            "what": t("{description}."),
            "range": t("{title}: from {low} ({lowest}) to {high} ({highest})."),
            "same": t("{title}: {low} for all."),
            "course": t("{name}: {first} at first, {last} at last."),
            "group": t("{word}: {names}."),
            "more": t("{count} more"),
            "between": t("; "),
            "joint": "" if t.language == "ja" else " ",
        },
        "said": {data: text for data, text in sorted(said.items()) if text and data != text},
    }


def _in_words(t: Texts, row: ClassRow) -> dict[str, str]:
    """The texts of a row's codes, by their columns."""
    words, reason, misses = WORDS[t.language], row["parity_reason"], row["parity_misses"]
    parity = [words.kill({"kind": "parity", "reason": reason, "misses": misses})] if reason else []
    unscored = {
        f"{task}_reason": words.unscored(scores.reason(row, task))
        for task, scored in row["quality"].items()
        if scored["reason"]
    }
    return {
        **unscored,
        "status": t.label(row["status"]),
        "energy_tier": t.label(row["energy_tier"]),
        "marks": "; ".join(map(t.label, row["marks"])),
        "gates_failed": "; ".join([*parity, *map(words.gate, row["gates_failed"])]),
    }


def _picks(recommendation: Recommendation | None) -> list[str]:
    """The cells that are picked, overall or on their device."""
    if recommendation is None:
        return []
    picks = {decision["pick"] for decision in recommendation["decisions"]} - {None}
    return sorted(f"{pick}/{recommendation['workload']}" for pick in picks)
