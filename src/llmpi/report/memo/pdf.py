"""A memo's Markdown as a PDF of one A4 page, typeset by Typst with a font of our own.

Typst is given the parsed text as data, never as markup: nothing in it can be run.
"""

import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NotRequired, TypedDict

import typst
from markdown_it import MarkdownIt
from markdown_it.token import Token

from llmpi.records import whole_file
from llmpi.study.study import Language

log = logging.getLogger(__name__)

HERE = Path(__file__).parent
SIZES_PT = (10.0, 9.5, 9.0, 8.5, 8.0, 7.5)
"""The largest at which it fits on one page is taken."""


class Run(TypedDict):
    """A piece of text."""

    text: str
    strong: bool


class Block(TypedDict):
    """A part of a memo; it has one of what follows its kind."""

    kind: str
    """`h1`, `h2`, `paragraph`, `ordered`, `bullet` or `table`."""
    runs: NotRequired[list[Run]]
    """Of a heading or a paragraph."""
    points: NotRequired[list[list[Run]]]
    rows: NotRequired[list[list[list[Run]]]]
    aligned: NotRequired[list[Literal["left", "right"]]]
    """Each column of the table."""


def write_pdf(path: Path, markdown: str, language: Language) -> int:
    """Typeset a memo, atomically.

    Returns:
        How many pages it has: one, or, with a warning, as many as a text needs that is too long.
    """
    blocks = list(_blocks(MarkdownIt("commonmark").enable("table").parse(markdown)))
    for size_pt in SIZES_PT:
        memo = json.dumps({"language": language, "size_pt": size_pt, "blocks": blocks})
        sheet = typst.Compiler(
            HERE / "sheet.typ",
            root=HERE,
            font_paths=[HERE / "fonts"],
            ignore_system_fonts=True,
            sys_inputs={"memo": memo},
        )
        pages: int = json.loads(sheet.query("<pages>", one=True))["value"]
        if pages == 1:
            break
    else:
        log.warning("%s: takes %d pages", path, pages)
    with whole_file(path) as partial:
        sheet.compile(output=partial, format="pdf")
    return pages


def _blocks(tokens: Sequence[Token]) -> Iterator[Block]:
    """What a memo is made of: headings, paragraphs, points (numbered or not), tables."""
    kind = "paragraph"
    points: list[list[Run]] = []
    rows: list[list[list[Run]]] = []
    aligned: list[Literal["left", "right"]] = []
    for token in tokens:
        match token.type:
            case "heading_open":
                kind = token.tag
            case "ordered_list_open" | "bullet_list_open":
                kind, points = token.type.partition("_")[0], []
            case "table_open":
                kind, rows, aligned = "table", [], []
            case "tr_open":
                rows.append([])
            case "th_open":
                aligned.append("right" if "right" in str(token.attrs) else "left")
            case "inline" if kind == "table":
                rows[-1].append(_runs(token))
            case "inline" if kind in ("ordered", "bullet"):
                points.append(_runs(token))
            case "inline":
                yield {"kind": kind, "runs": _runs(token)}
            case "ordered_list_close" | "bullet_list_close":
                yield {"kind": kind, "points": points}
            case "table_close":
                yield {"kind": kind, "rows": rows, "aligned": aligned}
        if token.level == 0 and token.nesting < 0:
            kind = "paragraph"


def _runs(inline: Token) -> list[Run]:
    """Pieces of text, strong or not."""
    found: list[Run] = []
    strong = False
    for token in inline.children or []:
        if token.type in ("strong_open", "strong_close"):
            strong = token.type == "strong_open"
        elif token.content:
            found.append({"text": token.content, "strong": strong})
    return found
