"""Question and answer pairs out of a table that a spreadsheet saved.

The table is a person's, and may be anything: what is wrong is told by its line, all at once, and
nothing is guessed that would change what is asked. A row is a question; the first row names the
columns:

- `question`;
- `answer`, and `answer 2`, ... where several are right;
- `passage`, the text that answers it, or `document`, the file of a folder that does;
- `tags`, joined by `;` or `,`.

Other columns are passed over.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from llmpi.engine.answers import ABSTENTION, normalize
from llmpi.engine.shown import UNSEEN
from llmpi.errors import LlmpiError
from llmpi.quality.ab.prompts import SHOWN_PROBLEMS

COLUMNS: Mapping[str, str] = {
    "question": "question",
    "questions": "question",
    "prompt": "question",
    "answer": "answer",
    "answers": "answer",
    "reference": "answer",
    "passage": "passage",
    "context": "passage",
    "document": "document",
    "file": "document",
    "tag": "tags",
    "tags": "tags",
}
"""What a head may call them."""
DELIMITERS = ",;\t|"
MOST_BYTES = 20_000_000
"""Of a file: a hundred thousand pairs."""
LONGEST = {"question": 4_000, "answer": 500, "passage": 10_000, "document": 500, "tags": 500}
"""Characters of a cell: a prompt has to fit the context, and an answer what is generated."""
LONGEST_NAME = 40
"""Characters of a column's name, with its number."""
SHOWN_COLUMNS = 8
ENCODINGS = ("cp1252", "cp932")
"""What a spreadsheet writes where it is not told to write UTF-8: in the West, in Japan."""
LINE_END = re.compile(b"\r\n?|\n")
ERRORS = re.compile(
    r"#(REF!|N/A|NAME\?|VALUE!|DIV/0!|NUM!|NULL!|SPILL!|CALC!|FIELD!|BLOCKED!|CONNECT!|#+)", re.I
)
FORMULA = re.compile(r"=\S|[+\-@][A-Za-z]+\(")
ROUNDED = re.compile(r"[+-]?\d(?:[.,]\d+)?E[+-]?\d+")
CLOSE_QUOTE = 'a cell that begins with " ends with ", and a " inside it is written twice'


@dataclass(frozen=True)
class Pair:
    """A row.

    Args:
        line: on which it begins.
        answers: any of them is right; none, where the passage has no answer.
    """

    line: int
    question: str
    answers: tuple[str, ...]
    passage: str = ""
    document: str = ""
    tags: tuple[str, ...] = ()

    @property
    def golds(self) -> tuple[str, ...]:
        """What its passage says; none where its answer is that there is none."""
        return tuple(answer for answer in self.answers if normalize(answer) != ABSTENTION)


@dataclass
class Problems:
    """What is wrong with a file, by line."""

    path: Path
    found: list[tuple[int, str]] = field(default_factory=list)

    def add(self, line: int, what: str) -> None:
        self.found.append((line, what))

    def tell(self) -> None:
        """
        Raises:
            LlmpiError: there is something wrong.
        """
        told = [f"{self.path}:{line}: {what}" for line, what in sorted(self.found)]
        if len(told) > SHOWN_PROBLEMS:
            told[SHOWN_PROBLEMS:] = [f"... and {len(told) - SHOWN_PROBLEMS} more"]
        if told:
            raise LlmpiError("\n".join(told))


def read_pairs(path: Path, encoding: str | None = None) -> tuple[list[Pair], list[str]]:
    """The pairs of a table, and the columns that were passed over.

    Args:
        encoding: by the name that Python has for it; by default UTF-8, or what a BOM says.

    Raises:
        LlmpiError: it is no such table; names each `file:line`.
    """
    text = text_of(path, encoding)
    rows = list(_rows(path, text))
    if not rows:
        raise LlmpiError(f"{path}: is empty")
    (head_line, head), *body = rows
    names = [_column(cell) for cell in head]
    _check_head(path, head_line, head, names)
    problems = Problems(path)
    pairs = [pair for line, cells in body if (pair := _pair(line, cells, names, problems))]
    problems.tell()
    if not pairs:
        raise LlmpiError(f"{path}: holds no question below its head, line {head_line}")
    passed_over = [cell.strip() for cell, name in zip(head, names, strict=True) if not name]
    return pairs, [cell for cell in passed_over if cell]


