"""A task out of a person's own question and answer pairs.

It is a `squad` task where a passage answers each, else an `ab` task.

What would spoil a decision is told before anything is measured: a question that stands there twice
counts as two, one that a worked example answers measures nothing, and so on.
"""

import re
import unicodedata
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from llmpi.engine.answers import ENGLISH, UNSPACED
from llmpi.errors import LlmpiError
from llmpi.start.own_documents import holds, place
from llmpi.start.own_kinds import Ab, Made, Squad
from llmpi.start.pairs import Pair, Problems, read_pairs
from llmpi.study.languages import ISO_639_1
from llmpi.study.task import Task

MANY_WORDS = 8
"""Of an answer: a longer one is hardly ever given in exactly these words."""
MOST_JUDGED = 50
"""Tags."""
MOST_SHOWN = 200_000_000
"""Characters of the worked examples, in front of all questions."""
FOLDER = Path("config/data")
_MARK = "[-.,;:!?…¿¡。、・\"'“”„‘’«»「」『』()\\[\\]{}]"
MARKS = re.compile(rf"{_MARK}(?!\w)|(?<!\w){_MARK}(?!\d)")
"""Those that stand between words, not in one."""


@dataclass(frozen=True)
class Own:
    """A task that was made.

    Args:
        name: its id.
        asked, examples: how many questions, and pairs in front of each of them.
        notes: what a person should know of it.
    """

    name: str
    settings: Task
    path: Path
    asked: int
    examples: int
    notes: Sequence[str]


def make(
    table: Path,
    out: Path | None = None,
    *,
    documents: Path | None = None,
    examples: int = 2,
    language: str = "en",
    encoding: str | None = None,
) -> Own:
    """Write the data file of a task, never over one that says something else.

    Args:
        table: see `llmpi.start.pairs`.
        out: by default in `FOLDER`, by the name of the table.
        documents: folder of the texts that the table's `document`s are.
        examples: so many pairs, the first, are worked examples in front of every prompt, and not
            asked. Of `ab` only: `squad` has its own.

    Raises:
        LlmpiError: the table cannot be made a task, each `file:line`; or the file is there already.
    """
    if language not in ISO_639_1.split():
        raise LlmpiError(f"--language: '{language}' is none of ISO 639-1, such as en, ja, zh or th")
    pairs, passed_over = read_pairs(table, encoding)
    problems, notes = Problems(table), list[str]()
    if passed_over:
        named = ", ".join(_some([column[:40] for column in passed_over]))
        notes.append(f"passed over: {named}, which are no columns of ours")
    if documents:
        placed = place(pairs, documents, problems, language, encoding)
        pairs = [one.pair for one in placed]
        if several := _lines(one.pair for one in placed if one.several):
            notes.append(f"guessed: the answer stands in several passages: {several}; look at them")
    elif any(pair.document and not pair.passage for pair in pairs):
        raise LlmpiError(f"{table}: has a column 'document'; --documents names their folder")
    is_squad = bool(documents) or any(pair.passage for pair in pairs)
    kind: Made = Squad(language) if is_squad else Ab(examples, language)
    for pair in sorted(pairs, key=lambda pair: pair.passage):  # each passage is looked at once
        if why := kind.wrong(pair):
            problems.add(pair.line, why)
    pairs, twice = _once(pairs, language, problems)
    problems.tell()
    asked = kind.asked(pairs)
    worked = {pair.line for pair in pairs} - {pair.line for pair in asked}
    notes += _left_out(twice, worked)
    if not asked:
        raise LlmpiError(f"{table}: {len(pairs)} pairs, all of them worked examples: --examples 0")
    _check_size(pairs[: len(pairs) - len(asked)], len(asked))
    if not is_squad:
        _check_tags(asked)
    path = (out or FOLDER / f"{_slug(table.stem)}{kind.suffix}").expanduser()
    if re.search("[\ud800-\udfff]", str(path)):
        raise LlmpiError(f"--out: '{path}' is no text in UTF-8, and could not stand in a config")
    settings = kind.settings(path, pairs)
    _write(path, kind.text(pairs), kind)
    return Own(
        _slug(path.stem),
        settings,
        path,
        len(asked),
        len(pairs) - len(asked),
        [*notes, *_doubts(pairs, language), *kind.doubts(asked)],
    )


def _check_size(worked: Sequence[Pair], asked: int) -> None:
    """
    Raises:
        LlmpiError: with all examples in front of every question, the file would be out of bounds.
    """
    shown = sum(len(pair.question) + len(pair.answers[0]) for pair in worked)
    if shown * asked > MOST_SHOWN:
        raise LlmpiError(
            f"--examples: {len(worked)} of together {shown:,} characters, in front of each of "
            f"{asked:,} questions, make a file of {shown * asked / 1e6:,.0f} MB: have short pairs "
            "come first, or ask for fewer examples"
        )


