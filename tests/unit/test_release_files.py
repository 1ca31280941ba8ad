"""What goes with a release agrees with it: version, citation, changelog, the catalog's file."""

import re

import yaml
from support import ROOT

from llmpi import __version__

CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text())
FIXED = {"type": "software", "cff-version": "1.2.0", "title": "llmpi"}


def test_the_citation_is_of_this_version() -> None:
    """Its form is held by cffconvert when a release is made: it does not go with our jsonschema."""
    assert CITATION["version"] == __version__
    assert CITATION.items() >= FIXED.items()
    assert CITATION["message"]
    assert CITATION["authors"]


def test_the_study_is_cited() -> None:
    [study] = CITATION["references"]
    [number] = [found["value"] for found in study["identifiers"]]
    assert number == "arXiv:2504.02118"
    assert all(author["family-names"] and author["given-names"] for author in study["authors"])


def test_the_changelog_ends_a_version_when_it_is_released() -> None:
    """Newest first, each with its day; what is not released is on top."""
    text = (ROOT / "CHANGELOG.md").read_text()
    [first, *released] = re.findall(r"^## \[(.+?)\](.*)$", text, re.MULTILINE)
    assert first == ("Unreleased", "")
    assert all(re.fullmatch(r" - \d{4}-\d\d-\d\d", day) for _, day in released)
    versions = [tuple(map(int, version.split("."))) for version, _ in released]
    assert versions == sorted(set(versions), reverse=True)
    kinds = set(re.findall(r"^### (.+)$", text, re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_the_catalog_is_told_what_there_is() -> None:
    usage = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    deployment = usage["software-stack-deployment"]
    assert deployment["conda"] == any((ROOT / "envs").glob("*.yaml"))
    containers = [
        file for file in (ROOT / "rules").glob("*.smk") if "container" in file.read_text()
    ]
    assert deployment["apptainer"] == bool(containers)
    assert usage["report"] == deployment["report"]
    assert (ROOT / "config/README.md").is_file()
