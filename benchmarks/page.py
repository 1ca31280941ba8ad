"""How long 5,000 cells take from their records to a page that answers, and how large that is.

A made-up study of 25 boards, 100 variants and two workloads, its records written as the rules leave
them (the tests' builder makes them). Summary, choice and page are the functions of the rules'
scripts, each timed as the processor time of this process. The page is opened in Chromium, at the
size of a desktop and of a phone: it answers when its table stands there and a search in it has been
carried out.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.peer import ROOT
from llmpi.records import read
from llmpi.report.memo.facts import facts
from llmpi.report.page.write import write_page
from llmpi.study.study import Study
from llmpi.summary.records import Summary

ANSWERED = """new Promise((done) => {
    const search = document.querySelector('[data-search]');
    search.value = 'model-3 q4_0 pi-7';
    search.dispatchEvent(new Event('input', {bubbles: true}));
    requestAnimationFrame(() => done(document.querySelectorAll('[data-table] tbody tr').length));
})"""
PLACES = {
    "decision": "#decision",
    "standing": "[data-figure=standing-0]",
    "measured": "#measured",
    "load": "[data-figure=load]",
    "sustained": "[data-figure=sustained-speed]",
    "cells": "#cells",
    "failed": "#failed",
}
SCREENS = {"desktop": 1280, "phone": 390}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.page", description=__doc__)
    parser.add_argument("--devices", type=int, default=25, help="of 200 cells each (%(default)s)")
    parser.add_argument("--pictures", type=Path, help="folder for screenshots to look at")
    args = parser.parse_args()
    pictures = args.pictures and args.pictures.resolve()
    sys.path.insert(0, str(ROOT / "tests"))
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)
        try:
            page = made(args.devices)
            browse(page, pictures)
        finally:
            os.chdir(ROOT)


def made(devices: int) -> Path:
    pi_study, scripts = import_module("pi_study"), import_module("scripts")
    study: Study = pi_study.many(models=10, quants=10, devices=devices)
    pi_study.write_records(study)
    names = {"csv": "s.csv", "parquet": "s.parquet", "speed": "s.jsonl", "summary": "s.json"}
    files = {name: Path(file) for name, file in names.items()}
    with timed("summary_s"):
        scripts.main_of("summarize")(study=study, requirements=Path("r.json"), **files)
    size("summary", files["summary"])
    summary = read(files["summary"], Summary)
    _, requirements = pi_study.summarized(study)
    with timed("recommend_s"):
        recommendation = pi_study.decision(study, summary, requirements)
    with timed("memo_s"):
        facts(summary, recommendation)
    page = Path("index.html").absolute()
    with timed("page_s"):
        write_page(summary, recommendation, page)
    print(f"cells: {len(summary['rows'])}")
    size("page", page)
    return page


@contextmanager
def timed(name: str) -> Iterator[None]:
    started = time.process_time()
    yield
    print(f"{name}: {time.process_time() - started:.1f}", flush=True)


def size(name: str, file: Path) -> None:
    print(f"{name}_mb: {file.stat().st_size / 1e6:.1f}", flush=True)


def browse(page: Path, pictures: Path | None) -> None:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("there is no Chromium to open the page in")
    for screen, width in SCREENS.items():
        browser = import_module("browser").Browser(chromium, Path(f"profile-{screen}").absolute())
        shown = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 640}
        browser("Emulation.setDeviceMetricsOverride", **shown)
        started = time.perf_counter()
        browser.open(page)
        found = browser("Runtime.evaluate", expression=ANSWERED, awaitPromise=True)
        took_s = time.perf_counter() - started
        if found["result"].get("value") != 2:
            raise SystemExit(f"the page shows {json.dumps(found)} where it should have 2 rows")
        print(f"answers_{screen}_s: {took_s:.1f}", flush=True)
        if pictures:
            look(browser, pictures, screen, width)
        browser.close()


def look(browser: Any, pictures: Path, screen: str, width: int) -> None:
    pictures.mkdir(parents=True, exist_ok=True)
    for name, selector in PLACES.items():
        browser.evaluate(f"document.querySelector({json.dumps(selector)})?.scrollIntoView()")
        time.sleep(5)
        browser.look(pictures / f"{screen}-{name}.png", width=width)


if __name__ == "__main__":
    main()
