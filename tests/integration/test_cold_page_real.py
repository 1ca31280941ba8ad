"""Every number of a real page, from its raw records and with numpy alone."""

import subprocess
import sys
from pathlib import Path

import pytest
from support import ROOT


def read(folder: Path, study: str) -> list[str]:
    """What the script prints, which is to find nothing of the product."""
    script = ROOT / "tests/cold_page.py"
    command = [sys.executable, "-I", script, folder / "results", study]
    done = subprocess.run(command, capture_output=True, text=True)
    assert not done.stderr
    return done.stdout.splitlines()


def test_every_number_is_accounted_for(finished) -> None:
    [total] = read(finished.folder, "small")
    assert total.endswith(" numbers accounted for, 0 not")


@pytest.mark.long
def test_so_it_is_of_a_text_and_in_japanese(copy) -> None:
    copy.config["languages"] = ["en", "ja"]
    copy.config["quality"]["topics"] = {
        "task": "divergence",
        "python_topics": True,
        "window_tokens": 128,
        "chunks": 12,
    }
    page = copy.shown()
    [total] = read(copy.folder, "small")
    assert total.endswith(" numbers accounted for, 0 not")
    lie = page.replace("パープレキシティ<br>上昇は10 %まで", "パープレキシティ<br>上昇は20 %まで")
    assert lie != page
    (copy.folder / "results/report/small/index.html").write_text(lie)
    [*left, total] = read(copy.folder, "small")
    assert total.endswith(" not")
    assert all("[ja] decision" in one for one in left)
    assert left
