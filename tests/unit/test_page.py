"""The page of a whole study: what it draws, and that it says the same in both languages."""

import ast
import copy
import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import made_records as made
import pi_study
import pytest
import vl_convert
import yaml
from cold_page import page_cells
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import Environment
from support import ROOT

from llmpi import layout
from llmpi.decide.choice import recommend
from llmpi.decide.records import AnyCaution, Decision
from llmpi.quality.evidence import Requirements
from llmpi.quality.kind import Chart, Fact, Section, Shown, Table
from llmpi.quality.kinds import task_kinds
from llmpi.quality.reasons import reason_text
from llmpi.quality.records import Obstacle, Skipped
from llmpi.report.page.body import body
from llmpi.report.page.content import Content
from llmpi.report.page.datasets import (
    MOST_CURVES,
    Cells,
    datasets,
    kind_datasets,
    with_shared_texts,
)
from llmpi.report.page.figures import figures
from llmpi.report.page.fronts import Point, least_losses
from llmpi.report.page.paper_files import as_csv, as_latex
from llmpi.report.page.paper_section import (
    correspondences,
    differences,
    nearest_workload,
    predictions,
    without_cell,
)
from llmpi.report.page.standings import (
    asked,
    asked_by,
    drawn_standings,
    standing_table,
    standings,
)
from llmpi.report.page.table import columns
from llmpi.report.page.write import write_page
from llmpi.report.words import english, japanese
from llmpi.report.words.languages import WORDS
from llmpi.report.words.texts import Texts
from llmpi.study.decision import Constraints
from llmpi.study.runs import Run, Variant
from llmpi.study.study import Language
from llmpi.summary.curves import POINTS, curve, thinned
from llmpi.summary.flat import flat_rows
from llmpi.summary.measured import Single, single

REPORT = ROOT / "src/llmpi/report"
CATALOG = yaml.safe_load((REPORT / "words/ja.yaml").read_text(encoding="utf-8"))
KINDS = yaml.safe_load((REPORT / "words/facts.yaml").read_text(encoding="utf-8"))
PLACEHOLDER = re.compile(r"%\((\w+)\)(?:s|\.4f)|\{(\w+)\}|%%")

CELL = ("device", "model", "quant", "runtime", "workload")


