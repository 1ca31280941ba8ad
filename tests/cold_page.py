"""A cold reader of the page: every number on it, held against the raw records.

    python tests/cold_page.py RESULTS STUDY [--all]

Reads `RESULTS/report/STUDY/index.html` and, with numpy and nothing of the product's, the records it
was made from (`cold_figures`, `cold_texts`). Each table cell is known by its row and column, each
sentence by its words, each number of a chart by its data set, its id and its key; a number is
accounted for if what is computed again for that place rounds to it. Prints what is not accounted
for, with `--all` also what each other number is; exits with 1 if anything is left.
"""

import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parent))

from cold_figures import Figures
from cold_texts import NUMBER, Expected, Near, Upwards, upwards

TOKEN = re.compile(rf"(?<![\w.]){NUMBER}", re.ASCII)

CONSTANTS = {
    "95 % interval": "the level of every interval of a single number",
    "95 % intervals": "the same",
    "95 % from": "the same",
    "95 % to": "the same",
    "95 % 下限": "the same",
    "95 % 上限": "the same",
    "1.96 standard errors": "the normal distribution's 97.5 % quantile",
    "1.96 standard uncertainties": "the same",
    "99th\npercentile": "which quantile it is",
    "99パーセンタイル": "the same",
    "p50, ms": "the same",
    "p95, ms": "the same",
    "same top-1": "which token it is about",
    "load (1 minute)": "over which time the kernel averages",
    "負荷（1分平均）": "the same",
    "Up to 0.007 nats": "docs/methodology.md, Whose score: what rounding alone gives",
    "cache of 4 bits": "the type of the cache",
    "; 0 is the same": "what no divergence is",
    "are the same, 0 to 100.": "the scale of F1",
    "どれだけ同じか（0〜100）": "the same",
    "0なら同じ": "what no divergence is",
    "KL) divergence in nats: 0 where": "what no divergence is",
    "whose loss is 0": "what no loss is",
    "劣化が0の": "the same",
}
"""Numbers that are no figures of the study: the words they stand in, and why they are what they
are."""


# --- the page -------------------------------------------------------------------------------------

ALONE = {"br", "meta", "link", "input", "hr", "img"}
BLOCKS = {"p", "h1", "h2", "h3", "li", "td", "th", "caption", "figcaption", "summary", "dt", "dd"}
BLOCKS |= {"option", "label", "button", "pre", "title", "output", "a-label", "header"}


class Block(NamedTuple):
    """A text of the page; of a table's cell with its place."""

    language: str
    section: str
    tag: str
    text: str
    table: int | None = None
    row: int = -1
    column: int = -1

    @property
    def where(self):
        cell = (
            "" if self.table is None else f" table {self.table} row {self.row} column {self.column}"
        )
        language = f"[{self.language}] " if self.language else ""
        return f"{language}{self.section or 'page'} <{self.tag}>{cell}"


