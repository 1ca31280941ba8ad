"""The page of a study: one file, no network; its charts are drawn by Vega, which is in it."""

import base64
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import vl_convert

from llmpi.records import Record, whole_file
from llmpi.report.page.body import TEMPLATES, body, environment, places
from llmpi.report.page.datasets import datasets
from llmpi.report.page.figures import figures
from llmpi.report.page.table import columns
from llmpi.report.words.texts import NAMES, Texts

SCRIPTS = ("data.js", "charts.js", "table.js", "page.js")


def write_page(summary: Record, recommendation: Record | None, out: Path) -> None:
    """Draw a study into `out`, atomically, in the languages of its config.

    Args:
        summary: of `llmpi.summary.study.summarize`.
        recommendation: of `llmpi.decide.choice.recommend`, with `money`; None while the study is
            not whole.

    A group of boards is shown as one device, and board by board in a table of its own. What comes
    from outside (reasons, logs, host names) is escaped by the templates, and in the page's data;
    the page's policy runs no script but its own and loads nothing.
    """
    summary = {**summary, "rows": summary["classes"]}
    data = datasets(summary, recommendation)
    languages: dict[str, Record] = {}
    bodies = {}
    for language in summary["provenance"]["config"]["languages"]:
        t = Texts(language)
        drawn = figures(t, summary, data, recommendation)
        bodies[language] = body(t, summary, recommendation, data, drawn)
        languages[language] = {
            "figures": drawn,
            "columns": columns(t, summary),
            "texts": _script_texts(t, summary),
            "why": {cell: [t.said(why) for why in whys] for cell, whys in data["why"].items()},
        }
    # Without a snippet, which its stub demands, the bundle is made once a process.
    vega = vl_convert.javascript_bundle()  # type: ignore[call-arg]
    scripts = [vega, "".join(map(_source, SCRIPTS))]
    html = (
        environment(Texts("en"))
        .get_template("page.html")
        .render(
            study=summary["study"],
            languages=list(languages),
            names=NAMES,
            bodies=bodies,
            policy=_policy(scripts),
            style=_source("page.css"),
            vega=scripts[0],
            script=scripts[1],
            data=_inert(
                {
                    **{name: value for name, value in data.items() if name != "why"},
                    "study": summary["study"],
                    "languages": languages,
                    "picks": _picks(recommendation),
                    "places": [
                        {"device": device, "workload": workload}
                        for device, workload in places(summary["rows"])
                    ],
                }
            ),
        )
    )
    with whole_file(out) as partial:
        partial.write_text(html, encoding="utf-8")


def _source(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


def _policy(scripts: Sequence[str]) -> str:
    """Nothing is loaded, and no script runs but these. Vega styles single marks by attributes."""
    hashes = (base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in hashes)
    return (
        f"default-src 'none'; base-uri 'none'; form-action 'none'; script-src {allowed}; "
        "style-src 'unsafe-inline'"
    )


def _inert(data: Record) -> str:
    """JSON that cannot end the element it stands in."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def _script_texts(t: Texts, summary: Record) -> Record:
    keys = ("status", "energy_tier", "gates_failed", "marks")
    said = {row[key] for row in summary["rows"] for key in keys if row[key]}
    return {
        "count": t("{shown} of {all} cells"),
        "close": t("Close"),
        "ruledOut": t("It is ruled out:"),
        "said": {text: other for text in sorted(said) if (other := t.said(text)) != text},
    }


def _picks(recommendation: Record | None) -> list[str]:
    """The cells that are picked, overall or on their device."""
    if recommendation is None:
        return []
    picks = {decision["pick"] for decision in recommendation["decisions"]} - {None}
    return sorted(f"{pick}/{recommendation['workload']}" for pick in picks)