@pytest.fixture(scope="module")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> tuple[Content, Requirements]:
    """The study of two Raspberry Pis, and what its decision on quality rests on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("pis"))
        asked = pi_study.study()
        pi_study.write_records(asked)
        summary, requirements = pi_study.summarized(asked)
        return Content(summary, pi_study.decision(asked, summary, requirements)), requirements


@pytest.fixture(scope="module")
def pis(made_up: tuple[Content, Requirements]) -> Content:
    return made_up[0]


def texts_in_use() -> set[str]:
    """Every English text of the templates and of the code."""
    environment: Any = Environment(extensions=["jinja2.ext.i18n"])
    found: set[str] = set()
    for template in (REPORT / "page/templates").glob("*.html"):
        for _, _, message in environment.extract_translations(template.read_text("utf-8")):
            found |= {message} if isinstance(message, str) else set(filter(None, message))
    for file in REPORT.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "t":
                assert isinstance(node.args[0], ast.Constant), f"{file.name}: a text that varies"
                found.add(node.args[0].value)
    return found | set(texts_of_kinds())


def texts_of_kinds() -> Iterator[str]:
    """Every English text of sections, charts and facts of kinds of quality tasks."""
    yield from KINDS["facts"].values()
    for entry in [*KINDS["sections"].values(), *KINDS["charts"].values()]:
        yield from (text for text in entry.values() if isinstance(text, str))


def titles(sections: list[Section]) -> Iterator[str]:
    """What kinds of quality tasks call their columns and axes."""
    for part in (part for section in sections for part in section["parts"]):
        if table := part["table"]:
            yield from (shown["title"] for shown in table["columns"])
        if chart := part["chart"]:
            yield from (shown["title"] for shown in (chart["value"], *chart["shown"]))


def titles_of_scores() -> Iterator[str]:
    """What they call the axes of quality against speed."""
    for score in (kind.score for kind in task_kinds().values() if kind.score):
        yield from (shown["title"] for shown in (score.value, *score.beside))


SIGNS = {"p", "A\n%", "B\n%"}
"""Titles that are the same in every language."""
NOT_MADE = {
    *("metric", "standard error", "default", "number", "difference", "with this cache"),
    *("thought\ntokens", "thoughts cut\n%", "with unknown\nmarks, %", "these marks"),
}
"""Of the lm-evaluation-harness, of other KV caches, and of thoughts, which the study of two boards
has not."""


def test_catalog_has_every_text_and_no_other(pis: Content) -> None:
    of_kinds = {*titles(pis.summary["sections"]), *titles_of_scores()} - SIGNS | NOT_MADE
    assert set(CATALOG["texts"]) == texts_in_use() | of_kinds


def test_translations_keep_the_values() -> None:
    for text, other in CATALOG["texts"].items():
        kept = {match[0] for match in PLACEHOLDER.finditer(text)}
        assert {match[0] for match in PLACEHOLDER.finditer(other)} == kept, text


def test_a_code_has_its_word_and_what_is_from_outside_stays() -> None:
    t = Texts("ja")
    assert t.label("worse") == "劣る"
    assert t.label("failed: the engine died") == "failed: the engine died"
    assert (t.label(None), Texts("en").label("worse")) == ("", "worse")
    with pytest.raises(KeyError):
        t("a text that is nowhere")


def test_everything_measured_has_its_chart(pis: Content) -> None:
    data = datasets(pis)
    drawn = figures(Texts("en"), pis, data)
    assert set(drawn) == {
        *(
            "choice",
            *(f"standing-{i}" for i in range(6)),
            "tradeoff-squad",
            "tradeoff-wiki",
            "answers-squad",
            "tg",
            "pp",
            "energy",
            "words",
            "load",
            "parity",
        ),
        *("sustained-speed", "sustained-heat", "divergence-wiki", "pair-0"),
        *("descent-0", "descent-1", "descent-2", "predictions", "paper"),
        *("money-0", "sensitivity-0", "money-1", "sensitivity-1"),
    }
    for name, spec in drawn.items():
        wanted = spec["usermeta"]["data"]
        assert wanted, f"{name} draws on nothing"
        assert set(wanted) <= {*data, *kind_datasets(pis)}


def test_charts_are_sound_vega_lite_in_both_languages(pis: Content) -> None:
    data = datasets(pis)
    in_english, in_japanese = (figures(Texts(language), pis, data) for language in ("en", "ja"))
    assert in_english.keys() == in_japanese.keys()
    for name, spec in in_japanese.items():
        assert spec["description"] != in_english[name]["description"]
        named = {key: [] for key in spec["usermeta"]["data"]}
        datasets_ = {**spec.get("datasets", {}), **named}
        vl_convert.vegalite_to_vega(json.dumps({**spec, "width": 300, "datasets": datasets_}))


def held(spec: Any, key: str) -> Iterator[Any]:
    """What stands under `key`, wherever in a spec."""
    if isinstance(spec, dict):
        yield from ([spec[key]] if key in spec else [])
    for part in spec.values() if isinstance(spec, dict) else spec if isinstance(spec, list) else []:
        yield from held(part, key)


def test_lines_are_seen_and_axes_say_what_they_are(pis: Content) -> None:
    """Lines are not pale; where equal steps are equal factors the axis says so, or its caption."""
    for language, word in (("en", "(logarithmic)"), ("ja", "（対数目盛）")):
        for name, chart in figures(Texts(language), pis, datasets(pis)).items():
            lines = [mark for mark in held(chart, "mark") if mark["type"] in ("rule", "line")]
            assert [mark for mark in lines if mark.get("opacity", 1) < 1] == [], name
            for channels in held(chart, "encoding"):
                for channel in channels.values():
                    scale = (isinstance(channel, dict) and channel.get("scale")) or {}
                    if scale.get("type") in ("log", "symlog") and "title" in channel:
                        assert word in channel["title"] or name.startswith("standing"), name


def test_what_scrolls_has_a_role_and_a_name() -> None:
    for template in (REPORT / "page/templates").glob("*.html"):
        for tag in re.findall(r'<[^>]*tabindex="0"[^>]*>', template.read_text(encoding="utf-8")):
            assert "role=" in tag and "aria-label=" in tag, f"{template.name}: {tag}"


def test_every_row_of_a_table_has_a_head(pis: Content, tmp_path: Path) -> None:
    """Who does not see the table is told whose figures are read; a cell as wide as the table is of
    no row."""
    html = drawn_page(pis, tmp_path / "index.html", ["en", "ja"])
    bodies = re.findall(r"<tbody>(.*?)</tbody>", html, re.DOTALL)
    firsts = [
        re.match(r"\s*<t[hd][^>]*>", row) for body in bodies for row in body.split("<tr>")[1:]
    ]
    assert len(firsts) > 100
    others = {first[0].strip() for first in firsts if first and 'scope="row"' not in first[0]}
    assert all(re.search(r'class="wide" colspan="\d+"', other) for other in others), others
    for template in (REPORT / "page/templates").glob("*.html"):
        text = template.read_text(encoding="utf-8")
        assert '<tr><td class="name">' not in text, template.name


def test_the_objectives_of_the_choice_begin_at_zero(pis: Content) -> None:
    drawn = figures(Texts("en"), pis, datasets(pis))["choice"]
    axes = [x for channels in held(drawn, "encoding") if "scale" in (x := channels["x"])]
    assert len(axes) == 4
    assert all(x["scale"]["zero"] for x in axes)


def is_ahead(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """As fast and as good at least, and not both alike."""
    mine, its = ((c["tg_tps"], c["squad_f1_pct"]) for c in (one, other))
    return mine != its and mine[0] >= its[0] and mine[1] >= its[1]


def is_clearly_ahead(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """By more than repetitions or questions differ."""
    faster = one["tg_min_tps"] > other["tg_max_tps"]
    return faster or one["squad_f1_low_pct"] > other["squad_f1_high_pct"]


def test_front_of_a_device_and_workload(pis: Content) -> None:
    """Every place has one, of some of its cells; what was not transferred stands aside."""
    table = datasets(pis)["cells"]
    cells = [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]]
    for place in {(c["device"], c["workload"]) for c in cells}:
        here = [c for c in cells if (c["device"], c["workload"]) == place]
        front = [c for c in here if c["squad_front"]]
        assert 0 < len(front) < len(here)
        able = [c for c in here if c["tg_tps"] and c["transferred"] and not c["squad_broken"]]
        for one in able:
            ahead = [o for o in able if is_ahead(o, one)]
            clear = [o for o in ahead if is_clearly_ahead(o, one)]
            assert one["squad_front"] if not ahead else not (clear and one["squad_front"])
        assert not any(c["squad_broken"] for c in front)
    differs = [c for c in cells if c["agreement"] == "differs"]
    assert differs
    assert all(not c["transferred"] and not c["squad_front"] for c in differs)


def test_who_always_abstains_is_on_no_front(pis: Content) -> None:
    """However high its F1 is: the demo's Q2_K has 33.6 %, the share of questions without answer."""
    rows = copy.deepcopy(pis.rows)
    mute = {f"has_ans_f1{end}_pct": 0.0 for end in ("", "_low", "_high")}
    rows[0]["quality"]["squad"] |= {**mute, "f1_pct": 99.0, "f1_low_pct": 98.0}
    table = datasets(Content({**pis.summary, "rows": rows}, pis.recommendation))["cells"]
    cell = dict(zip(table["columns"], table["rows"][0], strict=True))
    assert (cell["squad_front"], cell["squad_broken"]) == (0, 1)


