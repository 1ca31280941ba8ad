"""Every fault that the tests inject, what became of it, and what decided that.

    python -m benchmarks.faults [--long] [-k EXPRESSION]

With `-k` a part is run, as pytest selects it, and the table tells what is left.

A fault is a test marked `fault(what happens, by=what decides it)`; the real parts run in it, and
what it asserts is that the study comes through: the next plain `snakemake` heals it, without a hand
on the board. With `--long` those of the whole virtual Pi, too, whose power is cut (an hour).

A row that survived is kept in `.cache/faults`, by the hash of all that is tested: whoever is
interrupted goes on with the next, and an edit begins anew.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
KEPT = ROOT / ".cache/faults"


class Row(NamedTuple):
    """A fault and its outcome."""

    fault: str
    by: str
    outcome: str
    """`survived`, or in which phase of the test it did not."""
    seconds: float = 0.0


class Faults:
    """A plugin of pytest: takes the tests that are faults, and notes each one's outcome.

    Args:
        kept: file of the outcomes, of an earlier run too.
        long: take those that are marked so, too.
    """

    def __init__(self, kept: Path, *, long: bool) -> None:
        self._kept, self._long = kept, long
        self.rows: dict[str, Row] = {
            node: row for node, row in self._lines() if row.outcome == "survived"
        }
        self._named: dict[str, tuple[str, str]] = {}
        self._began = 0.0

    def _lines(self) -> Iterator[tuple[str, Row]]:
        if self._kept.is_file():
            for line in self._kept.read_text(encoding="utf-8").splitlines():
                node, fault, by, outcome, seconds = json.loads(line)
                yield node, Row(fault, by, outcome, seconds)

    @pytest.hookimpl(tryfirst=True)  # before -k takes any away
    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        faults = {
            item.nodeid: item.get_closest_marker("fault")
            for item in items
            if self._long or not item.get_closest_marker("long")
        }
        self._named = {
            node: (f"{marker.args[0]}{_case(node)}", marker.kwargs["by"])
            for node, marker in faults.items()
            if marker
        }
        kept = self.rows
        left = [i for i in items if i.nodeid in self._named and i.nodeid not in kept]
        not_run = {node: Row(*named, "not run") for node, named in self._named.items()}
        self.rows = not_run | {node: row for node, row in kept.items() if node in self._named}
        config.hook.pytest_deselected(items=[item for item in items if item not in left])
        items[:] = left

    def pytest_runtest_logstart(self) -> None:
        self._began = time.monotonic()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or report.outcome != "passed":
            fault, by = self._named[report.nodeid]
            outcome = "survived" if report.passed else f"{report.outcome} in {report.when}"
            row = Row(fault, by, outcome, round(time.monotonic() - self._began, 1))
            self.rows[report.nodeid] = row
            with self._kept.open("a", encoding="utf-8") as out:
                out.write(json.dumps([report.nodeid, *row]) + "\n")


def _case(node: str) -> str:
    """Of a test with parameters, which."""
    _, found, case = node.partition("[")
    return f": {case.removesuffix(']')}" if found else ""


def found(tests: Path, kept: Path, *, long: bool = False, part: str = "") -> list[Row]:
    """The faults in a folder of tests, run where they had not survived yet.

    Args:
        kept, long: see `Faults`.
        part: run these only, as pytest's `-k` selects them.
    """
    faults = Faults(kept, long=long)
    pytest.main(["-q", "-m", "fault", "-k", part, str(tests)], plugins=[faults])
    return sorted(faults.rows.values())


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.faults",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--long", action="store_true", help="the whole virtual Pi's, too")
    parser.add_argument("-k", default="", metavar="EXPRESSION", help="as pytest's")
    args = parser.parse_args()
    KEPT.mkdir(parents=True, exist_ok=True)
    sys.path.insert(0, str(ROOT / "tests"))
    tested = import_module("long_parts").tested_sha256()
    rows = found(ROOT / "tests", KEPT / f"{tested[:16]}.jsonl", long=args.long, part=args.k)
    width = max((len(row.fault) for row in rows), default=0)
    for row in rows:
        print(f"{row.fault:{width}}  {row.outcome:12} {row.seconds:7.1f} s  {row.by}")
    survived = sum(row.outcome == "survived" for row in rows)
    print(f"survived: {survived} of {len(rows)}")
    sys.exit(survived != len(rows))


if __name__ == "__main__":
    main()
