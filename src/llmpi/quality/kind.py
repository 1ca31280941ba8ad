"""What a kind of quality task is to those who bring results together and show them.

A kind is a folder of `llmpi.quality` whose module `kind` exports one object, `KIND`; a model of its
settings in the folder `llmpi.study.tasks`; and the file of its rules in `rules/`, all of its name.
Nothing else names it: `llmpi.quality.kinds` finds the folder.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, NotRequired, TypeVar

from typing_extensions import TypedDict, TypeForm

from llmpi import layout
from llmpi.columns import Column, number, text
from llmpi.engine.records import Failed, record
from llmpi.quality.answers import Answered
from llmpi.quality.evidence import Requirement
from llmpi.quality.reasons import reason_of, reason_text
from llmpi.quality.records import Drawn, Obstacle, Skipped, Thoughts
from llmpi.results import NotRun, result
from llmpi.study.runs import Scored, Session, scored
from llmpi.study.study import Study

Value = str | bool | int | float | None
Told = Value | dict[str, float] | list[Obstacle]
"""The same, numbers by name, or why there is no score."""
Row = dict[str, Told]
"""What a task says of a variant, by the names of the kind's columns."""


@record
class Objection(TypedDict):
    """A minimum that a variant does not reach."""

    task: str
    metric: str
    at_least_pct: float
    got_pct: float | None
    """None where there is no score."""
    why: Literal["below", "no items", "not scored"]


def objection_text(objection: Objection) -> str:
    """As a field of a flat table has it."""
    name, least = f"{objection['task']} {objection['metric']}", objection["at_least_pct"]
    if objection["why"] == "not scored":
        return f"{name}: not scored"
    got = objection["got_pct"]
    return f"{name}: {'no items' if got is None else f'{got:.1f} %'} < {least:g} %"


# --- what a page shows of it ----------------------------------------------------------------------


@record
class Fact(TypedDict):
    """Something to say. `llmpi.report.words` has a sentence for the `key`; where it has none, the
    values are shown by their names."""

    key: str
    """Such as `divergence.windows`."""
    values: dict[str, Value]


@record
class Shown(TypedDict):
    """How a value of a table's row, or of a chart's point, is shown."""

    key: str
    title: str
    """English; a key into the other languages. `\\n` breaks the line."""
    digits: int | None
    """Behind the point; None of a text, which may be translated as a whole."""
    low: NotRequired[str]
    high: NotRequired[str]
    """Keys of the ends of its interval; with `high` alone, it is the range from here to there."""
    error: NotRequired[str]
    """Key of its standard error."""
    unit: NotRequired[str]
    """Key of the unit behind it, where the rows differ in it."""


TableRow = Mapping[str, Told]


@record
class Table(TypedDict):
    columns: list[Shown]
    rows: Sequence[TableRow]
    """By the columns' keys. Where there are no numbers, the `reason` stands in their place; a row's
    own `digits` go before those of the columns; `bad` is the key of the value that is not as it
    should be."""


@record
class Chart(TypedDict):
    """Values with their intervals."""

    id: str
    key: str
    """Into the words, for its caption."""
    kind: Literal["loss over bits per weight", "by name"]
    value: Shown
    """With the keys of both ends; the title is the axis'."""
    scale: Literal["linear", "log"]
    limit: float | None
    """A line there: no difference, or the most to put up with."""
    verdict: str | None
    """Key of the verdict that colours a point."""
    shown: list[Shown]
    """Beside the value, when a point is pointed at."""
    points: list[dict[str, Value]]
    """Each has a `name`; over bits per weight also `model` and `quant`. Of a model those are filled
    that no other beats in both."""


@record
class Part(TypedDict):
    """In the order in which it is shown."""

    name: str
    """Such as a model's id; empty where there is only one part."""
    facts: list[Fact]
    chart: Chart | None
    table: Table | None
    remarks: list[Fact]
    """Behind the table."""


@record
class Section(TypedDict):
    """A section of the page, as data. Its title and its entry of the contents are the words'."""

    id: str
    """Of its place on the page."""
    key: str
    """Into the words, as a fact's; such as `divergence`."""
    values: dict[str, Value]
    parts: list[Part]


# --- the kind -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Summary:
    """What a study's tasks of one kind say.

    Args:
        rows: task -> what is scored -> its row, of every task and all that the study scores.
        sections: of the page; none where there is nothing to show.
        objections: what is scored -> the minimums that it does not reach.
        requirements: what it must not lose too much of.
        questions: task -> which it asks, of a kind that draws them from more.
        answers: task -> what is scored -> its answers, of a kind whose tasks have `ANSWERS`.
    """

    rows: Mapping[str, Mapping[Scored, Row]]
    sections: Sequence[Section]
    objections: Mapping[Scored, Sequence[Objection]] = field(default_factory=dict)
    requirements: Sequence[Requirement] = ()
    questions: Mapping[str, Drawn | Failed | NotRun] = field(default_factory=dict)
    answers: Mapping[str, Mapping[Scored, Answered]] = field(default_factory=dict)


