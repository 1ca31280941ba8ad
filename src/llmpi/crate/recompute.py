"""Summary, decision and page, computed from records that lie in a folder."""

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import chdir
from itertools import zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from llmpi import layout
from llmpi.crate.archive import CrateError
from llmpi.crate.fields import Difference, columns_of, differences, shown_value
from llmpi.decide.choice import recommend
from llmpi.decide.cost import costs
from llmpi.decide.records import Recommendation
from llmpi.quality.evidence import Requirements
from llmpi.records import read, write_json
from llmpi.report.page.write import write_page
from llmpi.study import inputs
from llmpi.study.decision import Constraints
from llmpi.study.runs import Run
from llmpi.study.study import Study
from llmpi.summary.flat import flat_rows, write_csv
from llmpi.summary.predictions import Boards, Planned
from llmpi.summary.read import read_records, trees
from llmpi.summary.records import Provenance, Summary
from llmpi.summary.service_loads import read_benches
from llmpi.summary.study import summarize

OF_A_RUN = ("llmpi", "snakemake", "summarized")
"""Of the provenance: what says who computed it, and when."""
BESIDE = 40
"""Characters shown of a page, before and behind what differs."""


def write_derived(
    folder: Path, study: Study, provenance: Provenance, said: Sequence[Planned]
) -> None:
    """Compute everything that follows from the records in `folder`, and write it there.

    Args:
        provenance: of the run that this is said to be of.
        said: by the planner, which knows the models' files, of each cell of the summary.
    """
    summary, requirements = _summarized(folder, study, said)
    told = {**summary["provenance"], **{key: provenance[key] for key in OF_A_RUN}}  # type: ignore[literal-required]
    summary = {**summary, "provenance": told}  # type: ignore[typeddict-item]
    write_json(_in(folder, layout.SUMMARY_JSON, study), summary, indent=None)
    write_json(_in(folder, layout.REQUIREMENTS, study), requirements, indent=None)
    write_json(_in(folder, layout.RECOMMENDATION, study), _decided(folder, study))
    write_csv(_in(folder, layout.SUMMARY_CSV, study), flat_rows(study, summary["rows"]))
    _draw(folder, study, _in(folder, layout.PAGE, study))


def check_derived(folder: Path, study: Study) -> None:
    """Compute what follows from the records in `folder`, each step from what the one before it left
    there, and hold it against the files. Only what the planner said is taken as it is: it rests on
    the models' files.

    Raises:
        CrateError: one says something else, with its first fields.
        RecordError: one does not fit its type.
    """
    summary, requirements = _summarized(folder, study, planned_in(folder, study))
    said = _json(_in(folder, layout.SUMMARY_JSON, study))
    for key in OF_A_RUN:
        said["provenance"].pop(key, None)
        summary["provenance"].pop(key)  # type: ignore[misc]  # it is only compared
    _hold(layout.at(layout.SUMMARY_JSON, study=study.study), said, summary)
    path = layout.at(layout.REQUIREMENTS, study=study.study)
    _hold(path, _json(folder / path), requirements)
    path = layout.at(layout.RECOMMENDATION, study=study.study)
    _hold(path, _json(folder / path), _decided(folder, study))
    _check_files(folder, study)


def planned_in(folder: Path, study: Study) -> list[Planned]:
    """What the planner said, as the summary has it."""
    summary = read(_in(folder, layout.SUMMARY_JSON, study), Summary)
    return [
        Planned(one["basis"], one["board"], one["predicted"], one["reason"])
        for one in summary["predictions"]
    ]


def _summarized(
    folder: Path, study: Study, said: Sequence[Planned]
) -> tuple[Summary, Requirements]:
    def planner(study: Study, runs: Sequence[Run], _: Boards) -> Sequence[Planned]:
        if len(said) != len(runs):
            name = layout.at(layout.SUMMARY_JSON, study=study.study)
            raise CrateError(f"{name}: predictions: {len(said)} of {len(runs)} cells")
        return said

    with chdir(folder), trees():
        return summarize(study, read_records(study), planner)


