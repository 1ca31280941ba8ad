"""The text that perplexity is measured on: where it comes from, and that it is the raw text."""

import hashlib
import io
import json
import platform
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from fetching import clean_env
from hub_server import HubServer, Repo, commit_id
from hypothesis import given
from hypothesis import strategies as st

from llmpi.errors import LlmpiError
from llmpi.quality.divergence.corpus import join_rows, load_corpus, part_of
from llmpi.study.fields import TextSource


def test_file_is_taken_byte_by_byte(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes("Übung\r\nmacht\n\n".encode())
    record = load_corpus(TextSource(text_file=str(path)), tmp_path / "lock")
    assert record == {
        "status": "ok",
        "source": {"text_file": str(path)},
        "characters": 14,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "text": "Übung\r\nmacht\n\n",
    }
    assert not (tmp_path / "lock").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "{path}: No such file or directory"),
        (b"Gr\xfc\xdfe", "{path}: not UTF-8 at byte 2; convert it (iconv -t UTF-8)"),
    ],
)
def test_bad_file(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "text.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(LlmpiError) as caught:
        load_corpus(TextSource(text_file=str(path)), tmp_path / "lock")
    assert str(caught.value) == message.format(path=path)


def test_pythons_own_topics(tmp_path: Path) -> None:
    record = load_corpus(TextSource(python_topics=True), tmp_path / "lock")
    assert record["source"] == {"python_topics": True, "python": platform.python_version()}
    text = record["text"]
    for name in sorted(topics):
        assert text.startswith(topics[name])
        text = text.removeprefix(topics[name]).removeprefix("\n\n")
    assert text == ""


# --- rows -----------------------------------------------------------------------------------------


def test_wikitexts_rows_become_its_raw_file() -> None:
    raw = " \n = Robert Boulter = \n \n Robert Boulter is an actor . \n"
    rows = ["", " = Robert Boulter = \n", "", " Robert Boulter is an actor . \n"]
    assert join_rows(rows) == raw


line = st.text(st.characters(exclude_characters="\n"), min_size=1).filter(str.strip)


@given(st.lists(line.map(lambda text: text + "\n") | st.just(" \n"), min_size=1))
def test_lines_give_back_their_file(lines: list[str]) -> None:
    rows = ["" if text == " \n" else text for text in lines]  # as the hub's wikitext has them
    if any(rows):
        assert join_rows(rows) == "".join(lines)


def test_documents_are_kept_apart() -> None:
    assert join_rows(["One.", "Two.\n"]) == "One.\n\nTwo.\n"


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text("Pumps\r\nrun.", encoding="utf-8-sig", newline="")
    assert load_corpus(TextSource(text_file=str(path)), tmp_path)["text"] == "Pumps\r\nrun."


# --- the hub --------------------------------------------------------------------------------------

ROWS = [
    {"text": "", "id": 1},
    {"text": " = Pumps = \n", "id": 2},
    {"text": " They run . \n", "id": 3},
]


@pytest.fixture(scope="module")
def hub() -> Iterator[HubServer]:
    out = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), out)
    card = "---\nconfigs:\n- config_name: raw\n  data_files: raw/*.parquet\n---\n"
    files = {"README.md": card.encode(), "raw/train-00000-of-00001.parquet": out.getvalue()}
    with HubServer(Repo("acme/wiki", files, kind="dataset")) as server:
        yield server


def loaded(server: HubServer, root: Path, **other: Any) -> subprocess.CompletedProcess[str]:
    """In a process of its own: the hub's libraries read their environment when they are loaded."""
    asked = {"hub": "acme/wiki", "revision": "main", "split": "train", "column": "text"}
    program = (
        "import json, sys; from pathlib import Path\n"
        "from llmpi.errors import LlmpiError\n"
        "from llmpi.quality.divergence.corpus import load_corpus\n"
        "from llmpi.study.fields import TextSource\n"
        "asked = TextSource(**json.loads(sys.argv[1]))\n"
        "try: print(json.dumps(load_corpus(asked, Path('lock'))))\n"
        "except LlmpiError as error: sys.exit(f'error: {error}')"
    )
    env = clean_env(root, HF_ENDPOINT=server.url, HF_HOME=str(root / "hf"))
    return subprocess.run(
        [sys.executable, "-c", program, json.dumps({**asked, "subset": "raw", **other})],
        cwd=root,
        env=env,
        text=True,
        capture_output=True,
        check=False,
    )


def test_data_set_of_the_hub(hub: HubServer, tmp_path: Path) -> None:
    done = loaded(hub, tmp_path)
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout.splitlines()[-1])
    assert record["text"] == " \n = Pumps = \n They run . \n"
    assert record["source"] == {
        "hub": "acme/wiki",
        "revision": commit_id("first"),
        "config": "raw",
        "split": "train",
        "column": "text",
    }
    assert commit_id("first") in (tmp_path / "lock").read_text()


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"column": "prose"}, "error: acme/wiki: has no column prose, but text, id"),
        ({"column": "id"}, "error: acme/wiki: column id is no text; name one that is"),
        ({"subset": "cooked"}, f"error: acme/wiki@{commit_id('first')}: BuilderConfig 'cooked' "),
        ({"split": "dev"}, f'error: acme/wiki@{commit_id("first")}: Unknown split "dev".'),
    ],
)
def test_hub_refuses(hub: HubServer, tmp_path: Path, other: dict[str, str], message: str) -> None:
    done = loaded(hub, tmp_path, **other)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(message)


@given(
    st.lists(st.text("ab ", max_size=9)).map("\n".join),
    st.lists(st.floats(0.01, 99.99), max_size=4).map(sorted),
)
def test_parts_of_a_text_share_no_line_and_make_it_whole(text: str, bounds: list[float]) -> None:
    parts = [part_of(text, *pair) for pair in pairwise([0, *bounds, 100])]
    assert "".join(parts) == text
    assert all(part.endswith("\n") for part in parts if part and not text.endswith(part))