class Page(HTMLParser):
    """The blocks of all languages, in order, and the data of the charts."""

    def __init__(self, html):
        super().__init__()
        self.blocks, self.data = [], None
        self._open, self._sections, self._skip = [], [], None
        self._tables, self._row, self._column = 0, -1, -1
        self.languages, self._language = [re.search(r'<html lang="(\w+)"', html).group(1)], ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "main":
            self._language = self.languages[0]
        if tag == "template":
            self.languages.append(attributes["data-body"])
            self._language, self._tables = attributes["data-body"], 0
        if tag == "section":
            self._sections.append(attributes.get("id", ""))
        if tag in ("script", "style"):
            self._skip = attributes.get("id") or tag
        if tag == "table":
            self._tables, self._row = self._tables + 1, -1
        if tag == "tr":
            self._row, self._column = self._row + 1, -1
        if tag in ("td", "th"):
            self._column += 1
        for label in ("aria-label", "title", "alt", "placeholder"):
            if label in attributes and "data-language" not in attributes:
                self._emit("aria-label", attributes[label])
        if tag in BLOCKS:
            self._open.append([tag, ""])
        elif tag in ("br", "small"):
            self._say("\n")

    def handle_endtag(self, tag):
        if tag in ("main", "template"):
            self._language = ""
        if tag == "section":
            self._sections.pop()
        if tag in ("script", "style"):
            self._skip = None
        if tag in BLOCKS:
            name, text = self._open.pop()
            assert name == tag, (name, tag, self.getpos())
            self._emit(tag, text)

    def handle_data(self, data):
        if self._skip == "data":
            self.data = json.loads(data)
        elif self._skip is None:
            verbatim = self._open and self._open[-1][0] == "pre"
            self._say(data if verbatim else re.sub(r"\s+", " ", data))

    def _say(self, text):
        if self._open:
            self._open[-1][1] += text
        elif text.strip():
            self._emit("text", text)

    def _emit(self, tag, text):
        text = text if tag == "pre" else re.sub(r" *\n[ \n]*", "\n", text).strip()
        section = self._sections[-1] if self._sections else ""
        place = (self._tables, self._row, self._column) if tag in ("td", "th") else (None, -1, -1)
        if text or tag in ("td", "th"):
            self.blocks.append(Block(self._language, section, tag, text, *place))

    def of(self, language):
        return [block for block in self.blocks if block.language == language]


# --- held -----------------------------------------------------------------------------------------


class Held:
    """What was found of the page's numbers."""

    def __init__(self, names):
        self.accounted, self.unaccounted = [], []
        every = sorted(filter(None, names), key=len, reverse=True)
        self._names = re.compile("|".join(map(re.escape, every)))
        self._constants = sorted(filter(None, CONSTANTS), key=len, reverse=True)

    def left(self, where, token, why):
        self.unaccounted.append(f"{where}: {token}: {why}")

    def said(self, where, text, expected):
        """A text against those that may stand there: the one that has its words."""
        worded = [(s, m) for s in expected if (m := re.fullmatch(s.pattern(), text))]
        if worded:
            each = (self._figures(where, s, m.groups()) for s, m in worded)
            self._take(min(each, key=lambda found: len(found[1])))
        else:
            self.prose(where, text)

    def clauses(self, where, text, begin, expected):
        """A sentence made of clauses."""
        rest = text.removeprefix(begin).removesuffix(".")
        while rest:
            found = [(s, m) for s in expected if (m := re.match(rf"{s.pattern()}(?:; |$)", rest))]
            if not found:
                clause, _, rest = rest.partition("; ")
                self.prose(where, clause)
                continue
            each = [(self._figures(where, s, m.groups()), m) for s, m in found]
            best, match = min(each, key=lambda one: len(one[0][1]))
            self._take(best)
            rest = rest[match.end() :]

    def prose(self, where, text):
        """Numbers that no sentence expects: constants, or nothing that is known."""
        rest = text
        for words in self._constants:
            if words in rest:
                rest = rest.replace(words, " ")
                self.accounted.append(f"{where}: {words!r}: {CONSTANTS[words]}")
        for token in TOKEN.findall(self.without_names(rest)):
            self.left(where, token, f"nothing is expected in {text[:160]!r}")

    def without_names(self, text):
        return self._names.sub(" ", text)

    def value(self, where, found, again):
        """A number or a text of the data."""
        if found == again:
            self.accounted += [] if found is None else [f"{where}: {found}: {again}"]
            return
        if isinstance(found, str) and again is None:
            self.prose(where, found)
            return
        by = again.by if isinstance(again, Near) else None
        again = again.value if isinstance(again, Near) else again
        numbers = all(isinstance(v, (int, float)) for v in (found, again))
        by = 1e-7 * max(1e-3, abs(again)) if numbers and by is None else by
        if numbers and abs(found - again) <= by:
            self.accounted.append(f"{where}: {found}: {again}")
        else:
            self.left(where, found, f"computed again: {again}")

    def _figures(self, where, said, tokens):
        good, bad = [], []
        for name, token, figure in zip(said.names, tokens, said.figures, strict=True):
            if rounds_to(figure, token):
                good.append(f"{where}: {token}: {name} {_shown(figure)}")
            else:
                bad.append(f"{where}: {token}: {name}, computed again: {_shown(figure)}")
        return good, bad

    def _take(self, found):
        good, bad = found
        self.accounted += good
        self.unaccounted += bad


