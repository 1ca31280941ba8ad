"""The page's main part, in one language."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from llmpi.records import Record, is_ok
from llmpi.report.page.datasets import by_tag
from llmpi.report.page.paper_section import against_the_paper, predicted
from llmpi.report.words import japanese
from llmpi.report.words.numbers import estimate, facts, mb, number, pretty, variant, variant_of
from llmpi.report.words.texts import Texts

Row = dict[str, Any]

TEMPLATES = Path(__file__).parent / "templates"


def environment(t: Texts) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    environment.install_gettext_callables(t, t.plural, newstyle=True)  # type: ignore[attr-defined]
    environment.filters.update(number=number, estimate=estimate, mb=mb, pretty=pretty)
    return environment


def body(
    t: Texts, summary: Record, recommendation: Record | None, data: Record, drawn: Mapping[str, Any]
) -> str:
    """The page's main part in one language."""
    rows = [{**row, "variant": variant(row, summary)} for row in summary["rows"]]
    decided = _in_words(t, recommendation)
    overall = decided["decisions"][0] if decided else None
    pick = _pick(recommendation)
    context: Record = {
        "summary": summary,
        "config": summary["provenance"]["config"],
        "figures": drawn,
        "said": t.said,
        "joint": "" if t.language == "ja" else " ",
        "recommendation": recommendation,
        "decisions": decided["decisions"] if decided else [],
        "overall": overall,
        "pick": pick,
        "facts": facts(t, pick),
        "ruled_out": _ruled_out(recommendation),
        "failed": _failed(summary),
        "dequantized": _dequantized(summary["rows"]),
        "changes": _changes,
        "tasks": [item["task"] for item in data["tasks"]],
        "places": [
            {
                "device": device,
                "workload": workload,
                "settings": summary["provenance"]["config"]["workloads"][workload],
            }
            for device, workload in places(rows)
        ],
        "not_transferred": _one_per_variant([r for r in rows if r["parity_reason"] and is_ok(r)]),
        "filters": [
            ("device", t("device")),
            ("workload", t("workload")),
            ("model", t("model")),
            ("quant", t("quantization")),
            ("runtime", t("runtime")),
            ("status", t("state")),
        ],
        "by_tag": by_tag,
        "gates_of": _gates_of(t, summary),
        **predicted(summary["predictions"]),
        **against_the_paper(summary),
        "money": decided["money"] if decided else None,
        "hat": _hat_sentence(t, recommendation),
        "variant_of": variant_of,
    }
    context["contents"] = _contents(t, context)
    return environment(t).get_template("body.html").render(context)


def _contents(t: Texts, context: Record) -> list[tuple[str, str]]:
    """The sections that this study has, in the page's order."""
    summary = context["summary"]
    parts = [
        ("measured", t("Quality and speed"), True),
        ("boards", t("Between boards"), summary["groups"]),
        ("concurrency", t("Conversations side by side"), summary["concurrency"]),
        ("lookup", t("Prompt lookup"), summary["prompt_lookup"]),
        ("tuned", t("Tuned against default"), summary["tuned"]),
        ("cells", t("All cells"), True),
        *((f"divergence-{text['task']}", t("Divergence"), True) for text in summary["divergence"]),
        ("comparisons", t("Told apart?"), summary["comparisons"]),
        ("harness", "lm-eval", summary["harness"]),
        ("descent", t("Descent"), summary["descent"]),
        ("pairs", t("A against B"), summary["pairs"]),
        ("predictions", t("Prediction"), context["predicted"]),
        ("paper", t("The paper"), True),
        ("money", t("The money"), context["money"]),
        ("failed", t("Failed"), context["failed"]),
        ("provenance", t("Provenance"), True),
    ]
    return [(where, title) for where, title, there in parts if there]


