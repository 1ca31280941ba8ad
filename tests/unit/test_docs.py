"""What the docs say of the code is there."""

import re
import tomllib
from itertools import pairwise

import pytest
from support import ROOT

from llmpi.study.file import load_study

PACKAGE = ROOT / "src/llmpi"
PATH = re.compile(r"`((?:[\w.-]+/)*[\w.-]+\.(?:py|smk|md|yaml|toml|rst|jinja)|(?:[\w.-]+/)+)`")


def test_the_map_has_every_room_and_no_other() -> None:
    rooms = {name for row in _map() for name in row}
    there = {f"{p.parent.name}/" for p in PACKAGE.glob("*/__init__.py")}
    assert rooms == there | {p.name for p in PACKAGE.glob("[!_]*.py")}


def test_the_map_goes_by_the_street() -> None:
    """From the ground up, as the contract of the layers says it from the roof down."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    [street] = [c for c in contracts["contracts"] if c["type"] == "layers"]
    layers = [set(re.findall(r"\w+", layer)) for layer in reversed(street["layers"])]
    assert [{name.rstrip("/").removesuffix(".py") for name in row} for row in _map()] == layers


@pytest.mark.parametrize("name", ["docs/map.md", "docs/extending.md", "CONTRIBUTING.md"])
def test_every_path_that_is_named_is_there(name: str) -> None:
    text = (ROOT / name).read_text()
    for path in PATH.findall(text):
        found = [root / path for root in (ROOT, PACKAGE) if (root / path).exists()]
        found += list(PACKAGE.rglob(path)) + list((ROOT / "tests").rglob(path))
        assert found or path in MADE or "KIND" in path, f"{name} names {path}"


MADE = {"study/SECTION.py", "benchmarks/hostile/boundaries/NAME.py", "results/", "dist/"}
"""A placeholder, or what is not kept."""


def _map() -> list[list[str]]:
    """The rooms of each row of the map."""
    rows = re.findall(r"^\| (`.+?) \|", (ROOT / "docs/map.md").read_text(), re.MULTILINE)
    return [re.findall(r"`([\w.]+/?)`", row) for row in rows]


def test_the_papers_study_floats_where_its_head_says_so() -> None:
    """All is pinned by commit, but for the three models whose commits could not be checked."""
    study = load_study(ROOT / "config/llmpi.yaml")
    named = {**{name: model.source for name, model in study.models.items()}, **study.quality}
    floating = [n for n, of in named.items() if not re.fullmatch("[0-9a-f]{40}", of.revision or "")]
    assert floating == ["bitnet-0.7b", "bitnet-llama3-8b", "bitnet-3b"]


def test_what_has_no_type_is_little_and_says_why() -> None:
    untyped = re.compile(r"(dict|Mapping)\[str, ?(Any|object)\]")
    found = [
        (f"{path.relative_to(ROOT)}: {line.strip()}", below)
        for path in sorted(PACKAGE.rglob("*.py"))
        for line, below in pairwise(path.read_text(encoding="utf-8").splitlines())
        if untyped.search(line)
    ]
    assert len(found) <= 40
    assert [line for line, below in found if "  # " not in line and '"""' not in below] == []