def _shown(figure):
    return figure.value if isinstance(figure, Near) else figure


def rounds_to(figure, token):
    """Whether a figure is shown as this."""
    shown = float(token.replace(",", ""))
    match figure:
        case None:
            return False
        case Upwards():
            return upwards(figure.least) <= shown == upwards(shown) <= upwards(figure.most)
        case Near():
            value, by = figure
        case _:
            value, by = figure, 1e-9 * abs(figure) + 1e-12
    mantissa, _, exponent = token.partition("e")
    step = 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))
    return abs(value - shown) <= step / 2 + by


# --- the whole ------------------------------------------------------------------------------------

COLUMNS = {
    "file_bytes": 1e-6,
    "ttft_s": 1e3,
    "itl_p50_s": 1e3,
    "itl_p95_s": 1e3,
    "tg_memory_share": 100,
    "memory_bytes": 1e-6,
}
"""In which unit the table of cells shows a column, if not in its own."""
ENDS = {"pp_tps": ("pp_min_tps", "pp_max_tps"), "tg_tps": ("tg_min_tps", "tg_max_tps")}


def read(results, study):
    """What of the page's numbers is accounted for, and what is not."""
    path = Path(results) / "report" / study / "index.html"
    return hold(Figures(results, study), Page(path.read_text(encoding="utf-8")))


def hold(figures, page):
    expected, held = Expected(figures, page), Held(_names(figures))
    if not expected.picked_rightly():
        held.left("decision", "the pick", "it does not keep to everything, and others do")
    for block in page.of(""):
        held.prose(block.where, block.text)
    _hold_english(held, expected, page.of("en"))
    for language in page.languages:
        if language != "en":
            _hold_translated(held, page.of("en"), page.of(language))
    _hold_data(held, expected, page.data)
    return held


def _names(figures):
    """Words that hold a digit and are no numbers."""
    config = figures.config
    stated = (config["models"], config["devices"], config["workloads"], config["runtimes"])
    found = [name for names in (*stated, config["quality"]) for name in names]
    found += [quant for _, quant in figures.variants]
    found += ["SmolLM2-135M", "SQuAD v2", "M.2", "CO2", "arXiv 2504.02118"]
    return sorted({*found, figures.study})


PRIVATE = {"host", "port", "user", "identity_file", "known_hosts", "url", "password_file", "python"}
PATHS = {
    "path",
    "store",
    "wheel",
    "squad_file",
    "text_file",
    "prompts",
    "judgements",
    "include_path",
}


def _public(found):
    """A config without how its devices are reached, and of files the last name alone."""
    if isinstance(found, list):
        return [_public(one) for one in found]
    if not isinstance(found, dict):
        return found
    return {
        key: Path(value).name if key in PATHS and isinstance(value, str) else _public(value)
        for key, value in found.items()
        if key not in PRIVATE
    }


def _hold_english(held, expected, blocks):
    clauses = expected.clauses()
    tables = {}
    for block in blocks:
        if block.table is not None:
            tables.setdefault(block.table, []).append(block)
        elif block.tag == "pre":
            told = json.dumps(json.loads(block.text))
            held.value(block.where, told, json.dumps(_public(expected.config)))
        else:
            begin = next((b for b in clauses if block.text.startswith(b)), None)
            if begin is not None:
                held.clauses(block.where, block.text, begin, clauses[begin])
            else:
                held.said(block.where, block.text, expected.sentences(block.section))
    for cells in tables.values():
        _hold_table(held, expected, cells)


