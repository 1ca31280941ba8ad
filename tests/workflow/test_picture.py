"""README's picture of the rules is the workflow's: every rule is there, every arrow is true."""

import re
from collections.abc import Iterator
from itertools import pairwise

import pytest
from support import ROOT, run_snakemake

Arrow = tuple[str, str]

ASKED_FOR = {"check_devices"}
"""By its file, by hand: no study needs it."""

RULES = {
    rule
    for file in (ROOT / "rules").glob("*.smk")
    for rule in re.findall(r"^(?:use rule \w+ as|rule) (\w+)", file.read_text(), re.MULTILINE)
} - ASKED_FOR


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> set[Arrow]:
    """The arrows of a study in which every rule has something to do."""
    folder = tmp_path_factory.mktemp("picture")
    (folder / "config").symlink_to(ROOT / "config")
    study = ROOT / "tests/configs/everything.yaml"
    options = ("--cores", "1", "--configfile", str(study), "--rulegraph", "mermaid-js")
    out = run_snakemake(*options, cwd=folder).stdout
    names = dict(re.findall(r"^\s*(id\d+)\[(\w+)\]", out, re.MULTILINE))
    arrows = re.findall(r"^\s*(id\d+) --> (id\d+)", out, re.MULTILINE)
    return {(names[a], names[b]) for a, b in arrows if names[b] != "all"}


def test_the_study_of_everything_needs_every_rule(graph: set[Arrow]) -> None:
    assert {rule for arrow in graph for rule in arrow} == RULES


def test_every_rule_is_drawn() -> None:
    assert {rule for arrow in drawn() for rule in arrow} == RULES


def test_every_arrow_is_true(graph: set[Arrow]) -> None:
    assert set(drawn()) - graph == set()


def test_what_begins_and_ends_is_what_does_so_in_the_workflow(graph: set[Arrow]) -> None:
    """No rule hangs in the air: the picture's first and last ones are the workflow's."""
    for there, here in zip(ends(graph), ends(set(drawn())), strict=True):
        assert there == here


def drawn() -> Iterator[Arrow]:
    picture = (ROOT / "README.md").read_text().partition("```mermaid\n")[2].partition("```")[0]
    for line in picture.splitlines()[1:]:
        yield from pairwise(line.strip().split(" --> "))


def ends(arrows: set[Arrow]) -> tuple[set[str], set[str]]:
    """What nothing leads to, and what leads nowhere."""
    before, after = {a for a, _ in arrows}, {b for _, b in arrows}
    return before - after, after - before
