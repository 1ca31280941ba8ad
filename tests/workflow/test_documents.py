"""Every command in every document is one that works, or is marked as one that no test can run.

Commands stand in fences of `sh`. What `snakemake` is told is planned, what `llmpi` and `make` are
told is there, and what only looks is run. Any other command is marked, by a comment right above
its fence: `<!-- needs a board -->`.
"""

import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from markdown_it import MarkdownIt
from support import ROOT, run_snakemake

from llmpi import cli
from llmpi.study.file import load_study

DOCUMENTS = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "config/*.md", "benchmarks/*.md")
    for path in ROOT.glob(pattern)
)
MARK = re.compile(r"<!-- (needs|takes) [\w ]+ -->")
NO_COMMANDS = {"yaml", "json", "python", "nginx", "mermaid", "text", "{toctree}"}
"""What else stands in fences. `bash` is a whole script, with its first line; `text` is what a
command prints; `{toctree}` is the site's table of contents."""


class Fence(NamedTuple):
    document: str
    marked: bool
    text: str


def fences(path: Path) -> Iterator[Fence]:
    """Those with commands; every other block is of a language that holds none."""
    name = str(path.relative_to(ROOT))
    above = ""
    for token in MarkdownIt("commonmark").enable("table").parse(path.read_text("utf-8")):
        where = f"{name}:{token.map[0] + 1}" if token.map else name
        assert token.type != "code_block", f"{where}: an indented block; commands stand in ```sh"
        if token.type == "fence" and token.info == "sh":
            yield Fence(name, bool(MARK.fullmatch(above)), token.content)
        elif token.type == "fence" and token.info == "bash":
            assert token.content.startswith("#!"), f"{where}: no script; commands stand in ```sh"
        elif token.type == "fence":
            assert token.info in NO_COMMANDS, f"{where}: a fence of {token.info!r}"
        above = token.content.strip() if token.type == "html_block" else ""


def commands(*, marked: bool) -> list[tuple[str, str]]:
    """(document, command), without what is said beside it."""
    found = set()
    for fence in (fence for path in DOCUMENTS for fence in fences(path)):
        for line in fence.text.replace("\\\n", " ").splitlines():
            if fence.marked == marked and (words := shlex.split(line, comments=True)):
                found.add((fence.document, shlex.join(words)))
    return sorted(found)


@pytest.fixture
def folder(workdir: Path) -> Path:
    """Where the documents' commands work: `config/my.yaml` is a study on a board."""
    mine = (workdir / "config/pi.yaml").read_text()
    (workdir / "config/my.yaml").write_text(mine)
    return workdir


@pytest.mark.parametrize(("document", "command"), commands(marked=False), ids=lambda value: value)
def test_a_command_works(
    document: str, command: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    program, *arguments = shlex.split(command)
    match program:
        case "snakemake":
            run_snakemake(*arguments, "--dry-run", "--quiet", cwd=folder)
        case "llmpi" | "make" | "llmpi-device":
            understood(command)
            if arguments[0] == "check":
                assert cli.main(arguments) == 0
        case "python" if arguments[0] == "-m":
            monkeypatch.syspath_prepend(ROOT)
            assert importlib.util.find_spec(arguments[1]), f"no module {arguments[1]}"
        case "cp":
            shutil.copy(*arguments)
        case "source":
            assert arguments == [".venv/bin/activate"], "what `make setup` makes"
        case _:
            pytest.fail(f"{document}: {command}: mark its fence, such as <!-- needs a board -->")


def test_a_study_is_named_by_one_flag() -> None:
    """`--config` of snakemake takes no file."""
    named = [c for marked in (True, False) for _, c in commands(marked=marked) if "--config " in c]
    assert [c for c in named if not c.startswith("llmpi-device ")] == []


@pytest.mark.parametrize(("document", "command"), commands(marked=True), ids=lambda value: value)
def test_what_cannot_be_run_is_at_least_understood(document: str, command: str) -> None:
    understood(command.removeprefix("sudo "))


def understood(command: str) -> None:
    """Its options are there, and so is the study, if it is one of ours."""
    program, *arguments = shlex.split(command)
    if program == "make":
        makefile = (ROOT / "Makefile").read_text()
        for target in arguments:
            assert re.search(rf"(?m)^{re.escape(target)}:", makefile), f"no target {target}"
    if program == "llmpi":
        asked = cli.arguments().parse_args(arguments)
        config = ROOT / getattr(asked, "config", "config/config.yaml")
        assert config.name == "my.yaml" or load_study(config)
    if program == "snakemake" and "--configfile" in arguments:
        config = ROOT / arguments[arguments.index("--configfile") + 1]
        assert config.name == "my.yaml" or load_study(config)
    if program == "llmpi-device":
        helped = [sys.executable, "-m", "llmpi.device.cli", arguments[0], "--help"]
        said = subprocess.run(helped, capture_output=True, text=True, check=True).stdout
        assert [word for word in arguments if word.startswith("--") and word not in said] == []


@pytest.mark.parametrize(
    "text",
    [
        "    llmpi check\n",
        "```\nllmpi check\n```\n",
        "```bash\nllmpi check\n```\n",
        "```console\n$ llmpi check\n```\n",
    ],
)
def test_no_command_escapes(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    (tmp_path / "new.md").write_text(f"Look:\n\n{text}")
    with pytest.raises(AssertionError, match=r"new\.md:3: "):
        list(fences(tmp_path / "new.md"))
