"""The blind sheet in a real browser: judged with the keyboard, saved, read back."""

import itertools
from pathlib import Path
from typing import Any

from browser import Browser

from llmpi.quality.ab.blind_sheet import read_judgements, write_sheet
from llmpi.quality.ab.prompts import Prompt

HOSTILE = "</script></div><script>document.title = 'owned'</script><img src=x onerror=alert(1)>"


def answer(text: str) -> dict[str, Any]:
    return {"text": text, "error": None, "stopped": True, "new_tokens": 9}


def sheet(folder: Path, texts: dict[str, tuple[str, str]]) -> tuple[Path, dict[str, Any]]:
    """A page on these answers of A and B, and its key."""
    prompts = [
        Prompt(id=i, prompt=f"Question {i}? {HOSTILE}", system="Be brief.", tags=["t"])
        for i in texts
    ]
    a, b = ([answer(pair[side]) for pair in texts.values()] for side in (0, 1))
    page = folder / "sheet.html"
    return page, write_sheet(page, ("smol Q8_0", "smol Q2_K"), prompts, a, b, seed=3)


def shown(browser: Browser) -> str:
    return browser.evaluate("document.querySelector('article:not([hidden]) h2 small')?.textContent")


def saved(browser: Browser, folder: Path) -> Path:
    """Press the page's Save button; the file it gives the browser to download."""
    folder.mkdir()
    return browser.saved(folder, "form.save button")


def test_judged_with_the_keyboard_and_read_back(browser: Browser, tmp_path: Path) -> None:
    texts = {f"p{n}": (f"A says {n} {HOSTILE}", f"B says {n}") for n in range(7)}
    texts["same"] = ("no difference", "no difference ")
    page, key = sheet(tmp_path, texts)
    browser.open(page)
    assert browser.evaluate("document.getElementById('progress').textContent") == "0 of 7 judged"

    meant = {"p0": "a_better", "p1": "b_better", "p2": "a_better"}
    arrows = itertools.cycle([("1", "2"), ("ArrowLeft", "ArrowRight")])
    for i, verdict in meant.items():
        assert shown(browser) == i
        is_left = verdict[0] == key["prompts"][i]["left"]
        browser.press(next(arrows)[0 if is_left else 1])
    browser.press("0")
    browser.press("ArrowDown")
    browser.press("b")
    assert shown(browser) == "p6"

    browser.press("Backspace")
    browser.press("ArrowUp")
    assert shown(browser) == "p4"
    pressed = "document.querySelector('[data-verdict=tie]').ariaPressed"
    assert browser.evaluate(pressed) == "true", "shows what was judged before"
    browser.press("b")
    assert shown(browser) == "p6", "on to what is not judged yet"

    browser.press("1", modifiers=2)
    browser.press("1", autoRepeat=True)
    browser.evaluate("document.getElementById('judge').focus()")
    browser.press("2")
    assert shown(browser) == "p6", "a shortcut, a held key and typing judge nothing"

    result = read_judgements(saved(browser, tmp_path / "saved"), key)
    assert result["judge"] == "2", "what was typed into the name"
    verdicts = {j["id"]: j["verdict"] for j in result["judgements"]}
    assert verdicts == meant | {"p3": "tie", "p4": "both_bad", "p5": "both_bad", "same": "tie"}
    assert result["all"]["unjudged"] == 1

    browser.reload()
    assert browser.evaluate("document.getElementById('progress').textContent") == "6 of 7 judged"
    assert shown(browser) == "p6", "a reload forgets nothing"
    browser.press("ArrowRight")
    assert browser.evaluate("!document.getElementById('done').hidden")
    done = read_judgements(saved(browser, tmp_path / "saved again"), key)["all"]
    assert (done["unjudged"], done["a_better"] + done["b_better"]) == (0, 4)
    assert browser.console == []


def test_hostile_text_shows_as_text(browser: Browser, tmp_path: Path) -> None:
    page, _ = sheet(tmp_path, {f"'\"\r<{HOSTILE}": (HOSTILE, "fine")})
    browser.open(page)
    assert browser.evaluate("document.title") == "llmpi: which answer is better?"
    assert browser.evaluate("document.scripts.length") == 1
    assert browser.evaluate("document.images.length") == 0
    assert HOSTILE in browser.evaluate("document.querySelector('.answers').textContent")
    browser.press("1")
    assert browser.evaluate("!document.getElementById('done').hidden")
    assert browser.console == []


def test_policy_stops_what_escaping_would_miss(browser: Browser, tmp_path: Path) -> None:
    """A script written into the finished page does not run, and nothing is fetched."""
    page, _ = sheet(tmp_path, {"p": ("one", "two")})
    html = page.read_text(encoding="utf-8")
    page.write_text(html.replace("<main>", f"<main>{HOSTILE}"), encoding="utf-8")
    browser.open(page)
    assert browser.evaluate("document.images.length") == 1
    assert browser.evaluate("document.title") == "llmpi: which answer is better?"
    assert "Content Security Policy" in " ".join(browser.console)
    assert browser.evaluate("document.getElementById('progress').textContent") == "0 of 1 judged"


def test_narrow_screen_needs_no_scrolling_sideways(browser: Browser, tmp_path: Path) -> None:
    page, _ = sheet(tmp_path, {"p" * 200: ("x" * 4000, "two")})
    browser.open(page)
    for width in (320, 1280):
        browser.look(tmp_path / f"{width}.png", width=width)
        assert browser.evaluate("document.documentElement.scrollWidth") <= width
