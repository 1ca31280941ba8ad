"""The page of a study in a real browser: everything drawn, nothing fetched, all of it usable."""

import csv
import io
import itertools
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pi_study
import pytest
import small_results as small
from axe import serious_findings
from browser import Browser
from made_service import answered, bench, carried, refused, settings

from llmpi.decide.choice import recommend
from llmpi.report.page.write import write_page
from llmpi.study.decision import Constraints
from llmpi.study.study import Study
from llmpi.summary.flat import flat_rows, write_csv
from llmpi.summary.records import Summary

UNDRAWN = """[...document.querySelectorAll('figure:not([hidden]) .chart')]
    .filter((box) => !box.querySelector('svg .mark-symbol path, svg .mark-rect path,'
                                        + ' svg .mark-line path'))
    .map((box) => box.dataset.figure)"""
POINT = "[data-figure=tg] svg .mark-symbol path"
NAMES = """[...document.querySelectorAll('svg .mark-text.role-mark text')]
    .filter((text) => getComputedStyle(text).opacity !== '0' && text.textContent.trim() !== '✕')
    .map((text) => { const box = text.getBoundingClientRect();
        return [text.closest('.chart').dataset.figure, text.textContent,
                box.left, box.top, box.right, box.bottom]; })"""
"""The texts at points of the charts: chart, text, left, top, right, bottom."""
ROWS = "[...document.querySelectorAll('[data-table] tbody tr')].map((row) => row.innerText)"


@pytest.fixture(scope="module")
def pis(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Summary]:
    """The page of the study of two Raspberry Pis, its CSV beside it, and its summary."""
    folder = tmp_path_factory.mktemp("pis")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return page_of(pi_study.study(), folder)


def page_of(asked: Study, folder: Path) -> tuple[Path, Summary]:
    """Needs `folder` to be the working directory."""
    pi_study.write_records(asked)
    summary, recommendation = pi_study.decided(asked)
    page = folder / "index.html"
    write_page(summary, recommendation, page)
    write_csv(folder / "summary.csv", flat_rows(asked, summary["rows"]))
    return page, summary


def opened(browser: Browser, page: Path) -> None:
    browser.open(page)
    drawn(browser)


def drawn(browser: Browser) -> None:
    """Wait until every chart of the language is there."""
    root = "document.documentElement"
    browser.wait_for(f"{root}.dataset.drawn === {root}.lang")


def clean(browser: Browser) -> None:
    assert browser.console == []
    assert [url for url in browser.requests if not url.startswith(("file:", "blob:"))] == []


def text(browser: Browser, selector: str) -> str:
    return browser.evaluate(f"document.querySelector({json.dumps(selector)}).innerText")


def choose(browser: Browser, selector: str, value: str) -> None:
    browser.evaluate(
        f"(() => {{ const field = document.querySelector({json.dumps(selector)});"
        f"field.value = {json.dumps(value)};"
        "field.dispatchEvent(new Event('input', {bubbles: true})); })()"
    )


def click(browser: Browser, selector: str) -> None:
    browser.evaluate(f"document.querySelector({json.dumps(selector)}).click()")


def test_page_of_a_real_study(browser: Browser, finished: Any) -> None:
    page = finished.folder / "results/report/small/index.html"
    opened(browser, page)
    assert browser.evaluate(UNDRAWN) == []
    assert browser.evaluate("document.querySelectorAll('.chart svg').length") >= 4
    clean(browser)
    assert page.stat().st_size < 3_000_000


def test_every_chart_of_every_place_and_language(
    browser: Browser, pis: tuple[Path, Summary]
) -> None:
    opened(browser, pis[0])
    for language in ("en", "ja"):
        click(browser, f"[data-language={language}]")
        for place in range(4):
            choose(browser, "[data-place]", str(place))
            drawn(browser)
            assert browser.evaluate("document.documentElement.lang") == language
            assert browser.evaluate(UNDRAWN) == []
    assert "smol" not in text(browser, "main")
    clean(browser)


