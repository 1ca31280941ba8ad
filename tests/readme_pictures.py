"""README's pictures: page and memo of one run of the demo, as a reader sees them.

`python tests/readme_pictures.py` draws `docs/pictures` from `results/report/demo`, with Chromium.
"""

import base64
import json
import sys
import tempfile
from pathlib import Path
from shutil import which

import typst
from browser import Browser
from markdown_it import MarkdownIt
from readme_demo import ROOT, RUN

from llmpi.report.memo import pdf

PICTURES = ROOT / "docs/pictures"
WIDTH, HEIGHT = 1000, 1414
BELOW = 55
"""The page's own head, a row of buttons, is no part of the picture."""
ROOT_TAG = "document.documentElement"
SIZE_PT = 9.0


def main() -> None:
    PICTURES.mkdir(exist_ok=True)
    chromium = which("chromium") or which("chromium-browser") or which("google-chrome")
    if chromium is None:
        sys.exit("no Chromium on PATH")
    page(chromium, RUN / "index.html", PICTURES / "page.webp")
    memo(RUN / "memo.en.md", PICTURES / "memo.png")


def page(chromium: str, source: Path, picture: Path) -> None:
    """Its beginning, with the decision, and the charts of speed and quality."""
    with tempfile.TemporaryDirectory() as profile:
        browser = Browser(chromium, Path(profile))
        try:
            size = {"width": WIDTH, "height": HEIGHT + BELOW, "deviceScaleFactor": 1}
            browser("Emulation.setDeviceMetricsOverride", mobile=False, **size)
            browser.open(source)
            browser.wait_for(f"{ROOT_TAG}.dataset.drawn === {ROOT_TAG}.lang")
            clip = {"x": 0, "y": BELOW, "width": WIDTH, "height": HEIGHT, "scale": 1}
            shot = browser("Page.captureScreenshot", format="webp", quality=80, clip=clip)
        finally:
            browser.close()
    picture.write_bytes(base64.b64decode(shot["data"]))


def memo(markdown: Path, picture: Path) -> None:
    """As `llmpi.report.memo.pdf` sets it, at the size that its sheet most often has."""
    blocks = pdf._blocks(MarkdownIt("commonmark").enable("table").parse(markdown.read_text()))
    asked = {"language": "en", "size_pt": SIZE_PT, "blocks": list(blocks)}
    sheet = typst.Compiler(
        pdf.HERE / "sheet.typ",
        root=pdf.HERE,
        font_paths=[pdf.HERE / "fonts"],
        ignore_system_fonts=True,
        sys_inputs={"memo": json.dumps(asked)},
    )
    sheet.compile(output=picture, format="png", ppi=110)


if __name__ == "__main__":
    main()