def _hold_table(held, expected, cells):
    """Each cell by the name of its row and its column."""
    heads = [c for c in cells if c.row == 0]
    for head in heads:
        held.said(head.where, head.text, expected.sentences(head.section))
    if len(heads) == len(cells):
        return
    width, rows = expected.table(heads[0].section, heads[0].text)
    lines = {}
    for cell in cells:
        if cell.row:
            lines.setdefault(cell.row, []).append(cell)
    seen = set()
    for line in lines.values():
        name = tuple(cell.text for cell in line[:width])
        if name not in rows or len(rows[name]) != len(line) - width:
            for cell in line:
                held.prose(f"{cell.where} {' '.join(name)}", cell.text)
            continue
        seen.add(name)
        for cell, head, said in zip(line[width:], heads[width:], rows[name], strict=True):
            said = said if isinstance(said, list) else [said]
            where = f"{cell.where} ({' '.join(name)}; {head.text})".replace("\n", " ")
            if any(re.fullmatch(one.pattern(), cell.text) for one in said):
                held.said(where, cell.text, said)
            elif any(one.text for one in said):
                held.left(where, repr(cell.text), f"expected is {said[0].text!r}")
            else:
                held.prose(where, cell.text)
    for name in rows.keys() - seen:
        held.left(f"{heads[0].where}", " ".join(name), "the row is missing")


TRANSLATED = ("5回に4回", "1回", "top-1")
"""What another language says in words: four times in five, per battery, the likeliest token."""


def _hold_translated(held, english, other):
    """Block by block the same numbers, in whatever order; the English ones are accounted for."""
    if [b.tag for b in english] != [b.tag for b in other]:
        held.left(other[0].where, "the page", "it is made otherwise than the English one")
        return
    for one, block in zip(english, other, strict=True):
        _hold_numbers(held, block.where, one.text, block.text)


def _hold_numbers(held, where, english, other):
    theirs, ours = _numbers(held, english), _numbers(held, other)
    for token in ours:
        if token in theirs:
            theirs.remove(token)
            held.accounted.append(f"{where}: {token}: as in English")
        else:
            held.left(where, token, f"not in the English {english[:120]!r}")
    for token in theirs:
        held.left(where, token, f"it is missing in {other[:120]!r}")


def _numbers(held, text):
    for words in TRANSLATED:
        text = text.replace(words, " ")
    return TOKEN.findall(held.without_names(text))


def page_cells(cells):
    """The rows of the page's data, texts in their places, and what all rows have alike."""
    for values in cells["rows"]:
        row = [
            cells["texts"][value] if i in cells["shared"] and value is not None else value
            for i, value in enumerate(values)
        ]
        yield {**cells["same"], **dict(zip(cells["columns"], row, strict=True))}


def _hold_data(held, expected, data):
    figures = expected.figures
    cells = data["cells"]
    for row in page_cells(cells):
        again = figures.cells.get(row["id"], {})
        for key, found in row.items():
            held.value(f"cells {row['id']} {key}", found, again.get(key))
    for name in figures.cells.keys() - {row["id"] for row in page_cells(cells)}:
        held.left("cells", name, "the cell is missing")
    sets = expected.datasets()
    for name, points in data.items():
        if name in ("cells", "csv", "languages", "loads", "measured", "picks", "places", "study"):
            continue
        keys, rows = sets.get(name, ((), {}))
        for point in points:
            named = tuple(point[key] for key in keys)
            again = rows.get(named, {})
            for key in point.keys() - {*keys, "device", "model", "quant", "computation"}:
                where = " ".join(map(str, (name, *named, key)))
                held.value(where, point[key], again.get(key))
    names = [row["id"] for row in page_cells(cells)]
    drawn = {names[place].rpartition("/")[0] for place in data["loads"]}
    for name in {one.rpartition("/")[0] for one in figures.cells} - drawn:
        held.left("loads", name, "the session is missing")
    _hold_measured(held, figures, names, data["measured"])
    if expected.pick and expected.pick["id"] not in data["picks"]:
        held.left("picks", data["picks"], f"the page takes {expected.pick['id']}")
    for language, told in data["languages"].items():
        _hold_language(held, expected, language, told, data["languages"]["en"]["why"])