@pytest.mark.parametrize("width", [1280, 800, 400])
def test_no_name_hides_another(browser: Browser, pis: tuple[Path, Summary], width: int) -> None:
    browser(
        "Emulation.setDeviceMetricsOverride",
        mobile=False,
        width=width,
        height=900,
        deviceScaleFactor=1,
    )
    opened(browser, pis[0])
    names = browser.evaluate(NAMES)
    assert {figure for figure, *_ in names} >= {"tg", "pp"}
    assert overlaps(names) == []
    clean(browser)


def overlaps(boxes: list[tuple[str, str, float, float, float, float]]) -> list[tuple[str, str]]:
    """The pairs of one chart that hide one another, by more than a pixel; a box is chart, name,
    left, top, right, bottom. Of a box's 13 pixels the letters of a name take 11, as Vega places
    them."""

    def hide(a: Sequence[Any], b: Sequence[Any]) -> bool:
        across, down = (min(a[to], b[to]) - max(a[at], b[at]) for at, to in ((2, 4), (3, 5)))
        return across > 1 and down - 2 > 1

    of_one = (pair for pair in itertools.combinations(boxes, 2) if pair[0][0] == pair[1][0])
    return [(a[1], b[1]) for a, b in of_one if hide(a, b)]


def test_a_chart_is_whole_where_nothing_is_beaten_or_broken(
    browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its axis stands below it: names are placed around what there is."""
    monkeypatch.chdir(tmp_path)
    opened(browser, small_page(tmp_path))
    of_chart = (name for name in browser.evaluate(NAMES) if name[0] == "tradeoff-qa")
    names = {name: (top, bottom) for _, name, _, top, _, bottom in of_chart}
    ends = """[...document.querySelectorAll('[data-figure=tradeoff-qa] .role-axis-title text')]
        .map((title) => title.getBoundingClientRect().top)"""
    y, x = sorted(browser.evaluate(ends))
    assert y < names["F16"][0] < names["F16"][1] < x
    clean(browser)


def test_a_chart_is_whole_where_no_interval_is_known(
    browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of questions that are too few for one."""
    monkeypatch.chdir(tmp_path)
    opened(browser, small_page(tmp_path, without_ends))
    assert browser.evaluate(UNDRAWN) == []
    clean(browser)


def small_page(folder: Path, edited: Callable[[Any], Any] = lambda summary: summary) -> Path:
    """Nothing is beaten or broken in it; `folder` is to be the working directory."""
    small.write_results()
    summary, requirements = small.summary(gates=[])
    chosen = {**recommend(summary, requirements, Constraints()), "money": None}
    write_page(edited(summary), chosen, folder / "index.html")
    return folder / "index.html"


def without_ends(found: Any) -> Any:
    """The same without the ends of any interval."""
    if isinstance(found, dict):
        ends = re.compile("(^|_)(low|high)(_|$)")
        return {
            key: None if ends.search(key) and isinstance(value, float) else without_ends(value)
            for key, value in found.items()
        }
    return [*map(without_ends, found)] if isinstance(found, list) else found


def test_what_the_shelf_carries(
    browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    served = {"model": "llama-3.2-1b", "quant": "Q4_0"}
    asked = pi_study.study(service={"variant": served}, languages=["en", "ja"])
    pi_study.write_records(asked)
    summary, recommendation = pi_study.decided(asked)
    sha256 = next(f["sha256"] for f in summary["files"] if served.items() <= f.items())
    of_release: Any = {"settings": settings(**served), "gguf_sha256": [sha256]}
    crowd = [answered(float(i), 1.5) for i in range(100)]
    loads = [
        carried(load={"kind": "closed", "clients": 1}),
        carried([*crowd, *(refused(float(i)) for i in range(9))]),
        carried(crowd, load={"kind": "open", "per_s": 0.5, "seed": 0}, others=2),
    ]
    found = {
        "pi5": bench(loads, device="pi5", **of_release),
        "pi5-sd": bench(device="pi5-sd", **of_release, seen={"release": "b", "at": "2026-11-27"}),
    }
    page = tmp_path / "index.html"
    write_page(summary, recommendation, page, found)
    opened(browser, page)
    section = text(browser, "[lang=en] #service")
    assert "Up to 60.0 answers a minute without a refusal (1 client)" in section
    assert "9 (503)" in section
    assert "Not what it carries now: another release is served there, b" in section
    table = "[lang=en] #service details table"
    is_seen = f"Boolean(document.querySelector('{table}').checkVisibility())"
    assert not browser.evaluate(is_seen), "what is not current is folded away"
    click(browser, "[lang=en] #service summary")
    assert browser.evaluate(is_seen)
    click(browser, "[data-language=ja]")
    drawn(browser)
    assert "ボード群が応じられる負荷" in text(browser, "[lang=ja] #service")
    assert serious_findings(browser) == []
    clean(browser)


def test_table_is_sorted_and_filtered(browser: Browser, pis: tuple[Path, Summary]) -> None:
    page, summary = pis
    opened(browser, page)
    click(browser, '[data-sort="tg_tps"]')
    click(browser, '[data-sort="tg_tps"]')
    head = "document.querySelector('[data-sort=\"tg_tps\"]')"
    assert browser.evaluate(f"{head}.closest('th').ariaSort") == "descending"
    assert browser.evaluate(f"document.activeElement === {head}"), "the keyboard stays there"
    fastest = max((row for row in summary["rows"] if row["tg_tps"]), key=lambda r: r["tg_tps"])
    first = browser.evaluate(ROWS)[0]
    assert first.startswith(f"{fastest['model']} {fastest['quant']}")
    assert f"{fastest['tg_tps']:.1f}" in first

    choose(browser, "[data-filter=quant]", "Q4_0")
    choose(browser, "[data-search]", "gemma long")
    assert len(browser.evaluate(ROWS)) == 2
    assert all("gemma-2-2b Q4_0" in row and "long" in row for row in browser.evaluate(ROWS))
    assert text(browser, "[data-count]") == "2 of 60 cells"
    choose(browser, "[data-search]", "")
    choose(browser, "[data-filter=quant]", "")
    choose(browser, "[data-filter=status]", "failed")
    assert len(browser.evaluate(ROWS)) == 2
    clean(browser)


def test_the_table_begins_with_what_decides(browser: Browser, pis: tuple[Path, Summary]) -> None:
    opened(browser, pis[0])
    heads = "[...document.querySelectorAll('[data-table] [data-sort]')].map((b) => b.dataset.sort)"
    deciding = browser.evaluate(heads)
    assert {"name", "tg_tps", "squad_f1_pct", "tg_j_per_token", "memory_bytes"} <= {*deciding}
    assert "ttft_s" not in deciding
    click(browser, "[data-columns]")
    every = browser.evaluate(heads)
    assert {"ttft_s", "bits_per_weight"} <= {*every}
    assert [key for key in every if key in deciding] == deciding
    click(browser, "[data-columns]")
    assert browser.evaluate(heads) == deciding


def test_the_address_says_the_language(browser: Browser, pis: tuple[Path, Summary]) -> None:
    page = pis[0]
    language = "document.documentElement.lang"
    opened(browser, page)
    assert browser.evaluate(language) == "en", "the browser's"
    click(browser, "[data-language=ja]")
    assert browser.evaluate("location.hash") == "#lang=ja"
    browser.reload()
    drawn(browser)
    assert browser.evaluate(language) == "ja", "the address's"
    browser.evaluate("document.querySelector('[data-table] a').click()")
    browser.wait_for("document.getElementById('details').open")
    assert "トークン生成 (tg)" in text(browser, "#details-body")
    click(browser, "#details-close")
    browser.wait_for("location.hash === '#lang=ja'")
    click(browser, "[data-language=en]")
    assert browser.evaluate("location.hash") == ""
    clean(browser)


def test_a_chart_is_saved_in_colours_of_its_own(
    browser: Browser, pis: tuple[Path, Summary], tmp_path: Path
) -> None:
    opened(browser, pis[0])
    saved = browser.saved(tmp_path, "figure:has([data-figure=tg]) [data-svg]")
    assert saved.name == "pis-tg.svg"
    drawing = saved.read_text("utf-8")
    assert drawing.startswith("<svg")
    assert "var(--" not in drawing
    assert "#0072b2" in drawing


def test_csv_of_the_page_is_the_summary(
    browser: Browser, pis: tuple[Path, Summary], tmp_path: Path
) -> None:
    page, _ = pis
    opened(browser, page)
    saved = browser.saved(tmp_path, "[data-csv]")
    assert saved.name == "pis.csv"
    ours = list(csv.DictReader(io.StringIO(saved.read_text("utf-8"))))
    with (page.parent / "summary.csv").open(newline="", encoding="utf-8") as file:
        theirs = list(csv.DictReader(file))
    assert [list(row) for row in ours] == [list(row) for row in theirs]
    for mine, yours in zip(ours, theirs, strict=True):
        for key, value in yours.items():
            assert mine[key] == value or float(mine[key]) == float(value)


def test_the_papers_table_comes_along(
    browser: Browser, pis: tuple[Path, Summary], tmp_path: Path
) -> None:
    opened(browser, pis[0])
    as_csv, as_tex = (
        browser.saved(tmp_path, f'#paper a[download="pis-paper.{kind}"]').read_text("utf-8")
        for kind in ("csv", "tex")
    )
    table = list(csv.DictReader(io.StringIO(as_csv)))
    assert len(table) == 30 and {line["repetitions"] for line in table} == {"5", ""}
    assert r"\bottomrule" in as_tex
    clean(browser)


def test_details_fit_a_phone(browser: Browser, pis: tuple[Path, Summary]) -> None:
    phone = {"width": 400, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    browser("Emulation.setDeviceMetricsOverride", **phone)
    opened(browser, pis[0])
    wide = """[...document.querySelectorAll('#details, #details-body .scroll')]
        .filter((box) => box.scrollWidth > box.clientWidth).length"""
    browser.evaluate("location.hash = '#cell-pi5/llama-3.2-1b/F16/default/chat'")
    browser.wait_for("document.getElementById('details').open")
    for language in ("en", "ja"):
        browser.evaluate(f"document.querySelector('[data-language={language}]').click()")
        browser.wait_for(f"document.documentElement.lang === '{language}'")
        assert "2,400 MHz" in text(browser, "#details-body")
        assert browser.evaluate(wide) == 0
    assert "tokens" not in text(browser, "#details-body")


def test_a_chart_without_room_is_no_error(browser: Browser, pis: tuple[Path, Summary]) -> None:
    """As while a window is made smaller."""
    opened(browser, pis[0])
    browser.evaluate(
        "document.querySelector('[data-figure=tg]').style.width = '0';"
        "window.dispatchEvent(new Event('resize'))"
    )
    choose(browser, "[data-place]", "1")
    drawn(browser)
    clean(browser)


def test_details_of_a_cell(browser: Browser, pis: tuple[Path, Summary]) -> None:
    opened(browser, pis[0])
    is_open = "document.getElementById('details').open"
    browser.point_at(POINT, click=True)
    browser.wait_for(is_open)
    assert text(browser, "#details-title") == "llama-3.2-1b F16, pi5, chat"
    told = text(browser, "#details-body")
    assert "token generation (tg)" in told
    assert "frequency governor" in told
    assert "processors taken" not in told, "no kernel told it"
    rows = "[...document.querySelectorAll('#details-body table')].at(-1).tBodies[0].rows.length"
    assert browser.evaluate(rows) == pis[1]["rows"][0]["repetitions"] == 5
    assert "tokens/s" in told
    assert "tg_tps" not in told
    browser("Input.dispatchKeyEvent", type="keyDown", key="Escape", windowsVirtualKeyCode=27)
    browser.wait_for(f"!{is_open} && location.hash === ''")

    browser.evaluate("location.hash = '#cell-pi5-sd/llama-3.2-3b/F16/default/chat'")
    browser.wait_for(is_open)
    assert "the engine was killed: no memory" in text(browser, "#details-body")
    click(browser, "#details-close")
    browser.wait_for(f"!{is_open}")
    browser.evaluate("document.querySelector('[data-table] a').click()")
    browser.wait_for(is_open)
    other = "document.querySelectorAll('[data-table] a')[1]"
    browser.evaluate(f"document.getElementById('details-close').click(); {other}.click()")
    browser.wait_for(f"{is_open} && location.hash === {other}.hash")
    clean(browser)


def test_hover_tells_the_cell(browser: Browser, pis: tuple[Path, Summary]) -> None:
    opened(browser, pis[0])
    browser.point_at(POINT)
    browser.wait_for("document.querySelector('#vg-tooltip-element.visible') !== null")
    assert "llama-3.2-1b F16, pi5, chat" in text(browser, "#vg-tooltip-element")


def test_phone_needs_no_scrolling_sideways(browser: Browser, pis: tuple[Path, Summary]) -> None:
    for width in (390, 1280):
        size = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 600}
        browser("Emulation.setDeviceMetricsOverride", **size)
        opened(browser, pis[0])
        assert browser.evaluate("document.documentElement.scrollWidth") <= width
        assert browser.evaluate(UNDRAWN) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nobody_is_kept_out(browser: Browser, pis: tuple[Path, Summary], scheme: str) -> None:
    """By axe-core, in both languages, and with a cell's details open."""
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser("Emulation.setEmulatedMedia", media="", features=features)
    opened(browser, pis[0])
    assert serious_findings(browser) == []
    click(browser, "[data-language=ja]")
    drawn(browser)
    assert serious_findings(browser) == []
    browser.evaluate("document.querySelector('[data-table] a').click()")
    browser.wait_for("document.getElementById('details').open")
    assert serious_findings(browser) == []


def test_prints_whole_and_on_white(browser: Browser, pis: tuple[Path, Summary]) -> None:
    dark = [{"name": "prefers-color-scheme", "value": "dark"}]
    browser("Emulation.setEmulatedMedia", media="", features=dark)
    opened(browser, pis[0])
    paper = "getComputedStyle(document.body).backgroundColor"
    assert browser.evaluate(paper) == "rgb(21, 23, 26)"
    browser("Emulation.setEmulatedMedia", media="print", features=dark)
    assert browser.evaluate(paper) == "rgb(255, 255, 255)"
    shut = "document.querySelectorAll('main details:not([open])').length"
    before = browser.evaluate(shut)
    browser.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert len(browser.evaluate(ROWS)) == 60, "all of the table"
    assert browser.evaluate(shut) == 1 < before
    browser.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert browser.evaluate(shut) == before
    browser("Emulation.setEmulatedMedia", media="", features=dark)
    assert browser("Page.printToPDF")["data"].startswith("JVBERi0"), "%PDF-"
    clean(browser)


@pytest.mark.parametrize("language", ["en", "ja"])
def test_what_is_printed_can_be_read(
    browser: Browser, pis: tuple[Path, Summary], language: str
) -> None:
    """No text is smaller than 6.3 points, no word of a head is torn, and a few columns need no
    sheet of their own."""
    opened(browser, pis[0])
    click(browser, f"[data-language={language}]")
    drawn(browser)
    paper = {"width": 703, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
    plotted = "figure:not([hidden]) .chart svg"
    widths = browser.evaluate(
        f"[...document.querySelectorAll('{plotted}')].map((s) => s.width.baseVal.value)"
    )
    assert max(widths) <= 864, "11 pixels are 6.5 points on A4"
    browser("Emulation.setEmulatedMedia", media="print", features=[])
    browser("Emulation.setDeviceMetricsOverride", **paper)
    browser.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    texts = "main :is(p, li, td, th, small, figcaption)"
    smallest = f"""Math.min(...[...document.querySelectorAll('{texts}')]
        .filter((one) => one.checkVisibility() && one.innerText.trim())
        .map((one) => parseFloat(getComputedStyle(one).fontSize)))"""
    assert browser.evaluate(smallest) >= 6.3 * 96 / 72
    upright = "getComputedStyle(document.getElementById('cells')).page"
    assert browser.evaluate(upright) == "auto"
    click(browser, "[data-columns]")
    assert browser.evaluate(upright) == "wide"
    narrowest = """Math.min(...[...document.querySelectorAll('main td.name')]
        .filter((one) => one.checkVisibility() && one.innerText.length > 3)
        .map((one) => one.getBoundingClientRect().width))"""
    assert browser.evaluate(narrowest) > 24
    clean(browser)


def test_policy_stops_what_escaping_would_miss(
    browser: Browser, pis: tuple[Path, Summary], tmp_path: Path
) -> None:
    page = tmp_path / "bad.html"
    bad = "<script>document.title = 'owned'</script><img src=https://example.org/x.png>"
    html = pis[0].read_text("utf-8").replace('<main id="main">', f'<main id="main">{bad}')
    page.write_text(html, "utf-8")
    opened(browser, page)
    assert browser.evaluate("document.title") == "llmpi: pis"
    assert "Content Security Policy" in " ".join(browser.console)
    assert browser.evaluate("document.images[0].naturalWidth") == 0


FIELDS = {"tradeoff-squad": "tg_tps", "tg": "tg_tps", "energy": "tg_j_per_token"}
"""Of some charts the quantity that has to be told."""


@pytest.mark.parametrize("language", ["en", "ja"])
def test_a_chart_tells_its_data_to_who_does_not_see_it(
    browser: Browser, pis: tuple[Path, Summary], language: str
) -> None:
    """What is compared, the ends of each quantity and the front; of the chosen place."""
    opened(browser, pis[0])
    click(browser, f"[data-language={language}]")
    drawn(browser)
    labels = """Object.fromEntries([...document.querySelectorAll('figure:not([hidden]) .chart')]
        .map((box) => [box.dataset.figure, box.getAttribute('aria-label')]))"""
    told = browser.evaluate(labels)
    assert not [name for name, label in told.items() if not re.search(r"\d", label)]
    rows = [r for r in pis[1]["rows"] if (r["device"], r["workload"]) == ("pi5", "chat")]
    for chart, field in FIELDS.items():
        known = [row for row in rows if row[field] is not None]  # type: ignore[literal-required]
        least = min(known, key=lambda row: row[field])  # type: ignore[literal-required]
        digits = 3 if field == "tg_j_per_token" else 1
        value = f"{least[field]:.{digits}f}".rstrip("0").rstrip(".")  # type: ignore[literal-required]
        assert re.search(rf"\b{value} ?[(（]{least['model']} {least['quant']}", told[chart])
    front = browser.evaluate(
        "cells.filter((c) => c.squad_front && c.device === 'pi5' && c.workload === 'chat')"
        ".map((c) => c.name)"
    )
    said = {"en": ("on the front: ", "broken: "), "ja": ("フロント上：", "使用不可")}[language]
    assert all(word in told["tradeoff-squad"] for word in said)
    on_front = told["tradeoff-squad"].partition(said[0])[2].partition(said[1])[0]
    names = {f"{row['model']} {row['quant']}" for row in rows}
    assert {name for name in names if name in on_front} == {*front}
    choose(browser, "[data-place]", "2")
    drawn(browser)
    assert browser.evaluate(labels)["tg"] != told["tg"]
    assert not [label for label in told.values() if "undefined" in label or "{" in label]


OF_ANY_PAGE, OF_A_CELL = 1_500_000, 1_700
"""Bytes: what 2,000 cells may take, for 5,000 to stay below 10 MB."""
UNGROUPED = re.compile(r"(?<![\w.,:/-])\d{4,}(?![\w.:/-])")


def test_two_thousand_cells(
    browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    page, summary = page_of(pi_study.many(models=10, quants=10, devices=10), tmp_path)
    assert len(summary["rows"]) == 2000
    opened(browser, page)
    assert text(browser, "[data-count]") == "2,000 of 2,000 cells"
    for part in ("#decision", "#measured", "#cells p"):
        assert not UNGROUPED.findall(text(browser, part)), part
    assert page.stat().st_size < OF_ANY_PAGE + 2000 * OF_A_CELL
    assert browser.evaluate(UNDRAWN) == []
    assert len(browser.evaluate(ROWS)) == 50
    click(browser, "[data-more]")
    assert len(browser.evaluate(ROWS)) == 350
    choose(browser, "[data-filter=device]", "pi-3")
    assert len(browser.evaluate(ROWS)) == 200
    clean(browser)
