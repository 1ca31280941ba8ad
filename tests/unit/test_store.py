"""The store on a device: what is taken in, what makes room, and what is never touched."""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from llmpi.device import store

MB = 1_000_000


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def expect(root: Path, name: str, data: bytes, quota: int | None = None) -> dict[str, Any]:
    return store.expect(root, name, len(data), sha256(data), quota)


def take(root: Path, name: str, data: bytes, quota: int | None = None) -> Path:
    found = expect(root, name, data, quota)
    with Path(found["partial"]).open("ab") as file:
        file.write(data[found["there"] :])
    assert store.accept(root, name, sha256(data))
    return Path(found["path"])


def test_a_file_is_taken_in_once(tmp_path: Path) -> None:
    path = take(tmp_path, "m/F16.gguf", b"weights")
    assert path.read_bytes() == b"weights"
    assert expect(tmp_path, "m/F16.gguf", b"weights")["here"]
    assert sorted(p.name for p in path.parent.iterdir()) == ["F16.gguf", "F16.gguf.json"]
    assert path.parent.stat().st_mode & 0o077 == 0


def test_half_a_file_is_told_and_not_seen(tmp_path: Path) -> None:
    found = expect(tmp_path, "m/F16.gguf", b"weights")
    Path(found["partial"]).write_bytes(b"wei")
    again = expect(tmp_path, "m/F16.gguf", b"weights")
    assert (again["here"], again["there"]) == (False, 3)
    assert not Path(found["path"]).exists()
    other = expect(tmp_path, "m/F16.gguf", b"another")
    assert other["there"] == 0
    assert not Path(found["partial"]).exists(), "what is wanted no more goes"


def test_damage_is_not_accepted(tmp_path: Path) -> None:
    found = expect(tmp_path, "m/F16.gguf", b"weights")
    Path(found["partial"]).write_bytes(b"wrights")
    assert not store.accept(tmp_path, "m/F16.gguf", sha256(b"weights"))
    assert list(Path(found["path"]).parent.iterdir()) == []


@pytest.mark.fault("damage in the store", by="hash of the file")
def test_damage_in_the_store_is_seen(tmp_path: Path) -> None:
    path = take(tmp_path, "m/F16.gguf", b"weights")
    assert store.use(path, sha256(b"weights"))
    path.write_bytes(b"wrights")
    os.utime(path, (1, 1))  # a kernel's stamps may be the same within ten milliseconds
    assert not store.use(path, sha256(b"weights"))
    assert not expect(tmp_path, "m/F16.gguf", b"weights")["here"]


def test_the_least_recently_used_makes_room(tmp_path: Path) -> None:
    first, second = (take(tmp_path, f"m/{n}.gguf", n.encode() * 400) for n in "ab")
    assert store.use(first, sha256(b"a" * 400))
    found = expect(tmp_path, "m/c.gguf", b"c" * 400, quota=1000)
    assert found["removed"] == [str(second)]
    assert first.exists()
    assert not second.exists()
    assert not second.with_name("b.gguf.json").exists()


def test_a_power_cut_between_a_file_and_its_record_leaves_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file that made room is removed first: a file without a record would stay for good."""
    path = take(tmp_path, "m/a.gguf", b"a" * 400)
    record, unlink = path.with_name("a.gguf.json"), Path.unlink

    def cut(self: Path, missing_ok: bool = False) -> None:
        if self == record:
            raise InterruptedError
        unlink(self, missing_ok)

    with monkeypatch.context() as patched, pytest.raises(InterruptedError):
        patched.setattr(Path, "unlink", cut)
        expect(tmp_path, "m/b.gguf", b"b" * 700, quota=1000)
    assert (path.exists(), record.exists()) == (False, True)
    expect(tmp_path, "m/b.gguf", b"b" * 700, quota=1000)
    assert not record.exists()


def test_what_is_not_llmpis_is_never_removed(tmp_path: Path) -> None:
    mine = take(tmp_path, "m/a.gguf", b"a" * 400)
    foreign = mine.with_name("foreign.gguf")
    foreign.write_bytes(b"f" * 5000)
    claimed = mine.with_name("claimed.gguf")
    claimed.write_bytes(b"c" * 5000)
    claimed.with_name("claimed.gguf.json").write_text(json.dumps({"sha256": "no record of ours"}))
    found = expect(tmp_path, "m/b.gguf", b"b" * 700, quota=1000)
    assert found["removed"] == [str(mine)]
    assert foreign.exists()
    assert claimed.exists()


def test_larger_than_the_quota(tmp_path: Path) -> None:
    kept = take(tmp_path, "m/a.gguf", b"a")
    with pytest.raises(store.QuotaError) as caught:
        store.expect(tmp_path, "m/F16.gguf", 16_000 * MB, "0" * 64, 8_000 * MB)
    assert str(caught.value) == ("F16.gguf has 16.00 GB, more than the device's quota of 8.00 GB")
    assert kept.exists()


def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(9 * MB, 8 * MB, 1 * MB))
    with pytest.raises(store.NoRoomError) as caught:
        store.expect(tmp_path, "m/F16.gguf", 5 * MB, "0" * 64, None)
    assert str(caught.value) == (
        f"F16.gguf needs 0.01 GB more at {tmp_path}, where 0.00 GB are free and llmpi's own files "
        "take 0.00 GB. Make room there, or name a store on a larger disk."
    )