def test_front_of_what_is_lost_on_a_device(pis: Content) -> None:
    """The reference, which loses nothing, is neither drawn nor does it beat anyone."""
    table = datasets(pis)["cells"]
    cells = [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]]
    drawn = [c for c in cells if c["tg_tps"] and c["transferred"] and c["wiki_loss"]]
    assert drawn
    assert not any(c["wiki_loss"] or c["wiki_front"] for c in cells if c["quant"] == "F16")
    assert all(0 < c["wiki_loss_low"] < c["wiki_loss"] < c["wiki_loss_high"] for c in drawn)
    where = lambda c: (c["device"], c["workload"], c["model"])  # noqa: E731
    for place in {where(c) for c in drawn}:
        here = [c for c in drawn if where(c) == place and not c["wiki_broken"]]
        for one in here:
            faster = [o for o in here if o["tg_min_tps"] > one["tg_max_tps"]]
            beaten = any(o["wiki_loss_high"] < one["wiki_loss_low"] for o in faster)
            assert not (beaten and one["wiki_front"])
        fastest = max(here, key=lambda c: c["tg_tps"])
        assert fastest["wiki_front"]


def test_front_of_loss_over_bits(pis: Content) -> None:
    """Of each model by itself; what is smaller and loses less beats."""
    chart = kind_datasets(pis)["divergence-wiki"]
    models = {point["model"] for point in chart}
    for own in ([p for p in chart if p["model"] == model] for model in models):
        least = min(own, key=lambda point: point["kld_mean_nats"])
        smallest = min(own, key=lambda point: point["bits_per_weight"])
        assert least["front"] == smallest["front"] == 1
    beaten = {**chart[0], "kld_mean_nats": chart[0]["kld_mean_nats"] * 9, "bits_per_weight": 20.0}
    loss = next(iter(pis.losses.values()))
    assert least_losses([chart[0], beaten], loss) == [chart[0]]


@pytest.mark.parametrize("high", [2.0, 5.0], ids=["apart", "overlapping"])
def test_front_of_a_loss_with_ends_of_its_own(high: float) -> None:
    """Of as many bits, the one that loses more is beaten if that is no noise."""
    loss: Shown = {"key": "lost", "title": "", "digits": 0, "low": "low", "high": "high"}
    bits = {"model": "m", "bits_per_weight": 4.0}
    less: Point = {**bits, "lost": 1.0, "low": 0.5, "high": high}
    more: Point = {**bits, "lost": 3.0, "low": 2.5, "high": 3.5}
    assert least_losses([less, more], loss) == [less, more][: 1 if high < 3 else 2]