# --- from bytes to text ---------------------------------------------------------------------------


def text_of(path: Path, encoding: str | None = None) -> str:
    """The text of a person's file.

    Raises:
        LlmpiError: it is no text, or in another encoding; says in which it might be.
    """
    if path.is_dir():
        raise LlmpiError(f"{path}: is a folder")
    if path.exists() and not path.is_file():
        raise LlmpiError(f"{path}: is no ordinary file")
    try:
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        raise LlmpiError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    if len(raw) > MOST_BYTES:
        raise LlmpiError(f"{path}: is larger than {MOST_BYTES // 1_000_000} MB; make several of it")
    if raw.startswith((b"\xd0\xcf\x11\xe0", b"PK\3\4", b"%PDF")):
        raise LlmpiError(f"{path}: is a workbook or a document; save it as 'CSV UTF-8' or as text")
    return _decoded(path, raw, encoding or _by_bom(raw)).removeprefix("\ufeff")


def _by_bom(raw: bytes) -> str:
    boms = {b"\xff\xfe\0\0": "utf-32", b"\0\0\xfe\xff": "utf-32", b"\xff\xfe": "utf-16",
            b"\xfe\xff": "utf-16"}  # fmt: skip
    return next((name for bom, name in boms.items() if raw.startswith(bom)), "utf-8")


def _decoded(path: Path, raw: bytes, encoding: str) -> str:
    try:
        return raw.decode(encoding)
    except LookupError:
        raise LlmpiError(f"--encoding: '{encoding}' is none that Python knows") from None
    except UnicodeDecodeError as error:
        line = len(LINE_END.findall(raw, 0, error.start))
        guesses = _guesses(raw, line) if encoding == "utf-8" else ""
        raise LlmpiError(
            f"{path}:{line + 1}: is not {encoding.upper()} ({error.reason} at byte {error.start}); "
            f"save it as 'CSV UTF-8', or name what it is: --encoding{guesses}"
        ) from None
    except ValueError as error:
        raise LlmpiError(f"{path}: cannot be read as {encoding}: {error}") from None


def _guesses(raw: bytes, line: int) -> str:
    """What a line says in the encodings that it may be in."""
    found = []
    for name in ENCODINGS:
        try:
            said = LINE_END.split(raw)[line].decode(name).strip()
        except ValueError:
            continue
        found.append(f" {name} reads '{said[:60]}'")
    return ";".join(found)


# --- from text to rows ----------------------------------------------------------------------------


