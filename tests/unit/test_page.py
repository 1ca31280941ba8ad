"""The page of a whole study: what it draws, and that it says the same in both languages."""

import ast
import json
import re
from pathlib import Path
from typing import Any

import pi_study
import pytest
import vl_convert
import yaml
from jinja2 import Environment
from support import ROOT

from llmpi.decide.choice import recommend
from llmpi.report.page.datasets import datasets
from llmpi.report.page.figures import figures
from llmpi.report.page.paper_section import against_the_paper, predicted
from llmpi.report.page.table import columns
from llmpi.report.page.write import write_page
from llmpi.report.words import japanese
from llmpi.report.words.texts import Texts
from llmpi.study.decision import Constraints
from llmpi.study.runs import Run
from llmpi.summary.curves import POINTS, curve, thinned

Record = dict[str, Any]

REPORT = ROOT / "src/llmpi/report"
CATALOG = yaml.safe_load((REPORT / "words/ja.yaml").read_text(encoding="utf-8"))
PLACEHOLDER = re.compile(r"%\((\w+)\)s|\{(\w+)\}|%%")


@pytest.fixture(scope="module")
def pis(tmp_path_factory: pytest.TempPathFactory) -> tuple[Record, Record]:
    """Summary and recommendation of the study of two Raspberry Pis."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("pis"))
        config = pi_study.spec()
        pi_study.write_records(config)
        summary, recommendation = pi_study.decided(config)
        return {**summary, "rows": summary["classes"]}, recommendation


def texts_in_use() -> set[str]:
    """Every English text of the templates and of the code."""
    environment = Environment(extensions=["jinja2.ext.i18n"])
    found: set[str] = set()
    for template in (REPORT / "page/templates").glob("*.html"):
        for _, _, message in environment.extract_translations(template.read_text("utf-8")):
            found |= {message} if isinstance(message, str) else set(filter(None, message))
    for file in REPORT.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "t":
                assert isinstance(node.args[0], ast.Constant), f"{file.name}: a text that varies"
                found.add(node.args[0].value)
    return found


def test_catalog_has_every_text_and_no_other() -> None:
    assert set(CATALOG["texts"]) == texts_in_use()


@pytest.mark.parametrize("part", ["texts", "said"])
def test_translations_keep_the_values(part: str) -> None:
    for english, japanese_ in CATALOG[part].items():
        kept = {match[0] for match in PLACEHOLDER.finditer(english)}
        assert {match[0] for match in PLACEHOLDER.finditer(japanese_)} <= kept, english
        if part == "texts":
            assert {m[0] for m in PLACEHOLDER.finditer(japanese_)} == kept, english


def test_what_other_modules_say_is_found_by_its_pattern() -> None:
    t = Texts("ja")
    assert t.said("tps_at_least: 3.1 tokens/s against 4 tokens/s") == (
        "生成速度の下限（tps_at_least）：3.1 tokens/s（制約 4 tokens/s）"
    ), "and what it leaves open, too"
    assert t.said("failed: the engine died\nwith a trace") == "失敗：the engine died\nwith a trace"
    assert t.said("said by nobody") == "said by nobody"
    assert (t.said(None), Texts("en").said("worse")) == ("", "worse")
    with pytest.raises(KeyError):
        t("a text that is nowhere")


def test_everything_measured_has_its_chart(pis: tuple[Record, Record]) -> None:
    summary, recommendation = pis
    data = datasets(summary, recommendation)
    drawn = figures(Texts("en"), summary, data, recommendation)
    assert set(drawn) == {
        *("choice", "tradeoff-squad", "tg", "pp", "energy", "words", "load", "parity"),
        *("sustained-speed", "sustained-heat", "divergence-wiki", "pair-0"),
        *("descent-0", "descent-1", "descent-2", "predictions", "paper"),
        *("money-0", "sensitivity-0", "money-1", "sensitivity-1"),
    }
    for name, spec in drawn.items():
        wanted = spec["usermeta"]["data"]
        assert wanted, f"{name} draws on nothing"
        assert set(wanted) <= set(data)


def test_charts_are_sound_vega_lite_in_both_languages(pis: tuple[Record, Record]) -> None:
    summary, recommendation = pis
    data = datasets(summary, recommendation)
    english, japanese_ = (
        figures(Texts(language), summary, data, recommendation) for language in ("en", "ja")
    )
    assert english.keys() == japanese_.keys()
    for name, spec in japanese_.items():
        assert spec["description"] != english[name]["description"]
        named = {key: [] for key in spec["usermeta"]["data"]}
        datasets_ = {**spec.get("datasets", {}), **named}
        vl_convert.vegalite_to_vega(json.dumps({**spec, "width": 300, "datasets": datasets_}))


def test_front_of_a_device_and_workload(pis: tuple[Record, Record]) -> None:
    """At the edge nobody is both faster and better; what was not transferred stands aside."""
    summary, recommendation = pis
    table = datasets(summary, recommendation)["cells"]
    cells = [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]]
    for place in {(c["device"], c["workload"]) for c in cells}:
        here = [c for c in cells if (c["device"], c["workload"]) == place and c["squad_edge"]]
        by_speed = sorted(here, key=lambda c: c["tg_tps"])
        scores = [c["squad_f1_pct"] for c in by_speed]
        assert len(here) > 1
        assert scores == sorted(scores, reverse=True)
    differs = [c for c in cells if c["agreement"] == "differs"]
    assert differs
    assert all(not c["transferred"] and not c["squad_front"] for c in differs)


def test_roofline_is_what_the_bandwidth_would_allow(pis: tuple[Record, Record]) -> None:
    summary, recommendation = pis
    table = datasets(summary, recommendation)["cells"]
    cell = dict(zip(table["columns"], table["rows"][0], strict=True))
    assert cell["roofline_tps"] == pytest.approx(11.2e9 / cell["file_bytes"])


def test_paper_stands_beside_the_workload_nearest_to_it(pis: tuple[Record, Record]) -> None:
    summary, recommendation = pis
    drawn = datasets(summary, recommendation)["paper"]
    found = against_the_paper(summary)
    assert found["workload"] == "chat", "the shorter prompt"
    assert len(found["corresponding"]) == 30, "15 variants that the paper has, on two boards"
    assert len(drawn) == 2 * 29, "one of them failed"
    assert len(found["corresponding"]) + len(found["without"]) == 30 + 27 - 15
    everywhere = [one["key"] for one in found["differences"] if not one["where"]]
    assert {"quality", "sampling"} <= set(everywhere)


def test_predictions_are_counted(pis: tuple[Record, Record]) -> None:
    found = predicted(pis[0]["predictions"])
    assert sum(found["predicted"].values()) == len(pis[0]["predictions"])
    assert found["median_error"] > 0
    assert found["unpredicted"] == {}


def test_table_shows_what_there_is(pis: tuple[Record, Record]) -> None:
    shown = {column["key"]: column for column in columns(Texts("ja"), pis[0])}
    assert {"workload", "energy_tier", "squad_f1_pct", "parity_kl_nats"} <= set(shown)
    assert "fallback_tensors" not in shown, "nothing fell back"
    assert shown["squad_f1_pct"]["low"] == "squad_f1_low_pct"


def test_page_in_one_language(pis: tuple[Record, Record], tmp_path: Path) -> None:
    summary, recommendation = pis
    config = {**summary["provenance"]["config"], "languages": ["ja"]}
    only = {**summary, "provenance": {**summary["provenance"], "config": config}}
    write_page(only, recommendation, tmp_path / "index.html")
    html = (tmp_path / "index.html").read_text("utf-8")
    assert '<html lang="ja">' in html
    assert "data-language=" not in html.partition('id="data"')[0], "no switch for one language"
    assert "The decision" not in html
    assert '"metered":"電力計で実測"' in html, "for the table"
    assert "ab" * 32 in html and "cd" * 32 in html, "hashes of models and their files"


def test_japanese_decision_with_a_pick(pis: tuple[Record, Record]) -> None:
    _, recommendation = pis
    made = recommendation["decisions"][0]
    what, why, risk = japanese.decision(made, recommendation, Texts("ja"))
    assert what.startswith("pi5のllama-3.2-1b Q6_Kを推奨します（9.32 トークン/秒［9.15〜9.36］")
    assert what.endswith("指定された制約2件をすべて満たします。")
    assert "品質では" in why and "決め手です。次点は" in why
    assert "tps_at_least" in risk
    for sentence in (what, why, risk):
        assert sentence.endswith("。")


@pytest.mark.parametrize(
    ("limits", "start"),
    [
        ({"tps_at_least": 14}, "次のいずれか一つを変えれば推奨できます"),
        ({"tps_at_least": 100, "memory_at_most": 1}, "一つの変更では足りません"),
    ],
)
def test_japanese_decision_without_a_pick(
    pis: tuple[Record, Record], limits: Record, start: str
) -> None:
    recommendation = recommend(pis[0], Constraints.model_validate(limits))
    made = recommendation["decisions"][0]
    assert made["pick"] is None
    nothing, back, reasons = japanese.decision(made, recommendation, Texts("ja"))
    assert nothing.startswith("推奨できるものがありません。候補30件")
    assert back.startswith(start)
    assert reasons.startswith("除外の内訳：")


def test_japanese_money_says_what_the_english_says(pis: tuple[Record, Record]) -> None:
    _, recommendation = pis
    found = recommendation["money"]["devices"][0]
    numbers = re.compile(r"\d[\d,]*\.?\d*")
    for english, japanese_ in zip(
        found["sentences"][:2], japanese.money(found, recommendation)[:2], strict=True
    ):
        said = set(numbers.findall(japanese_))
        assert {n for n in numbers.findall(english) if "." in n} <= said


def test_curve_of_a_sustained_phase() -> None:
    run = Run("pi", "m", "Q4_0", "default", "chat")
    cell = {
        "status": "ok",
        "sustained": [[100.0 + s, 10.0] for s in range(600)],
        "samples": {
            "temperature_c": [[50.0, 40.0], [100.0, 50.0], [400.0, 80.0], [900.0, 60.0]],
            "throttled": [[90.0, ["throttled"]], [350.0, ["throttled"]]],
        },
    }
    found = curve(run, cell)
    assert found
    assert (found["device"], found["workload"]) == ("pi", "chat")
    assert len(found["tg_tps"]) == POINTS
    assert found["tg_tps"][0] == [2.0, 10.0], "the mean of its first five seconds"
    assert found["temperature_c"] == [[0.0, 50.0], [300.0, 80.0]], "what was sampled meanwhile"
    assert found["throttled_s"] == [250.0]
    assert curve(run, {**cell, "sustained": []}) is None
    assert curve(run, {"status": "failed"}) is None


def test_curves_of_a_group_stand_with_the_group(pis: tuple[Record, Record]) -> None:
    summary, recommendation = pis
    together = [
        {**row, "device": "shelf", "boards": ["pi5", "pi5-sd"]}
        for row in summary["rows"]
        if row["device"] == "pi5"
    ]
    found = datasets({**summary, "rows": together}, recommendation)["sustained_speed"]
    assert {curve["device"] for curve in found} == {"shelf"}
    assert {"llama-3.2-1b F16, pi5", "llama-3.2-1b F16, pi5-sd"} <= {c["name"] for c in found}
    cells = {"/".join(row[k] for k in ("device", "model", "quant", "runtime", "workload"))
             for row in together}  # fmt: skip
    assert {curve["id"] for curve in found} <= cells


def test_short_curves_are_kept_as_they_are() -> None:
    assert thinned([]) == []
    assert thinned([(0.0, 1.0), (1.0, 3.0)]) == [[0.0, 1.0], [1.0, 3.0]]
    assert len(thinned([(float(s), 1.0) for s in range(POINTS + 1)])) <= POINTS