def test_roofline_is_what_the_bandwidth_would_allow(pis: Content) -> None:
    table = datasets(pis)["cells"]
    cell = dict(zip(table["columns"], table["rows"][0], strict=True))
    assert cell["roofline_tps"] == pytest.approx(11.2e9 / cell["file_bytes"])


def test_paper_stands_beside_the_workload_nearest_to_it(pis: Content) -> None:
    pairs = correspondences(pis)
    assert nearest_workload(pis) == "chat", "the shorter prompt"
    assert len(pairs) == 30, "15 variants that the paper has, on two boards"
    assert len(datasets(pis)["paper"]) == 2 * 29, "one of them failed"
    assert len(pairs) + len(without_cell(pis)) == 30 + 27 - 15
    everywhere = [one.what for one in differences(pairs, english) if not one.where]
    assert {"quality", "sampling"} <= set(everywhere)
    assert [one.what for one in differences(pairs, japanese) if "NUBIA" in one.paper] == ["品質"]


def test_the_papers_table_can_be_taken_along(pis: Content) -> None:
    """With the cell's own repetitions, spread, joules and scores, as CSV and for booktabs."""
    pairs = correspondences(pis)
    table = list(csv.DictReader(io.StringIO(as_csv(pis, pairs))))
    rows = {tuple(row[key] for key in CELL): row for row in pis.summary["rows"]}
    for line, pair in zip(table, pairs, strict=True):
        row = rows[tuple(line[key] for key in CELL)]
        ours = {key: row[key] for key in ("repetitions", "tg_tps", "tg_sd_tps", "tg_j_per_token")}
        for end in ("f1_pct", "f1_low_pct", "f1_high_pct"):
            ours[f"squad_{end}"] = row["quality"]["squad"][end]
        ours["paper_tg_tps"] = pair.paper["tg_tps"]
        assert {key: line[key] for key in ours} == {
            key: "" if value is None else str(value) for key, value in ours.items()
        }
    lines = as_latex(pis, pairs).splitlines()
    inside = lines[lines.index(r"\midrule") + 1 : lines.index(r"\bottomrule")]
    assert len(inside) == len(pairs)
    assert {len(re.split(r"(?<!\\)&", line)) for line in inside} == {9}, "with its device"
    assert sum(r"Q4\_0 & 5 & " in line and r" \pm " in line for line in inside) >= 2
    assert not any(re.search(r"(?<!\\)[_%#]", line) for line in inside)


def test_predictions_are_counted(pis: Content) -> None:
    found = predictions(pis.summary["predictions"], english)
    assert found
    assert sum(found.verdicts.values()) == len(pis.summary["predictions"])
    assert found.median_error_pct
    assert found.unpredicted == {}


def test_what_a_cell_scores_stands_beside_how_fast_it_is(pis: Content) -> None:
    """Memory and joules come behind: on a narrow screen they are what one has to scroll to."""
    keys = [c["key"] for c in columns(Texts("en"), pis, datasets(pis)["cells"]) if "more" not in c]
    speed = keys.index("tg_tps")
    assert keys[speed + 1] == "squad_f1_pct"
    assert keys.index("memory_bytes") > keys.index("squad_has_ans_f1_pct") > speed
    assert "tg_j_per_token" in keys[keys.index("memory_bytes") :]


def test_table_shows_what_there_is(pis: Content) -> None:
    cells = datasets(pis)["cells"]
    shown = {column["key"]: column for column in columns(Texts("ja"), pis, cells)}
    assert {"workload", "energy_tier", "squad_f1_pct", "parity_kl_nats"} <= set(shown)
    assert "fallback_tensors" not in shown, "nothing fell back"
    assert shown["squad_f1_pct"]["low"] == "squad_f1_low_pct"


def drawn_page(content: Content, path: Path, languages: list[str]) -> str:
    provenance = content.summary["provenance"]
    config = {**provenance["config"], "languages": languages}
    only = {**content.summary, "provenance": {**provenance, "config": config}}
    write_page(only, content.recommendation, path)
    return path.read_text("utf-8")


def test_a_reason_on_the_page_does_not_tell_where_anything_is(pis: Content, tmp_path: Path) -> None:
    why = "the meter failed: pi.local: no answer, see /mnt/nvme/llmpi"
    rows = [{**row, "energy_reason": why} for row in pis.summary["rows"]]
    content = Content({**pis.summary, "rows": rows}, pis.recommendation)
    html = drawn_page(content, tmp_path / "index.html", ["en"])
    assert "the meter failed: …: no answer, see llmpi" in html
    assert "pi.local" not in html and "/mnt/nvme" not in html