def _rows(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not blank, each with the line on which it begins."""
    delimiter, begins = _delimiter(text)
    lines = io.StringIO(text, newline="")
    for _ in range(begins):
        lines.readline()
    reader, line = csv.reader(lines, delimiter=delimiter, strict=True), begins + 1
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise LlmpiError(f"{path}:{line}: {_csv_words(error)}") from None
        if any(cell.strip() for cell in cells):
            yield line, cells
        line = begins + reader.line_num + 1


def _csv_words(error: csv.Error) -> str:
    said = str(error)
    if "field limit" in said:
        limit = f"{csv.field_size_limit():,}"
        return f"a cell of more than {limit} characters begins here or below; {CLOSE_QUOTE}"
    if "unexpected end" in said:
        return f"a quoted cell begins here that does not end before the file does; {CLOSE_QUOTE}"
    return f"no valid CSV ({said}); {CLOSE_QUOTE}"


def _delimiter(text: str) -> tuple[str, int]:
    """And how many lines stand before the head: a spreadsheet's `sep=;` says the delimiter."""
    lines = io.StringIO(text, newline="")
    first = lines.readline().rstrip("\r\n")
    if found := re.fullmatch(rf'"?sep=([{DELIMITERS}])"?', first, re.I):
        return found[1], 1
    head = next((line for line in (first, *lines) if line.strip()), "")
    named = {delimiter: _named(head, delimiter) for delimiter in DELIMITERS}
    return max(named, key=lambda delimiter: named[delimiter]), 0


def _named(head: str, delimiter: str) -> tuple[int, int]:
    """How many columns it would name that are known, and how many in all."""
    try:
        cells = next(csv.reader([head], delimiter=delimiter), [])
    except csv.Error:
        return 0, 0
    return sum(bool(_column(cell)) for cell in cells), len(cells)


# --- the head -------------------------------------------------------------------------------------


def _column(cell: str) -> str:
    """What a head's cell names; nothing where it is none of ours."""
    named = cell.strip().casefold()
    if len(named) > LONGEST_NAME:
        return ""
    return COLUMNS.get(re.sub(r"[\s_\-]*\d*$", "", named), "")


def _check_head(path: Path, line: int, head: Sequence[str], names: Sequence[str]) -> None:
    counted = Counter(names)
    if any("\0" in cell for cell in head):
        end = "be" if head[0].startswith("\0") else "le"
        raise LlmpiError(
            f"{path}:{line}: holds U+0000; if it is UTF-16 without a mark, name it: "
            f"--encoding utf-16-{end}"
        )
    for needed in ("question", "answer"):
        if not counted[needed]:
            there = " | ".join(cell.strip()[:40] for cell in head[:SHOWN_COLUMNS])
            there += f" | and {len(head) - SHOWN_COLUMNS} more" * (len(head) > SHOWN_COLUMNS)
            raise LlmpiError(
                f"{path}:{line}: names no column '{needed}', but: {there}. The first row names the "
                "columns: question,answer (and, if need be, answer 2, passage, document, tags)"
            )
    for name in ("question", "passage", "document", "tags"):
        if counted[name] > 1:
            raise LlmpiError(f"{path}:{line}: names two columns '{name}'")


# --- the cells ------------------------------------------------------------------------------------


def _pair(line: int, cells: Sequence[str], names: Sequence[str], problems: Problems) -> Pair | None:
    """None of a row with a problem, which is told."""
    before = len(problems.found)
    if any(cell.strip() for cell in cells[len(names) :]):
        problems.add(
            line,
            f"has {len(cells)} cells where the head has {len(names)}: a text that holds the "
            'delimiter stands between quotes (")',
        )
        return None
    found: dict[str, list[str]] = {name: [] for name in LONGEST}
    for name, cell in zip(names, cells, strict=False):
        text = re.sub(r"\r\n?", "\n", cell).strip()
        if name and text:
            if why := _spoilt(name, text):
                problems.add(line, f"{name}: {why}")
            found[name].append(text)
    if not found["question"]:
        problems.add(line, "has no question")
    if len(problems.found) > before:
        return None
    tags = re.split(r"[;,\n]", "".join(found["tags"]))
    return Pair(
        line,
        found["question"][0],
        tuple(dict.fromkeys(found["answer"])),
        "".join(found["passage"]),
        "".join(found["document"]),
        tuple(dict.fromkeys(tag.strip() for tag in tags if tag.strip())),
    )


def _spoilt(name: str, text: str) -> str | None:
    """What a cell cannot be, in words."""
    if why := unseen(text):
        return why
    if len(text) > LONGEST[name]:
        return f"has {len(text):,} characters; {LONGEST[name]:,} at most"
    if name == "passage":
        return None
    if ERRORS.fullmatch(text):
        return f"'{text}' is an error of the spreadsheet"
    if FORMULA.match(text):
        return f"'{text[:40]}' is a formula, and not its value; save the values"
    if ROUNDED.fullmatch(text):
        return f"'{text}' was rounded by the spreadsheet; make the cell a text"
    return None


def unseen(text: str) -> str | None:
    """What of a text no person has written or can see, in words."""
    if found := UNSEEN.search(text):
        return f"holds U+{ord(found[0]):04X}, a control character or half of one"
    if "\ufffd" in text:
        return "holds U+FFFD, in place of a character that was lost when it was saved"
    return None
