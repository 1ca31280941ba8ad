"""The documents as a site: every link leads somewhere, and none of it asks a network."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support import ROOT

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("sphinx") is None and not os.environ.get("CI"),
    reason="the documents' packages are not installed (envs/docs.lock)",
)
FETCHED = re.compile(r"""<(?:script|img|link rel="stylesheet")[^>]*?(?:src|href)="(?:https?:)?//""")
"""What a page loads by itself; a link that one follows is no such."""


def build(source: Path, site: Path) -> str:
    """What Sphinx has to say of the documents: nothing, where all is well."""
    made = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-c", "docs", ".", site]
    done = subprocess.run(made, cwd=source, capture_output=True, text=True)
    assert done.stderr or done.returncode == 0, done.stdout
    return done.stderr


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("site")
    assert build(ROOT, made) == ""
    return made


def test_every_document_is_in_it(site: Path) -> None:
    documents = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "config/README.md"]
    for path in documents:
        assert (site / path.relative_to(ROOT).with_suffix(".html")).is_file()


def test_it_opens_without_a_network(site: Path) -> None:
    pages = {page: page.read_text() for page in site.rglob("*.html")}
    assert [page for page, text in pages.items() if FETCHED.search(text)] == []
    assert (site / "searchindex.js").is_file()


def test_a_link_to_nothing_is_told(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    shutil.copy(ROOT / "docs/conf.py", tmp_path / "docs")
    (tmp_path / "docs/index.md").write_text("# A\n\n[x](b.md), [y](#c), [z](../src/d.py)\n")
    said = build(tmp_path, tmp_path / "site")
    assert all(f"'{name}'" in said for name in ("b.md", "../src/d.py", "c"))