def test_page_in_one_language(pis: Content, tmp_path: Path) -> None:
    html = drawn_page(pis, tmp_path / "index.html", ["ja"])
    assert '<html lang="ja">' in html
    assert "data-language=" not in html.partition('id="data"')[0], "no switch for one language"
    assert "The decision" not in html
    assert '"metered":"電力計で実測"' in html, "for the table"
    assert pis.summary["files"][0]["sha256"] in html, "hashes of models and their files"
    assert "University of Washington Interactive Data Lab" in html, "whose the charts' scripts are"


OBSTACLES: dict[Variant, Obstacle] = {
    Variant("llama-3.2-1b", "Q4_0"): {"kind": "fails", "variant": "Q6_K", "margin_pct": 10.0},
    Variant("llama-3.2-1b", "Q2_K"): {"kind": "undecided", "variant": "Q6_K", "margin_pct": 10.0},
    Variant("gemma-2-2b", "Q2_K"): {
        "kind": "wider not scored",
        "variant": "Q4_0",
        "reason": "no memory",
    },
    Variant("llama-3.2-3b", "Q2_K"): {"kind": "widest not scored", "reason": "no memory"},
}


def test_a_descent_that_stopped_says_why_in_the_language_of_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = pi_study.study()
    pi_study.write_records(asked)
    for variant, obstacle in OBSTACLES.items():
        skipped: Skipped = {"status": "skipped", "stage": "quality", "obstacles": [obstacle]}
        made.write(layout.QUALITY, skipped, study="pis", task="squad", **variant._asdict())
    content = Content(*pi_study.decided(asked))
    for obstacle in OBSTACLES.values():
        flat = flat_rows(asked, content.rows)
        assert reason_text([obstacle]) in {row["squad_reason"] for row in flat}, "in the CSV"
    for language, words, other in (("en", english, japanese), ("ja", japanese, english)):
        html = drawn_page(content, tmp_path / "index.html", [language])
        seen, _, data = html.partition('id="data">')
        page = json.loads(data.partition("</script>")[0])["languages"][language]
        ruled_out = {why for whys in page["why"].values() for why in whys}
        for obstacle in OBSTACLES.values():
            reason, wrong = words.unscored([obstacle]), other.unscored([obstacle])
            assert seen.count(reason) >= 2, "in the descent, and among what failed"
            assert wrong not in seen
            kill = {"kind": "unscored", "task": "squad", "reason": [obstacle]}
            assert words.kill(kill) in ruled_out
            assert page["texts"]["said"].get(reason_text([obstacle]), reason) == reason


# --- kinds of quality tasks -----------------------------------------------------------------------


def toy() -> Section:
    """A section of a kind that the page has never heard of."""
    fact: Fact = {"key": "toy.said", "values": {"beans": 3, "name": "<b>"}}
    table: Table = {
        "columns": [
            {"key": "quant", "title": "quantization", "digits": None},
            {"key": "beans", "title": "beans\ncounted", "digits": 1, "low": "low", "high": "high"},
            {"key": "weight", "title": "weight", "digits": 2, "error": "off", "unit": "unit"},
        ],
        "rows": [
            {"quant": "F16", "beans": 3, "low": 2, "high": 4, "weight": 1.5, "off": 0.25,
             "unit": "g", "bad": "beans"},
            {"quant": "Q4_0", "reason": "spilled & lost", "bad": "reason"},
        ],
    }  # fmt: skip
    chart: Chart = {
        "id": "beans-0",
        "key": "toy.beans",
        "kind": "by name",
        "value": {"key": "beans", "title": "beans", "digits": 1, "low": "low", "high": "high"},
        "scale": "linear",
        "limit": 2.5,
        "verdict": None,
        "shown": [],
        "points": [{"name": "F16", "beans": 3, "low": 2, "high": 4}],
    }
    part = {"name": "", "facts": [fact], "chart": chart, "table": table, "remarks": []}
    return {"id": "toy", "key": "toy", "values": {}, "parts": [part]}


def test_a_kind_that_nobody_knows_shows_its_section(pis: Content, tmp_path: Path) -> None:
    content = Content({**pis.summary, "sections": [toy()]}, pis.recommendation)
    html = drawn_page(content, tmp_path / "index.html", ["en", "ja"])
    section = html.partition('<section id="toy">')[2].partition("</section>")[0]
    assert '<a href="#toy">toy</a>' in html, "in the contents"
    assert "beans 3, name &lt;b&gt;" in section, "no text has its key: the values by their names"
    assert "<th>beans<br>counted</th>" in section
    assert "<td>3.0<br><small>2.0 to 4.0</small></td><td>1.50 ± 0.25 g</td>" in section
    assert '<td class="wide bad" colspan="2">spilled &amp; lost</td>' in section
    assert 'data-figure="beans-0"' in section
    data = json.loads(html.partition('id="data">')[2].partition("</script>")[0])
    [point] = data["beans-0"]
    assert (point["beans"], point["limit"]) == (3, 2.5)