def _check_tags(asked: Sequence[Pair]) -> None:
    """
    Raises:
        LlmpiError: so many would be judged by themselves that nothing could be told of any.
    """
    judged = {tag for pair in asked for tag in pair.tags if tag.startswith("safety")}
    if len(judged) > MOST_JUDGED:
        raise LlmpiError(
            f"tags: {len(judged):,} of them begin with 'safety', and each is judged by itself; "
            f"at most {MOST_JUDGED}"
        )


def _write(path: Path, text: str, kind: Made) -> None:
    """The file, held to what a study holds it to; none is left that does not keep to it."""
    content = text.encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        file = path.open("xb")
    except FileExistsError:
        if _holds(path, content):
            return  # of the same pairs, by a command that failed behind this, or one more time
        raise LlmpiError(
            f"{path}: is there already, and stays as it is; --out names another"
        ) from None
    try:
        with file:
            file.write(content)
        kind.read(path)
    except BaseException:  # a full disk and Ctrl-C, too
        path.unlink(missing_ok=True)
        raise


def _holds(path: Path, content: bytes) -> bool:
    is_as_long = path.is_file() and path.stat().st_size == len(content)
    return is_as_long and path.read_bytes() == content


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "own"


# --- what would spoil a decision ------------------------------------------------------------------


def _once(
    pairs: Sequence[Pair], language: str, problems: Problems
) -> tuple[list[Pair], list[tuple[int, int]]]:
    """Each question once; and of those that are left out, which have the same answers, their line
    and that of the first. With others it is a problem."""
    first: dict[Hashable, Pair] = {}
    twice = []
    passages = _numbered(pairs, language)
    for pair in pairs:
        key = (passages[pair.passage], _same(pair.question, language))
        same = first.setdefault(key, pair)
        if same is pair:
            continue
        if _answers(same, language) == _answers(pair, language):
            twice.append((pair.line, same.line))
        else:
            problems.add(
                pair.line,
                f"asks what line {same.line} asks, and has another answer; where both are right, "
                "give one of them as 'answer 2'",
            )
    return list(first.values()), twice


def _left_out(twice: Sequence[tuple[int, int]], worked: Collection[int]) -> Iterator[str]:
    """
    Args:
        worked: lines of the worked examples: who has seen the answer knows nothing.
    """
    lines = [f"{line} (as {first})" for line, first in twice if first not in worked]
    leaks = [f"{line} (as {first})" for line, first in twice if first in worked]
    if lines:
        yield f"left out, asked twice: line {', '.join(_some(lines))}"
    if leaks:
        yield f"left out, a worked example answers it: line {', '.join(_some(leaks))}"


def _alike(pairs: Sequence[Pair], language: str) -> Iterator[str]:
    """Questions of the same words in another order, of which only a person can tell."""
    first: dict[Hashable, Pair] = {}
    passages = _numbered(pairs, language)
    for pair in pairs:
        found = " ".join(sorted(_same(pair.question, language).split()))
        other = first.setdefault((passages[pair.passage], found), pair)
        if other is not pair:
            yield f"{pair.line} (as {other.line})"


def _numbered(pairs: Sequence[Pair], language: str) -> dict[str, int]:
    """Each passage, which many questions may be on, with a number; the same passages have one."""
    numbers: dict[str, int] = {}
    each = dict.fromkeys(pair.passage for pair in pairs)
    return {text: numbers.setdefault(_same(text, language), len(numbers)) for text in each}


def _same(text: str, language: str) -> str:
    """Without what only looks different: widths and case, marks around words, articles, blanks. A
    sign, a decimal point, `C#` stay: they make another question."""
    folded = MARKS.sub(" ", unicodedata.normalize("NFKC", text).casefold())
    if language == ENGLISH:
        folded = re.sub(r"\b(a|an|the)\b", " ", folded)
    return ("" if language in UNSPACED else " ").join(folded.split())


def _answers(pair: Pair, language: str) -> set[str]:
    return {_same(answer, language) for answer in pair.answers}


def _doubts(pairs: Sequence[Pair], language: str) -> Iterator[str]:
    """What may measure something else than whether an answer is known."""
    if alike := list(_alike(pairs, language)):
        yield f"nearly the same: line {', '.join(_some(alike))}; each counts as one of its own"
    told: Mapping[str, Callable[[Pair], bool]] = {
        "told: the question holds its own answer": lambda pair: any(
            holds(pair.question, answer, language) for answer in pair.answers
        ),
        f"long: more than {MANY_WORDS} words are hardly ever said in this very way": lambda pair: (
            min((len(answer.split()) for answer in pair.answers), default=0) > MANY_WORDS
        ),
    }
    for what, is_so in told.items():
        if lines := _lines(filter(is_so, pairs)):
            yield f"{what}: {lines}"


def _lines(pairs: Iterable[Pair]) -> str:
    found = [str(pair.line) for pair in pairs]
    return f"line {', '.join(_some(found))}" if found else ""


def _some(found: Sequence[str]) -> list[str]:
    return [*found[:5], *([f"and {len(found) - 5} more"] if len(found) > 5 else [])]