def _in_words(t: Texts, recommendation: Record | None) -> Record | None:
    """The decisions and the money, each with its sentences in this language."""
    if recommendation is None:
        return None
    money = (recommendation["money"] or {}).get("devices", [])
    decisions = recommendation["decisions"]
    if t.language == "ja":
        decisions = [{**d, "sentences": japanese.decision(d, recommendation, t)} for d in decisions]
        money = [
            d if d["reason"] else {**d, "sentences": japanese.money(d, recommendation)}
            for d in money
        ]
    return {"decisions": decisions, "money": money}


def _hat_sentence(t: Texts, recommendation: Record | None) -> str | None:
    money = (recommendation or {}).get("money") or {}
    if not (found := money.get("hat")):
        return None
    return japanese.hat(found, money["currency"]) if t.language == "ja" else found["sentence"]


def _pick(recommendation: Record | None) -> Record | None:
    if recommendation is None:
        return None
    known = {candidate["id"]: candidate for candidate in recommendation["candidates"]}
    return known.get(recommendation["decisions"][0]["pick"])


def _ruled_out(recommendation: Record | None) -> list[Record]:
    return [c for c in recommendation["candidates"] if c["killed_by"]] if recommendation else []


def _one_per_variant(rows: Sequence[Row]) -> list[Row]:
    return list({(row["device"], row["model"], row["variant"]): row for row in rows}.values())


def _gates_of(t: Texts, summary: Record) -> Any:
    """The gates that a variant fails by its scores; parity is a matter of the device."""
    failed = {
        (row["model"], row["quant"]): row["gates_failed"]
        .removeprefix(f"parity: {row['parity_reason']}")
        .removeprefix("; ")
        for row in summary["rows"]
    }

    def said(model: str, quant: str) -> str:
        return failed.get((model, quant)) or (t("passed") if summary["gates"] else "")

    return said


def _changes(item: Record) -> str:
    return ", ".join(f"{change}: {count}" for change, count in item["changes"].items())


def _failed(summary: Record) -> list[Record]:
    cells = []
    for row in summary["rows"]:
        where = {key: row[key] for key in ("device", "model", "quant")}
        if not is_ok(row):
            where["quant"] = variant(row, summary)
            cells.append({**where, "what": row["workload"], "reason": row["reason"]})
        elif row["parity_reason"]:
            cells.append({**where, "what": "parity", "reason": row["parity_reason"]})
        where |= {"device": "workstation", "quant": row["quant"]}
        cells += [
            {**where, "what": task, "reason": row[f"{task}_reason"]}
            for task in summary["provenance"]["config"]["quality"]
            if row[f"{task}_status"] != "ok"
        ]
    cells += _failed_side_by_side(summary["concurrency"])
    return list({json.dumps(cell): cell for cell in cells}.values())


def _failed_side_by_side(concurrent: Sequence[Record]) -> list[Record]:
    """Concurrent cells that failed as a whole, and the numbers of conversations that did."""
    found = []
    for cell in concurrent:
        where = {key: cell[key] for key in ("device", "model", "quant")}
        for part in [cell] if not is_ok(cell) else cell["levels"]:
            if not is_ok(part):
                count = part.get("conversations")
                what = cell["workload"] + (f": {count} conversations" if count else "")
                found.append({**where, "what": what, "reason": part["reason"]})
    return found


# What a base may be made of without a loss: floats, packed ternary weights, a training of our own.
NOT_QUANTIZED = ("F16", "BF16", "F32", "F64", "TERNARY", "scratch")


def _dequantized(rows: Sequence[Row]) -> dict[str, str]:
    """Models whose base was made from quantized weights: model -> type they came in."""
    came = {row["model"]: row["lineage"].split(" > ")[0] for row in rows if row["lineage"]}
    return {model: kind for model, kind in came.items() if kind not in NOT_QUANTIZED}


def places(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """Devices with their workloads: the cells of each can be compared with one another."""
    return list(dict.fromkeys((row["device"], row["workload"]) for row in rows))