def test_intervals_of_a_logarithmic_chart_stay_above_zero(pis: Content) -> None:
    [chart] = [points for name, points in kind_datasets(pis).items() if name == "divergence-wiki"]
    assert all(0 < point["low"] < point["kld_mean_nats"] < point["high"] for point in chart)
    assert all(point["bits_per_weight"] for point in chart)


# --- what quality is shown to be ------------------------------------------------------------------


def test_a_row_for_every_variant_and_requirement(pis: Content) -> None:
    """Whatever device or runtime it ran on; what another is held against has no row but its
    minimum's."""
    assert pis.recommendation
    known = {(c["model"], c["quant"]): c["standing"] for c in pis.candidates}
    wanted = sum(len(standing["requirements"]) for standing in known.values())
    rows = datasets(pis)["standings"]
    assert len(rows) == wanted == 12 * 6 + 3
    assert len({(row["requirement"], row["name"]) for row in rows}) == wanted
    assert {row["verdict"] for row in rows} == {"holds", "fails", "undecided"}


def test_a_row_reads_the_same_in_every_chart(pis: Content) -> None:
    """Left of its margin it holds, also where it is a minimum to reach."""
    for row in datasets(pis)["standings"]:
        assert row["low"] < row["value"] < row["high"]
        if row["verdict"] == "fails":
            assert row["low"] > row["limit"]
        if row["verdict"] == "holds":
            assert row["high"] <= row["limit"]
    limits = {row["requirement"]: row["limit"] for row in datasets(pis)["standings"]}
    assert [limits[i] for i in range(6)] == pytest.approx([10, 5, 10, 5, 2, 0]), "minimums last"


@pytest.mark.parametrize("language", ["en", "ja"])
def test_the_table_says_what_the_charts_show(pis: Content, language: Language) -> None:
    table = standing_table(Texts(language), WORDS[language], pis)
    assert table
    assert len(table.rows) == 15 and {len(row) for row in table.rows} == {len(table.heads)}
    first, second = table.rows[0], table.rows[1]
    assert [box.text for box in first[4:6]] == ["0", "0"], "the widest loses nothing"
    assert first[-1].text == "57.1", "of a minimum its score"
    _, told, undecided = list(standings(pis).values())[:3]
    by_name = {asked_by(one): one for one in told["requirements"]}
    for box, name in zip(second[4:], asked(pis), strict=True):
        if (one := by_name.get(name)) is not None and one["kind"] == "loss":
            assert float(box.text) == pytest.approx(one["loss"], abs=0.051)
            assert box.below and f"{one['low']:.1f}" in box.below
            assert f"{one['high']:.1f}" in box.below
    [more] = undecided["more"]
    assert [row[3].text for row in table.rows[:2]] == ["", ""]
    task, _, items = table.rows[2][3].text.partition(": ")
    promised = int(items.replace(",", ""))
    assert task == more["task"] == "own"
    assert more["items"] <= promised <= 1.1 * more["items"], "two digits, not fewer"


def test_the_price_of_caution_stands_beside_a_provisional_pick(
    pis: Content, tmp_path: Path
) -> None:
    html = drawn_page(pis, tmp_path / "index.html", ["en"])
    decision = html.partition('id="decision"')[2].partition("</section>")[0]
    assert "The decision, provisional" in decision and ">for now</span>" in decision
    price = decision.partition('class="price"')[2].partition("</table>")[0]
    rows = re.findall(
        r"<th scope=\"row\" class=\"name\">(.*?)</th><td>(.*?)</td><td>(.*?)</td>", price
    )
    assert [name for name, _, _ in rows] == [
        *("tokens/s", "MB of memory", "MB of file", "EUR per million tokens"),
    ], "energy by different meters is not compared"
    assert all(float(own.replace(",", "")) != float(its.replace(",", "")) for _, own, its in rows)


def test_a_decision_that_is_shown_is_not_called_provisional(pis: Content, tmp_path: Path) -> None:
    assert pis.recommendation
    overall, *others = pis.recommendation["decisions"]
    shown: Decision = {**overall, "standing": "shown", "smaller": None}
    content = Content(pis.summary, {**pis.recommendation, "decisions": [shown, *others]})
    html = drawn_page(content, tmp_path / "index.html", ["en"])
    decision = html.partition('id="decision"')[2].partition("</section>")[0]
    headline = decision.partition("Device by device")[0]
    assert "provisional" not in headline and "for now" not in headline
    assert 'class="price"' not in decision


