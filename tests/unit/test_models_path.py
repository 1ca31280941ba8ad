"""A model on this machine: linked, never copied or harmed."""

import hashlib
from pathlib import Path

import pytest
from fetching import Fetcher, tiny_gguf

TINY = tiny_gguf()


@pytest.fixture
def fetch(tmp_path: Path) -> Fetcher:
    return Fetcher(tmp_path)


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "tiny.gguf").write_bytes(TINY)
    return folder


def test_file_is_linked(fetch: Fetcher, mine: Path) -> None:
    got = fetch(path=str(mine / "tiny.gguf"))
    assert got.manifest, got.terminal
    assert got.manifest["origin"] == {"kind": "path", "path": f"{mine}/tiny.gguf"}
    assert (fetch.folder / "tiny.gguf").readlink() == mine / "tiny.gguf"


def test_folder_with_one_gguf(fetch: Fetcher, mine: Path) -> None:
    (mine / "notes.txt").write_text("mine")
    got = fetch(path=str(mine))
    assert got.manifest, got.terminal
    assert list(got.manifest["files"]) == ["tiny.gguf"]


def test_checkpoint_folder(fetch: Fetcher, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    for name in ("model.safetensors", "config.json", "tokenizer.json", "training.log"):
        (folder / name).write_text("{}")
    got = fetch(path=str(folder))
    assert got.manifest, got.terminal
    assert got.manifest["format"] == "safetensors"
    assert sorted(got.manifest["files"]) == ["config.json", "model.safetensors", "tokenizer.json"]


def test_a_file_beside_its_checkpoint(fetch: Fetcher, mine: Path) -> None:
    """In one folder, as some repositories are."""
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        (mine / name).write_text("{}")
    (mine / "other.gguf").write_bytes(TINY)
    got = fetch(path=str(mine), files=["tiny.gguf"], checkpoint={"path": str(mine)})
    assert got.manifest, got.terminal
    held = ["config.json", "model.safetensors", "tiny.gguf", "tokenizer.json"]
    assert sorted(got.manifest["files"]) == held
    assert fetch.left == sorted([*held, "manifest.json"])
    assert got.manifest["checkpoint"] == {"kind": "path", "path": str(mine)}


def test_a_checkpoint_that_is_a_gguf_file(fetch: Fetcher, mine: Path) -> None:
    beside = {"path": str(mine / "tiny.gguf")}
    assert fetch(path=str(mine / "tiny.gguf"), checkpoint=beside).error == (
        f"checkpoint: {mine}/tiny.gguf is no folder with safetensors weights; a GGUF file of full "
        "precision goes first among 'files'"
    )


def test_wrong_hash_keeps_the_users_file(fetch: Fetcher, mine: Path) -> None:
    file = mine / "tiny.gguf"
    got = fetch(path=str(file), sha256="0" * 64)
    assert got.error == (
        f"tiny.gguf has the wrong hash and was not kept.\n  expected sha256 {'0' * 64}\n"
        f"  got      sha256 {hashlib.sha256(TINY).hexdigest()}\n"
        f"The file is {file}. If it is the one you mean, put its sha256 in the config."
    )
    assert fetch.left == []
    assert file.read_bytes() == TINY


def test_truncated_file_is_a_failed_manifest(fetch: Fetcher, mine: Path) -> None:
    (mine / "tiny.gguf").write_bytes(TINY[:-100])
    got = fetch(path=str(mine))
    assert got.status == 0, got.terminal
    assert got.manifest
    assert got.manifest["status"] == "failed"
    assert "damaged or cut short" in got.manifest["reason"]


def test_refused(fetch: Fetcher, mine: Path, tmp_path: Path) -> None:
    (mine / "other.gguf").write_bytes(TINY)
    (mine / "weights.bin").write_bytes(TINY)
    empty = tmp_path / "empty"
    empty.mkdir()
    expected = {
        mine: f"{mine}: holds several GGUF files; name one of them, or some as 'files': "
        "other.gguf, tiny.gguf",
        mine / "weights.bin": f"{mine}/weights.bin: a model file must be a GGUF file, named *.gguf",
        mine / "gone.gguf": f"{mine}/gone.gguf: there is no such file or folder",
        empty: f"{empty}: holds neither a GGUF file nor safetensors weights",
    }
    for path, message in expected.items():
        assert fetch(path=str(path)).error == message
        assert fetch.left == []


def test_llmpis_own_folder_is_refused(fetch: Fetcher) -> None:
    fetch.folder.mkdir(parents=True)
    (fetch.folder / "tiny.gguf").write_bytes(TINY)
    got = fetch(path=str(fetch.folder / "tiny.gguf"))
    assert got.error == (
        f"{fetch.folder}/tiny.gguf: this folder is llmpi's own and is cleared; "
        "put the model elsewhere"
    )
    assert fetch.left == ["tiny.gguf"]
