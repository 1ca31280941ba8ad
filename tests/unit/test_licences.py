"""What is handed on says whose it is: the project itself, its fonts, the scripts of its pages."""

import re
import tomllib
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest
import vl_convert
import yaml
from hatchling.builders.wheel import WheelBuilder
from support import ROOT

THIRD_PARTY = (ROOT / "THIRD_PARTY.md").read_text(encoding="utf-8")
LICENCES = next((ROOT / "src").rglob("licences.txt")).read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_licence_is_whole_and_named_alike() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert " ".join(text.split()).startswith("Apache License Version 2.0, January 2004")
    assert "APPENDIX: How to apply the Apache License to your work." in text
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert PROJECT["license"] == citation["license"] == "Apache-2.0"


def test_every_binary_names_its_licence() -> None:
    binaries = [f for f in (ROOT / "src").rglob("*") if _is_foreign(f)]
    assert binaries, "the memo's fonts are somewhere else"
    for file in binaries:
        assert f"`{file.name}`" in THIRD_PARTY
        texts = [t.read_text() for t in file.parent.glob("*.txt")]
        assert any(file.name in text and "LICENSE" in text for text in texts), file


def test_no_other_script_is_of_others() -> None:
    ours = [f for f in (ROOT / "src").rglob("*") if f.suffix in (".js", ".css", ".html", ".typ")]
    assert ours
    for file in ours:
        assert not re.search(r"copyright|@license|\.min\.", f"{file.name} {file.read_text()}", re.I)


def test_every_module_of_the_bundle_has_its_text() -> None:
    """vl-convert's library holds each module under its address at a CDN."""
    spec = find_spec("vl_convert")
    assert spec
    assert spec.origin
    [library] = Path(spec.origin).parent.glob("*.so")
    held = set(re.findall(rb"npm/([a-z0-9.-]+)@[0-9.]+/\+esm", library.read_bytes()))
    names = {name.decode() for name in held}
    assert {"vega", "vega-lite", "vega-embed", "d3-array"} <= names
    assert names | {"fast-json-patch", "semver"} == _named()


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("Vega", vl_convert.get_vega_version()),
        ("Vega-Lite", vl_convert.get_vegalite_versions()[-1]),
        ("vega-embed", vl_convert.get_vega_embed_version()),
    ],
)
def test_versions_are_those_of_the_page(name: str, version: str) -> None:
    assert re.search(rf"^\| {name} \| {re.escape(version)}[. ]", THIRD_PARTY, re.MULTILINE)


def test_the_wheel_carries_the_licences(tmp_path: Path) -> None:
    [wheel] = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(wheel) as archive:
        inside = archive.namelist()
    for name in ("licenses/LICENSE", "licenses/THIRD_PARTY.md", "/OFL.txt"):
        assert any(path.endswith(name) for path in inside), name


def _is_foreign(file: Path) -> bool:
    """No text: a font, an image, compiled code."""
    return file.is_file() and "__pycache__" not in file.parts and b"\0" in file.read_bytes()


def _named() -> set[str]:
    """Packages that a heading, or a list of notices below it, names."""
    texts = re.sub(r"```text\n.*?```", "", LICENCES, flags=re.DOTALL)
    named: set[str] = set()
    for heading in re.findall(r"^### [^:]+: ([a-z0-9., -]+)$", texts, re.MULTILINE):
        named |= set(heading.split(", "))
    for item in re.findall(r"^- (.+?):\s", texts, re.MULTILINE | re.DOTALL):
        named |= set(re.split(r",\s+", item))
    return named