def test_what_a_pick_is_not_even_good_for_is_said_first(pis: Content, tmp_path: Path) -> None:
    assert pis.recommendation and pis.pick
    below: AnyCaution = {"kind": "below abstaining", "f1_pct": 26.0, "abstaining_pct": 33.6}
    candidates = [
        {**c, "cautions": [*c["cautions"], below]} if c["id"] == pis.pick["id"] else c
        for c in pis.candidates
    ]
    content = Content(pis.summary, {**pis.recommendation, "candidates": candidates})
    html = drawn_page(content, tmp_path / "index.html", ["en"])
    decision = html.partition('id="decision"')[2].partition("</section>")[0]
    assert decision.index("never answers") < decision.index("<h1>")
    assert decision.count("never answers") == 2, "and of its own device"


# --- the decision and the money -------------------------------------------------------------------


def test_japanese_decision_with_a_pick(pis: Content) -> None:
    assert pis.recommendation
    made_ = pis.recommendation["decisions"][0]
    said = japanese.decision(made_, pis.recommendation)
    what, provisional, price, tells, why, risk = said
    assert what.startswith("pi5-sdのllama-3.2-1b Q8_0を暫定的に推奨します（7.1")
    assert what.endswith("トークン/秒以上、メモリ6.44 GB以下を満たします。")
    assert provisional.startswith("これは暫定の結論です")
    assert (
        "pi5のllama-3.2-1b Q6_Kで" in price
        and "安全側に選ぶことの代償：速度は9.32に対して7.12" in price
    )
    assert "5回に4回は判定できます" in tells
    assert "決め手です。次点は" in why
    assert "生成速度" in risk
    for sentence in (what, provisional, price, tells, why, risk):
        assert sentence.endswith("。")


@pytest.mark.parametrize(
    ("limits", "start"),
    [
        ({"tps_at_least": 14}, "次のいずれか一つを変えれば推奨できます"),
        ({"tps_at_least": 100, "memory_at_most": 1}, "一つの変更では足りません"),
    ],
)
def test_japanese_decision_without_a_pick(
    made_up: tuple[Content, Requirements], limits: dict[str, float], start: str
) -> None:
    content, requirements = made_up
    choice = recommend(content.summary, requirements, Constraints.model_validate(limits))
    made_ = choice["decisions"][0]
    assert made_["pick"] is None
    nothing, back, reasons = japanese.decision(made_, choice)
    assert nothing.startswith("推奨できるものがありません。候補30件")
    assert back.startswith(start)
    assert reasons.startswith("除外の内訳：")


def test_japanese_money_says_what_the_english_says(pis: Content) -> None:
    numbers = re.compile(r"\d[\d,]*\.?\d*")
    found = pis.priced[0]
    for in_english, in_japanese in zip(
        english.money(found, "EUR")[:2], japanese.money(found, "EUR")[:2], strict=True
    ):
        said = set(numbers.findall(in_japanese))
        for millions in re.findall(r"([\d.]+) million", in_english):
            assert f"{100 * float(millions):,.0f}万" in in_japanese
        in_english = re.sub(r"[\d.]+ million", "", in_english)
        assert {n for n in numbers.findall(in_english) if "." in n} <= said


# --- the sustained phase --------------------------------------------------------------------------


def test_figures_of_the_money_are_told_in_the_language_of_the_page(
    pis: Content, tmp_path: Path
) -> None:
    html = drawn_page(pis, tmp_path / "index.html", ["ja"])
    table = re.findall(
        r'<tr><th scope="row" class="name">([^<]+)</th><td>[^<]+</td>'
        r'<td class="name">([^<]+)</td><td class="wide">([^<]+)</td></tr>',
        html.partition('<section id="money">')[2].partition("</section>")[0],
    )
    told = {name: (unit, source) for name, unit, source in table}
    assert told["ボードの価格"] == ("EUR/台", "利用者の値")
    assert told["生成中の消費電力"] == ("W", "電源ICの値")
    assert told["電気料金の単価"] == ("EUR/kWh", "the supplier&#39;s invoice"), "as it was written"
    in_english = {
        text
        for figure in pis.priced[0]["assumptions"].values()
        for text in (english.cost_unit(figure["unit"], "EUR"), english.source(figure["source"]))
    }
    same = {"EUR/kWh", "W", "g CO2/kWh", "the supplier's invoice"}
    assert not {text for pair in told.values() for text in pair} & (in_english - same)


def test_curve_of_a_sustained_phase() -> None:
    run = Run("pi", "m", "Q4_0", "default", "chat")
    cell = made.cell(
        [made.repetition(1.0, [0.1])], sustained=[(100.0 + s, 10.0) for s in range(600)]
    )
    session = made.session(
        {"chat": cell},
        heat=[(50.0, 40.0), (100.0, 50.0), (400.0, 80.0), (900.0, 60.0)],
        throttled=[(90.0, ["throttled"]), (350.0, ["throttled"])],
    )
    measured = single(session, "chat")
    assert isinstance(measured, Single)
    found = curve(run, measured)
    assert found
    assert (found["device"], found["workload"]) == ("pi", "chat")
    assert len(found["tg_tps"]) == POINTS
    assert found["tg_tps"][0] == [2.0, 10.0], "the mean of its first five seconds"
    assert found["temperature_c"] == [[0.0, 50.0], [300.0, 80.0]], "what was sampled meanwhile"
    assert found["throttled_s"] == [250.0]
    measured.cell["sustained"] = []
    assert curve(run, measured) is None


