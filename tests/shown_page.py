"""The page of the small study as it was written, taken apart."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import small_results as small
from cold_page import page_cells

from llmpi.decide.choice import recommend
from llmpi.report.page.write import write_page
from llmpi.study.decision import Constraints


class Page(HTMLParser):
    """Which addresses a page loads or links, which tags it holds, its English text, its data."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.addresses: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        held = re.search('id="data">(.*?)</script>', html, re.DOTALL)
        assert held
        self.data: dict[str, Any] = json.loads(held[1])
        self._silent = 0
        self.feed(html)
        self.text = re.sub(r"\s+", " ", self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._silent += tag in ("script", "style", "template")
        self.text += " " if tag in ("td", "br", "p", "li") else ""
        self.addresses += [v or "" for k, v in attrs if k in ("src", "href", "xlink:href")]

    def handle_endtag(self, tag: str) -> None:
        self._silent -= tag in ("script", "style", "template")

    def handle_data(self, data: str) -> None:
        self.text += "" if self._silent else data

    def cells(self) -> list[dict[str, Any]]:
        return list(page_cells(self.data["cells"]))

    def figures(self) -> set[str]:
        return set(self.data["languages"]["en"]["figures"])

    def columns(self) -> set[str]:
        return {column["key"] for column in self.data["languages"]["en"]["columns"]}


def page(tmp_path: Path, **more: object) -> Page:
    summary, requirements = small.summary(**more)
    chosen = {**recommend(summary, requirements, Constraints()), "money": None}
    write_page(summary, chosen, tmp_path / "index.html")
    return Page((tmp_path / "index.html").read_text(encoding="utf-8"))