def _decided(folder: Path, study: Study) -> Recommendation:
    summary = read(_in(folder, layout.SUMMARY_JSON, study), Summary)
    requirements = read(_in(folder, layout.REQUIREMENTS, study), Requirements)
    choice = recommend(summary, requirements, study.constraints or Constraints())
    return {**choice, "money": costs(summary, study.cost, choice) if study.cost else None}


def _draw(folder: Path, study: Study, page: Path) -> None:
    summary = read(_in(folder, layout.SUMMARY_JSON, study), Summary)
    decision = read(_in(folder, layout.RECOMMENDATION, study), Recommendation)
    with chdir(folder):
        service = read_benches(map(Path, inputs.service(study)))
    write_page(summary, decision, page, service)


def _in(folder: Path, pattern: str, study: Study) -> Path:
    return folder / layout.at(pattern, study=study.study)


# --- held against the files -----------------------------------------------------------------------


def _json(path: Path) -> Any:
    return json.loads(path.read_bytes())


def _hold(name: str, said: object, computed: object) -> None:
    found = differences(said, json.loads(json.dumps(computed)))
    _refuse(name, found)


MOST_SAID = 5


def _refuse(name: str, found: Iterator[Difference]) -> None:
    told = [
        f"{name}: {one.place}: says {shown_value(one.said)}, what it follows from gives "
        f"{shown_value(one.computed)}"
        for one, _ in zip(found, range(MOST_SAID), strict=False)
    ]
    if told:
        raise CrateError("\n".join(told))


def _check_files(folder: Path, study: Study) -> None:
    """The table and the page say what the summary and the decision say."""
    with TemporaryDirectory(prefix="llmpi-") as beside:
        again = Path(beside)
        rows = read(_in(folder, layout.SUMMARY_JSON, study), Summary)["rows"]
        write_csv(again / "table", flat_rows(study, rows))
        name = layout.at(layout.SUMMARY_CSV, study=study.study)
        _refuse(name, _table(_text(folder / name), _text(again / "table")))
        _draw(folder, study, again / "page")
        name = layout.at(layout.PAGE, study=study.study)
        _refuse(name, _page(_text(folder / name), _text(again / "page")))


def _text(path: Path) -> str:
    return path.read_bytes().decode("utf-8", "backslashreplace")


def _table(said: str, computed: str) -> Iterator[Difference]:
    try:
        columns = columns_of(said)
    except ValueError as error:
        yield Difference("as a whole", str(error), "a table")
        return
    yield from differences(_with_numbers(columns), _with_numbers(columns_of(computed)))


def _with_numbers(columns: dict[str, list[str]]) -> dict[str, list[str | float]]:
    """Numbers as numbers: a whole one may be written in two ways."""
    return {
        name: [_number(value) if NUMBER.fullmatch(value) else value for value in values]
        for name, values in columns.items()
    }


MOST_DIGITS = 30
"""Of a number; more are a text."""


def _number(text: str) -> str | float:
    """Whole ones as such: of a size in bytes or a hash no digit is rounding."""
    if len(text) > MOST_DIGITS:
        return text
    return int(text) if text.lstrip("-").isdecimal() else float(text)


NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")


def _page(said: str, computed: str) -> Iterator[Difference]:
    """The first place that differs, with what stands around it."""
    if said == computed:
        return
    places = zip_longest(_pieces(said), _pieces(computed), fillvalue=("", 0))
    for (one, at), (other, beside) in places:
        if list(differences(one, other)):
            yield Difference(
                f"character {at}",
                said[max(0, at - BESIDE) : at + BESIDE],
                computed[max(0, beside - BESIDE) : beside + BESIDE],
            )
            return


def _pieces(text: str) -> Iterator[tuple[str | float, int]]:
    """Its numbers and what stands between them, each with its place."""
    end = 0
    for found in NUMBER.finditer(text):
        yield text[end : found.start()], end
        yield _number(found[0]), found.start()
        end = found.end()
    yield text[end:], end