def test_curves_of_a_group_stand_with_the_group(pis: Content) -> None:
    summary = copy.deepcopy(pis.summary)
    config: Any = summary["provenance"]["config"]
    config["cost"] = None  # it names the boards
    for device in config["devices"].values():
        device["group"] = "shelf"
    content = Content(summary, None)
    found = datasets(content)["sustained_speed"]
    assert {curve["device"] for curve in found} == {"shelf"}
    assert {curve["name"].rpartition(", ")[2] for curve in found} == {"pi5", "pi5-sd"}
    cells = {"/".join(row[k] for k in ("device", "model", "quant", "runtime", "workload"))
             for row in content.rows}  # fmt: skip
    assert {curve["id"] for curve in found} <= cells


def test_of_many_curves_those_that_slowed_down_most_are_drawn(pis: Content) -> None:
    """A chart of more than a legend tells apart would be one tangle."""
    [curve, *_] = pis.summary["curves"]
    many = [
        {**curve, "quant": row["quant"], "model": row["model"], "tg_tps": [[0.0, 10.0], [60.0, at]]}
        for at, row in enumerate(pis.rows, start=1)
        if row["device"] == curve["device"] and row["workload"] == curve["workload"]
    ]
    assert len(many) > MOST_CURVES
    found = datasets(Content({**pis.summary, "curves": many[::-1]}, None))["sustained_speed"]
    assert [curve["value"][-1] for curve in found] == [
        c["tg_tps"][1][1] for c in many[:MOST_CURVES]
    ]
    assert pis.recommendation
    found = datasets(Content({**pis.summary, "curves": many}, pis.recommendation))
    drawn = {curve["id"].rpartition("/")[0] for curve in found["sustained_speed"]}
    decisions = pis.recommendation["decisions"]
    named = {one for decision in decisions for one in (decision["pick"], decision["runner_up"])}
    there = named & {pis.shown_id(curve).rpartition("/")[0] for curve in many}
    assert there and there <= drawn


def test_short_curves_are_kept_as_they_are() -> None:
    assert thinned([]) == []
    assert thinned([(0.0, 1.0), (1.0, 3.0)]) == [[0.0, 1.0], [1.0, 3.0]]
    assert len(thinned([(float(s), 1.0) for s in range(POINTS + 1)])) <= POINTS


# --- many cells -----------------------------------------------------------------------------------


def test_of_many_variants_those_of_the_models_on_the_front_are_drawn(
    pis: Content, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A chart with a line for each of hundreds would be as long as the page; the table has all."""
    every = standings(pis)
    monkeypatch.setattr("llmpi.report.page.standings.MOST_DRAWN", 8)
    drawn = drawn_standings(pis)
    assert pis.recommendation
    front = {cell.split("/")[1] for cell in pis.recommendation["decisions"][0]["front"]}
    assert 0 < len(drawn) <= 8 < len(every)
    assert {name.split()[0] for name in drawn} <= front
    t = Texts("en")
    text = body(t, pis, figures(t, pis, datasets(pis)))
    assert f"Drawn are {len(drawn)} of the {len(every)} variants" in text


@pytest.mark.parametrize("language", ["en", "ja"])
def test_a_long_list_ends_and_says_where_the_rest_is(
    pis: Content, monkeypatch: pytest.MonkeyPatch, language: Language
) -> None:
    monkeypatch.setattr("llmpi.report.page.body.MOST_LISTED", 1)
    t = Texts(language)
    text = body(t, pis, figures(t, pis, datasets(pis)))
    ruled_out = sum(bool(candidate["killed_by"]) for candidate in pis.candidates)
    more = t("%(count)s more: the details of each cell say why")
    assert ruled_out > 1
    assert more % {"count": ruled_out - 1} in text


@given(st.lists(st.tuples(st.sampled_from(["a", "b", None]), st.integers(), st.text()), max_size=9))
def test_texts_that_come_again_stand_once(rows: list[tuple[str | None, int, str]]) -> None:
    cells: Cells = {"columns": ["x", "y", "z"], "rows": [list(row) for row in rows]}
    written = with_shared_texts(cells)
    assert [(row["x"], row["y"], row["z"]) for row in page_cells(written)] == rows
    assert len(written["texts"]) == len({*written["texts"]})
    assert all(len({row[i] for row in rows}) > 1 for i, name in enumerate("xyz")
               if name in written["columns"] and rows)  # fmt: skip