def _hold_measured(held, figures, names, measured):
    """What the details tell of a cell's conditions and of its repetitions, those to four digits."""
    for name, [[_, before, after, *repetitions]] in zip(names, measured["cells"], strict=True):
        moments = [measured["moments"][before], measured["moments"][after]]
        again = figures.how_measured(name)
        for what, (values, right) in enumerate(zip([*moments, *repetitions], again, strict=True)):
            if not values and {*right} == {None}:
                continue
            for at, (value, one) in enumerate(zip(values, right, strict=True)):
                rounded = what >= len(moments) and one is not None
                shown = float(f"{one:.4g}") if rounded else one
                held.value(f"measured {name} {what} {at}", value, shown)


SCALES = {"frequency_hz": 1e-6, "memory_available_bytes": 1e-6, "swap_free_bytes": 1e-6}
SCALES |= {"ttft_s": 1e3}


def _hold_language(held, expected, language, told, english):
    for field in (*told["measured"]["conditions"], *told["measured"]["repetitions"]):
        where = f"[{language}] details {field['key']}"
        held.prose(where, field["name"])
        held.value(f"{where} scale", field["scale"], SCALES.get(field["key"], 1.0))
    for column in told["columns"]:
        where = f"[{language}] column {column['key']}"
        held.prose(where, column["title"])
        if column["kind"] == "number":
            held.value(f"{where} scale", column.get("scale", 1.0), COLUMNS.get(column["key"], 1.0))
        ends = column.get("low"), column.get("high")
        usual = ENDS.get(column["key"], _usual_ends(column["key"]))
        if ends != (None, None) and ends != usual:
            held.left(where, f"{ends}", f"its ends are {usual}")
    for figure, spec in told["figures"].items():
        for text in _texts(spec):
            held.prose(f"[{language}] chart {figure}", text)
    reasons = {c["id"]: expected.kills(c) for c in expected.candidates if c["killed_by"]}
    for name, texts in told["why"].items():
        for at, text in enumerate(texts):
            if language == "en":
                held.said(f"why {name}", text, reasons.get(name, []))
            else:
                _hold_numbers(held, f"[{language}] why {name}", english[name][at], text)


def _usual_ends(key):
    """The keys of a number's interval."""
    for unit in ("_pct", "_s"):
        if key.endswith(unit):
            stem = key.removesuffix(unit)
            return f"{stem}_low{unit}", f"{stem}_high{unit}"
    return f"{key}_low", f"{key}_high"


def _texts(spec):
    """The words of a chart; what data it has by itself is told as words, too."""
    if isinstance(spec, dict):
        for key, value in spec.items():
            if key in ("title", "description", "text", "label") and isinstance(value, str):
                yield value
            elif key == "told":  # its figures are those that are drawn
                yield from (one["title"] for one in value["values"])
            elif (
                key == "values" and isinstance(value, list) and value and isinstance(value[0], dict)
            ):
                yield json.dumps(value)
            else:
                yield from _texts(value)
    elif isinstance(spec, list):
        for one in spec:
            yield from _texts(one)


def main():
    results, study = sys.argv[1:3]
    held = read(results, study)
    if "--all" in sys.argv:
        print(*held.accounted, sep="\n")
    total = f"{len(held.accounted)} numbers accounted for, {len(held.unaccounted)} not"
    print(*held.unaccounted, total, sep="\n")
    sys.exit(bool(held.unaccounted))


if __name__ == "__main__":
    main()