@record
class AskedScore(TypedDict):
    """The score of an endpoint's answers, beside that of llmpi's engine on the same questions."""

    task: str
    metric: str
    """What stands for the quality, as the kind's `Score` calls it."""
    items: int
    errors: int
    """Questions without an answer; they score 0."""
    cut: int
    """Answers that were cut at `max_new_tokens`."""
    pct: float
    low_pct: float | None
    high_pct: float | None
    """95 %."""
    against_pct: float | None
    """Of the same file by default in process; None where that was not scored."""
    difference_pct: float | None
    """Points, over HTTP minus in process, on the questions that both were asked."""
    difference_low_pct: float | None
    difference_high_pct: float | None
    """95 %."""


@dataclass(frozen=True)
class OverHttp:
    """What a task says of an endpoint, which is asked itself.

    Args:
        score: None where there is none.
    """

    row: Row
    answers: Answered | None
    objections: Sequence[Objection]
    score: AskedScore | None


@dataclass(frozen=True)
class Score:
    """What stands for the quality of a variant where it is held against the speed.

    Args:
        value: of a row, with the keys of both ends of its interval.
        beside: shown, too, when a point is pointed at.
    """

    value: Shown
    beside: Sequence[Shown] = ()


class Figure(NamedTuple):
    """A number of a row for a table that holds one computation of a file against another."""

    title: str
    """English; a label of the other languages. It names the unit."""
    digits: int


@dataclass(frozen=True)
class TaskKind:
    """A kind of task.

    Args:
        name: as `task` in the config has it.
        record: the type of a variant's record, but for `Failed`.
        columns: of a row, by name; those of a flat table are `TASK_NAME`.
        compared: those of a row that tell of a variant against the widest of its model, computed by
            default.
        figures: by their columns, the numbers that tell what another KV cache costs.
        summarize: reads the records of these tasks of a study.
        shown: of a row, in the page's table of cells.
        score: None of a kind whose rows have none.
        loss: of a row, against the widest of its model; held against the speed where there is no
            score. Less is better, and 0 cannot be drawn.
        over_http: reads what an endpoint answered to a task, and
        asked: the type of that record, but for `Failed`; None of a kind that asks none.
    """

    name: str
    record: TypeForm[object]
    columns: Mapping[str, Column]
    summarize: Callable[[Study, Sequence[str]], Summary]
    compared: Mapping[str, Column] = field(default_factory=dict)
    shown: Sequence[Shown] = ()
    score: Score | None = None
    loss: Shown | None = None
    figures: Mapping[str, Figure] = field(default_factory=dict)
    over_http: Callable[[Study, str, Session], OverHttp] | None = None
    asked: TypeForm[object] | None = None


STATE = {
    "status": text("`ok`, `failed`, `skipped` or `not run`, of the task"),
    "reason": text("Why it has no score"),
}
"""The columns that every kind has."""
THINKING = {
    "thought_tokens": number("tokens", "Mean length of a thought before an answer"),
    "thoughts_cut_pct": number(
        "%", "Questions that have no answer, as the thought before it did not end within its bound"
    ),
}
"""Those of every kind that asks for answers."""

NotScored = Failed | Skipped | NotRun
Kind = TypeVar("Kind")


def records_of(
    kind: TypeForm[Kind], study: Study, task: str
) -> dict[Scored, Kind | Failed | NotRun]:
    """What a task says of all that the study scores."""
    return {
        one: result(kind, layout.QUALITY, study=study.study, task=task, **one._asdict())
        for one in scored(study)
    }


def several_computations(asked: Iterable[Scored]) -> bool:
    """Whether a table needs a column to tell them apart."""
    return len({one.computation for one in asked}) > 1


def columns_of(asked: Iterable[Scored]) -> list[Shown]:
    """What tells what was scored apart: model, quantization and, of several, the computation."""
    names = [("model", "model"), ("quant", "quantization")]
    if several_computations(asked):
        names.append(("computation", "KV cache"))
    return [{"key": key, "title": title, "digits": None} for key, title in names]


def no_score(record: NotScored, columns: Mapping[str, Column]) -> Row:
    """The row of a variant that a task has no score of."""
    return {**dict.fromkeys(columns), "status": record["status"], "reason": reason_of(record)}


SCORED: Row = {"status": "ok", "reason": None}
"""What stands in the `STATE` of one that it has."""


def thinking_columns(thoughts: Thoughts, questions: int) -> Row:
    """What of a row stands in `THINKING`; nothing where the model never thought."""
    cut_pct = 100 * thoughts["thoughts_cut"] / questions if thoughts["thoughts"] else None
    return {"thought_tokens": thoughts["thought_tokens_mean"], "thoughts_cut_pct": cut_pct}


def plain(row: TableRow, name: str) -> Value:
    """A value of a row that is one: no mapping, no list."""
    value = row[name]
    assert not isinstance(value, dict | list), name
    return value


def flat(task: str, columns: Mapping[str, Column], row: Row) -> dict[str, Value]:
    """A row as columns of a flat table: by name, numbers in one field joined by `; `."""
    return {
        f"{task}_{name}": _as_text(value) if isinstance(value := row[name], dict | list) else value
        for name in columns
    }


def _as_text(value: dict[str, float] | list[Obstacle]) -> str:
    if isinstance(value, list):
        return reason_text(value)
    return "; ".join(f"{name} {number:.4g}" for name, number in value.items())
